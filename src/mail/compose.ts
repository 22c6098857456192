import { asItIs, type Encoded, encodeBase64, encodeText, isSevenBit } from "./compose-bodies";
import { addressLine, headerLine, idLine, parameter } from "./compose-headers";
import type { Mailbox } from "./mail";

export type Enclosed = {
  filename: string | null;
  contentType: string;
  /** Without angle brackets; the HTML names it as `cid:`. */
  contentId: string | null;
  inline: boolean;
  content: Uint8Array;
};

/** Ids stand without angle brackets. Who gets a blind copy stands in no header. */
export type Draft = {
  messageId: string;
  date: Date;
  from: Mailbox;
  replyTo: readonly Mailbox[];
  to: readonly Mailbox[];
  cc: readonly Mailbox[];
  subject: string;
  inReplyTo: string | null;
  references: readonly string[];
  headers: readonly { name: string; value: string }[];
  text: string;
  html: string | null;
  enclosed: readonly Enclosed[];
};

type Part = { head: string; body: Encoded | Part[]; boundary: string };

const encoder = new TextEncoder();

/** The first begins the conversation, the last ten are the nearest: what is between them, readers do without. */
export const keptReferences = (ids: readonly string[]): string[] =>
  ids.length <= 11 ? [...ids] : [ids[0]!, ...ids.slice(-10)];

/** A mail as RFC 5322 and MIME have it, with CRLF. The same draft gives the same bytes. */
export function compose(draft: Draft): Uint8Array<ArrayBuffer> {
  const body = bodyOf(draft);
  const pieces = [encoder.encode(headOf(draft)), ...written(body)];
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) out.set(piece, at);
    else piece.write(out, at);
    at += piece.length;
  }
  return out;
}

function headOf({ messageId, date, from, replyTo, to, cc, subject, inReplyTo, references, headers }: Draft): string {
  return [
    `Date: ${date.toUTCString().replace("GMT", "+0000")}\r\n`,
    addressLine("From", [from]),
    addressLine("Reply-To", replyTo),
    to.length + cc.length === 0 ? "To: undisclosed-recipients:;\r\n" : addressLine("To", to),
    addressLine("Cc", cc),
    headerLine("Subject", subject),
    idLine("Message-ID", [messageId]),
    inReplyTo === null ? "" : idLine("In-Reply-To", [inReplyTo]),
    idLine("References", keptReferences(references)),
    ...headers.map(({ name, value }) => headerLine(name, value)),
    "MIME-Version: 1.0\r\n",
  ].join("");
}

/** alternative (text, html) within related (its pictures) within mixed (what is attached), each where it is needed. */
function bodyOf({ messageId, text, html, enclosed }: Draft): Part {
  const boundary = (depth: number) => `=_${depth}_${messageId.replace(/[^A-Za-z0-9]/g, "").slice(0, 40)}`;
  const many = (kind: string, depth: number, body: Part[]): Part => ({
    head: `Content-Type: multipart/${kind};\r\n boundary="${boundary(depth)}"\r\n`,
    body,
    boundary: boundary(depth),
  });
  // A text that is inline passes for a part of the body.
  const isShown = ({ inline, contentId, contentType }: Enclosed) =>
    inline && contentId !== null && html !== null && !contentType.startsWith("text/");
  const shown = enclosed.filter(isShown);
  const attached = enclosed.filter((one) => !isShown(one));
  let body = textPart("plain", text);
  if (html !== null) {
    const page = textPart("html", html);
    const whole = shown.length > 0 ? many("related", 3, [page, ...shown.map((one) => filePart(one, "inline"))]) : page;
    body = many("alternative", 2, [body, whole]);
  }
  return attached.length > 0 ? many("mixed", 1, [body, ...attached.map((one) => filePart(one, "attachment"))]) : body;
}

function textPart(kind: "plain" | "html", text: string): Part {
  const body = encodeText(text);
  return { head: `Content-Type: text/${kind}; charset=utf-8\r\n${transfer(body)}`, body, boundary: "" };
}

const transfer = ({ encoding }: Encoded): string => `Content-Transfer-Encoding: ${encoding}\r\n`;

function filePart({ filename, contentType, contentId, content }: Enclosed, disposition: "inline" | "attachment"): Part {
  const isMail = contentType === "message/rfc822" && isSevenBit(content);
  // What is made of parts itself may not be encoded, so it travels as bytes.
  const type = isMail || !/^(message|multipart)\//.test(contentType) ? contentType : "application/octet-stream";
  const body = isMail ? asItIs(content) : encodeBase64(content);
  const name = filename === null ? "" : parameter("filename", filename);
  return {
    head: [
      `Content-Type: ${type}\r\n`,
      transfer(body),
      `Content-Disposition: ${disposition}${name}\r\n`,
      contentId === null ? "" : idLine("Content-ID", [contentId]),
    ].join(""),
    body,
    boundary: "",
  };
}

function written({ head, body, boundary }: Part): (Uint8Array | Encoded)[] {
  const top = encoder.encode(`${head}\r\n`);
  if (!Array.isArray(body)) return [top, body];
  const between = encoder.encode(`--${boundary}\r\n`);
  const after = encoder.encode("\r\n");
  return [top, ...body.flatMap((part) => [between, ...written(part), after]), encoder.encode(`--${boundary}--\r\n`)];
}
