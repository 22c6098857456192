import { sql } from "drizzle-orm";
import { boolean, index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { deliveries } from "../deliveries/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

/** The gravest first. */
export const SUPPRESSION_REASONS = ["complaint", "unsubscribe", "bounce", "provider", "manual", "softBounces"] as const;

/** Where nothing is sent any more: an address in a stream, or in each (`*`). One row for each reason, so that taking one away leaves the others. */
export const suppressions = pgTable(
  "suppressions",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    /** Folded. */
    address: text("address").notNull(),
    stream: text("stream").notNull(),
    reason: text("reason", { enum: SUPPRESSION_REASONS }).notNull(),
    details: jsonb("details").$type<Record<string, unknown>>().notNull().default({}),
    /** What it came of; either may be gone by now. */
    deliveryId: uuid("delivery_id"),
    messageId: uuid("message_id"),
    createdBy: uuid("created_by"),
    expiresAt: instant("expires_at"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("suppressions_by_address").on(t.tenantId, t.address, t.stream, t.reason),
    index("suppressions_by_stream").on(t.tenantId, t.stream, t.id),
    index("suppressions_by_reason").on(t.tenantId, t.reason, t.id),
    index("suppressions_by_creator").on(t.tenantId, t.createdBy),
    index("suppressions_expiring").on(t.expiresAt).where(sql`${t.expiresAt} is not null`),
    references([t.tenantId, t.createdBy], users).onDelete("set null"),
    oneOf("suppressions_reason", t.reason, SUPPRESSION_REASONS),
  ],
);

/** The bounces that suppressions rest on, in the order in which the mails were sent, whenever they were heard of. */
export const bounces = pgTable(
  "bounces",
  {
    tenantId: tenantId(),
    deliveryId: uuid("delivery_id").notNull(),
    address: text("address").notNull(),
    hard: boolean("hard").notNull(),
    sentAt: instant("sent_at").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.deliveryId] }),
    index("bounces_by_address").on(t.tenantId, t.address, t.sentAt),
    index("bounces_by_age").on(t.createdAt),
    references([t.tenantId, t.deliveryId], deliveries).onDelete("cascade"),
  ],
);
