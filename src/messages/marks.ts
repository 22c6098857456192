import { sql } from "drizzle-orm";
import { mustSee } from "../channels/access";
import { announce, RECORDED, type Recorded, recordedIn } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { found, own } from "../lib/rows";
import { rulingsFor } from "../moderation/rulings";
import { changePrivately, openly } from "../moderation/shadows";
import type { Message } from "./input";
import { messages } from "./schema";
import { asJson, mustChange, selectMessage, tell } from "./service";

const REACTIONS = ["reaction.new", "reaction.deleted"] as const;

/** One of each emoji per user and message, or one in all where the channel's type says so. */
export async function react(ctx: Context, id: string, emoji: string, adding: boolean): Promise<void> {
  const { rulings, blockVersion } = await rulingsFor(ctx, { text: "", beside: adding ? [emoji] : [] });
  const hooks = { ...candidatesByType(ctx.snapshot, REACTIONS), ...(adding && rulings && { rulings }) };
  const [, recorded] = await asTenant({ ...ctx, blockVersion }, [
    mustChange(ctx, id, "reaction.add"),
    db.select(RECORDED).from(sql`react(${id}::uuid, ${emoji}, ${adding}, ${JSON.stringify(hooks)}::jsonb)`),
  ]);
  announce(ctx, recorded as Recorded[]);
}

/** Under a shadow ban it is pinned, or no longer, to the acting user alone. */
export async function setPinned(ctx: Context, id: string, pinned: boolean): Promise<Message> {
  const set = pinned
    ? {
        pinnedAt: sql<string>`coalesce(${messages.pinnedAt}, now())`,
        pinnedBy: sql<string>`coalesce(${messages.pinnedBy}, current_user_id())`,
      }
    : { pinnedAt: null, pinnedBy: null };
  const batch = await asTenant(ctx, [
    mustChange(ctx, id, "message.pin"),
    db.execute(
      sql`select refuse_unless(exists (select 1 from ${messages} where ${own(messages, id)} and ${messages.deletedAt} is null and ${messages.state} = 'visible'), 'conflict')`,
    ),
    db
      .update(messages)
      .set(set)
      .where(own(messages, id, openly)),
    ...changePrivately(id, sql`jsonb_build_object('pinnedAt', ${pinned ? sql`iso(now())` : sql`null`})`),
    tell(ctx, id, "message.updated"),
    selectMessage(id),
  ]);
  announce(ctx, recordedIn(batch));
  return found(batch.at(-1) as { message: Message }[]).message;
}

const pinnedInTheirEyes = sql`(${messages.pinnedAt} is not null or ${messages.id} = any (array(select s.message_id from message_shadows s
    where s.tenant_id = current_tenant() and s.user_id = current_user_id() and s.patch ? 'pinnedAt')))
  and message_json(messages, current_user_id()) ->> 'pinnedAt' is not null`;

/** The one pinned last comes first. */
export async function listPins(ctx: Context, channelId: string) {
  const [, rows] = await asTenant(ctx, [
    mustSee(channelId),
    db
      .select({ message: asJson })
      .from(messages)
      .where(
        sql`${messages.tenantId} = current_tenant() and ${messages.channelId} = ${channelId}::uuid and ${pinnedInTheirEyes}
          and ${messages.deletedAt} is null and sees_message(messages, current_user_id())`,
      )
      .orderBy(sql`${messages.pinnedAt} desc nulls first, ${messages.id}`)
      .limit(100),
  ]);
  return { data: rows.map(({ message }) => message) };
}
