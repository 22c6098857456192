import { index, jsonb, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import { DELIVERY_MEDIA } from "../events/schema";
import { bytea, createdAt, id, instant, oneOf, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";

export const INTEGRATION_STATUSES = ["active", "failing", "disabled"] as const;

/** A provider account. `credentials` are sealed with `dataKey`, which is itself sealed with a master secret. */
export const integrations = pgTable(
  "integrations",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    medium: text("medium", { enum: DELIVERY_MEDIA }).notNull(),
    provider: text("provider").notNull(),
    config: jsonb("config").$type<Record<string, unknown>>().notNull().default({}),
    credentials: bytea("credentials"),
    dataKey: bytea("data_key"),
    masterVersion: text("master_version"),
    status: text("status", { enum: INTEGRATION_STATUSES }).notNull().default("active"),
    checkedAt: instant("checked_at"),
    error: text("error"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("integrations_by_medium").on(t.tenantId, t.medium, t.status),
    index("integrations_by_master").on(t.masterVersion),
    oneOf("integrations_medium", t.medium, DELIVERY_MEDIA),
    oneOf("integrations_status", t.status, INTEGRATION_STATUSES),
  ],
);
