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
import { createdAt, id, instant, oneOf, tenantId } from "../lib/columns";
import { tenants } from "../tenants/schema";

export const STREAM_KINDS = ["channel", "user", "tenant"] as const;
export const MEDIA = [
  "chat",
  "email",
  "sms",
  "whatsapp",
  "twitter",
  "facebook",
  "instagram",
  "linkedin",
  "custom",
] as const;

/** What leads to people: a conversation's medium, or a notification of it. */
export const DELIVERY_MEDIA = [...MEDIA, "push"] as const;

/** The last number given in each stream. Narrow and apart, because every event of the stream updates it. */
export const streams = pgTable(
  "streams",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    kind: text("kind", { enum: STREAM_KINDS }).notNull(),
    id: id(),
    lastSeq: bigint("last_seq", { mode: "number" }).notNull(),
    /** Of a channel: how many messages there are that raise unread, and when the last one came. */
    lastOrdinal: bigint("last_ordinal", { mode: "number" }).notNull().default(0),
    lastMessageAt: instant("last_message_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.kind, t.id] }),
    index("streams_by_latest").on(t.tenantId, t.kind, sql`coalesce(${t.lastMessageAt}, ${t.createdAt})`, t.id),
    oneOf("streams_kind", t.kind, STREAM_KINDS),
  ],
);

/** `payload` is the text that is signed and sent, written once, so that every attempt carries the same bytes. */
export const events = pgTable(
  "events",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    streamKind: text("stream_kind", { enum: STREAM_KINDS }).notNull(),
    streamId: uuid("stream_id").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    type: text("type").notNull(),
    payload: text("payload").notNull(),
    /** Shown to this user alone: what is shadowed or pending. */
    audience: uuid("audience"),
    /** Of the catalogue's types that are about a message: which. */
    messageId: uuid("message_id"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    uniqueIndex("events_by_stream").on(t.tenantId, t.streamKind, t.streamId, t.seq),
    index("events_by_type").on(t.tenantId, t.type, t.createdAt, t.id),
    index("events_by_message").on(t.tenantId, t.messageId).where(sql`${t.messageId} is not null`),
    index("events_by_time").on(t.tenantId, t.createdAt, t.id),
    oneOf("events_stream_kind", t.streamKind, STREAM_KINDS),
  ],
);

/** The catalogue's types belong to the deployment's tenant; a tenant's own are called custom.* and carry a JSON Schema. */
export const webhookEventTypes = pgTable(
  "webhook_event_types",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    category: text("category").notNull(),
    description: text("description").notNull(),
    version: integer("version").notNull().default(1),
    durable: boolean("durable").notNull().default(true),
    stream: text("stream", { enum: STREAM_KINDS }).notNull(),
    schema: jsonb("schema").$type<Record<string, unknown>>().notNull(),
    active: boolean("active").notNull().default(true),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.name] }),
    index("webhook_event_types_by_category").on(t.tenantId, t.category, t.active),
    oneOf("webhook_event_types_stream", t.stream, STREAM_KINDS),
  ],
);
