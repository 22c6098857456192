import { and, asc, eq, inArray, type SQL, sql } from "drizzle-orm";
import { mustBeAllowed, seen } from "../channels/access";
import { channels } from "../channels/schema";
import { folded } from "../contacts/service";
import { signedLink } from "../files/links";
import { mustSeeMailOf } from "../inboxes/service";
import { boundsOf, type Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { after, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import { readMail } from "../mail/read";
import { sanitize } from "../mail/sanitize";
import type { Message } from "../messages/input";
import { type DIRECTIONS, messageAttachments, messages } from "../messages/schema";
import { audit } from "../tenants/audit";
import { emails, messageRecipients, type RECIPIENT_KINDS } from "./schema";

export type ConversationFilters = Page & {
  participant?: string | undefined;
  unread?: boolean | undefined;
  direction?: (typeof DIRECTIONS)[number] | undefined;
  hasAttachment?: boolean | undefined;
  since?: string | undefined;
  until?: string | undefined;
  trashed: boolean;
};

const latest = sql<string>`coalesce(s.last_message_at, ${channels.createdAt})`;
const exactly = sql<string>`to_char(${latest} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const reader = sql`current_user_id()`;

/** What raised unread after the reader's mark, be there one or not; of a server there is none. */
const unread = sql<number>`(select count(*)::int from (select 1 from messages u where u.tenant_id = ${channels.tenantId} and u.channel_id = ${channels.id}
  and u.ordinal > coalesce((select r.read_ordinal from channel_members r where r.tenant_id = u.tenant_id and r.channel_id = u.channel_id and r.user_id = ${reader}), 0)
  and u.user_id is distinct from ${reader} and u.deleted_at is null and ${reader} is not null limit 1001) y)`;

const holds = (condition: SQL): SQL =>
  sql`exists (select 1 from messages x where x.tenant_id = ${channels.tenantId} and x.channel_id = ${channels.id} and ${condition})`;

/** The newest first, those in the trash only when they are asked for. */
export async function listConversations(ctx: Context, inboxId: string, filters: ConversationFilters) {
  const { participant, direction, hasAttachment, since, until, trashed } = filters;
  const attached = sql`exists (select 1 from ${messageAttachments} a where a.tenant_id = x.tenant_id and a.message_id = x.id)`;
  const bound = boundsOf(ctx.actor).channel;
  const where = and(
    eq(channels.tenantId, ctx.tenantId),
    eq(channels.inboxId, inboxId),
    bound && inArray(channels.id, bound),
    // One that will begin with a scheduled mail is not there yet.
    sql`${channels.mergedInto} is null and (${channels.trashedAt} is not null) = ${trashed} and s.last_seq > 0`,
    seen,
    filters.unread === undefined ? undefined : sql`(${unread} > 0) = ${filters.unread}`,
    direction === undefined ? undefined : holds(sql`x.direction = ${direction}`),
    hasAttachment === undefined ? undefined : sql`${holds(attached)} = ${hasAttachment}`,
    participant === undefined
      ? undefined
      : holds(
          sql`exists (select 1 from ${messageRecipients} p where p.tenant_id = x.tenant_id and p.message_id = x.id and p.address = ${folded(participant)})`,
        ),
    since === undefined ? undefined : sql`${latest} >= ${since}::timestamptz`,
    until === undefined ? undefined : sql`${latest} < ${until}::timestamptz`,
    after(filters, [{ expression: latest, type: "timestamptz" }, channels.id]),
  );
  const [, rows] = await asTenant(ctx, [
    mustSeeMailOf(inboxId),
    db
      .select({
        exactly,
        conversation: {
          id: channels.id,
          subject: channels.name,
          createdAt: channels.createdAt,
          trashedAt: channels.trashedAt,
          lastSeq: sql<number>`coalesce(s.last_seq, 0)`.mapWith(Number),
          lastMessageAt: sql<string | null>`iso(s.last_message_at)`,
          lastMessage: sql<Message | null>`(select n.shown from newest_message(${channels.id}, ${reader}, ${channels.truncatedSeq}) n)`,
          messageCount: sql<number>`(select count(*)::int from messages x where x.tenant_id = ${channels.tenantId} and x.channel_id = ${channels.id} and x.seq is not null)`,
          participants: sql<{ address: string; name: string | null }[]>`coalesce((select jsonb_agg(p) from (
            select p.address, max(p.name) as name from messages x join ${messageRecipients} p on p.tenant_id = x.tenant_id and p.message_id = x.id
             where x.tenant_id = ${channels.tenantId} and x.channel_id = ${channels.id} and p.kind in ('from', 'to', 'cc')
             group by p.address order by min(x.seq), p.address limit 20) p), '[]')`,
          unread,
        },
      })
      .from(channels)
      .leftJoin(
        sql`streams s`,
        sql`s.tenant_id = ${channels.tenantId} and s.kind = 'channel' and s.id = ${channels.id}`,
      )
      .where(where)
      .orderBy(sql`${latest} desc, ${channels.id} desc`)
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => [row.exactly, row.conversation.id]);
  return { data: data.map(({ conversation }) => conversation), nextCursor };
}

const ofMessage = (ctx: Context, id: string) => and(eq(emails.tenantId, ctx.tenantId), eq(emails.messageId, id));
const mayBeSeen = (id: string) =>
  refuseUnless(
    sql`exists (select 1 from ${messages} where ${own(messages, id, sql`sees_message(messages, current_user_id()) and ${messages.deletedAt} is null`)})`,
    "not_found",
  );

const LINK_SECONDS = 3600;

export type EmailView = { remoteImages: boolean };

/** The mail part of a message: its HTML made safe as it is read, with links to the pictures that came with it. */
export async function getEmail(ctx: Context, id: string, { remoteImages }: EmailView) {
  const { tenantId: _t, fingerprint: _f, rawKey, ...columns } = emails;
  const [, rows, recipients, attachments] = await asTenant(ctx, [
    mayBeSeen(id),
    db
      .select({
        messageId: columns.messageId,
        inboxId: columns.inboxId,
        rfcId: columns.rfcId,
        subject: columns.subject,
        text: columns.text,
        html: columns.html,
        leftOut: sql<("text" | "html")[]>`${columns.leftOut}`,
        sentAt: columns.sentAt,
        envelopeFrom: columns.envelopeFrom,
        envelopeTo: columns.envelopeTo,
        tag: columns.tag,
        rawSize: columns.rawSize,
        verdicts: columns.verdicts,
        authenticated: columns.authenticated,
        autoReply: columns.autoReply,
        bounce: columns.bounce,
        list: columns.list,
        spam: columns.spam,
        idReused: columns.idReused,
        why: columns.why,
        createdAt: columns.createdAt,
      })
      .from(emails)
      .where(ofMessage(ctx, id)),
    db
      .select({
        kind: messageRecipients.kind,
        address: sql<string>`coalesce(${messageRecipients.written}, ${messageRecipients.address})`.as("address"),
        name: messageRecipients.name,
      })
      .from(messageRecipients)
      .where(and(eq(messageRecipients.tenantId, ctx.tenantId), eq(messageRecipients.messageId, id)))
      .orderBy(asc(messageRecipients.kind), asc(messageRecipients.position)),
    db
      .select({ fileId: messageAttachments.fileId, metadata: messageAttachments.metadata })
      .from(messageAttachments)
      .where(and(eq(messageAttachments.tenantId, ctx.tenantId), eq(messageAttachments.messageId, id))),
  ]);
  const { html, ...email } = found(rows);
  const named = (kind: (typeof RECIPIENT_KINDS)[number]) =>
    recipients.filter((one) => one.kind === kind).map(({ address, name }) => ({ address, name }));
  const safe = html === null ? null : await rendered(ctx, html, attachments, remoteImages);
  return {
    ...email,
    from: named("from")[0] ?? null,
    to: named("to"),
    cc: named("cc"),
    bcc: named("bcc"),
    replyTo: named("reply_to"),
    html: safe?.html ?? null,
    blockedImages: safe?.blockedImages ?? 0,
    hasRaw: email.rawSize !== null,
  };
}

type Inline = { fileId: string | null; metadata: Record<string, unknown> };

async function rendered(ctx: Context, html: string, attachments: Inline[], remoteImages: boolean) {
  const expires = Math.floor(Date.now() / 1000) + LINK_SECONDS;
  const urls = new Map<string, string>();
  for (const { fileId, metadata } of attachments) {
    if (fileId === null || typeof metadata.contentId !== "string") continue;
    const link = { tenantId: ctx.tenantId, id: fileId, disposition: "inline" as const, expires };
    urls.set(metadata.contentId, await signedLink(ctx.env, link));
  }
  return sanitize(html, { remoteImages, imageUrl: (contentId) => urls.get(contentId) ?? null });
}

/** As it came, byte for byte. */
export async function rawOf(ctx: Context, id: string): Promise<R2ObjectBody> {
  const [, rows] = await asTenant(ctx, [
    mayBeSeen(id),
    db.select({ rawKey: emails.rawKey }).from(emails).where(ofMessage(ctx, id)),
  ]);
  const { rawKey } = found(rows);
  const object = rawKey && (await ctx.env.FILES.get(rawKey));
  if (!object) throw new ApiError("not_found");
  return object;
}

/** All header fields of a mail, in their order. */
export async function headersOf(ctx: Context, id: string) {
  const mail = await readMail(await (await rawOf(ctx, id)).bytes());
  return { data: mail.headers.map(({ name, value }) => ({ name, value })) };
}

/** Out of sight, until it is restored or purged. A mail that belongs to it brings it back. */
export async function trashConversation(ctx: Context, id: string, trashed: boolean): Promise<void> {
  const ofInbox = sql`${channels.inboxId} is not null and ${channels.mergedInto} is null`;
  await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${channels} where ${own(channels, id, ofInbox)})`, "not_found"),
    mustBeAllowed(ctx, id, "channel.trash"),
    audit(ctx, trashed ? "conversation.trashed" : "conversation.restored", { type: "channel", id }),
    db
      .update(channels)
      .set({ trashedAt: trashed ? sql`coalesce(${channels.trashedAt}, now())` : null })
      .where(own(channels, id)),
  ]);
}
