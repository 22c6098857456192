import { folded } from "../contacts/service";
import { fromBase64 } from "../lib/crypto";
import { ApiError, type Violation } from "../lib/errors";
import { asciiHost, sendableAddress } from "../lib/mailboxes";
import type { EmailAnswer, NewEmail, Recipient } from "./input";
import { type Given, type Tail, tailOf, type Worded, worded } from "./wording";

export type Addressee = { address: string; name: string | null };
export type Enclosure = {
  /** Of a file that is there; a new one has its bytes instead. */
  fileId: string | null;
  content?: Uint8Array<ArrayBuffer>;
  name: string | null;
  contentType: string | null;
  contentId: string | null;
  inline: boolean;
};

/** All that a mail says, whoever it goes on with; composed when it is sent. */
export type Letter = Worded & {
  given: Given;
  /** Of a forwarded mail. */
  tail: Tail | null;
  to: Addressee[];
  cc: Addressee[];
  bcc: Addressee[];
  /** Null: to the address by which answers find their message. */
  replyTo: Addressee[] | null;
  subject: string;
  inReplyTo: string | null;
  references: string[];
  quotedId: string | null;
  headers: { name: string; value: string }[];
  enclosures: Enclosure[];
  stream: string;
  tags: string[];
  metadata: Record<string, unknown>;
  /** How it came to be, for its `why`. */
  mode: "new" | EmailAnswer["mode"];
};

export const refused = (...errors: Violation[]) => new ApiError("invalid_request", undefined, { errors });

const RECIPIENTS_MOST = 50;

function asciiAddress(address: string, path: string): string {
  const at = address.lastIndexOf("@");
  const host = asciiHost(address.slice(at + 1));
  if (host === null) throw refused({ path, message: "The domain of this address cannot be." });
  return `${address.slice(0, at)}@${host}`;
}

export const addressees = (given: readonly Recipient[], path: string): Addressee[] =>
  given.map((one, i) => {
    const { address, name = null } = typeof one === "string" ? { address: one } : one;
    return { address: asciiAddress(address, `${path}.${i}`), name: name || null };
  });

/** Each address once, where it stands first. */
function withoutDoubles({ to, cc, bcc }: Pick<Letter, "to" | "cc" | "bcc">) {
  const seen = new Set<string>();
  const first = (list: Addressee[]) =>
    list.filter(({ address }) => {
      const key = folded(address);
      return !seen.has(key) && seen.add(key);
    });
  const all = { to: first(to), cc: first(cc), bcc: first(bcc) };
  if (seen.size === 0) throw refused({ path: "to", message: "A mail goes to somebody." });
  if (seen.size > RECIPIENTS_MOST)
    throw refused({ path: "to", message: `A mail goes to at most ${RECIPIENTS_MOST} recipients, in to, cc and bcc.` });
  return all;
}

/** What is common to a new mail and an answer. */
export function letterOf(input: NewEmail | EmailAnswer): Letter {
  const { headers, tags, replyTo, metadata, stream } = input;
  const given = { text: input.text ?? null, html: input.html ?? null };
  return {
    ...worded(given, null),
    ...{ given, tail: null },
    to: addressees(input.to ?? [], "to"),
    cc: addressees(input.cc, "cc"),
    bcc: addressees(input.bcc, "bcc"),
    replyTo: replyTo ? addressees(replyTo, "replyTo") : null,
    subject: input.subject ?? "",
    ...{ metadata, stream, inReplyTo: null, references: [], quotedId: null, mode: "new" },
    headers: Object.entries(headers).map(([name, value]) => ({ name, value })),
    enclosures: input.attachments.map(enclosureOf),
    tags: [...new Set(tags.map((tag) => (typeof tag === "string" ? tag : `${tag.name}=${tag.value}`)))],
  };
}

function enclosureOf({ fileId, content, name, contentType, contentId }: NewEmail["attachments"][number], i: number) {
  const rest = { name: name ?? null, contentType: contentType ?? null, contentId: contentId ?? null };
  const inline = contentId !== undefined;
  if (content === undefined) return { fileId: fileId!, ...rest, inline };
  try {
    return { fileId: null, content: fromBase64(content), ...rest, inline };
  } catch {
    throw refused({ path: `attachments.${i}.content`, message: "It is not base64." });
  }
}

function mustSaySomething({ text, html, enclosures }: Letter): void {
  if (text.trim() === "" && html === null && enclosures.length === 0)
    throw refused({ path: "text", message: "A mail has text, html or attachments." });
}

/** What goes out: it says something, to somebody. */
export function finished(letter: Letter): Letter {
  mustSaySomething(letter);
  return { ...letter, ...withoutDoubles(letter) };
}

/** As answered_mail hands it over. */
export type Answered = {
  messageId: string;
  direction: "inbound" | "outbound";
  inboxId: string;
  rfcId: string;
  subject: string;
  date: string;
  text: string | null;
  html: string | null;
  references: string[];
  /** By which its recipients know it, where a provider put ids of its own in the place of ours. */
  learned: string[];
  recipients: (Addressee & { kind: string })[];
  own: string[];
  files: { fileId: string; contentId: string | null; inline: boolean }[];
};

const keyOf = ({ address }: Addressee): string => folded(address);

/** Whoever wrote the mail chose what stands there: only what is one address is sent to. */
const sendable = (list: readonly Addressee[]): Addressee[] =>
  list.flatMap(({ address: given, name }) => {
    const address = sendableAddress(given);
    return address === null ? [] : [{ address, name }];
  });

/** A reply goes to whom the mail asks for, else to who wrote it; an answer to our own goes on to whom that went. */
export function answering(answered: Answered, input: EmailAnswer): Letter {
  const letter = letterOf(input);
  const named = (...kinds: string[]) => sendable(answered.recipients.filter(({ kind }) => kinds.includes(kind)));
  const ours = new Set(sendable(answered.own.map((address) => ({ address, name: null }))).map(keyOf));
  const others = (list: Addressee[]) => list.filter((one) => !ours.has(keyOf(one)));
  const references = [...new Set([...answered.references, answered.rfcId, ...answered.learned])];
  const common = { ...letter, references, quotedId: answered.messageId, mode: input.mode };
  if (input.mode === "forward") {
    const files = answered.files.map((file): Enclosure => ({ ...file, name: null, contentType: null }));
    const [tail, subject] = [tailOf(answered), titled("Fwd", input, answered)];
    const enclosures = [...letter.enclosures, ...files];
    return { ...common, ...worded(letter.given, tail), tail, subject, enclosures };
  }
  const asked = named("reply_to");
  const writer = asked.length > 0 ? asked : named("from");
  const to = answered.direction === "outbound" ? named("to") : writer;
  if (!input.to && to.length === 0)
    throw refused({ path: "to", message: "The mail names no address that an answer can go to: name one here." });
  const rest = answered.direction === "outbound" ? named("cc") : others([...named("to"), ...named("cc")]);
  return {
    ...common,
    to: input.to ? letter.to : to,
    cc: input.mode === "replyAll" ? [...letter.cc, ...rest] : letter.cc,
    subject: titled("Re", input, answered),
    inReplyTo: answered.learned.at(-1) ?? answered.rfcId,
  };
}

const titled = (prefix: "Re" | "Fwd", { subject }: EmailAnswer, answered: Answered): string =>
  subject ??
  (new RegExp(`^\\s*${prefix === "Re" ? "re" : "fwd?"}\\s*:`, "i").test(answered.subject)
    ? answered.subject
    : `${prefix}: ${answered.subject}`.slice(0, 998));
