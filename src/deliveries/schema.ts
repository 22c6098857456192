import { sql } from "drizzle-orm";
import { boolean, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { channels } from "../channels/schema";
import { DELIVERY_MEDIA } from "../events/schema";
import { integrations } from "../integrations/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import type { Heard } from "../providers/provider";

export const OUTCOMES = [
  "pending",
  "sent",
  "deferred",
  "delivered",
  "opened",
  "clicked",
  "suppressed",
  "cancelled",
  "failed",
  "bounced",
] as const;
/** waiting: for a message that is not recorded yet · unknown: that never came. */
export const CALLBACK_STATUSES = ["heard", "waiting", "unknown", "failed"] as const;
export const RECEIPTS = [...OUTCOMES, "complained", "unsubscribed"] as const;

/** One message to one recipient through one provider. */
export const deliveries = pgTable(
  "deliveries",
  {
    tenantId: tenantId(),
    id: id(),
    channelId: uuid("channel_id").notNull(),
    messageId: uuid("message_id").notNull(),
    integrationId: uuid("integration_id"),
    medium: text("medium", { enum: DELIVERY_MEDIA }).notNull(),
    recipient: text("recipient").notNull(),
    content: jsonb("content").$type<Record<string, unknown>>().notNull(),
    status: text("status", { enum: OUTCOMES }).notNull().default("pending"),
    complained: boolean("complained").notNull().default(false),
    unsubscribed: boolean("unsubscribed").notNull().default(false),
    providerMessageId: text("provider_message_id"),
    attempts: integer("attempts").notNull().default(0),
    nextAttemptAt: instant("next_attempt_at").notNull().default(sql`now()`),
    claimedUntil: instant("claimed_until"),
    error: text("error"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("deliveries_by_message").on(t.tenantId, t.messageId),
    index("deliveries_by_channel").on(t.tenantId, t.channelId, t.createdAt),
    index("deliveries_by_status").on(t.tenantId, t.status, t.createdAt),
    index("deliveries_by_medium").on(t.tenantId, t.medium, t.createdAt),
    index("deliveries_by_integration").on(t.tenantId, t.integrationId),
    index("deliveries_by_recipient").on(t.tenantId, t.recipient, t.createdAt),
    index("deliveries_by_provider_id").on(t.tenantId, t.providerMessageId),
    index("deliveries_due").on(t.nextAttemptAt).where(sql`${t.status} = 'pending'`),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.integrationId], integrations).onDelete("set null"),
    oneOf("deliveries_medium", t.medium, DELIVERY_MEDIA),
    oneOf("deliveries_status", t.status, OUTCOMES),
  ],
);

/** The ledger: each thing a provider said of a delivery, in the order it was heard. */
export const deliveryEvents = pgTable(
  "delivery_events",
  {
    tenantId: tenantId(),
    id: id(),
    deliveryId: uuid("delivery_id").notNull(),
    status: text("status", { enum: RECEIPTS }).notNull(),
    details: jsonb("details").$type<Record<string, unknown>>().notNull().default({}),
    /** A bounce that was none: it counts no more. */
    takenBackAt: instant("taken_back_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("delivery_events_by_delivery").on(t.tenantId, t.deliveryId, t.createdAt),
    references([t.tenantId, t.deliveryId], deliveries).onDelete("cascade"),
    oneOf("delivery_events_status", t.status, RECEIPTS),
  ],
);

/** What providers called back, once for each body, as their signature vouched for it. */
export const providerCallbacks = pgTable(
  "provider_callbacks",
  {
    tenantId: tenantId(),
    id: id(),
    integrationId: uuid("integration_id").notNull(),
    digest: text("digest").notNull(),
    headers: jsonb("headers").$type<Record<string, string>>().notNull(),
    body: text("body").notNull(),
    /** What the provider's signature vouched for then, so that a later replay needs neither its clock nor its secret. */
    heard: jsonb("heard").$type<Heard>().notNull(),
    status: text("status", { enum: CALLBACK_STATUSES }).notNull(),
    error: text("error"),
    times: integer("times").notNull().default(1),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("provider_callbacks_by_digest").on(t.tenantId, t.integrationId, t.digest),
    index("provider_callbacks_by_integration").on(t.tenantId, t.integrationId, t.id),
    index("provider_callbacks_by_status").on(t.tenantId, t.status, t.id),
    index("provider_callbacks_by_age").on(t.createdAt),
    references([t.tenantId, t.integrationId], integrations).onDelete("cascade"),
    oneOf("provider_callbacks_status", t.status, CALLBACK_STATUSES),
  ],
);
