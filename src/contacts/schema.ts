import { index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { MEDIA } from "../events/schema";
import { createdAt, id, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";

/** A person outside, however many addresses, numbers and handles they are reached by. */
export const contacts = pgTable(
  "contacts",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    displayName: text("display_name"),
    avatarUrl: text("avatar_url"),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.id] }), index("contacts_by_time").on(t.tenantId, t.createdAt, t.id)],
);

/** How a contact is reached in a medium; `value` is folded, so that one address is one contact's. */
export const contactIdentities = pgTable(
  "contact_identities",
  {
    tenantId: tenantId(),
    id: id(),
    contactId: uuid("contact_id").notNull(),
    medium: text("medium", { enum: MEDIA }).notNull(),
    value: text("value").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("contact_identities_by_value").on(t.tenantId, t.value, t.medium),
    index("contact_identities_by_contact").on(t.tenantId, t.contactId),
    references([t.tenantId, t.contactId], contacts).onDelete("cascade"),
    oneOf("contact_identities_medium", t.medium, MEDIA),
  ],
);
