import { and, desc, eq, getTableColumns, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import type { EventType } from "../events/catalogue";
import { sampleEvent } from "../events/samples";
import { announce, recordEvents } from "../events/service";
import { hearing } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { secretBytes } from "../lib/once";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustExist, own, withinLimit } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { belongings, check, mustFitKind, mustStayRegistered, noNewToDeprecated, type WebhookInput } from "./demands";
import { webhookHealth, webhookScopes, webhookSecrets, webhookSubscriptions, webhooks } from "./schema";
import { sealSecret } from "./secrets";
import { newSecret } from "./signature";

const { tenantId: _t, headers, ...columns } = getTableColumns(webhooks);
const ofHook = (name: string) =>
  sql`from ${sql.identifier(name)} x where x.tenant_id = ${webhooks.tenantId} and x.webhook_id = ${webhooks.id}`;
const values = (kind: string) =>
  sql<
    string[]
  >`coalesce((select jsonb_agg(x.value order by x.value) ${ofHook("webhook_scopes")} and x.kind = ${kind}), '[]')`;

const shownWebhook = {
  ...columns,
  headerNames: sql<string[]>`array_to_json(array(select jsonb_object_keys(${headers}) order by 1))`,
  events: sql<
    string[]
  >`coalesce((select jsonb_agg(case x.kind when 'category' then x.name || '.*' else x.name end order by x.name) ${ofHook("webhook_subscriptions")}), '[]')`,
  channels: values("channel"),
  inboxes: values("inbox"),
  media: values("medium"),
  status: sql<"active" | "warning" | "disabled">`coalesce(${webhookHealth.status}, 'active')`,
  failureCount: sql<number>`coalesce(${webhookHealth.failureCount}, 0)`,
  lastSuccessAt: webhookHealth.lastSuccessAt,
  lastFailureAt: webhookHealth.lastFailureAt,
};

const selectWebhooks = () =>
  db
    .select(shownWebhook)
    .from(webhooks)
    .leftJoin(
      webhookHealth,
      and(eq(webhookHealth.tenantId, webhooks.tenantId), eq(webhookHealth.webhookId, webhooks.id)),
    );

type Row = Awaited<ReturnType<typeof selectWebhooks>>[number];

function shownAs({ channels: inChannels, inboxes, media, ...row }: Row) {
  return { ...row, scopes: { channels: inChannels, inboxes, media } };
}

const ownColumns = ({ events: _e, scopes: _s, ...rest }: Partial<WebhookInput>) => changes(rest);

export async function createWebhook(ctx: Context, input: WebhookInput) {
  await check(ctx, input);
  const id = newId();
  const { tenantId } = ctx;
  const secret = newSecret(await secretBytes(ctx, "webhook secret", 32));
  const batch: BatchItem<"pg">[] = [
    // Before the tenant's settings are locked, as whoever takes a type away locks it first.
    ...mustStayRegistered(input),
    db
      .insert(webhooks)
      .values({ tenantId, id, ...ownColumns(input), name: input.name, url: input.url, kind: input.kind }),
    ...noNewToDeprecated(ctx, id, input),
    db.insert(webhookHealth).values({ tenantId, webhookId: id }),
    db
      .insert(webhookSecrets)
      .values({ tenantId, id: newId(), webhookId: id, ...(await sealSecret(ctx.env, tenantId, id, secret)) }),
    ...belongings(tenantId, id, { ...input, events: input.events ?? (input.kind === "push" ? ["*"] : []) }),
    ...withinLimit("webhooks", ctx.snapshot?.limits),
    audit(ctx, "webhook.created", { type: "webhook", id }, { ...input, headers: undefined }),
    selectWebhooks().where(own(webhooks, id)),
  ];
  const results: unknown[] = await asTenant(ctx, batch as [BatchItem<"pg">]);
  return { ...shownAs(found(results.at(-1) as Row[])), secret };
}

export type WebhookFilters = Page & {
  kind?: string | undefined;
  enabled?: boolean | undefined;
  event?: string | undefined;
  notEvent?: string | undefined;
};

/** Whether a webhook hears of this type: by name, by category or of all. */
const hears = (
  type: string,
): SQL => sql`exists (select 1 from webhook_subscriptions s where s.tenant_id = ${webhooks.tenantId}
  and s.webhook_id = ${webhooks.id} and (s.kind, s.name) in (${sql.join(
    hearing(type).map(({ kind, name }) => sql`(${kind}, ${name})`),
    sql`, `,
  )}))`;

export async function listWebhooks(ctx: Context, filters: WebhookFilters) {
  const { kind, enabled, event, notEvent } = filters;
  const where = and(
    eq(webhooks.tenantId, ctx.tenantId),
    after(filters, [webhooks.id]),
    kind === undefined ? undefined : sql`${webhooks.kind} = ${kind}`,
    enabled === undefined ? undefined : eq(webhooks.enabled, enabled),
    event === undefined ? undefined : hears(event),
    notEvent === undefined ? undefined : sql`not ${hears(notEvent)}`,
  );
  const [rows] = await asTenant(ctx, [
    selectWebhooks()
      .where(where)
      .orderBy(desc(webhooks.id))
      .limit(filters.limit + 1),
  ]);
  return paged(rows.map(shownAs), filters, (row) => [row.id]);
}

export async function getWebhook(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectWebhooks().where(own(webhooks, id))]);
  return shownAs(found(rows));
}

/** Enabling is the owner's word that it works again: health starts anew. */
export async function updateWebhook(ctx: Context, id: string, patch: Partial<WebhookInput>) {
  await check(ctx, patch);
  const { tenantId } = ctx;
  const ofHookOnly = (table: typeof webhookSubscriptions | typeof webhookScopes) =>
    and(eq(table.tenantId, tenantId), eq(table.webhookId, id));
  const healthy = {
    status: "active" as const,
    failureCount: 0,
    failedAttempts: 0,
    failingSince: null,
    pausedUntil: null,
  };
  const results = await asTenant(ctx, [
    mustExist(webhooks, id),
    ...mustFitKind(id, patch),
    ...mustStayRegistered(patch),
    ...noNewToDeprecated(ctx, id, patch),
    auditChange(ctx, "webhook.updated", { type: "webhook", id }, webhooks, {
      ...changes(patch),
      ...(patch.headers && { headers: "[changed]" }),
    }),
    db
      .update(webhooks)
      .set({ ...ownColumns(patch), updatedAt: sql<string>`now()` })
      .where(own(webhooks, id)),
    ...(patch.enabled
      ? [
          db
            .update(webhookHealth)
            .set(healthy)
            .where(and(eq(webhookHealth.tenantId, tenantId), eq(webhookHealth.webhookId, id))),
        ]
      : []),
    ...(patch.events ? [db.delete(webhookSubscriptions).where(ofHookOnly(webhookSubscriptions))] : []),
    ...(patch.scopes ? [db.delete(webhookScopes).where(ofHookOnly(webhookScopes))] : []),
    ...belongings(tenantId, id, patch),
    selectWebhooks().where(own(webhooks, id)),
  ]);
  return shownAs(found(results.at(-1) as Row[]));
}

export async function deleteWebhook(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(webhooks, id),
    audit(ctx, "webhook.deleted", { type: "webhook", id }),
    db.delete(webhooks).where(own(webhooks, id)),
  ]);
}

/**
 * A real event, through the real queue, to this endpoint alone. It is kept as webhook.test, whatever type it is sent as, so
 * that nobody takes it for something that happened.
 */
export async function sendTestEvent(ctx: Context, id: string, type: EventType = "webhook.test") {
  const as = type === "webhook.test" ? null : sampleEvent(type, ctx.tenantId);
  const event = {
    type: "webhook.test" as const,
    stream: { kind: "tenant" as const, id: ctx.tenantId },
    data: { webhookId: id, message: "This is a test." },
  };
  const [, recorded, deliveries] = await asTenant(ctx, [
    mustExist(webhooks, id),
    recordEvents({ ...ctx, snapshot: ctx.snapshot && { ...ctx.snapshot, webhooks: [] } }, [event]),
    db
      .select({ id: sql<string>`id`.as("id"), eventId: sql<string>`event_id`.as("event_id") })
      .from(sql`deliver_last_event_to(${id}::uuid, ${as && JSON.stringify({ ...as, type })}::jsonb)`),
  ]);
  const delivery = found(deliveries);
  announce(ctx, [{ ...found(recorded), deliveries: [delivery.id] }]);
  return { deliveryId: delivery.id, eventId: delivery.eventId };
}
