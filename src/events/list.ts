import { and, asc, desc, eq, gt, gte, lt, type SQL, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { after, exactly, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import type { StreamKind } from "./catalogue";
import { events } from "./schema";

export type EventFilters = Page & {
  type?: string | undefined;
  stream?: StreamKind | undefined;
  streamId?: string | undefined;
  afterSeq?: number | undefined;
  from?: string | undefined;
  to?: string | undefined;
};

type Payload = { timestamp: string; data: unknown };

function shownAs({ payload, ...event }: typeof events.$inferSelect) {
  const { data } = JSON.parse(payload) as Payload;
  const { id, type, streamKind, streamId, seq, createdAt } = event;
  return { id, type, stream: { kind: streamKind, id: streamId }, seq, data, createdAt };
}

/** What only its writer may see, no other user reads here. */
const forEverybody = sql`(${events.audience} is null or current_user_id() is null or ${events.audience} = current_user_id())`;

/** Of one stream: in its order, after a number. Of all: newest first. */
export async function listEvents(ctx: Context, filters: EventFilters) {
  const { type, stream, streamId, afterSeq, from, to } = filters;
  const inOrder = stream !== undefined && streamId !== undefined;
  const conditions: (SQL | undefined)[] = [
    eq(events.tenantId, ctx.tenantId),
    forEverybody,
    type === undefined ? undefined : eq(events.type, type),
    stream === undefined ? undefined : eq(events.streamKind, stream),
    streamId === undefined ? undefined : eq(events.streamId, streamId),
    afterSeq === undefined ? undefined : gt(events.seq, afterSeq),
    from === undefined ? undefined : gte(events.createdAt, from),
    to === undefined ? undefined : lt(events.createdAt, to),
    inOrder ? after(filters, [events.seq], "asc") : after(filters, [events.createdAt, events.id]),
  ];
  const order = inOrder ? [asc(events.seq)] : [desc(events.createdAt), desc(events.id)];
  const [rows] = await asTenant(ctx, [
    db
      .select({ event: events, at: exactly(events.createdAt) })
      .from(events)
      .where(and(...conditions))
      .orderBy(...order)
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => (inOrder ? [row.event.seq] : [row.at, row.event.id]));
  return { data: data.map((row) => shownAs(row.event)), nextCursor };
}

export async function getEvent(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [
    db
      .select()
      .from(events)
      .where(own(events, id, forEverybody)),
  ]);
  return shownAs(found(rows));
}
