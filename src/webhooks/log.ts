import { and, desc, eq, gte, lt, type SQL, sql } from "drizzle-orm";
import { events } from "../events/schema";
import { enqueueDeliveries } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { after, exactly, type Page, paged } from "../lib/page";
import { found, mustExist, own, shown } from "../lib/rows";
import { audit } from "../tenants/audit";
import { webhookAttempts, webhookDeliveries, webhooks } from "./schema";

const { claimedUntil: _c, orderKey: _k, orderSeq: _s, ...columns } = shown(webhookDeliveries);
const deliveryColumns = {
  ...columns,
  eventType: events.type,
  streamKind: events.streamKind,
  streamId: events.streamId,
  seq: events.seq,
};

const selectDeliveries = () =>
  db
    .select(deliveryColumns)
    .from(webhookDeliveries)
    .innerJoin(events, and(eq(events.tenantId, webhookDeliveries.tenantId), eq(events.id, webhookDeliveries.eventId)));

type Span = { from?: string | undefined; to?: string | undefined };

export type DeliveryFilters = Page &
  Span & {
    webhookId?: string | undefined;
    status?: string | undefined;
    type?: string | undefined;
    eventId?: string | undefined;
    channelId?: string | undefined;
    messageId?: string | undefined;
  };

type About = { eventId?: string | undefined; channelId?: string | undefined; messageId?: string | undefined };

/** What a delivery's event is about. */
const isAbout = ({ eventId, channelId, messageId }: About) =>
  and(
    eventId === undefined ? undefined : eq(events.id, eventId),
    channelId === undefined ? undefined : and(eq(events.streamKind, "channel"), eq(events.streamId, channelId)),
    messageId === undefined ? undefined : eq(events.messageId, messageId),
  );

export async function listDeliveries(ctx: Context, filters: DeliveryFilters) {
  const { webhookId, status, type, from, to } = filters;
  const conditions: (SQL | undefined)[] = [
    eq(webhookDeliveries.tenantId, ctx.tenantId),
    after(filters, [webhookDeliveries.createdAt, webhookDeliveries.id]),
    webhookId === undefined ? undefined : eq(webhookDeliveries.webhookId, webhookId),
    status === undefined ? undefined : sql`${webhookDeliveries.status} = ${status}`,
    type === undefined ? undefined : eq(events.type, type),
    isAbout(filters),
    from === undefined ? undefined : gte(webhookDeliveries.createdAt, from),
    to === undefined ? undefined : lt(webhookDeliveries.createdAt, to),
  ];
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...deliveryColumns, at: exactly(webhookDeliveries.createdAt) })
      .from(webhookDeliveries)
      .innerJoin(events, and(eq(events.tenantId, webhookDeliveries.tenantId), eq(events.id, webhookDeliveries.eventId)))
      .where(and(...conditions))
      .orderBy(desc(webhookDeliveries.createdAt), desc(webhookDeliveries.id))
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => [row.at, row.id]);
  return { data: data.map(({ at: _, ...row }) => row), nextCursor };
}

export async function getDelivery(ctx: Context, id: string) {
  const [rows, payloads] = await asTenant(ctx, [
    selectDeliveries().where(own(webhookDeliveries, id)),
    db
      .select({ payload: events.payload })
      .from(events)
      .innerJoin(
        webhookDeliveries,
        and(eq(events.tenantId, webhookDeliveries.tenantId), eq(events.id, webhookDeliveries.eventId)),
      )
      .where(own(webhookDeliveries, id)),
  ]);
  return { ...found(rows), payload: JSON.parse(found(payloads).payload) as Record<string, unknown> };
}

export type AttemptFilters = Page &
  Span & {
    webhookId?: string | undefined;
    deliveryId?: string | undefined;
    ok?: boolean | undefined;
    status?: number | undefined;
    type?: string | undefined;
    eventId?: string | undefined;
    channelId?: string | undefined;
    messageId?: string | undefined;
  };

export async function listAttempts(ctx: Context, filters: AttemptFilters) {
  const { webhookId, deliveryId, ok, status, type, from, to } = filters;
  const about = isAbout(filters);
  const where = and(
    eq(webhookAttempts.tenantId, ctx.tenantId),
    after(filters, [webhookAttempts.createdAt, webhookAttempts.id]),
    webhookId === undefined ? undefined : eq(webhookAttempts.webhookId, webhookId),
    deliveryId === undefined ? undefined : eq(webhookAttempts.deliveryId, deliveryId),
    ok === undefined ? undefined : eq(webhookAttempts.ok, ok),
    status === undefined ? undefined : eq(webhookAttempts.status, status),
    type === undefined ? undefined : eq(webhookAttempts.eventType, type),
    about &&
      sql`${webhookAttempts.deliveryId} in (select ${webhookDeliveries.id} from ${events} join ${webhookDeliveries}
        on ${webhookDeliveries.tenantId} = ${events.tenantId} and ${webhookDeliveries.eventId} = ${events.id}
        where ${events.tenantId} = ${ctx.tenantId} and ${about})`,
    from === undefined ? undefined : gte(webhookAttempts.createdAt, from),
    to === undefined ? undefined : lt(webhookAttempts.createdAt, to),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...shown(webhookAttempts), at: exactly(webhookAttempts.createdAt) })
      .from(webhookAttempts)
      .where(where)
      .orderBy(desc(webhookAttempts.createdAt), desc(webhookAttempts.id))
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => [row.at, row.id]);
  return { data: data.map(({ at: _, ...row }) => row), nextCursor };
}

/** Once more from the start of the schedule, with the same bytes and the same webhook-id. */
export async function redeliver(ctx: Context, id: string) {
  const [, , , rows] = await asTenant(ctx, [
    mustExist(webhookDeliveries, id),
    refuseUnless(
      sql`exists (select 1 from ${webhookDeliveries} where ${own(webhookDeliveries, id, sql`(claimed_until is null or claimed_until < now())`)})`,
      "conflict",
    ),
    audit(ctx, "webhook.redelivered", { type: "webhook_delivery", id }),
    db
      .update(webhookDeliveries)
      .set({
        status: "pending",
        attempts: 0,
        trigger: "redelivery",
        nextAttemptAt: sql<string>`now()`,
        claimedUntil: null,
        completedAt: null,
      })
      .where(own(webhookDeliveries, id))
      .returning(columns),
  ]);
  ctx.waitUntil(enqueueDeliveries(ctx.env, ctx.tenantId, [id]).catch(() => {}));
  return found(rows);
}

/** Success over seven days, how long answers took, and each hour's attempts; of one endpoint or all. */
export async function statistics(ctx: Context, webhookId?: string) {
  const recent = and(
    eq(webhookAttempts.tenantId, ctx.tenantId),
    gte(webhookAttempts.createdAt, sql`now() - interval '7 days'`),
    webhookId === undefined ? undefined : eq(webhookAttempts.webhookId, webhookId),
  );
  const quantile = (q: number) =>
    sql<number | null>`percentile_cont(${sql.raw(String(q))}) within group (order by ${webhookAttempts.ms})`;
  const counted = {
    attempts: sql<number>`count(*)::int`,
    succeeded: sql<number>`(count(*) filter (where ${webhookAttempts.ok}))::int`,
  };
  const hour = sql<string>`date_trunc('hour', ${webhookAttempts.createdAt}, 'UTC')`.mapWith(webhookAttempts.createdAt);
  const [, totals, hours] = await asTenant(ctx, [
    webhookId === undefined ? refuseUnless(sql`true`, "not_found") : mustExist(webhooks, webhookId),
    db
      .select({ ...counted, p50Ms: quantile(0.5), p95Ms: quantile(0.95) })
      .from(webhookAttempts)
      .where(recent),
    db
      .select({ hour, ...counted })
      .from(webhookAttempts)
      .where(recent)
      .groupBy(sql`1`)
      .orderBy(sql`1`),
  ]);
  const { attempts, succeeded, p50Ms, p95Ms } = found(totals);
  return {
    attempts,
    succeeded,
    successRate: attempts === 0 ? null : succeeded / attempts,
    p50Ms,
    p95Ms,
    byHour: hours,
  };
}
