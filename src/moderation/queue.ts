import { and, desc, eq, type SQL, sql } from "drizzle-orm";
import { mustSee, ruleOf } from "../channels/access";
import { announce, RECORDED, recordedIn } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, own, shown } from "../lib/rows";
import { messages } from "../messages/schema";
import { flags, moderationQueue } from "./schema";

export type FlagInput = { reason: string; details?: string | undefined; channelId?: string | undefined };
type Target = { messageId: string } | { userId: string };

/** A message as it is shown; what it looks like is its own feature's. */
type Message = Record<string, unknown>;

const { messageId: _m, userId: _u, ...flagColumns } = shown(flags);

/** Once for each who does: a second time it is the first one again. */
export async function flag(ctx: Context, target: Target, { reason, details, channelId }: FlagInput) {
  const hooks = candidatesByType(ctx.snapshot, ["message.flagged", "user.flagged"]);
  const ask = { id: newId(), queueId: newId(), ...target, channelId, reason, details, hooks };
  const of =
    "messageId" in target
      ? eq(flags.messageId, target.messageId)
      : and(eq(flags.userId, target.userId), sql`${flags.messageId} is null`);
  const batch = await asTenant(ctx, [
    db.select(RECORDED).from(sql`flag(${JSON.stringify(ask)}::jsonb)`),
    db
      .select(flagColumns)
      .from(flags)
      .where(and(eq(flags.tenantId, ctx.tenantId), of, sql`${flags.flaggedBy} is not distinct from current_user_id()`))
      .limit(1),
  ]);
  announce(ctx, recordedIn(batch));
  return found(batch[1]);
}

const columns = {
  ...shown(moderationQueue),
  flagCount: sql<number>`(select count(*)::int from flags f where f.tenant_id = moderation_queue.tenant_id and f.queue_id = moderation_queue.id)`,
  reasons: sql<
    string[]
  >`to_jsonb(array(select distinct f.reason from flags f where f.tenant_id = moderation_queue.tenant_id
    and f.queue_id = moderation_queue.id order by 1 limit 20))`,
  message: sql<Message | null>`(select message_json(m) from messages m
    where m.tenant_id = moderation_queue.tenant_id and m.id = moderation_queue.message_id)`,
};
const exactly = sql<string>`to_char(${moderationQueue.createdAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
export const selectEntries = () => db.select({ ...columns, exactly }).from(moderationQueue);
type Row = Awaited<ReturnType<typeof selectEntries>>[number];
export type Entry = Omit<Row, "exactly">;
export const shownEntry = ({ exactly: _, ...entry }: Row) => entry;

export const rule = (ctx: Context): SQL => sql`${JSON.stringify(ruleOf(ctx, "moderation.review"))}::jsonb`;
const mayJudge = (ctx: Context): SQL => sql`may_judge(moderation_queue, ${rule(ctx)})`;

export type QueueFilters = Page & {
  status?: string | undefined;
  kind?: string | undefined;
  source?: string | undefined;
  reason?: string | undefined;
  channelId?: string | undefined;
  userId?: string | undefined;
};

/** What is the caller's to judge, the newest first. */
export async function listQueue(ctx: Context, filters: QueueFilters) {
  const { status, kind, source, reason, channelId, userId } = filters;
  const where = and(
    eq(moderationQueue.tenantId, ctx.tenantId),
    mayJudge(ctx),
    status === undefined ? undefined : sql`${moderationQueue.status} = ${status}`,
    kind === undefined ? undefined : sql`${moderationQueue.kind} = ${kind}`,
    source === undefined ? undefined : sql`${moderationQueue.source} = ${source}`,
    channelId === undefined ? undefined : eq(moderationQueue.channelId, channelId),
    userId === undefined ? undefined : eq(moderationQueue.userId, userId),
    reason === undefined
      ? undefined
      : sql`(${moderationQueue.reason} = ${reason} or exists (select 1 from flags f where f.tenant_id = moderation_queue.tenant_id
          and f.queue_id = moderation_queue.id and f.reason = ${reason}))`,
    after(filters, [{ expression: sql`${moderationQueue.createdAt}`, type: "timestamptz" }, moderationQueue.id]),
  );
  const [rows] = await asTenant(ctx, [
    selectEntries()
      .where(where)
      .orderBy(desc(moderationQueue.createdAt), desc(moderationQueue.id))
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => [row.exactly, row.id]);
  return { data: data.map(shownEntry), nextCursor };
}

export async function getEntry(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectEntries().where(own(moderationQueue, id, mayJudge(ctx)))]);
  return shownEntry(found(rows));
}

/** The flags of an entry, the newest first. */
export async function listFlags(ctx: Context, id: string, page: Page) {
  const [, rows] = await asTenant(ctx, [
    refuseUnless(
      sql`exists (select 1 from moderation_queue where ${own(moderationQueue, id, mayJudge(ctx))})`,
      "not_found",
    ),
    db
      .select(flagColumns)
      .from(flags)
      .where(and(eq(flags.tenantId, ctx.tenantId), eq(flags.queueId, id), after(page, [flags.id])))
      .orderBy(desc(flags.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

/** Messages of a channel that wait for a verdict, the oldest first. */
export async function listPending(ctx: Context, channelId: string) {
  const [, , rows] = await asTenant(ctx, [
    mustSee(channelId),
    refuseUnless(
      sql`may_judge(jsonb_populate_record(null::moderation_queue, jsonb_build_object('tenant_id', current_tenant(), 'channel_id', ${channelId}::text)), ${rule(ctx)})`,
      "not_found",
    ),
    db
      .select({ message: sql<Message>`message_json(messages)`.as("message") })
      .from(messages)
      .where(
        sql`${messages.tenantId} = current_tenant() and ${messages.channelId} = ${channelId}::uuid and ${messages.state} = 'pending'
          and ${messages.deletedAt} is null and coalesce(${messages.expiresAt} > now(), true)`,
      )
      .orderBy(sql`${messages.seq}`)
      .limit(100),
  ]);
  return { data: rows.map(({ message }) => message) };
}
