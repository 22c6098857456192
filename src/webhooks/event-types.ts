import { and, asc, eq, sql } from "drizzle-orm";
import { CATALOGUE, type EventKind, type StreamKind } from "../events/catalogue";
import { webhookEventTypes } from "../events/schema";
import { hearing } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { found } from "../lib/rows";
import { z } from "../lib/validate";
import { audit } from "../tenants/audit";

export type EventTypeFilters = { category?: string | undefined; active?: boolean | undefined };

const jsonSchema = (data: z.ZodType) => z.toJSONSchema(data, { unrepresentable: "any" }) as Record<string, unknown>;

const builtIn = Object.entries(CATALOGUE as Record<string, EventKind>).map(
  ([name, { data, audience: _, alsoIn: _a, ...kind }]) => ({
    name,
    ...kind,
    custom: false,
    schema: () => jsonSchema(data),
  }),
);

const builtInNames = Object.keys(CATALOGUE).flatMap((type) => hearing(type).map((one) => ({ type, ...one })));

/** What there is to subscribe to, how many endpoints do, and which part of all endpoints that is. */
export async function listEventTypes(ctx: Context, { category, active }: EventTypeFilters) {
  const push = sql`webhooks w where w.tenant_id = current_tenant() and w.kind = 'push'`;
  const [own, counts, totals] = await asTenant(ctx, [
    db
      .select()
      .from(webhookEventTypes)
      .where(eq(webhookEventTypes.tenantId, ctx.tenantId))
      .orderBy(asc(webhookEventTypes.name)),
    db
      .select({ type: sql<string>`type`, count: sql<number>`count(distinct w.id)::int` })
      .from(sql`(select * from jsonb_to_recordset(${JSON.stringify(builtInNames)}::jsonb) h(type text, kind text, name text)
        union all select t.name, k.kind, k.name from webhook_event_types t
          cross join lateral (values ('type', t.name), ('category', t.category), ('all', '*')) k(kind, name)
         where t.tenant_id = current_tenant()) h
        join webhook_subscriptions s on s.tenant_id = current_tenant() and s.kind = h.kind and s.name = h.name
        join webhooks w on w.tenant_id = s.tenant_id and w.id = s.webhook_id and w.kind = 'push'
        group by type`),
    db.select({ count: sql<number>`count(*)::int` }).from(push),
  ]);
  const total = found(totals).count;
  const subscribersOf = new Map(counts.map(({ type, count }) => [type, count]));
  const custom = own.map(({ tenantId: _t, createdAt: _c, schema, ...type }) => ({
    ...type,
    custom: true,
    schema: () => schema,
  }));
  return [...builtIn, ...custom]
    .filter(
      (type) =>
        (category === undefined || type.category === category) && (active === undefined || type.active === active),
    )
    .map(({ schema, ...type }) => {
      const subscribers = subscribersOf.get(type.name) ?? 0;
      return { ...type, schema: schema(), subscribers, adoptionRate: total === 0 ? 0 : subscribers / total };
    });
}

export type CustomTypeInput = {
  description: string;
  stream: StreamKind;
  schema: Record<string, unknown>;
  active?: boolean | undefined;
};

/** Registers a type of the tenant's own, or changes it; its version goes up with its schema. */
export async function putCustomType(ctx: Context, name: string, input: CustomTypeInput) {
  const { description, stream, schema, active = true } = input;
  const row = { description, stream, schema, active };
  const [, rows] = await asTenant(ctx, [
    audit(ctx, "event_type.put", { type: "event_type", id: name }, row),
    db
      .insert(webhookEventTypes)
      .values({ tenantId: ctx.tenantId, name, category: "custom", ...row })
      .onConflictDoUpdate({
        target: [webhookEventTypes.tenantId, webhookEventTypes.name],
        set: {
          ...row,
          version: sql`${webhookEventTypes.version} + (${webhookEventTypes.schema} <> excluded.schema)::int`,
        },
      })
      .returning(),
  ]);
  const { tenantId: _t, createdAt: _c, ...type } = found(rows);
  return { ...type, custom: true };
}

export async function deleteCustomType(ctx: Context, name: string): Promise<void> {
  const mine = and(eq(webhookEventTypes.tenantId, ctx.tenantId), eq(webhookEventTypes.name, name));
  await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${webhookEventTypes} where ${mine} for update)`, "not_found"),
    refuseUnless(
      sql`not exists (select 1 from webhook_subscriptions where tenant_id = ${ctx.tenantId} and kind = 'type' and name = ${name})`,
      "event_type_in_use",
    ),
    audit(ctx, "event_type.deleted", { type: "event_type", id: name }),
    db.delete(webhookEventTypes).where(mine),
  ]);
}
