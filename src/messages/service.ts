import { type SQL, sql } from "drizzle-orm";
import { mustSee, ruleOf } from "../channels/access";
import type { Verb } from "../channels/permissions";
import { announce, RECORDED, type Recorded } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { found, own } from "../lib/rows";
import type { Message, MessageChange } from "./input";
import { messages } from "./schema";

export const asJson = sql<Message>`(select s.shown from message_shown(messages, current_user_id()) s)`.as("message");

export const selectMessage = (id: string, ...more: SQL[]) =>
  db
    .select({ message: asJson })
    .from(messages)
    .where(own(messages, id, ...more));

export const mayBeSeen = sql`sees_message(messages, current_user_id())`;

export async function getMessage(ctx: Context, id: string): Promise<Message> {
  const [rows] = await asTenant(ctx, [selectMessage(id, mayBeSeen)]);
  return found(rows).message;
}

export type Around = {
  before?: number | undefined;
  after?: number | undefined;
  around?: number | undefined;
  parentId?: string | undefined;
  limit: number;
};

/** Of a channel, in their order: the newest ones, or those before, after or around a number. */
export async function listMessages(
  ctx: Context,
  channelId: string,
  { before, after, around, parentId, limit }: Around,
) {
  const wanted =
    after !== undefined
      ? { upTo: 0, earlier: 0, from: after, later: limit }
      : around !== undefined
        ? { upTo: around, earlier: Math.ceil(limit / 2), from: around, later: Math.floor(limit / 2) }
        : { upTo: (before ?? Number.MAX_SAFE_INTEGER) - 1, earlier: limit, from: Number.MAX_SAFE_INTEGER, later: 0 };
  const shown = sql`${messages.tenantId} = current_tenant() and ${messages.channelId} = ${channelId}::uuid
    and ${messages.seq} > history_start(${channelId}::uuid, current_user_id())
    and (current_user_id() is null or ${messages.userId} = current_user_id() or (${messages.state} = 'visible' and not ${messages.shadowed}))
    and ${parentId === undefined ? sql`(${messages.parentId} is null or ${messages.showInChannel})` : sql`${messages.parentId} = ${parentId}::uuid`}`;
  const side = (condition: SQL, order: SQL, most: number) =>
    db.select({ message: asJson }).from(messages).where(sql`${shown} and ${condition}`).orderBy(order).limit(most);
  const [, earlier, later] = await asTenant(ctx, [
    mustSee(channelId),
    side(sql`${messages.seq} <= ${wanted.upTo}`, sql`${messages.seq} desc`, wanted.earlier && wanted.earlier + 1),
    side(sql`${messages.seq} > ${wanted.from}`, sql`${messages.seq}`, wanted.later && wanted.later + 1),
  ]);
  const data = [...earlier.slice(0, wanted.earlier).reverse(), ...later.slice(0, wanted.later)].map(
    ({ message }) => message,
  );
  return {
    data,
    hasEarlier: wanted.earlier === 0 || earlier.length > wanted.earlier,
    hasLater: wanted.later === 0 ? before !== undefined : later.length > wanted.later,
  };
}

export const mustChange = (ctx: Context, id: string, verb: Verb) =>
  db.execute(sql`select must_change_message(${id}::uuid, ${JSON.stringify(ruleOf(ctx, verb))}::jsonb)`);

type Told = "message.new" | "message.updated" | "message.deleted";

/** The event of a change, under the type that its readers may know of. */
export function tell(ctx: Context, id: string, told: Told, hard = false) {
  const webhooks = candidatesByType(ctx.snapshot, [told, "message.pending", "message.shadowed"]);
  return db
    .select(RECORDED)
    .from(
      sql`record_message_event(${id}::uuid, ${told}, ${hard}, ${newId()}::uuid, ${JSON.stringify(webhooks)}::jsonb)`,
    );
}

export const withIds = <T extends MessageChange>({ attachments, mentions, ...rest }: T) => ({
  ...rest,
  attachments: attachments?.map((attachment) => ({ id: newId(), ...attachment })),
  mentions: mentions && [...new Set(mentions)],
});

/** Soft: its place stays, without what it said. Hard: nothing of it stays but the event. */
export async function deleteMessage(ctx: Context, id: string, hard: boolean): Promise<void> {
  const soft = db
    .update(messages)
    .set({ deletedAt: sql<string>`coalesce(${messages.deletedAt}, now())`, updatedAt: sql<string>`now()` })
    .where(own(messages, id));
  const batch = await asTenant(ctx, [
    mustChange(ctx, id, "message.delete"),
    soft,
    tell(ctx, id, "message.deleted", hard),
    ...(hard ? [db.execute(sql`select remove_message(${id}::uuid)`)] : []),
  ]);
  announce(ctx, batch[2] as Recorded[]);
}
