import { and, asc, eq, sql } from "drizzle-orm";
import { announce, RECORDED } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found } from "../lib/rows";
import { messages } from "../messages/schema";
import { users } from "../users/schema";
import { mustSee } from "./access";
import { actingUser } from "./members";
import { channelMembers, memberReads } from "./schema";

const mine = (ctx: Context, channelId: string, userId: string) =>
  and(
    eq(channelMembers.tenantId, ctx.tenantId),
    eq(channelMembers.channelId, channelId),
    eq(channelMembers.userId, userId),
  );

const isMember = (ctx: Context, channelId: string, userId: string) =>
  refuseUnless(sql`exists (select 1 from ${channelMembers} where ${mine(ctx, channelId, userId)})`, "not_found");

/** Operators keep no membership in the conversations of their inboxes, until they have something to remember there. */
const joinAsOperator = (channelId: string, userId: string) =>
  db.execute(sql`insert into channel_members (tenant_id, channel_id, user_id)
    select c.tenant_id, c.id, ${userId}::uuid from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid and c.inbox_id is not null
    on conflict do nothing`);

const marks = {
  readSeq: channelMembers.readSeq,
  readAt: channelMembers.readAt,
  unread: sql<number>`unread_count(channel_members)`.as("unread"),
  unreadMentions: sql<number>`unread_mentions(channel_members)`.as("mentions"),
};

/** Up to a number; the mark only moves on. A private receipt is kept for the reader alone. */
export async function markRead(ctx: Context, channelId: string, seq: number, isPrivate: boolean) {
  const userId = actingUser(ctx);
  const hooks = JSON.stringify(candidatesByType(ctx.snapshot, ["message.read"]));
  const [, , recorded, rows] = await asTenant(ctx, [
    mustSee(channelId),
    joinAsOperator(channelId, userId),
    db
      .select(RECORDED)
      .from(sql`mark_read(${channelId}::uuid, ${seq}::bigint, ${isPrivate}, ${newId()}::uuid, ${hooks}::jsonb)`),
    db
      .select(marks)
      .from(channelMembers)
      .where(mine(ctx, channelId, userId)),
  ]);
  announce(ctx, recorded);
  return found(rows);
}

/** Counted anew from the messages themselves; it agrees with what lists say. */
export async function recountUnread(ctx: Context, channelId: string) {
  const userId = actingUser(ctx);
  const [, rows] = await asTenant(ctx, [
    mustSee(channelId),
    db
      .select({
        readSeq: channelMembers.readSeq,
        readAt: channelMembers.readAt,
        unread: sql<number>`(select r.unread from recount(channel_members) r)`.as("unread"),
        unreadMentions: sql<number>`(select r.mentions from recount(channel_members) r)`.as("mentions"),
      })
      .from(channelMembers)
      .where(mine(ctx, channelId, userId)),
  ]);
  return found(rows);
}

/** From this message on everything is unread again. */
export async function markUnread(ctx: Context, channelId: string, seq: number) {
  const userId = actingUser(ctx);
  const [, , , rows] = await asTenant(ctx, [
    mustSee(channelId),
    joinAsOperator(channelId, userId),
    isMember(ctx, channelId, userId),
    db
      .update(channelMembers)
      .set({
        readSeq: sql`least(${seq - 1}::bigint, ${channelMembers.readSeq})`,
        readOrdinal: sql`least(ordinal_at(${channelId}::uuid, ${seq - 1}::bigint), ${channelMembers.readOrdinal})`,
      })
      .where(mine(ctx, channelId, userId))
      .returning(marks),
  ]);
  return found(rows);
}

/** In every channel of the acting user. */
export async function markAllRead(ctx: Context): Promise<void> {
  const userId = actingUser(ctx);
  await asTenant(ctx, [
    db.execute(sql`update channel_members m set read_seq = greatest(m.read_seq, s.last_seq), read_ordinal = greatest(m.read_ordinal, s.last_ordinal), read_at = now()
      from streams s where s.tenant_id = m.tenant_id and s.kind = 'channel' and s.id = m.channel_id and m.tenant_id = ${ctx.tenantId} and m.user_id = ${userId}`),
    db.execute(sql`update thread_members f set read_at = now(), read_seq = r.last from (
        select x.parent_id, max(x.seq) as last from messages x join thread_members g on g.tenant_id = x.tenant_id and g.parent_id = x.parent_id
         where x.tenant_id = ${ctx.tenantId} and g.user_id = ${userId} and g.following group by 1) r
      where f.tenant_id = ${ctx.tenantId} and f.user_id = ${userId} and f.parent_id = r.parent_id and f.read_seq < r.last`),
  ]);
}

export type UnreadTotals = { channels: number; messages: number; mentions: number; threads: number };

/** Over all of the acting user's channels that are not muted. */
export const selectUnreadTotals = () =>
  db
    .select({
      channels: sql<number>`(count(*) filter (where u > 0))::int`.as("channels"),
      messages: sql<number>`coalesce(sum(u), 0)::int`.as("messages"),
      mentions: sql<number>`coalesce(sum(n), 0)::int`.as("mentions"),
      threads:
        sql<number>`(select count(*)::int from thread_members f join messages p on p.tenant_id = f.tenant_id and p.id = f.parent_id
        where f.tenant_id = current_tenant() and f.user_id = current_user_id() and f.following and sees_message(p, f.user_id)
          and thread_unread(f) > 0)`.as("threads"),
    })
    .from(sql`(select u.many as u, n.many as n from channel_members m join channels c on c.tenant_id = m.tenant_id and c.id = m.channel_id
      cross join lateral seeing(c, m.user_id) s cross join lateral unread_of(m, greatest(m.history_seq, c.truncated_seq)) u
      cross join lateral unread_mentions_of(m, greatest(m.history_seq, c.truncated_seq)) n
      where m.tenant_id = current_tenant() and m.user_id = current_user_id() and not m.muted and s.sees) x`);

export async function unreadTotals(ctx: Context): Promise<UnreadTotals> {
  actingUser(ctx);
  const [rows] = await asTenant(ctx, [selectUnreadTotals()]);
  return found(rows);
}

/** Who has read a message, and when: the first advance of a mark to it or beyond, of the channel's or its thread's. */
export async function listReaders(ctx: Context, channelId: string, messageId: string, page: Page) {
  const message = sql`from ${messages} m where m.tenant_id = current_tenant() and m.channel_id = ${channelId}::uuid and m.id = ${messageId}::uuid`;
  const [, , rows] = await asTenant(ctx, [
    mustSee(channelId),
    refuseUnless(
      sql`exists (select 1 ${message} and m.seq is not null and sees_message(m, current_user_id()))`,
      "not_found",
    ),
    db
      .select({
        userId: users.id,
        displayName: users.displayName,
        readAt: sql<string>`min(r.read_at)`.mapWith(memberReads.readAt),
      })
      .from(users)
      .innerJoin(
        sql`(select x.user_id, x.read_at from member_reads x cross join (select m.* ${message}) m
              where x.tenant_id = m.tenant_id and x.channel_id = m.channel_id and x.seq >= m.seq and m.show_in_channel
             union all
             select x.user_id, x.read_at from thread_reads x cross join (select m.* ${message}) m
              where x.tenant_id = m.tenant_id and x.parent_id = m.parent_id and x.seq >= m.seq) r`,
        sql`${users.tenantId} = current_tenant() and ${users.id} = r.user_id`,
      )
      .where(after(page, [users.id], "asc"))
      .groupBy(users.id, users.displayName)
      .orderBy(asc(users.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.userId]);
}
