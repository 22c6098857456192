import { sql } from "drizzle-orm";
import { index, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { channels } from "../channels/schema";
import { createdAt, id, instant, oneOf, references, tenantId, updatedAt } from "../lib/columns";
import { messages } from "../messages/schema";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const PUSH_LEVELS = ["all", "mentions", "none"] as const;
export const NOTICE_KINDS = ["message", "mention", "reply"] as const;

const nobody = sql`'00000000-0000-0000-0000-000000000000'`;

/** Messages whose members are still to be notified, with the device up to which that is done. Written by a trigger. */
export const pushTasks = pgTable(
  "push_tasks",
  {
    tenantId: tenantId(),
    messageId: uuid("message_id").notNull(),
    afterUser: uuid("after_user").notNull().default(nobody),
    afterDevice: uuid("after_device").notNull().default(nobody),
    createdAt: createdAt(),
    /** From then on it is nobody's who was told by the queue. */
    dueAt: instant("due_at").notNull().default(sql`now() + interval '5 seconds'`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId] }),
    index("push_tasks_due").on(t.dueAt),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
  ],
);

/** What a user wants to be notified of: in one channel, or everywhere else where there is none. */
export const pushPreferences = pgTable(
  "push_preferences",
  {
    tenantId: tenantId(),
    id: id(),
    userId: uuid("user_id").notNull(),
    channelId: uuid("channel_id"),
    level: text("level", { enum: PUSH_LEVELS }).notNull(),
    snoozedUntil: instant("snoozed_until"),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("push_preferences_by_channel")
      .on(t.tenantId, t.userId, t.channelId)
      .where(sql`${t.channelId} is not null`),
    uniqueIndex("push_preferences_by_user").on(t.tenantId, t.userId).where(sql`${t.channelId} is null`),
    index("push_preferences_of_user").on(t.tenantId, t.userId),
    index("push_preferences_of_channel").on(t.tenantId, t.channelId),
    references([t.tenantId, t.userId], users).onDelete("cascade"),
    references([t.tenantId, t.channelId], channels).onDelete("cascade"),
    oneOf("push_preferences_level", t.level, PUSH_LEVELS),
  ],
);

/** A tenant's own words. */
export const pushTemplates = pgTable(
  "push_templates",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    kind: text("kind", { enum: NOTICE_KINDS }).notNull(),
    title: text("title").notNull(),
    body: text("body").notNull(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.kind] }), oneOf("push_templates_kind", t.kind, NOTICE_KINDS)],
);
