import { and, eq, inArray, sql } from "drizzle-orm";
import { asWritten, folded } from "../contacts/service";
import { announce, RECORDED, type Recorded } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import { mediaType, OCTETS } from "../files/types";
import { currentTenant } from "../lib/columns";
import type { Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { asTenant, db, prebuilt } from "../lib/db";
import { plainName } from "../lib/file-names";
import { newId } from "../lib/ids";
import { originalOf } from "../mail/bounce-reports";
import type { Mail, Mailbox } from "../mail/mail";
import { replyOf } from "../mail/reply";
import { flagsOf, signalsOf } from "../mail/signals";
import { verdictsOf } from "../mail/verdicts";
import { rawKey } from "./arrival";
import type { Answer } from "./auto-reply";
import type { ClaimedRaw } from "./consumer";
import { referencesOf } from "./joining";
import { inboundRaw } from "./schema";
import { readToken, tokenReference } from "./tokens";

/** Of what the writer wrote, shown as the message; the mail has it all. */
export const TEXT_MOST = 40_000;
/** Longer bodies are in the raw mail alone. */
const BODY_MOST = 2_000_000;

const TYPES = [
  "channel.created",
  "channel.merged",
  "channel.updated",
  "message.moved",
  "message.new",
  "message.pending",
  "message.shadowed",
  "email.received",
  "email.unauthenticated",
];

const plain = (text: string, most: number): string => text.slice(0, most).replaceAll("\0", "").toWellFormed();
export const whole = (text: string | null): string | null =>
  text === null || text.length > BODY_MOST ? null : plain(text, BODY_MOST);

/** Servers whose word on a sender is believed, whatever way a mail comes. */
export const authservIds = (env: Env): string[] => env.AUTHSERV_IDS.split(/\s+/).filter(Boolean);

const isOfSes = (id: string): boolean => /(^|\.)amazonses\.com$/i.test(id);

/** Each way has its own, for each removes from a mail what others wrote in its own name, and in no other's. */
function believed(env: Env, { source, authServers: own }: ClaimedRaw): string[] {
  if (source === "http") return own;
  return authservIds(env).filter((id) => isOfSes(id) === (source === "ses"));
}

export type MailFile = { id: string; name: string; contentType: string; size: number; sha256: string };
export type Clues = Awaited<ReturnType<typeof cluesOf>>;

/** What a mail tells of its place: what it belongs to, and who it is from. */
export async function cluesOf(ctx: Context, raw: ClaimedRaw, mail: Mail) {
  const token = await readToken(ctx.env, ctx.tenantId, raw.tag);
  const references = referencesOf({
    messageId: mail.messageId ?? `${raw.sha256}@raw.parley`,
    inReplyTo: mail.inReplyTo,
    references: mail.references,
    returned: originalOf(mail)?.messageId ?? null,
    token: token?.kind === "reply" ? tokenReference(token.id) : null,
  });
  const signals = signalsOf(mail);
  const verdicts = verdictsOf(mail, believed(ctx.env, raw));
  const from = mail.from ?? mail.sender ?? { name: "", address: raw.envelopeFrom };
  const sender = { address: folded(plain(from.address, 320)), name: from.name ? plain(from.name, 255) : null };
  const { written } = asWritten(plain(from.address, 320));
  return { messageId: newId(), token, references, signals, flags: flagsOf(signals), verdicts, sender, written };
}

export type Read = { raw: ClaimedRaw; mail: Mail; files: MailFile[]; clues: Clues; answer: Answer };

const recordOne = prebuilt(db.select(RECORDED).from(sql`record_inbound(${sql.placeholder("mail")}::jsonb)`));

/** All or none. Tells which mails will never be a message; others may have become one by an earlier reading. */
export async function recordInbound(ctx: Context, reads: readonly Read[]): Promise<Set<string>> {
  const records = await Promise.all(reads.map((read) => recordOf(ctx, read)));
  const answers = reads.flatMap(({ answer }, i) => (answer ? [{ answer, i }] : []));
  const lock = records.map(({ inboxId, ids }) => ({ inboxId, ids: ids.map(({ id }) => ({ id })) }));
  const record = records.map((mail) => recordOne({ mail: JSON.stringify(mail) }));
  const kept = db
    .select({ id: inboundRaw.id, status: inboundRaw.status, messageId: inboundRaw.messageId })
    .from(inboundRaw)
    .where(
      and(
        eq(inboundRaw.tenantId, currentTenant),
        inArray(
          inboundRaw.id,
          reads.map(({ raw }) => raw.id),
        ),
      ),
    );
  const [, ...batch] = (await asTenant(ctx, [
    db.execute(sql`select lock_mail_ids(${JSON.stringify(lock)}::jsonb)`),
    ...record,
    kept,
    ...answers.map(({ answer }) => answer.query),
  ])) as unknown[];
  announce(ctx, batch.slice(0, reads.length).flat() as Recorded[]);
  const raws = batch[reads.length] as { id: string; status: string; messageId: string | null }[];
  const messages = new Set(raws.map(({ messageId }) => messageId));
  for (const [n, { answer, i }] of answers.entries())
    if (messages.has(reads[i]!.clues.messageId))
      answer.announce(batch[reads.length + 1 + n] as Parameters<typeof answer.announce>[0]);
  return new Set(raws.filter(({ status }) => status === "duplicate" || status === "blocked").map(({ id }) => id));
}

/** The batch's function does the rest: it knows what is there already. */
async function recordOf(ctx: Context, { raw, mail, files, clues }: Read) {
  const { messageId, references, signals, flags, verdicts, sender } = clues;
  const channelId = newId();
  const subject = plain(mail.subject, 998);
  const now = new Date().toISOString();
  const written = plain(replyOf(mail).text, TEXT_MOST);
  return {
    ...{
      rawId: raw.id,
      inboxId: raw.inboxId,
      messageId,
      channelId,
      rfcId: references[0]!.id,
      subject,
      verdicts,
      ...flags,
    },
    ids: references,
    fingerprint: await fingerprintOf(mail),
    contact: { id: newId(), ...sender },
    files,
    text: whole(mail.text),
    html: whole(mail.html),
    leftOut: (["text", "html"] as const).filter((one) => mail[one] !== null && whole(mail[one]) === null),
    sentAt: mail.date,
    rawKey: rawKey(ctx.tenantId, raw.id),
    authenticated: !verdicts.unauthenticated,
    why: { route: raw.route, tag: raw.tag, signals, verdicts },
    recipients: recipientsOf(mail, { ...sender, written: clues.written }),
    created: { channel: newConversation(channelId, raw.inboxId, subject, now) },
    receivedType: verdicts.unauthenticated ? "email.unauthenticated" : "email.received",
    received: { messageId, inboxId: raw.inboxId, from: sender, subject, flags, verdicts },
    webhooks: candidatesByType(ctx.snapshot, TYPES),
    send: {
      ...{ n: 0, id: messageId, event: newId(), direction: "inbound", kind: "text", text: written, state: "visible" },
      ...{ silent: false, showInChannel: true, metadata: {}, mentions: [] },
      attachments: files.map((file, i) => attachmentOf(file, mail.attachments[i]!)),
      webhooks: candidatesByType(ctx.snapshot, ["message.new", "message.pending", "message.shadowed"]),
    },
  };
}

const HASHED_MOST = 500_000;

/** Tells mails apart that bear the same id; what servers on its way add changes nothing. */
export async function fingerprintOf({ from, subject, date, text, html, attachments }: Mail): Promise<string> {
  // Another copy of a body as long as a mail may be would be too much for an isolate.
  const hashed = async (body: string | null) => (body && body.length > HASHED_MOST ? sha256Hex(body) : body);
  const files = attachments.map(({ sha256 }) => sha256);
  const parts = [from?.address.toLowerCase(), subject, date, await hashed(text), await hashed(html), files];
  return sha256Hex(JSON.stringify(parts));
}

function recipientsOf(mail: Mail, sender: { address: string; written: string | null; name: string | null }) {
  const lists: [string, Mailbox[]][] = [
    ["sender", mail.sender ? [mail.sender] : []],
    ["to", mail.to],
    ["cc", mail.cc],
    ["bcc", mail.bcc],
    ["reply_to", mail.replyTo],
  ];
  const named = lists.flatMap(([kind, mailboxes]) =>
    mailboxes.slice(0, 200).map(({ name, address }, position) => ({
      ...{ kind, position, ...asWritten(plain(address, 320)), name: name ? plain(name, 255) : null },
    })),
  );
  return [{ kind: "from", position: 0, ...sender }, ...named];
}

function attachmentOf(file: MailFile, { contentId, disposition, method }: Mail["attachments"][number]) {
  const [kind] = file.contentType.split("/");
  const type = kind === "image" || kind === "video" || kind === "audio" ? kind : "file";
  return { id: newId(), type, fileId: file.id, metadata: { contentId, disposition, ...(method && { method }) } };
}

/** How an attachment is kept as a file. Its id follows from the mail, so that what is read twice is stored once. */
export async function filesOf(raw: ClaimedRaw, mail: Mail): Promise<MailFile[]> {
  return Promise.all(
    mail.attachments.map(async ({ filename, contentType, size, sha256 }, i) => {
      const hex = await sha256Hex(`${raw.id} ${i}`);
      const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
      return { id, name: plainName(filename ?? ""), contentType: typeOf(contentType), size, sha256 };
    }),
  );
}

function typeOf(given: string): string {
  try {
    return mediaType(given);
  } catch {
    return OCTETS;
  }
}

export function newConversation(id: string, inboxId: string, name: string, now: string) {
  return {
    ...{
      id,
      inboxId,
      medium: "email",
      type: "email",
      name: name || null,
      description: null,
      avatarUrl: null,
      teamId: null,
    },
    ...{ mergedInto: null, frozen: false, slowMode: 0, cooldown: 0, language: "simple", metadata: {}, settings: {} },
    ...{ createdBy: null, trashedAt: null, truncatedAt: null, createdAt: now, updatedAt: now },
  };
}
