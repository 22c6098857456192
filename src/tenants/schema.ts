import { sql } from "drizzle-orm";
import { bigint, index, inet, jsonb, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { createdAt, id, instant, money, oneOf, tenantId, updatedAt } from "../lib/columns";
import type { Limits } from "./metrics";

export const plans = pgTable("plans", {
  id: uuid("id").primaryKey(),
  name: text("name").notNull().unique(),
  tier: text("tier").notNull(),
  monthlyPrice: money("monthly_price"),
  yearlyPrice: money("yearly_price"),
  features: jsonb("features").$type<Record<string, unknown>>().notNull().default({}),
  limits: jsonb("limits").$type<Limits>().notNull().default({}),
  createdAt: createdAt(),
  updatedAt: updatedAt(),
});

export type TenantSettings = { allowedOrigins?: string[]; [name: string]: unknown };

export const tenants = pgTable(
  "tenants",
  {
    id: uuid("id").primaryKey(),
    name: text("name").notNull(),
    planId: uuid("plan_id").references(() => plans.id, { onDelete: "restrict" }),
    settings: jsonb("settings").$type<TenantSettings>().notNull().default({}),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    configVersion: bigint("config_version", { mode: "number" }).notNull().default(1),
    /** Of its block lists, which isolates keep apart from the rest; 0: there never was one. */
    blockVersion: bigint("block_version", { mode: "number" }).notNull().default(0),
    suspendedAt: instant("suspended_at"),
    deletedAt: instant("deleted_at"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [index("tenants_by_plan").on(t.planId)],
);

/** What a tenant used in an hour, added up by the tenant's Limiter alone. */
export const usageMetrics = pgTable(
  "usage_metrics",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    metric: text("metric").notNull(),
    hour: instant("hour").notNull(),
    value: bigint("value", { mode: "number" }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.metric, t.hour] })],
);

/** How much of a standing quantity a tenant holds now; kept by triggers, so it cannot drift. */
export const usageTotals = pgTable(
  "usage_totals",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    metric: text("metric").notNull(),
    value: bigint("value", { mode: "number" }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.metric] })],
);

export const ACTOR_KINDS = ["key", "token", "user", "system"] as const;

export const auditLogs = pgTable(
  "audit_logs",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    actorKind: text("actor_kind", { enum: ACTOR_KINDS }).notNull(),
    actorId: uuid("actor_id"),
    userId: uuid("user_id"),
    action: text("action").notNull(),
    targetType: text("target_type").notNull(),
    targetId: text("target_id"),
    before: jsonb("before"),
    after: jsonb("after"),
    ip: inet("ip"),
    userAgent: text("user_agent"),
    requestId: text("request_id").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("audit_logs_by_actor").on(t.tenantId, t.actorId, t.createdAt),
    index("audit_logs_by_user").on(t.tenantId, t.userId, t.createdAt).where(sql`${t.userId} is not null`),
    index("audit_logs_by_action").on(t.tenantId, t.action, t.createdAt),
    index("audit_logs_by_target").on(t.tenantId, t.targetId, t.createdAt),
    index("audit_logs_by_time").on(t.tenantId, t.createdAt, t.id),
    oneOf("audit_logs_actor_kind", t.actorKind, ACTOR_KINDS),
  ],
);

/** One row per Idempotency-Key: what the batch returned, and the seed its secrets were derived from. */
export const idempotencyKeys = pgTable(
  "idempotency_keys",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    key: text("key").notNull(),
    fingerprint: text("fingerprint").notNull(),
    seed: text("seed").notNull(),
    answer: jsonb("answer").notNull().default(sql`'[]'`),
    createdAt: createdAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.key] }), index("idempotency_keys_by_age").on(t.createdAt)],
);
