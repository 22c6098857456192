import { sql } from "drizzle-orm";
import { mustSee } from "../channels/access";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { after, type Page, paged } from "../lib/page";
import { messageAttachments, messages } from "./schema";

export type AttachmentFilters = Page & { type?: string | undefined; minSize?: number | undefined };

/** Of the messages that the acting user may see in a channel, the newest first. */
export async function listAttachments(ctx: Context, channelId: string, filters: AttachmentFilters) {
  const { type, minSize } = filters;
  const [, rows] = await asTenant(ctx, [
    mustSee(channelId),
    db
      .select({
        id: messageAttachments.id,
        messageId: messageAttachments.messageId,
        userId: messages.userId,
        createdAt: messageAttachments.createdAt,
        attachment: sql<Record<string, unknown>>`attachment_json(message_attachments)`.as("attachment"),
      })
      .from(messageAttachments)
      .innerJoin(
        messages,
        sql`${messages.tenantId} = ${messageAttachments.tenantId} and ${messages.id} = ${messageAttachments.messageId}`,
      )
      .where(
        sql`${messageAttachments.tenantId} = current_tenant() and ${messageAttachments.channelId} = ${channelId}::uuid
          and ${messages.deletedAt} is null and ${messages.seq} > history_start(${channelId}::uuid, current_user_id())
          and (current_user_id() is null or ${messages.userId} = current_user_id() or (${messages.state} = 'visible' and not ${messages.shadowed}))
          and ${type === undefined ? sql`true` : sql`${messageAttachments.type} = ${type}`}
          and ${minSize === undefined ? sql`true` : sql`${messageAttachments.fileSize} >= ${minSize}::bigint`}
          and ${after(filters, [messageAttachments.id]) ?? sql`true`}`,
      )
      .orderBy(sql`${messageAttachments.id} desc`)
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, ({ id }) => [id]);
  return { data: data.map(({ id: _, ...rest }) => rest), nextCursor };
}
