import { sql } from "drizzle-orm";
import { bigint, boolean, index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { channels } from "../channels/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const CAMPAIGN_KINDS = ["broadcast"] as const;
export const CAMPAIGN_STATUSES = [
  "draft",
  "scheduled",
  "sending",
  "paused",
  "completed",
  "failed",
  "cancelled",
] as const;
export const TARGET_STATUSES = ["pending", "sent", "failed"] as const;

/** One message to many channels or users. What became of it is counted from its targets. */
export const campaigns = pgTable(
  "campaigns",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    kind: text("kind", { enum: CAMPAIGN_KINDS }).notNull().default("broadcast"),
    name: text("name").notNull(),
    message: jsonb("message").$type<Record<string, unknown>>().notNull(),
    /** In whose name; nobody's, but the app's own, where there is none. */
    senderId: uuid("sender_id"),
    /** Of the channels that are made for users. */
    channelType: text("channel_type").notNull().default("messaging"),
    status: text("status", { enum: CAMPAIGN_STATUSES }).notNull().default("draft"),
    scheduledFor: instant("scheduled_for"),
    startedAt: instant("started_at"),
    finishedAt: instant("finished_at"),
    error: text("error"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("campaigns_by_status").on(t.tenantId, t.status, t.id),
    index("campaigns_by_schedule").on(t.tenantId, t.scheduledFor).where(sql`${t.status} = 'scheduled'`),
    index("campaigns_by_sender").on(t.tenantId, t.senderId),
    references([t.tenantId, t.senderId], users).onDelete("set null"),
    oneOf("campaigns_kind", t.kind, CAMPAIGN_KINDS),
    oneOf("campaigns_status", t.status, CAMPAIGN_STATUSES),
  ],
);

/** A channel, or a user who is written to in the channel of the two; each once, however often it is named. */
export const campaignTargets = pgTable(
  "campaign_targets",
  {
    tenantId: tenantId(),
    id: id(),
    campaignId: uuid("campaign_id").notNull(),
    userId: uuid("user_id"),
    channelId: uuid("channel_id"),
    status: text("status", { enum: TARGET_STATUSES }).notNull().default("pending"),
    code: text("code"),
    /** Not a foreign key: what is deleted was sent all the same. */
    messageId: uuid("message_id"),
    seq: bigint("seq", { mode: "number" }),
    /** Somebody it was meant for was connected when it came. */
    reached: boolean("reached").notNull().default(false),
    sentAt: instant("sent_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("campaign_targets_by_user").on(t.tenantId, t.campaignId, t.userId).where(sql`${t.userId} is not null`),
    uniqueIndex("campaign_targets_by_channel")
      .on(t.tenantId, t.campaignId, t.channelId)
      .where(sql`${t.userId} is null`),
    index("campaign_targets_by_status").on(t.tenantId, t.campaignId, t.status, t.id),
    index("campaign_targets_of_user").on(t.tenantId, t.userId),
    index("campaign_targets_of_channel").on(t.tenantId, t.channelId),
    references([t.tenantId, t.campaignId], campaigns).onDelete("cascade"),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    oneOf("campaign_targets_status", t.status, TARGET_STATUSES),
  ],
);
