import { and, desc, eq, inArray, sql } from "drizzle-orm";
import { mustSeeMailOf } from "../inboxes/service";
import { boundsOf, type Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { after, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import { messages } from "../messages/schema";
import { rawKey } from "./arrival";
import { inboundRaw, RAW_STATUSES } from "./schema";

export type RawFilters = Page & { status?: (typeof RAW_STATUSES)[number] | undefined };

/** A mail that is no message is of no channel that a key could be bound to. */
function refuseBoundToChannels({ actor }: Context): void {
  if (boundsOf(actor).channel) throw new ApiError("resource_not_allowed");
}

/** All that came for an inbox, whatever became of it, the newest first. */
export async function listRawMails(ctx: Context, inboxId: string, { status, ...page }: RawFilters) {
  refuseBoundToChannels(ctx);
  const statuses = status === undefined ? RAW_STATUSES : [status];
  // Each status by itself, in the index that has it before the id.
  const ids = sql`(select x.id from jsonb_array_elements_text(${JSON.stringify(statuses)}::jsonb) s(status) cross join lateral (
    select ${inboundRaw.id} as id from ${inboundRaw} where ${and(
      eq(inboundRaw.tenantId, ctx.tenantId),
      eq(inboundRaw.inboxId, inboxId),
      sql`${inboundRaw.status} = s.status`,
      after(page, [inboundRaw.id]),
    )} order by ${inboundRaw.id} desc limit ${page.limit + 1}) x)`;
  const { id, source, envelopeFrom, envelopeTo, tag, route, size, error, messageId, createdAt, finishedAt } =
    inboundRaw;
  const [, rows] = await asTenant(ctx, [
    mustSeeMailOf(inboxId),
    db
      .select({
        ...{ id, status: inboundRaw.status, error, source, envelopeFrom, envelopeTo, tag, route, size },
        ...{ messageId, createdAt, finishedAt },
      })
      .from(inboundRaw)
      .where(and(eq(inboundRaw.tenantId, ctx.tenantId), inArray(inboundRaw.id, ids)))
      .orderBy(desc(inboundRaw.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

/** As it came. One that is a message is seen by whoever sees the message. */
export async function rawMail(ctx: Context, inboxId: string, id: string): Promise<R2ObjectBody> {
  refuseBoundToChannels(ctx);
  const isSeen = sql`(${inboundRaw.status} not in ('recorded', 'duplicate') or exists (select 1 from ${messages}
    where ${messages.tenantId} = ${inboundRaw.tenantId} and ${messages.id} = ${inboundRaw.messageId}
      and sees_message(messages, current_user_id()) and ${messages.deletedAt} is null))`;
  const [, rows] = await asTenant(ctx, [
    mustSeeMailOf(inboxId),
    db
      .select({ id: inboundRaw.id })
      .from(inboundRaw)
      .where(own(inboundRaw, id, eq(inboundRaw.inboxId, inboxId), isSeen)),
  ]);
  const object = await ctx.env.FILES.get(rawKey(ctx.tenantId, found(rows).id));
  if (!object) throw new ApiError("not_found");
  return object;
}
