import { sql } from "drizzle-orm";
import { ruleOf } from "../channels/access";
import { asWritten } from "../contacts/service";
import { announceDeliveries } from "../deliveries/service";
import { announce, type Recorded } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import { described, descriptionOf, objectKey } from "../files/objects";
import { mediaType, OCTETS } from "../files/types";
import { boundsOf, type Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { db, prebuilt, Replay } from "../lib/db";
import { ApiError } from "../lib/errors";
import { plainName } from "../lib/file-names";
import { newId } from "../lib/ids";
import { compose, type Draft, type Enclosed, keptReferences } from "../mail/compose";
import type { Message } from "../messages/input";
import type { EmailContent } from "../providers/email";
import { unsubscribeHeaders } from "../suppressions/unsubscribe";
import { MAIL_BYTES, rawKey } from "./arrival";
import { referencesOf } from "./joining";
import { type Addressee, type Enclosure, type Letter, refused } from "./letters";
import { newConversation, whole } from "./recording";
import { tokenAddress, tokenReference } from "./tokens";
import { shownText } from "./wording";

/** What mail from an inbox bears, as sending_place has it. */
export type Place = {
  inboxId: string;
  address: string;
  name: string | null;
  replyTo: string | null;
  bounceAddress: string | null;
  /** Whether mail to the address with a tag behind its name comes in. */
  tagged: boolean;
  bounceTagged: boolean;
};

const SEND_TYPES = ["message.new", "message.pending", "message.shadowed"];
const TYPES = ["channel.created", "email.sent", "delivery.updated"];
/** What is left of the largest mail when its files are encoded. */
const FILES_MOST = 18_000_000;

export type Posting = {
  letter: Letter;
  place: Place;
  /** None: a new conversation. */
  channelId?: string | undefined;
  /** Of a scheduled one, which has its message already; `begins` where the conversation begins with it. */
  scheduled?: { messageId: string; begins: boolean; asOf: string };
};

/** Composed, and in the bucket: what is left is the batch. */
export type Posted = { mail: Record<string, unknown>; keys: string[] };
export type Outcome = { message: Message; isNew: boolean; pending: string[]; events: Recorded[] };

export async function post(ctx: Context, posting: Posting): Promise<Posted> {
  const { letter, place, scheduled } = posting;
  const { tenantId, env } = ctx;
  const messageId = scheduled?.messageId ?? newId();
  const channelId = posting.channelId ?? newId();
  const rawId = newId();
  const enclosures = await opened(ctx, letter.enclosures);
  const rfcId = `${messageId}@${place.address.slice(place.address.lastIndexOf("@") + 1)}`;
  const from = { address: place.address, name: place.name };
  const replyTo = letter.replyTo ?? [await answersTo(ctx, place, messageId)];
  const raw = compose(draftOf(letter, { messageId: rfcId, from, replyTo }, enclosures));
  if (raw.length > MAIL_BYTES) throw tooLarge(raw.length);
  const key = rawKey(tenantId, rawId);
  const deliveries = await Promise.all(
    recipientsOf(letter).map(async ({ kind, address }) => {
      const id = newId();
      const content: EmailContent = {
        ...{ from, kind, rawKey: key, stream: letter.stream, subject: letter.subject },
        envelopeFrom: await bouncesTo(ctx, place, id),
        headers: await unsubscribeHeaders(ctx, { deliveryId: id, address, stream: letter.stream }),
      };
      return { id, entry: newId(), ...recipientOf(address, content) };
    }),
  );
  const files = enclosures.filter(({ isNew }) => isNew);
  const begins = scheduled ? scheduled.begins : posting.channelId === undefined;
  const mail = {
    ...{ inboxId: place.inboxId, channelId, messageId, rawId, rawKey: key, rawSize: raw.length, rfcId, place },
    bound: boundsOf(ctx.actor).inbox ?? null,
    ...{ subject: letter.subject, name: letter.subject || null, text: whole(letter.text), html: whole(letter.html) },
    ...{ stream: letter.stream, tags: letter.tags, why: { mode: letter.mode } },
    ...(begins && {
      created: { channel: newConversation(channelId, place.inboxId, letter.subject, new Date().toISOString()) },
    }),
    files: files.map(({ id, name, contentType, content, sha256 }) => ({
      id,
      name,
      contentType,
      size: content.length,
      sha256,
    })),
    recipients: [
      { kind: "from", position: 0, ...from },
      ...(["to", "cc", "bcc"] as const).flatMap((kind) => numbered(kind, letter[kind])),
      ...numbered("reply_to", replyTo),
    ],
    ids: referencesOf({
      messageId: rfcId,
      inReplyTo: letter.inReplyTo,
      references: keptReferences(letter.references),
      returned: null,
      token: tokenReference(messageId),
    }),
    deliveries,
    sent: {
      ...{ messageId, inboxId: place.inboxId, from, subject: letter.subject, stream: letter.stream, tags: letter.tags },
      recipients: deliveries.map(({ id, recipient, content }) => ({
        deliveryId: id,
        address: recipient,
        kind: content.kind,
      })),
    },
    webhooks: candidatesByType(ctx.snapshot, TYPES),
    send: sendOf(ctx, posting, messageId, enclosures),
  };
  const keys = [key, ...files.map(({ id }) => objectKey(tenantId, id))];
  await env.FILES.put(key, raw, { httpMetadata: { contentType: "message/rfc822" } });
  for (const file of files) await env.FILES.put(objectKey(tenantId, file.id), file.content, described(file));
  return { mail, keys };
}

function draftOf(
  letter: Letter,
  more: { messageId: string; from: Addressee; replyTo: Addressee[] },
  enclosures: Opened[],
): Draft {
  const mailbox = ({ name, address }: Addressee) => ({ name: name ?? "", address });
  return {
    ...{ messageId: more.messageId, date: new Date(), from: mailbox(more.from), replyTo: more.replyTo.map(mailbox) },
    ...{ to: letter.to.map(mailbox), cc: letter.cc.map(mailbox), subject: letter.subject, headers: letter.headers },
    ...{ inReplyTo: letter.inReplyTo, references: letter.references, text: letter.text, html: letter.html },
    enclosed: enclosures.map(
      ({ name, contentType, contentId, inline, content }): Enclosed => ({
        filename: name,
        contentType,
        contentId,
        inline,
        content,
      }),
    ),
  };
}

const numbered = (kind: string, list: readonly Addressee[]) =>
  list.map(({ address, name }, position) => ({ kind, position, ...asWritten(address), name }));

export const recipientsOf = (letter: Letter) =>
  (["to", "cc", "bcc"] as const).flatMap((kind) => letter[kind].map(({ address }) => ({ kind, address })));

/** Known by one spelling, sent to by that which was written. */
export function recipientOf<C extends EmailContent>(given: string, content: C) {
  const { address: recipient, written } = asWritten(given);
  return { recipient, content: written === null ? content : { ...content, recipient: written } };
}

function sendOf(ctx: Context, { letter, scheduled }: Posting, id: string, enclosures: Opened[]) {
  return {
    ...{ n: 0, id, event: newId(), direction: "outbound", kind: "text", state: "visible", silent: false },
    ...{
      showInChannel: true,
      metadata: letter.metadata,
      mentions: [],
      scheduled: scheduled !== undefined,
      asOf: scheduled?.asOf ?? null,
    },
    text: shownText(letter),
    quotedId: letter.quotedId,
    may: ruleOf(ctx, "message.send"),
    mayFrozen: ruleOf(ctx, "message.send_frozen"),
    maySoon: ruleOf(ctx, "message.skip_slow_mode"),
    mayMention: ruleOf(ctx, "message.mention"),
    mayMentionAll: ruleOf(ctx, "message.mention_all"),
    attachments: enclosures.map(attachmentOf),
    webhooks: candidatesByType(ctx.snapshot, SEND_TYPES),
  };
}

export function attachmentOf({
  id,
  contentType,
  contentId,
  inline,
}: Pick<Opened, "id" | "contentType" | "contentId" | "inline">) {
  const [kind] = contentType.split("/");
  const type = kind === "image" || kind === "video" || kind === "audio" ? kind : "file";
  return { id: newId(), type, fileId: id, metadata: { contentId, disposition: inline ? "inline" : "attachment" } };
}

export type Opened = {
  id: string;
  isNew: boolean;
  name: string;
  contentType: string;
  contentId: string | null;
  inline: boolean;
  content: Uint8Array<ArrayBuffer>;
  sha256: string;
};

/** Whether a file may be attached the batch judges; one that is not in the bucket cannot be. */
export async function opened(ctx: Context, enclosures: readonly Enclosure[]): Promise<Opened[]> {
  const out: Opened[] = [];
  let room = FILES_MOST;
  for (const [i, { fileId, content, contentId, inline, ...given }] of enclosures.entries()) {
    const object = fileId === null ? null : await ctx.env.FILES.get(objectKey(ctx.tenantId, fileId));
    if (fileId !== null && !object)
      throw refused({ path: `attachments.${i}.fileId`, message: "A file is missing, or not uploaded completely." });
    room -= object?.size ?? content!.length;
    if (room < 0) throw tooLarge(FILES_MOST - room);
    const known = object && descriptionOf(object);
    const bytes = content ?? new Uint8Array(await object!.arrayBuffer());
    out.push({
      ...{ id: fileId ?? newId(), isNew: fileId === null, contentId, inline, content: bytes },
      name: plainName(given.name ?? known?.name ?? "file"),
      contentType: mediaType(given.contentType ?? (known?.contentType || OCTETS)),
      sha256: fileId === null ? await sha256Hex(bytes) : "",
    });
  }
  return out;
}

const tooLarge = (use: number) =>
  new ApiError(
    "payload_too_large",
    `A mail may take ${MAIL_BYTES} bytes with its files encoded, which is ${FILES_MOST} of files.`,
    {
      limit: FILES_MOST,
      use,
    },
  );

async function answersTo({ env, tenantId }: Context, place: Place, messageId: string): Promise<Addressee> {
  if (place.replyTo !== null) return { address: place.replyTo, name: place.name };
  const tagged = place.tagged ? await tokenAddress(env, tenantId, place.address, "reply", messageId) : null;
  return { address: tagged ?? place.address, name: place.name };
}

async function bouncesTo({ env, tenantId }: Context, place: Place, deliveryId: string): Promise<string> {
  const base = place.bounceAddress ?? place.address;
  const takesTags = place.bounceAddress === null ? place.tagged : place.bounceTagged;
  return (takesTags ? await tokenAddress(env, tenantId, base, "bounce", deliveryId) : null) ?? base;
}

const recordOutbound = prebuilt(
  db.select({ recorded: sql<Outcome>`r`.as("r") }).from(sql`record_outbound(${sql.placeholder("mail")}::jsonb) r`),
);
export const recording = (mail: Posted["mail"]) => recordOutbound({ mail: JSON.stringify(mail) });

/** Of a mail that was surely not recorded nothing is kept. Where nobody knows, its bytes stay: better one too many than one too few. */
export async function forgetRefused(ctx: Context, posted: Pick<Posted, "keys">, error: unknown): Promise<void> {
  const isSure =
    error instanceof Replay || (error instanceof ApiError && !["unavailable", "internal"].includes(error.code));
  if (isSure && posted.keys.length > 0) await forget(ctx, posted);
}

export const forget = (ctx: Context, { keys }: Pick<Posted, "keys">): Promise<void> => ctx.env.FILES.delete(keys);

export function tellOf(ctx: Context, { pending, events }: Outcome): void {
  announce(ctx, events);
  announceDeliveries(
    ctx,
    pending.map((id) => ({ id })),
  );
}
