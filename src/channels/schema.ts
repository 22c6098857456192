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
import { MEDIA } from "../events/schema";
import { inboxes } from "../inboxes/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { teams } from "../teams/schema";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const MEMBER_ROLES = ["owner", "admin", "moderator", "member"] as const;
export const INVITATION_STATUSES = ["pending", "accepted", "rejected"] as const;

/** PostgreSQL's text search configurations. */
export const LANGUAGES = [
  ...["simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german"],
  ...["greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian"],
  ...["portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"],
] as const;

export type TypeSettings = {
  reactions?: boolean;
  threads?: boolean;
  typing?: boolean;
  reads?: boolean;
  uploads?: boolean;
  push?: boolean;
  maxLength?: number;
  public?: boolean;
  oneReaction?: boolean;
  pendingMinutes?: number;
  blockLists?: string[];
};

/** What channels of a type may do, and which roles may do what; a type without a row here has the defaults. */
export const channelTypes = pgTable(
  "channel_types",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    settings: jsonb("settings").$type<TypeSettings>().notNull().default({}),
    permissions: jsonb("permissions").$type<Record<string, string[]>>().notNull().default({}),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.name] })],
);

/** Any conversation, whatever its medium. Its numbers are given by its stream. */
export const channels = pgTable(
  "channels",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    medium: text("medium", { enum: MEDIA }).notNull().default("chat"),
    type: text("type").notNull().default("messaging"),
    name: text("name"),
    description: text("description"),
    avatarUrl: text("avatar_url"),
    teamId: uuid("team_id"),
    /** Of an e-mail conversation: where it was received or begun. */
    inboxId: uuid("inbox_id"),
    /** The conversation that took up its messages, when a mail showed that both are one. */
    mergedInto: uuid("merged_into"),
    /** Of its members, sorted: the same members find the same channel. */
    distinctKey: text("distinct_key"),
    frozen: boolean("frozen").notNull().default(false),
    slowMode: integer("slow_mode").notNull().default(0),
    cooldown: integer("cooldown").notNull().default(0),
    language: text("language").notNull().default("simple"),
    metadata: jsonb("metadata").$type<Record<string, unknown>>().notNull().default({}),
    settings: jsonb("settings").$type<TypeSettings>().notNull().default({}),
    createdBy: uuid("created_by"),
    /** Of a conversation that can be restored until it is purged. */
    trashedAt: instant("trashed_at"),
    /** Nobody sees it any more; a job removes what was in it. */
    deletedAt: instant("deleted_at"),
    truncatedAt: instant("truncated_at"),
    /** Messages up to this number are hidden by a truncation. */
    truncatedSeq: bigint("truncated_seq", { mode: "number" }).notNull().default(0),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("channels_by_medium").on(t.tenantId, t.medium, t.id),
    index("channels_by_type").on(t.tenantId, t.type, t.id),
    index("channels_by_team").on(t.tenantId, t.teamId),
    index("channels_by_inbox").on(t.tenantId, t.inboxId, t.id),
    index("channels_by_merged_into").on(t.tenantId, t.mergedInto),
    index("channels_trashed").on(t.tenantId, t.trashedAt).where(sql`${t.trashedAt} is not null`),
    index("channels_by_creator").on(t.tenantId, t.createdBy),
    index("channels_by_language").on(t.tenantId, t.language),
    index("channels_frozen").on(t.tenantId, t.id).where(sql`${t.frozen}`),
    uniqueIndex("channels_by_distinct_key").on(t.tenantId, t.distinctKey),
    references([t.tenantId, t.teamId], teams).onDelete("restrict"),
    references([t.tenantId, t.inboxId], inboxes).onDelete("restrict"),
    references([t.tenantId, t.mergedInto], t).onDelete("cascade"),
    references([t.tenantId, t.createdBy], users).onDelete("set null"),
    oneOf("channels_medium", t.medium, MEDIA),
  ],
);

export const channelMembers = pgTable(
  "channel_members",
  {
    tenantId: tenantId(),
    channelId: uuid("channel_id").notNull(),
    userId: uuid("user_id").notNull(),
    role: text("role", { enum: MEMBER_ROLES }).notNull().default("member"),
    muted: boolean("muted").notNull().default(false),
    pinnedAt: instant("pinned_at"),
    archivedAt: instant("archived_at"),
    /** Hidden while the channel has no newer message than this one. */
    hiddenOrdinal: bigint("hidden_ordinal", { mode: "number" }),
    /** What lies at or before it is not shown to this member. */
    historySeq: bigint("history_seq", { mode: "number" }).notNull().default(0),
    readSeq: bigint("read_seq", { mode: "number" }).notNull().default(0),
    readOrdinal: bigint("read_ordinal", { mode: "number" }).notNull().default(0),
    readAt: instant("read_at"),
    joinedAt: instant("joined_at").notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.channelId, t.userId] }),
    index("channel_members_by_user").on(t.tenantId, t.userId, t.channelId),
    index("channel_members_by_joining").on(t.tenantId, t.channelId, t.joinedAt, t.userId),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    oneOf("channel_members_role", t.role, MEMBER_ROLES),
  ],
);

export const invitations = pgTable(
  "invitations",
  {
    tenantId: tenantId(),
    id: id(),
    channelId: uuid("channel_id").notNull(),
    userId: uuid("user_id").notNull(),
    invitedBy: uuid("invited_by"),
    role: text("role", { enum: MEMBER_ROLES }).notNull().default("member"),
    status: text("status", { enum: INVITATION_STATUSES }).notNull().default("pending"),
    answeredAt: instant("answered_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("invitations_by_pending").on(t.tenantId, t.channelId, t.userId).where(sql`${t.status} = 'pending'`),
    index("invitations_by_channel").on(t.tenantId, t.channelId),
    index("invitations_by_user").on(t.tenantId, t.userId, t.status),
    index("invitations_by_inviter").on(t.tenantId, t.invitedBy),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.invitedBy], users).onDelete("set null"),
    oneOf("invitations_role", t.role, MEMBER_ROLES),
    oneOf("invitations_status", t.status, INVITATION_STATUSES),
  ],
);

/** Each advance of a read mark with its time: who read a message, and when, follows from it. */
export const memberReads = pgTable(
  "member_reads",
  {
    tenantId: tenantId(),
    channelId: uuid("channel_id").notNull(),
    userId: uuid("user_id").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    readAt: instant("read_at").notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.channelId, t.userId, t.seq] }),
    index("member_reads_by_user").on(t.tenantId, t.userId),
    index("member_reads_by_seq").on(t.tenantId, t.channelId, t.seq),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
  ],
);
