import { sql } from "drizzle-orm";
import { boolean, check, index, integer, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { integrations } from "../integrations/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { teams } from "../teams/schema";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const DOMAIN_STATUSES = ["pending", "verified", "lost"] as const;
export const RECORD_PURPOSES = ["proof", "mx", "spf", "dkim", "dmarc", "return_path"] as const;
export const RECORD_TYPES = ["TXT", "MX", "CNAME"] as const;
export const RULE_ACTIONS = ["allow", "block"] as const;

/** Claimed by whoever likes; a TXT record binds it to one tenant, and from then on it receives mail. */
export const domains = pgTable(
  "domains",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    status: text("status", { enum: DOMAIN_STATUSES }).notNull().default("pending"),
    fromName: text("from_name"),
    replyTo: text("reply_to"),
    bounceAddress: text("bounce_address"),
    /** The SNS topic whose notifications bring its mail. */
    inboundTopic: text("inbound_topic"),
    /** Of the servers that hand in its mail over HTTP, whose Authentication-Results are believed. */
    authServers: text("auth_servers").array().notNull().default([]),
    checkedAt: instant("checked_at"),
    /** Since when its proof was not found, each time that DNS answered. */
    missingSince: instant("missing_since"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    deletedAt: instant("deleted_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("domains_by_name").on(t.tenantId, t.name).where(sql`${t.deletedAt} is null`),
    uniqueIndex("domains_verified_by_name").on(t.name).where(sql`${t.status} = 'verified' and ${t.deletedAt} is null`),
    index("domains_by_topic").on(t.inboundTopic).where(sql`${t.inboundTopic} is not null`),
    index("domains_by_check").on(t.checkedAt).where(sql`${t.deletedAt} is null`),
    oneOf("domains_status", t.status, DOMAIN_STATUSES),
  ],
);

/** What a provider knows the domain as, to be removed there with it. Without an account it is the sandbox's. */
export const domainIdentities = pgTable(
  "domain_identities",
  {
    tenantId: tenantId(),
    id: id(),
    domainId: uuid("domain_id").notNull(),
    integrationId: uuid("integration_id"),
    provider: text("provider").notNull(),
    /** The provider's own name for it: an ARN, an id. */
    reference: text("reference").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("domain_identities_by_domain").on(t.tenantId, t.domainId),
    index("domain_identities_by_integration").on(t.tenantId, t.integrationId),
    references([t.tenantId, t.domainId], domains).onDelete("cascade"),
    references([t.tenantId, t.integrationId], integrations).onDelete("set null"),
  ],
);

/** Each record that is to stand in the domain's DNS, beside what stood there when it was looked at last. */
export const domainRecords = pgTable(
  "domain_records",
  {
    tenantId: tenantId(),
    id: id(),
    domainId: uuid("domain_id").notNull(),
    purpose: text("purpose", { enum: RECORD_PURPOSES }).notNull(),
    type: text("type", { enum: RECORD_TYPES }).notNull(),
    name: text("name").notNull(),
    expected: text("expected").notNull(),
    priority: integer("priority"),
    found: text("found").array().notNull().default([]),
    ok: boolean("ok").notNull().default(false),
    /** What to change, in words; nothing where it is right. */
    todo: text("todo"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("domain_records_by_domain").on(t.tenantId, t.domainId, t.purpose),
    references([t.tenantId, t.domainId], domains).onDelete("cascade"),
    oneOf("domain_records_purpose", t.purpose, RECORD_PURPOSES),
    oneOf("domain_records_type", t.type, RECORD_TYPES),
  ],
);

export const inboxes = pgTable(
  "inboxes",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    domainId: uuid("domain_id").notNull(),
    localPart: text("local_part").notNull(),
    name: text("name"),
    isCatchall: boolean("is_catchall").notNull().default(false),
    /** Mail to local+tag arrives here too. */
    plusAddressing: boolean("plus_addressing").notNull().default(true),
    autoReplyText: text("auto_reply_text"),
    autoReplySubject: text("auto_reply_subject"),
    /** One sender gets one automatic answer in so many hours. */
    autoReplyHours: integer("auto_reply_hours").notNull().default(96),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    deletedAt: instant("deleted_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("inboxes_by_local_part").on(t.tenantId, t.domainId, t.localPart).where(sql`${t.deletedAt} is null`),
    uniqueIndex("inboxes_by_is_catchall")
      .on(t.tenantId, t.domainId)
      .where(sql`${t.isCatchall} and ${t.deletedAt} is null`),
    index("inboxes_by_domain").on(t.tenantId, t.domainId),
    references([t.tenantId, t.domainId], domains).onDelete("restrict"),
  ],
);

/** Who works in it: a user, or all of a team. One that has nobody is every operator's. */
export const inboxMembers = pgTable(
  "inbox_members",
  {
    tenantId: tenantId(),
    id: id(),
    inboxId: uuid("inbox_id").notNull(),
    userId: uuid("user_id"),
    teamId: uuid("team_id"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("inbox_members_by_user_id").on(t.tenantId, t.inboxId, t.userId),
    uniqueIndex("inbox_members_by_team_id").on(t.tenantId, t.inboxId, t.teamId),
    index("inbox_members_by_user").on(t.tenantId, t.userId),
    index("inbox_members_by_team").on(t.tenantId, t.teamId),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.teamId], teams).onDelete("cascade"),
    check("inbox_members_somebody", sql`${t.userId} is not null or ${t.teamId} is not null`),
  ],
);

/** Whose mail is taken: of one inbox, or of all where it names none. `pattern`: an address, a domain, or `*`. */
export const senderRules = pgTable(
  "sender_rules",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    inboxId: uuid("inbox_id"),
    pattern: text("pattern").notNull(),
    action: text("action", { enum: RULE_ACTIONS }).notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("sender_rules_by_pattern").on(
      t.tenantId,
      sql`coalesce(${t.inboxId}, '00000000-0000-0000-0000-000000000000')`,
      t.pattern,
    ),
    index("sender_rules_by_inbox").on(t.tenantId, t.inboxId),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
    oneOf("sender_rules_action", t.action, RULE_ACTIONS),
  ],
);
