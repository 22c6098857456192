import { sql } from "drizzle-orm";
import { isoOf } from "../lib/columns";
import type { Context } from "../lib/context";
import { db } from "../lib/db";
import { newId } from "../lib/ids";
import { type Frame, publish } from "../lib/objects";
import { countUse } from "../lib/usage";
import type { DurableType, EventData, StreamKind } from "./catalogue";
import { channelOf, subscribers } from "./subscribers";

/** What a webhook's scopes may look at where an event is of no channel. */
export type About = { medium?: string; inboxId?: string };

export type NewEvent = {
  [T in DurableType]: {
    type: T;
    stream: { kind: StreamKind; id: string };
    data: EventData<T>;
    about?: About;
    id?: string;
    /** Shown to this user alone, and to webhooks. */
    audience?: string;
  };
}[DurableType];

/** No user may see it: an event for webhooks, whose number is a bare range to everybody else. */
export const NOBODY = "00000000-0000-0000-0000-000000000000";

type CustomEvent = {
  type: `custom.${string}`;
  stream: { kind: StreamKind; id: string };
  data: unknown;
  about?: About;
  id?: string;
  audience?: string;
};

/** The query that records events, their numbers and their webhook deliveries; for the batch of whatever happened. */
export const recordEvents = (ctx: Context, news: readonly NewEvent[]) => recordAny(ctx, news);

/** Types of the tenant's own were checked against their JSON Schema. */
export const recordCustomEvents = (ctx: Context, news: readonly CustomEvent[]) => recordAny(ctx, news);

/** Events as the functions that record them take them. */
export const itemsOf = (ctx: Context, news: readonly (NewEvent | CustomEvent)[]) =>
  news.map((event, n) => ({
    n,
    id: event.id ?? newId(),
    kind: event.stream.kind,
    stream: event.stream.id,
    type: event.type,
    data: JSON.stringify(event.data),
    audience: event.audience,
    place: channelOf(event),
    webhooks: subscribers(ctx.snapshot, event),
  }));

function recordAny(ctx: Context, news: readonly (NewEvent | CustomEvent)[]) {
  const items = itemsOf(ctx, news);
  return db.select(RECORDED).from(sql`record_events(${JSON.stringify(items)}::jsonb)`);
}

/** What functions that record events return of each. */
export const RECORDED = {
  id: sql<string>`id`.as("id"),
  streamKind: sql<StreamKind>`kind`.as("kind"),
  streamId: sql<string>`stream`.as("stream"),
  seq: sql<number>`seq`.mapWith(Number).as("seq"),
  type: sql<string>`type`.as("type"),
  createdAt: sql<string>`at`.mapWith(isoOf).as("at"),
  payload: sql<string | null>`payload`.as("payload"),
  audience: sql<string | null>`audience`.as("audience"),
  deliveries: sql<string[]>`to_jsonb(deliveries)`.as("deliveries"),
};

export type Recorded = {
  id: string;
  streamKind: StreamKind;
  streamId: string;
  seq: number;
  type: string;
  createdAt: string;
  payload?: string | null;
  audience?: string | null;
  deliveries: string[];
};

/** The recorded events among the results of a batch. */
export const recordedIn = (results: readonly unknown[]): Recorded[] =>
  results.flatMap((rows) =>
    Array.isArray(rows) ? (rows as Recorded[]).filter((row) => Array.isArray(row?.deliveries)) : [],
  );

const PER_MESSAGE = 50;
export type DeliveryMessage = { tenantId: string; deliveryIds: string[] };

/** After the commit. A mere speed-up: what is lost here, the sweep finds within a minute. */
export function announce(ctx: Context, recorded: readonly Recorded[]): void {
  announceDeliveries(
    ctx.env,
    ctx.tenantId,
    recorded.flatMap((event) => event.deliveries),
    ctx.waitUntil,
  );
  const frames = recorded.flatMap(({ streamKind, streamId, seq, type, payload = null, audience = null }): Frame[] =>
    payload === null ? [] : [{ stream: { kind: streamKind, id: streamId }, seq, type, payload, audience }],
  );
  if (frames.length > 0) ctx.waitUntil(publish(ctx.env, ctx.tenantId, frames).catch(() => {}));
}

/** New ones, which count in the month. */
export function announceDeliveries(
  env: Env,
  tenantId: string,
  ids: readonly string[],
  waitUntil: Context["waitUntil"],
): void {
  if (ids.length === 0) return;
  countUse(env, waitUntil, tenantId, { counts: { webhookDeliveries: ids.length } });
  waitUntil(enqueueDeliveries(env, tenantId, ids).catch(() => {}));
}

export async function enqueueDeliveries(
  env: Env,
  tenantId: string,
  ids: readonly string[],
  delaySeconds = 0,
): Promise<void> {
  const bodies: { body: DeliveryMessage; delaySeconds: number }[] = [];
  for (let i = 0; i < ids.length; i += PER_MESSAGE)
    bodies.push({ body: { tenantId, deliveryIds: ids.slice(i, i + PER_MESSAGE) }, delaySeconds });
  for (let i = 0; i < bodies.length; i += 100) await env.WEBHOOKS.sendBatch(bodies.slice(i, i + 100));
}
