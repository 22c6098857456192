import { sql } from "drizzle-orm";
import { boolean, index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { channels } from "../channels/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { messages } from "../messages/schema";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";
import { LIST_ACTIONS, LIST_KINDS } from "./kinds";

export const QUEUE_KINDS = ["message", "user"] as const;
export const QUEUE_SOURCES = ["flag", "block_list", "pending"] as const;
export const QUEUE_STATUSES = ["pending", "approved", "rejected"] as const;

/** Of one channel, or of the whole tenant where there is none. Whether it still holds is judged when it is asked for. */
export const bans = pgTable(
  "bans",
  {
    tenantId: tenantId(),
    id: id(),
    userId: uuid("user_id").notNull(),
    channelId: uuid("channel_id"),
    shadow: boolean("shadow").notNull().default(false),
    reason: text("reason"),
    bannedBy: uuid("banned_by"),
    expiresAt: instant("expires_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("bans_by_channel").on(t.tenantId, t.userId, t.channelId).where(sql`${t.channelId} is not null`),
    uniqueIndex("bans_by_user").on(t.tenantId, t.userId).where(sql`${t.channelId} is null`),
    index("bans_of_channel").on(t.tenantId, t.channelId),
    index("bans_by_moderator").on(t.tenantId, t.bannedBy),
    index("bans_of_user").on(t.tenantId, t.userId),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.bannedBy], users).onDelete("set null"),
  ],
);

/** What one user sees of a message otherwise than everybody else: the changes they made under a shadow ban. */
export const messageShadows = pgTable(
  "message_shadows",
  {
    tenantId: tenantId(),
    messageId: uuid("message_id").notNull(),
    userId: uuid("user_id").notNull(),
    /** Members of the message as it is shown. */
    patch: jsonb("patch").$type<Record<string, unknown>>().notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId, t.userId] }),
    index("message_shadows_by_user").on(t.tenantId, t.userId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

/** Words, phrases, domains or addresses, and what becomes of a message that holds one. */
export const blockLists = pgTable(
  "block_lists",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    kind: text("kind", { enum: LIST_KINDS }).notNull(),
    action: text("action", { enum: LIST_ACTIONS }).notNull(),
    /** For channels of every type; otherwise for those whose type names the list. */
    everywhere: boolean("everywhere").notNull().default(true),
    active: boolean("active").notNull().default(true),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("block_lists_by_name").on(t.tenantId, t.name),
    oneOf("block_lists_kind", t.kind, LIST_KINDS),
    oneOf("block_lists_action", t.action, LIST_ACTIONS),
  ],
);

/** `key` is what the entry is found by: two that look or read the same are one. */
export const blockListEntries = pgTable(
  "block_list_entries",
  {
    tenantId: tenantId(),
    listId: uuid("list_id").notNull(),
    key: text("key").notNull(),
    entry: text("entry").notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.listId, t.key] }),
    references([t.tenantId, t.listId], blockLists).onDelete("cascade"),
  ],
);

/** What waits for a verdict, or had one: a message with or without flags, a change of a message that was held, a flagged user. */
export const moderationQueue = pgTable(
  "moderation_queue",
  {
    tenantId: tenantId(),
    id: id(),
    kind: text("kind", { enum: QUEUE_KINDS }).notNull(),
    messageId: uuid("message_id"),
    /** Who wrote it, or is flagged. */
    userId: uuid("user_id"),
    channelId: uuid("channel_id"),
    source: text("source", { enum: QUEUE_SOURCES }).notNull(),
    reason: text("reason"),
    /** What a held edit would make of the message. */
    change: jsonb("change").$type<Record<string, unknown>>(),
    status: text("status", { enum: QUEUE_STATUSES }).notNull().default("pending"),
    reviewedBy: uuid("reviewed_by"),
    reviewedAt: instant("reviewed_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("moderation_queue_by_status").on(t.tenantId, t.status, t.createdAt, t.id),
    index("moderation_queue_by_age").on(t.tenantId, t.createdAt, t.id),
    index("moderation_queue_by_channel").on(t.tenantId, t.channelId, t.createdAt, t.id),
    index("moderation_queue_by_message").on(t.tenantId, t.messageId),
    index("moderation_queue_by_user").on(t.tenantId, t.userId, t.createdAt, t.id),
    index("moderation_queue_by_reviewer").on(t.tenantId, t.reviewedBy),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.reviewedBy], users).onDelete("set null"),
    oneOf("moderation_queue_kind", t.kind, QUEUE_KINDS),
    oneOf("moderation_queue_source", t.source, QUEUE_SOURCES),
    oneOf("moderation_queue_status", t.status, QUEUE_STATUSES),
  ],
);

/** Once per flagger, or per tenant's servers, and what is flagged. */
export const flags = pgTable(
  "flags",
  {
    tenantId: tenantId(),
    id: id(),
    queueId: uuid("queue_id").notNull(),
    messageId: uuid("message_id"),
    userId: uuid("user_id"),
    flaggedBy: uuid("flagged_by"),
    reason: text("reason").notNull(),
    details: text("details"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("flags_by_entry").on(t.tenantId, t.queueId),
    uniqueIndex("flags_by_message").on(t.tenantId, t.messageId, t.flaggedBy).where(sql`${t.messageId} is not null`),
    uniqueIndex("flags_by_user").on(t.tenantId, t.userId, t.flaggedBy).where(sql`${t.messageId} is null`),
    index("flags_of_message").on(t.tenantId, t.messageId),
    index("flags_of_user").on(t.tenantId, t.userId),
    index("flags_by_flagger").on(t.tenantId, t.flaggedBy),
    references([t.tenantId, t.queueId], moderationQueue).onDelete("cascade"),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.flaggedBy], users).onDelete("cascade"),
  ],
);
