import { readAddresses } from "./addresses";
import { attachmentOf, readBodies } from "./bodies";
import { readDate } from "./dates";
import { type RawHeader, rawValue } from "./headers";
import { firstId, readIds } from "./ids";
import type { Failure, Mail } from "./mail";
import { type Part, readParts } from "./parts";
import { decodeHeader } from "./words";

const NOTHING: Mail = {
  failure: "empty",
  messageId: null,
  inReplyTo: null,
  references: [],
  from: null,
  sender: null,
  to: [],
  cc: [],
  bcc: [],
  replyTo: [],
  returnPath: null,
  subject: "",
  date: null,
  text: null,
  html: null,
  headers: [],
  attachments: [],
};

/** Reads any bytes as a mail and never throws. Attachments may be views of `raw`: leave it as it is. */
export async function readMail(raw: Uint8Array): Promise<Mail> {
  let mail = NOTHING;
  try {
    const bytes = withLineFeeds(raw as Uint8Array<ArrayBuffer>);
    const root = readParts(bytes);
    const fallback = charsetOf(root);
    mail = { ...mail, ...readHead(root.headers, fallback), failure: failureOf(raw, root) };
    const { text, html, files } = readBodies(bytes, root);
    mail = { ...mail, text, html };
    for (const part of files) mail.attachments.push(await attachmentOf(bytes, part, fallback));
    return mail;
  } catch {
    return { ...mail, failure: "unreadable" };
  }
}

function failureOf(raw: Uint8Array, root: Part): Failure | null {
  if (raw.length === 0) return "empty";
  return root.headers.length === 0 ? "noHeaders" : null;
}

/** Old machines end lines with CR alone; on the way others may have put headers of their own line ends above. */
function withLineFeeds(raw: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (hasEmptyLine(raw) || !raw.some((byte, at) => byte === CR && raw[at + 1] === CR)) return raw;
  return raw.map((byte, at) => (byte === CR && raw[at + 1] !== LF ? LF : byte));
}

const LF = 0x0a;
const CR = 0x0d;

/** Which is where headers end. */
function hasEmptyLine(raw: Uint8Array): boolean {
  for (let at = raw.indexOf(LF); at >= 0; at = raw.indexOf(LF, at + 1)) {
    if (raw[at + 1] === LF || (raw[at + 1] === CR && raw[at + 2] === LF)) return true;
  }
  return false;
}

function charsetOf(part: Part): string | null {
  const own = part.type.value.startsWith("text/") ? part.type.parameters.get("charset") : undefined;
  if (own) return own;
  for (const child of part.children) {
    const found = charsetOf(child);
    if (found) return found;
  }
  return null;
}

function readHead(headers: RawHeader[], fallback: string | null): Omit<Mail, "failure" | "text" | "html"> {
  const all = (name: string) => headers.filter((header) => header.name.toLowerCase() === name).map(({ raw }) => raw);
  const addresses = (name: string) => readAddresses(all(name), fallback);
  const replied = readIds(all("in-reply-to"), true);
  return {
    messageId: firstId(all("message-id")),
    inReplyTo: replied[0] ?? null,
    references: [...new Set([...readIds(all("references"), false), ...replied.slice(1)])],
    from: addresses("from")[0] ?? null,
    sender: addresses("sender")[0] ?? null,
    to: addresses("to"),
    cc: addresses("cc"),
    bcc: addresses("bcc"),
    replyTo: addresses("reply-to"),
    returnPath: returnPathOf(rawValue(headers, "return-path")),
    subject: decodeHeader(all("subject").find((raw) => raw.trim() !== "") ?? "", fallback)
      .replace(/\s+/g, " ")
      .trim(),
    date: readDate(rawValue(headers, "date")),
    headers: headers.map(({ name, raw }) => ({ name, raw, value: decodeHeader(raw, fallback) })),
    attachments: [],
  };
}

function returnPathOf(raw: string | undefined): string | null {
  if (raw === undefined) return null;
  return /<\s*>/.test(raw) ? "" : (readAddresses([raw], null)[0]?.address ?? null);
}
