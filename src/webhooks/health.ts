import { and, eq, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { asSystem } from "../auth/system";
import { announce, type NewEvent, recordEvents } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { webhookDeliveries, webhookHealth } from "./schema";

export type Change = { tenantId: string; webhookId: string; change: "warning" | "disabled" | "recovered" };
type Endpoint = { tenantId: string; webhookId: string };
/** Whatever lets work go on behind an answer. */
type Behind = { waitUntil(work: Promise<unknown>): void };
type Status = "active" | "warning" | "disabled";

const CHANGES = {
  warning: {
    status: "warning",
    reason: "Four events in a row failed.",
    when: sql`status = 'active' and failure_count >= 4`,
  },
  disabled: {
    status: "disabled",
    reason: "For five days nothing but failures.",
    when: sql`status <> 'disabled' and failing_since < now() - interval '5 days'`,
  },
  recovered: {
    status: "active",
    reason: "An event was delivered.",
    when: sql`status = 'warning' and failing_since is null`,
  },
} as const;

const healthOf = (ctx: Context, webhookId: string) =>
  sql`webhook_health where tenant_id = ${ctx.tenantId} and webhook_id = ${webhookId}`;

export async function applyHealth(env: Env, { change, ...endpoint }: Change, exec: Behind): Promise<void> {
  const { status, reason, when } = CHANGES[change];
  if (status === "disabled") return disable(env, endpoint, reason, exec, when);
  await changeTogether(env, endpoint, exec, (ctx, hook) => ({
    holds: sql`exists (select 1 from ${healthOf(ctx, endpoint.webhookId)} and ${when} for update)`,
    event: told(ctx, `webhook.${change}`, hook, reason),
    queries: [setStatus(ctx, endpoint.webhookId, status)],
  }));
}

/**
 * Nothing more is sent to it, and what was waiting is cancelled; a redelivery can fetch it later. In two steps, as whoever claims
 * deliveries locks them before their endpoint. What is left between them, or in somebody's hand, is cancelled when it is claimed.
 */
export async function disable(
  env: Env,
  endpoint: Endpoint,
  reason: string,
  exec: Behind,
  when: SQL = sql`status <> 'disabled'`,
): Promise<void> {
  const { webhookId } = endpoint;
  await changeTogether(env, endpoint, exec, (ctx, hook) => ({
    holds: sql`exists (select 1 from ${healthOf(ctx, webhookId)} and ${when} for update)`,
    event: told(ctx, "webhook.disabled", hook, reason),
    queries: [setStatus(ctx, webhookId, "disabled"), db.execute(sql`select touch_config()`)],
  }));
  await asSystem(
    env,
    endpoint.tenantId,
    (work) => exec.waitUntil(work),
    (ctx) => asTenant(ctx, [cancelWaiting(ctx, webhookId)]),
  );
}

const cancelWaiting = (ctx: Context, webhookId: string) =>
  db.execute(sql`update ${webhookDeliveries} set status = 'cancelled', completed_at = now()
    where ${webhookDeliveries.tenantId} = ${ctx.tenantId} and ${webhookDeliveries.id} in (
      select d.id from webhook_deliveries d where d.tenant_id = ${ctx.tenantId} and d.webhook_id = ${webhookId} and d.status = 'pending'
        and exists (select 1 from ${healthOf(ctx, webhookId)} and status = 'disabled') for update of d skip locked)`);

type Exhausted = Endpoint & { id: string; eventId: string; type: string; attempts: number };

/** Giving up and telling of it are one step; an ordered channel then goes on. */
export async function exhaust(env: Env, delivery: Exhausted, exec: Behind): Promise<void> {
  const { tenantId, id, eventId, type: eventType, attempts } = delivery;
  const mine = and(
    eq(webhookDeliveries.tenantId, tenantId),
    eq(webhookDeliveries.id, id),
    eq(webhookDeliveries.status, "pending"),
  );
  await changeTogether(env, delivery, exec, (ctx, hook) => ({
    holds: sql`exists (select 1 from ${webhookDeliveries} where ${mine})`,
    event: {
      type: "webhook.exhausted",
      stream: { kind: "tenant", id: ctx.tenantId },
      data: { ...hook, reason: "The last attempt failed.", deliveryId: id, eventId, eventType, attempts },
    },
    queries: [db.update(webhookDeliveries).set({ status: "exhausted", completedAt: sql<string>`now()` }).where(mine)],
  }));
}

const setStatus = (ctx: Context, webhookId: string, status: Status) =>
  db
    .update(webhookHealth)
    .set({ status })
    .where(and(eq(webhookHealth.tenantId, ctx.tenantId), eq(webhookHealth.webhookId, webhookId)));

type Hook = { webhookId: string; name: string; url: string };

const told = (
  ctx: Context,
  type: "webhook.warning" | "webhook.disabled" | "webhook.recovered",
  hook: Hook,
  reason: string,
): NewEvent => ({
  type,
  stream: { kind: "tenant", id: ctx.tenantId },
  data: { ...hook, reason },
});

type Steps = { holds: SQL; event: NewEvent; queries: BatchItem<"pg">[] };

/** The change, its event, and whoever waited behind it in an ordered channel: one batch, unless somebody was faster. */
async function changeTogether(
  env: Env,
  { tenantId, webhookId }: Endpoint,
  exec: Behind,
  steps: (ctx: Context, hook: Hook) => Steps,
): Promise<void> {
  const waitUntil = (work: Promise<unknown>) => exec.waitUntil(work);
  try {
    await asSystem(env, tenantId, waitUntil, async (ctx) => {
      const known = ctx.snapshot?.webhooks.find((hook) => hook.id === webhookId);
      const { holds, event, queries } = steps(ctx, { webhookId, name: known?.name ?? "", url: known?.url ?? "" });
      const [, recorded] = await asTenant(ctx, [
        refuseUnless(holds, "conflict"),
        recordEvents(ctx, [event]),
        ...queries,
      ]);
      announce(ctx, recorded as Awaited<ReturnType<typeof recordEvents>>);
    });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "conflict")) throw error;
  }
}
