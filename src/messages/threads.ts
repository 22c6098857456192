import { sql } from "drizzle-orm";
import { actingUser } from "../channels/members";
import { announce, RECORDED } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import type { Message } from "./input";
import { messages, threadMembers } from "./schema";

const ofThread = sql`${threadMembers.tenantId} = current_tenant() and ${threadMembers.parentId} = ${messages.id} and ${threadMembers.userId} = current_user_id()`;
const unread = sql<number>`thread_unread(thread_members)`;

/** The newest reply that the acting user may see. */
const lastReply = sql`(select r.* from messages r where r.tenant_id = ${messages.tenantId} and r.parent_id = ${messages.id} and r.deleted_at is null
  and (r.user_id = current_user_id() or r.state = 'visible' and not r.shadowed) and r.seq is not null order by r.seq desc limit 1)`;
const latest = { expression: sql`coalesce(reply.created_at, ${messages.createdAt})`, type: "timestamptz" };

/** The threads that the acting user follows, the one with the newest reply first. */
export async function listThreads(ctx: Context, page: Page & { unread?: boolean | undefined }) {
  const below = after(page, [latest, messages.id]) ?? sql`true`;
  actingUser(ctx);
  const [rows] = await asTenant(ctx, [
    db
      .select({
        parent: sql<Message>`message_json(messages, current_user_id())`.as("parent"),
        lastReply:
          sql<Message | null>`case when reply.id is not null then (select message_json(r, current_user_id()) from messages r
          where r.tenant_id = current_tenant() and r.id = reply.id) end`.as("last_reply"),
        readSeq: threadMembers.readSeq,
        readAt: threadMembers.readAt,
        unread: unread.as("unread"),
        exactly: sql<string>`to_char(${latest.expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`.as(
          "exactly",
        ),
      })
      .from(threadMembers)
      .innerJoin(messages, sql`${messages.tenantId} = current_tenant() and ${messages.id} = ${threadMembers.parentId}`)
      .leftJoin(sql`lateral ${lastReply} reply`, sql`true`)
      .where(
        sql`${threadMembers.tenantId} = current_tenant() and ${threadMembers.userId} = current_user_id() and ${threadMembers.following}
          and sees_message(messages, current_user_id()) and not is_banned(${messages.channelId}, current_user_id())
          and ${below}
          and ${page.unread === undefined ? sql`true` : sql`(${unread} > 0) = ${page.unread}::boolean`}`,
      )
      .orderBy(sql`${latest.expression} desc, ${messages.id} desc`)
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, ({ exactly, parent }) => [exactly, parent.id]);
  return { data: data.map(({ exactly: _, ...thread }) => thread), nextCursor };
}

/** Ends the batch unless the acting user sees this message, and it is none that answers another. */
const mustHeadThread = (id: string) =>
  db.execute(sql`select refuse_unless(coalesce(bool_and(sees_message(m, current_user_id()) and not is_banned(m.channel_id, current_user_id())), false), 'not_found'),
      refuse_unless(coalesce(bool_and(m.parent_id is null), true), 'conflict')
    from messages m where m.tenant_id = current_tenant() and m.id = ${id}::uuid`);

/** Whoever begins to follow has read what is there. */
export async function setFollowing(ctx: Context, id: string, following: boolean): Promise<void> {
  actingUser(ctx);
  await asTenant(ctx, [
    mustHeadThread(id),
    db.execute(sql`insert into thread_members (tenant_id, parent_id, user_id, following, read_seq)
      select current_tenant(), ${id}::uuid, current_user_id(), ${following}::boolean,
        coalesce((select max(r.seq) from messages r where r.tenant_id = current_tenant() and r.parent_id = ${id}::uuid), 0)
      on conflict (tenant_id, parent_id, user_id) do update set following = excluded.following`),
  ]);
}

/** Up to a number; the mark only moves on. */
export async function markThreadRead(ctx: Context, id: string, seq: number, isPrivate: boolean) {
  actingUser(ctx);
  const hooks = JSON.stringify(candidatesByType(ctx.snapshot, ["message.read"]));
  const [, recorded, rows] = await asTenant(ctx, [
    mustHeadThread(id),
    db
      .select(RECORDED)
      .from(sql`mark_thread_read(${id}::uuid, ${seq}::bigint, ${isPrivate}, ${newId()}::uuid, ${hooks}::jsonb)`),
    db
      .select({ readSeq: threadMembers.readSeq, readAt: threadMembers.readAt, unread: unread.as("unread") })
      .from(threadMembers)
      .innerJoin(messages, own(messages, id))
      .where(ofThread),
  ]);
  announce(ctx, recorded);
  return found(rows);
}
