import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import { channels } from "../channels/schema";
import { contacts } from "../contacts/schema";
import { files } from "../files/schema";
import { createdAt, id, instant, oneOf, references, tenantId, tsvector, updatedAt } from "../lib/columns";
import { users } from "../users/schema";

export const MESSAGE_KINDS = ["text", "system"] as const;
export const MESSAGE_STATES = ["visible", "pending", "rejected", "scheduled"] as const;
export const DIRECTIONS = ["inbound", "outbound", "internal"] as const;
/** Whom a message mentions beside those it names: all members, or those who are there just then. */
export const MENTIONED_GROUPS = ["channel", "here"] as const;
export const ATTACHMENT_TYPES = ["image", "video", "audio", "file", "location"] as const;

export const messages = pgTable(
  "messages",
  {
    tenantId: tenantId(),
    id: id(),
    channelId: uuid("channel_id").notNull(),
    /** The number of the event that brought it; none while it is scheduled. */
    seq: bigint("seq", { mode: "number" }),
    /** Counts the messages that raise unread: silent ones, system ones and replies outside the channel have none. */
    ordinal: bigint("ordinal", { mode: "number" }),
    userId: uuid("user_id"),
    /** Who wrote it, where that is somebody outside. */
    contactId: uuid("contact_id"),
    /** Outside chat; internal is a note among operators. */
    direction: text("direction", { enum: DIRECTIONS }),
    clientId: text("client_id"),
    parentId: uuid("parent_id"),
    showInChannel: boolean("show_in_channel").notNull().default(true),
    quotedId: uuid("quoted_id"),
    text: text("text").notNull(),
    kind: text("kind", { enum: MESSAGE_KINDS }).notNull().default("text"),
    state: text("state", { enum: MESSAGE_STATES }).notNull().default("visible"),
    silent: boolean("silent").notNull().default(false),
    mentioning: text("mentioning", { enum: MENTIONED_GROUPS }),
    /** Written under a shadow ban: there for its writer alone. */
    shadowed: boolean("shadowed").notNull().default(false),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    pinnedAt: instant("pinned_at"),
    pinnedBy: uuid("pinned_by"),
    scheduledFor: instant("scheduled_for"),
    expiresAt: instant("expires_at"),
    editedAt: instant("edited_at"),
    deletedAt: instant("deleted_at"),
    /** Kept by a trigger; none where nobody is to find it. */
    searchable: tsvector("searchable"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("messages_by_words")
      .using("gin", t.tenantId, t.channelId, t.searchable)
      .with({ gin_pending_list_limit: 256 }),
    uniqueIndex("messages_by_seq").on(t.tenantId, t.channelId, t.seq),
    uniqueIndex("messages_by_client_id")
      .on(t.tenantId, t.channelId, t.userId, t.clientId)
      .where(sql`${t.clientId} is not null`),
    index("messages_by_ordinal").on(t.tenantId, t.channelId, t.ordinal).where(sql`${t.ordinal} is not null`),
    index("messages_mentioning_all").on(t.tenantId, t.channelId, t.ordinal).where(sql`${t.mentioning} = 'channel'`),
    index("messages_by_time").on(t.tenantId, t.createdAt, t.id),
    index("messages_by_user").on(t.tenantId, t.userId),
    index("messages_by_contact").on(t.tenantId, t.contactId, t.createdAt).where(sql`${t.contactId} is not null`),
    index("messages_by_parent").on(t.tenantId, t.parentId, t.seq).where(sql`${t.parentId} is not null`),
    index("messages_by_quoted").on(t.tenantId, t.quotedId).where(sql`${t.quotedId} is not null`),
    index("messages_by_pinner").on(t.tenantId, t.pinnedBy).where(sql`${t.pinnedBy} is not null`),
    index("messages_pinned").on(t.tenantId, t.channelId, t.pinnedAt).where(sql`${t.pinnedAt} is not null`),
    index("messages_by_state").on(t.tenantId, t.channelId, t.state).where(sql`${t.state} <> 'visible'`),
    index("messages_scheduled").on(t.tenantId, t.userId, t.scheduledFor).where(sql`${t.scheduledFor} is not null`),
    index("messages_expiring").on(t.expiresAt).where(sql`${t.expiresAt} is not null`),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.contactId], contacts).onDelete("set null"),
    references([t.tenantId, t.parentId], t).onDelete("cascade"),
    references([t.tenantId, t.quotedId], t).onDelete("set null"),
    references([t.tenantId, t.pinnedBy], users).onDelete("set null"),
    oneOf("messages_direction", t.direction, DIRECTIONS),
    oneOf("messages_kind", t.kind, MESSAGE_KINDS),
    oneOf("messages_state", t.state, MESSAGE_STATES),
    oneOf("messages_mentioning", t.mentioning, MENTIONED_GROUPS),
  ],
);

const ofMessage = { tenantId: tenantId(), messageId: uuid("message_id").notNull() };

export const messageEdits = pgTable(
  "message_edits",
  {
    ...ofMessage,
    id: id(),
    text: text("text").notNull(),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull(),
    attachments: jsonb("attachments").$type<Record<string, unknown>[]>().notNull().default([]),
    mentions: jsonb("mentions").$type<string[]>().notNull().default([]),
    editedBy: uuid("edited_by"),
    /** Edited under a shadow ban: known to its editor alone. */
    shadowed: boolean("shadowed").notNull().default(false),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("message_edits_by_message").on(t.tenantId, t.messageId, t.createdAt),
    index("message_edits_by_editor").on(t.tenantId, t.editedBy),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.editedBy], users).onDelete("set null"),
  ],
);

export const messageAttachments = pgTable(
  "message_attachments",
  {
    ...ofMessage,
    id: id(),
    channelId: uuid("channel_id"),
    position: integer("position").notNull(),
    type: text("type", { enum: ATTACHMENT_TYPES }).notNull(),
    fileId: uuid("file_id"),
    url: text("url"),
    thumbnailUrl: text("thumbnail_url"),
    fileName: text("file_name"),
    fileSize: bigint("file_size", { mode: "number" }),
    mimeType: text("mime_type"),
    width: integer("width"),
    height: integer("height"),
    duration: doublePrecision("duration"),
    latitude: doublePrecision("latitude"),
    longitude: doublePrecision("longitude"),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("message_attachments_by_message").on(t.tenantId, t.messageId, t.position),
    index("message_attachments_by_channel").on(t.tenantId, t.channelId, t.id),
    index("message_attachments_by_type").on(t.tenantId, t.type, t.fileSize),
    index("message_attachments_by_file").on(t.tenantId, t.fileId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.fileId], files).onDelete("set null"),
    oneOf("message_attachments_type", t.type, ATTACHMENT_TYPES),
  ],
);

export const messageMentions = pgTable(
  "message_mentions",
  {
    ...ofMessage,
    userId: uuid("user_id").notNull(),
    channelId: uuid("channel_id").notNull(),
    ordinal: bigint("ordinal", { mode: "number" }),
    /** Mentioned for being there, not by name. */
    here: boolean("here").notNull().default(false),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId, t.userId] }),
    index("message_mentions_by_user").on(t.tenantId, t.userId, t.channelId, t.ordinal),
    index("message_mentions_by_channel").on(t.tenantId, t.channelId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
  ],
);

export const messageReactions = pgTable(
  "message_reactions",
  {
    ...ofMessage,
    userId: uuid("user_id").notNull(),
    emoji: text("emoji").notNull(),
    /** Given under a shadow ban: there for its user alone. */
    shadowed: boolean("shadowed").notNull().default(false),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId, t.userId, t.emoji] }),
    index("message_reactions_by_message").on(t.tenantId, t.messageId, t.createdAt),
    index("message_reactions_by_user").on(t.tenantId, t.userId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

/** Who follows a thread, and how far they have read it: whoever it is about, writes in it or is mentioned there. */
export const threadMembers = pgTable(
  "thread_members",
  {
    tenantId: tenantId(),
    parentId: uuid("parent_id").notNull(),
    userId: uuid("user_id").notNull(),
    following: boolean("following").notNull().default(true),
    readSeq: bigint("read_seq", { mode: "number" }).notNull().default(0),
    readAt: instant("read_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.parentId, t.userId] }),
    index("thread_members_by_user").on(t.tenantId, t.userId, t.parentId),
    references([t.tenantId, t.parentId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

/** Each advance of a thread's read mark with its time. */
export const threadReads = pgTable(
  "thread_reads",
  {
    tenantId: tenantId(),
    parentId: uuid("parent_id").notNull(),
    userId: uuid("user_id").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    readAt: instant("read_at").notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.parentId, t.userId, t.seq] }),
    index("thread_reads_by_user").on(t.tenantId, t.userId),
    references([t.tenantId, t.parentId], messages).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);

/** What somebody has begun to write, one for each channel and one for each thread of it. */
export const messageDrafts = pgTable(
  "message_drafts",
  {
    tenantId: tenantId(),
    id: id(),
    channelId: uuid("channel_id").notNull(),
    userId: uuid("user_id").notNull(),
    parentId: uuid("parent_id"),
    quotedId: uuid("quoted_id"),
    text: text("text").notNull().default(""),
    mentions: jsonb("mentions").$type<string[]>().notNull().default([]),
    attachments: jsonb("attachments").$type<Record<string, unknown>[]>().notNull().default([]),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    unique("message_drafts_by_place").on(t.tenantId, t.channelId, t.userId, t.parentId).nullsNotDistinct(),
    index("message_drafts_by_user").on(t.tenantId, t.userId, t.id),
    index("message_drafts_by_parent").on(t.tenantId, t.parentId),
    index("message_drafts_by_quoted").on(t.tenantId, t.quotedId),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.parentId], messages).onDelete("cascade"),
    references([t.tenantId, t.quotedId], messages).onDelete("set null"),
  ],
);
