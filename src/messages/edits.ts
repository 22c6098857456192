import { sql } from "drizzle-orm";
import { ruleOf } from "../channels/access";
import { announce, type Recorded } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { changes, found, own } from "../lib/rows";
import { rulingsFor } from "../moderation/rulings";
import type { Message, MessageChange } from "./input";
import { messageEdits, messages } from "./schema";
import { hasHooks, judgedByHooks, saidIn, senderOf } from "./send";
import { mayBeSeen, mustChange, selectMessage, tell, withIds } from "./service";

/** What it said before is kept in its history. Under a shadow ban, or held for review, both are the editor's alone. */
export async function editMessage(ctx: Context, id: string, patch: MessageChange): Promise<Message> {
  const judged = hasHooks(ctx) ? await judgedEdit(ctx, id, patch) : patch;
  const { rulings, blockVersion } = await rulingsFor(ctx, saidIn(judged));
  const change = changes({ ...withIds(judged), rulings: rulings ?? undefined });
  const rule = JSON.stringify({ ...ruleOf(ctx, "message.mention"), mayFrozen: ruleOf(ctx, "message.send_frozen") });
  const [, , recorded, rows] = await asTenant({ ...ctx, blockVersion }, [
    mustChange(ctx, id, "message.edit"),
    db.execute(
      sql`select edit_message(${id}::uuid, ${JSON.stringify(change)}::jsonb, ${newId()}::uuid, ${rule}::jsonb)`,
    ),
    tell(ctx, id, "message.updated"),
    selectMessage(id),
  ]);
  announce(ctx, recorded as Recorded[]);
  return found(rows).message;
}

/** Hooks see the whole of what the message would say, and rewrite it as they do a new one. */
async function judgedEdit(ctx: Context, id: string, patch: MessageChange): Promise<MessageChange> {
  const [, rows] = await asTenant({ ...ctx, once: undefined }, [
    mustChange(ctx, id, "message.edit"),
    selectMessage(id),
  ]);
  const { channelId, text, metadata, mentions } = found(rows).message;
  const draft = {
    text: patch.text ?? text,
    metadata: merged(metadata, patch.metadata ?? {}),
    mentions: patch.mentions ?? mentions,
  };
  const judged = await judgedByHooks(ctx, { channelId, userId: senderOf(ctx), messageId: id }, draft);
  return {
    ...patch,
    ...(judged.text !== draft.text && { text: judged.text }),
    ...(judged.metadata !== draft.metadata && { metadata: replacing(metadata, judged.metadata) }),
    ...(judged.mentions !== draft.mentions && { mentions: judged.mentions }),
  };
}

type Metadata = Record<string, unknown>;

const merged = (old: Metadata, patch: Metadata): Metadata =>
  Object.fromEntries(Object.entries({ ...old, ...patch }).filter(([, value]) => value !== null));

/** As a patch that leaves nothing of what was there. */
const replacing = (old: Metadata, fresh: Metadata): Metadata => ({
  ...Object.fromEntries(Object.keys(old).map((key) => [key, null])),
  ...fresh,
});

export async function listEdits(ctx: Context, id: string) {
  const [, rows] = await asTenant(ctx, [
    db.execute(
      sql`select refuse_unless(exists (select 1 from ${messages} where ${own(messages, id, mayBeSeen)} and ${messages.deletedAt} is null), 'not_found')`,
    ),
    db
      .select({
        text: messageEdits.text,
        metadata: messageEdits.metadata,
        attachments: messageEdits.attachments,
        mentions: messageEdits.mentions,
        editedBy: messageEdits.editedBy,
        createdAt: messageEdits.createdAt,
      })
      .from(messageEdits)
      .where(
        sql`${messageEdits.tenantId} = current_tenant() and ${messageEdits.messageId} = ${id}::uuid
          and (not ${messageEdits.shadowed} or current_user_id() is null or ${messageEdits.editedBy} = current_user_id())`,
      )
      .orderBy(sql`${messageEdits.createdAt}, ${messageEdits.id}`)
      .limit(100),
  ]);
  return { data: rows };
}
