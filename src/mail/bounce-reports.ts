import { readAddresses } from "./addresses";
import { isDaemon } from "./bounce-texts";
import { decodeText } from "./charsets";
import type { Original } from "./facts";
import { readHeaders } from "./headers";
import { firstId } from "./ids";
import { type Attachment, headerValue, type Mail } from "./mail";
import { decodeHeader } from "./words";

/** One block of a report: names in lower case, each with its first value. */
export type Fields = Map<string, string>;

const REPORT = /^message\/(global-)?delivery-status$/;
const RETURNED = /^(message\/(rfc822|global|partial)|text\/rfc822-headers|message\/(global|rfc822)-headers)$/;

const statusPart = (mail: Mail) => mail.attachments.find(({ contentType }) => REPORT.test(contentType));

/** RFC 3462 and 3464, which a person does not write. */
export const isFormal = (mail: Mail): boolean =>
  /^\s*multipart\/report\b/i.test(headerValue(mail, "content-type") ?? "") || statusPart(mail) !== undefined;

/** Groups of fields of the delivery status, wherever the report stands: some servers send it as plain text. */
export function statusFields(mail: Mail): Fields[] {
  const part = statusPart(mail);
  // A person who asks about a report quotes it.
  const isMachine = mail.returnPath === "" || mail.from === null || isDaemon(mail);
  const stray = isMachine && /^(final|original)-recipient:/im.exec(mail.text ?? "");
  const text = part ? textOf(part) : stray ? mail.text!.slice(Math.max(0, stray.index - 500)) : null;
  return text === null ? [] : groups(text);
}

export function feedbackFields(mail: Mail): Fields | null {
  const part = mail.attachments.find(({ contentType }) => contentType === "message/feedback-report");
  const [fields] = part ? groups(textOf(part)) : [];
  return fields ?? null;
}

/** All recipients a feedback report names. */
export const feedbackRecipients = (mail: Mail): string[] =>
  mail.attachments
    .filter(({ contentType }) => contentType === "message/feedback-report")
    .flatMap((part) =>
      [...textOf(part).matchAll(/^original-rcpt-to:\s*(.+)$/gim)].map(([, value]) => addressOf(value!)),
    )
    .filter((address) => address !== null);

// Reports are short; a longer one is no report.
const LONGEST = 256 * 1024;

const textOf = (part: Attachment): string =>
  decodeText(part.content.subarray(0, LONGEST), null).replace(/\r\n?/g, "\n");

const groups = (text: string): Fields[] =>
  text
    .split(/\n[ \t]*\n/)
    .map(fieldsOf)
    .filter((fields) => fields.size > 0);

function fieldsOf(block: string): Fields {
  const fields: Fields = new Map();
  for (const line of block.replace(/\n[ \t]+/g, " ").split("\n")) {
    const [, name, value] = /^([A-Za-z][\w-]*)[ \t]*:[ \t]*(.*)$/.exec(line) ?? [];
    if (name && !fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), decodeHeader(value!.trim()));
  }
  return fields;
}

/** `rfc822; <a@example.com>`, with the escapes of RFC 3461; null where it is no address. */
export function addressOf(value: string | undefined): string | null {
  const given = (value ?? "").replace(/^\s*[\w-]+\s*;/, "").replace(/\+([0-9A-F]{2})(?=.*@)/g, (whole, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    return /[+=\s]/.test(char) ? char : whole;
  });
  const [, address] = /([^\s<>()",;:]+@[^\s<>()",;:]+)/.exec(given) ?? [];
  return address?.replace(/[.>]+$/, "").toLowerCase() ?? null;
}

// Where human text ends and the mail that came back begins.
const COPY = [
  /^-{3,}.{0,20}(below this line is a copy|this is a copy of|original message|message (header|text) follows|unsent message|returned (message|content)|begin (returned|message)|undelivered message).{0,60}$/im,
  /^(original message headers|message headers? follow|the original message follows|the (body|header)s? of (the|your) message|here is (a copy|your message)|start of (the )?(original|returned) message)\b.{0,60}$/im,
  /^-{20,}\s*\n(?=(return-path|received|from|message-id|date|subject|delivered-to):)/im,
];

/** The text without the copy, and the copy. */
export function splitCopy(text: string): { words: string; copy: string } {
  const found = COPY.map((pattern) => pattern.exec(text)).filter((hit) => hit !== null);
  const first = found.toSorted((a, b) => a.index - b.index)[0];
  if (!first) return { words: text, copy: "" };
  return { words: text.slice(0, first.index), copy: text.slice(first.index + first[0].length) };
}

/** The mail that came back, by its part or by the copy in the text. */
export function originalOf(mail: Mail): Original | null {
  const part = mail.attachments.find(({ contentType }) => RETURNED.test(contentType));
  const { copy } = splitCopy((mail.text ?? "").slice(0, LONGEST));
  const bytes = part
    ? part.content.subarray(0, LONGEST)
    : new TextEncoder().encode(headersIn(copy || (mail.text ?? "")));
  const { headers } = readHeaders(bytes, 0, bytes.length);
  const envelopeId =
    statusFields(mail)
      .map((fields) => fields.get("original-envelope-id"))
      .find(Boolean) ?? null;
  if (headers.length === 0 && envelopeId === null) return null;
  const all = (name: string) => headers.filter((header) => header.name.toLowerCase() === name).map(({ raw }) => raw);
  return {
    messageId: firstId(all("message-id")),
    envelopeId,
    from: readAddresses(all("from"), null)[0]?.address.toLowerCase() ?? null,
    to: readAddresses([...all("to"), ...all("cc")], null).map(({ address }) => address.toLowerCase()),
    subject: all("subject")[0] === undefined ? null : decodeHeader(all("subject")[0]!),
    headers: headers.map(({ name, raw }) => ({ name, raw, value: decodeHeader(raw) })),
  };
}

/** Headers within other text begin at the first run of lines that are some. */
function headersIn(text: string): string {
  const start = /^[ \t>|]*(return-path|received|message-id|mime-version|from|date|dkim-signature):/im.exec(text);
  if (!start || !/^[ \t>|]*message-id:/im.test(text)) return "";
  const indent = /^[ \t>|]*/.exec(start[0])![0];
  return text
    .slice(start.index)
    .split("\n")
    .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
    .join("\n");
}
