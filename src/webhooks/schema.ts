import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import { events } from "../events/schema";
import { bytea, createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";

export const WEBHOOK_KINDS = ["push", "before_message_send", "custom_action"] as const;
export const WEBHOOK_STATUSES = ["active", "warning", "disabled"] as const;
export const SUBSCRIPTION_KINDS = ["all", "category", "type"] as const;
export const SCOPE_KINDS = ["channel", "inbox", "medium"] as const;
export const DELIVERY_STATUSES = ["pending", "delivered", "exhausted", "cancelled"] as const;
export const TRIGGERS = ["event", "retry", "redelivery", "recovery", "test", "hook", "action"] as const;

export const webhooks = pgTable(
  "webhooks",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    url: text("url").notNull(),
    description: text("description"),
    kind: text("kind", { enum: WEBHOOK_KINDS }).notNull(),
    headers: jsonb("headers").$type<Record<string, string>>().notNull().default({}),
    filter: jsonb("filter").$type<Record<string, unknown>>(),
    enabled: boolean("enabled").notNull().default(true),
    retryCount: integer("retry_count").notNull().default(9),
    timeoutMs: integer("timeout_ms").notNull().default(5000),
    perSecond: integer("per_second"),
    ordered: boolean("ordered").notNull().default(false),
    failOpen: boolean("fail_open").notNull().default(true),
    shadow: boolean("shadow").notNull().default(false),
    action: text("action"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("webhooks_by_kind").on(t.tenantId, t.kind, t.enabled),
    uniqueIndex("webhooks_by_action").on(t.tenantId, t.action),
    oneOf("webhooks_kind", t.kind, WEBHOOK_KINDS),
  ],
);

/** What attempts tell of an endpoint: beside the webhook, so that an attempt does not change what isolates cache. */
export const webhookHealth = pgTable(
  "webhook_health",
  {
    tenantId: tenantId(),
    webhookId: uuid("webhook_id").notNull(),
    status: text("status", { enum: WEBHOOK_STATUSES }).notNull().default("active"),
    /** Events in a row whose first attempt failed. */
    failureCount: integer("failure_count").notNull().default(0),
    /** Attempts in a row that failed: what opens the breaker. */
    failedAttempts: integer("failed_attempts").notNull().default(0),
    failingSince: instant("failing_since"),
    lastSuccessAt: instant("last_success_at"),
    lastFailureAt: instant("last_failure_at"),
    /** Until then nothing is sent; after it, one probe. */
    pausedUntil: instant("paused_until"),
    windowAt: instant("window_at"),
    windowUsed: integer("window_used").notNull().default(0),
    slow: boolean("slow").notNull().default(false),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.webhookId] }),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
    index("webhook_health_failing").on(t.failingSince).where(sql`${t.failingSince} is not null`),
    oneOf("webhook_health_status", t.status, WEBHOOK_STATUSES),
  ],
);

/** Sealed with a key derived from the named master secret. The newest of each kind has no expiry; a key pair shows its public half. */
export const webhookSecrets = pgTable(
  "webhook_secrets",
  {
    tenantId: tenantId(),
    id: id(),
    webhookId: uuid("webhook_id").notNull(),
    sealed: bytea("sealed").notNull(),
    masterVersion: text("master_version").notNull(),
    publicKey: text("public_key"),
    expiresAt: instant("expires_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("webhook_secrets_by_webhook").on(t.tenantId, t.webhookId, t.createdAt),
    index("webhook_secrets_by_master").on(t.masterVersion),
    index("webhook_secrets_by_expiry").on(t.expiresAt).where(sql`${t.expiresAt} is not null`),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
  ],
);

export const webhookSubscriptions = pgTable(
  "webhook_subscriptions",
  {
    tenantId: tenantId(),
    webhookId: uuid("webhook_id").notNull(),
    kind: text("kind", { enum: SUBSCRIPTION_KINDS }).notNull(),
    name: text("name").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.webhookId, t.kind, t.name] }),
    index("webhook_subscriptions_by_name").on(t.tenantId, t.kind, t.name, t.webhookId),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
    oneOf("webhook_subscriptions_kind", t.kind, SUBSCRIPTION_KINDS),
  ],
);

/** A webhook with rows here hears only of these channels, inboxes or media. */
export const webhookScopes = pgTable(
  "webhook_scopes",
  {
    tenantId: tenantId(),
    webhookId: uuid("webhook_id").notNull(),
    kind: text("kind", { enum: SCOPE_KINDS }).notNull(),
    value: text("value").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.webhookId, t.kind, t.value] }),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
    oneOf("webhook_scopes_kind", t.kind, SCOPE_KINDS),
  ],
);

export const webhookDeliveries = pgTable(
  "webhook_deliveries",
  {
    tenantId: tenantId(),
    id: id(),
    webhookId: uuid("webhook_id").notNull(),
    eventId: uuid("event_id").notNull(),
    /** Of an ordered webhook: the channel whose events wait for one another, and the place in it. */
    orderKey: uuid("order_key"),
    orderSeq: bigint("order_seq", { mode: "number" }),
    status: text("status", { enum: DELIVERY_STATUSES }).notNull().default("pending"),
    attempts: integer("attempts").notNull().default(0),
    trigger: text("trigger", { enum: TRIGGERS }).notNull().default("event"),
    nextAttemptAt: instant("next_attempt_at").notNull().default(sql`now()`),
    claimedUntil: instant("claimed_until"),
    completedAt: instant("completed_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("webhook_deliveries_by_event").on(t.tenantId, t.eventId, t.webhookId),
    index("webhook_deliveries_by_webhook").on(t.tenantId, t.webhookId, t.createdAt, t.id),
    index("webhook_deliveries_by_status").on(t.tenantId, t.webhookId, t.status, t.createdAt),
    index("webhook_deliveries_by_time").on(t.tenantId, t.createdAt, t.id),
    index("webhook_deliveries_due").on(t.nextAttemptAt).where(sql`${t.status} = 'pending'`),
    index("webhook_deliveries_in_order")
      .on(t.tenantId, t.webhookId, t.orderKey, t.orderSeq)
      .where(sql`${t.status} = 'pending' and ${t.orderKey} is not null`),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
    references([t.tenantId, t.eventId], events).onDelete("cascade"),
    oneOf("webhook_deliveries_status", t.status, DELIVERY_STATUSES),
    oneOf("webhook_deliveries_trigger", t.trigger, TRIGGERS),
  ],
);

/** What was sent and what came back. Hooks, actions and tests have attempts without a delivery. */
export const webhookAttempts = pgTable(
  "webhook_attempts",
  {
    tenantId: tenantId(),
    id: id(),
    webhookId: uuid("webhook_id").notNull(),
    deliveryId: uuid("delivery_id"),
    eventType: text("event_type").notNull(),
    trigger: text("trigger", { enum: TRIGGERS }).notNull(),
    url: text("url").notNull(),
    status: integer("status"),
    ok: boolean("ok").notNull(),
    ms: integer("ms").notNull(),
    requestHeaders: jsonb("request_headers").$type<Record<string, string>>().notNull(),
    responseHeaders: jsonb("response_headers").$type<Record<string, string>>(),
    responseBody: text("response_body"),
    error: text("error"),
    address: text("address"),
    note: jsonb("note").$type<Record<string, unknown>>(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("webhook_attempts_by_delivery").on(t.tenantId, t.deliveryId, t.createdAt),
    index("webhook_attempts_by_webhook").on(t.tenantId, t.webhookId, t.createdAt, t.id),
    index("webhook_attempts_by_time").on(t.tenantId, t.createdAt, t.id),
    references([t.tenantId, t.webhookId], webhooks).onDelete("cascade"),
    references([t.tenantId, t.deliveryId], webhookDeliveries).onDelete("cascade"),
    oneOf("webhook_attempts_trigger", t.trigger, TRIGGERS),
  ],
);
