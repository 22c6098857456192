import { index, jsonb, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { createdAt, id, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const teams = pgTable(
  "teams",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.id] })],
);

/** A team with members cannot be deleted: the foreign key refuses, and the API says 409. */
export const teamMembers = pgTable(
  "team_members",
  {
    tenantId: tenantId(),
    teamId: uuid("team_id").notNull(),
    userId: uuid("user_id").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.teamId, t.userId] }),
    index("team_members_by_user").on(t.tenantId, t.userId),
    references([t.tenantId, t.teamId], teams).onDelete("restrict"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);
