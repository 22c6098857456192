import { sql } from "drizzle-orm";
import { boolean, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from "drizzle-orm/pg-core";
import { inboxes } from "../inboxes/schema";
import { createdAt, id, instant, oneOf, references, tenantId } from "../lib/columns";
import { messages } from "../messages/schema";

export const RECIPIENT_KINDS = ["from", "sender", "to", "cc", "bcc", "reply_to"] as const;
export const REFERENCE_KINDS = ["own", "provider", "token", "in_reply_to", "reference", "returned"] as const;
export const RAW_SOURCES = ["smtp", "http", "ses"] as const;
export const RAW_STATUSES = ["pending", "recorded", "duplicate", "blocked", "looping", "failed"] as const;

/** The mail part of a message of an e-mail conversation, in either direction. `messages.text` holds what its writer wrote anew. */
export const emails = pgTable(
  "emails",
  {
    tenantId: tenantId(),
    messageId: uuid("message_id").notNull(),
    inboxId: uuid("inbox_id").notNull(),
    /** Of RFC 5322, without its brackets; made of the raw bytes' hash where there is none. */
    rfcId: text("rfc_id").notNull(),
    /** Tells mails apart that share an id. */
    fingerprint: text("fingerprint").notNull(),
    subject: text("subject").notNull().default(""),
    /** Whole, with what was quoted; null where it was too long to be kept beside the raw mail. */
    text: text("text"),
    html: text("html"),
    /** Of `text` and `html` those that are in the raw mail alone. */
    leftOut: text("left_out").array().notNull().default([]),
    sentAt: instant("sent_at"),
    envelopeFrom: text("envelope_from"),
    envelopeTo: text("envelope_to"),
    tag: text("tag"),
    rawKey: text("raw_key"),
    rawSize: integer("raw_size"),
    verdicts: jsonb("verdicts").$type<Record<string, unknown>>(),
    authenticated: boolean("authenticated").notNull().default(false),
    autoReply: boolean("auto_reply").notNull().default(false),
    bounce: boolean("bounce").notNull().default(false),
    list: boolean("list").notNull().default(false),
    spam: boolean("spam").notNull().default(false),
    /** Another mail with the same id and other content is there too. */
    idReused: boolean("id_reused").notNull().default(false),
    /** Of what we sent: transactional, marketing, or one of the tenant's own. */
    stream: text("stream"),
    /** What statistics group by; of a tag with a value, `name=value`. */
    tags: text("tags").array().notNull().default([]),
    /** Why it is where it is: route, joining ids, verdicts, and the signals behind its flags. */
    why: jsonb("why").$type<Record<string, unknown>>().notNull().default({}),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId] }),
    uniqueIndex("emails_by_rfc_id").on(t.tenantId, t.inboxId, t.rfcId, t.fingerprint),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.inboxId], inboxes).onDelete("restrict"),
  ],
);

const ofEmail = { tenantId: tenantId(), messageId: uuid("message_id").notNull() };

export const messageRecipients = pgTable(
  "message_recipients",
  {
    ...ofEmail,
    id: id(),
    kind: text("kind", { enum: RECIPIENT_KINDS }).notNull(),
    position: integer("position").notNull(),
    /** Folded. */
    address: text("address").notNull(),
    /** As it stands in the mail, where that is not the same: tokens in it may tell large letters from small ones. */
    written: text("written"),
    name: text("name"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("message_recipients_by_message").on(t.tenantId, t.messageId, t.kind, t.position),
    index("message_recipients_by_address").on(t.tenantId, t.address, t.messageId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    oneOf("message_recipients_kind", t.kind, RECIPIENT_KINDS),
  ],
);

/**
 * Every id by which another mail may belong to this one: its own, that of the provider which sent it, and those it
 * names. Mails of an inbox that share one are of one conversation.
 */
export const messageReferences = pgTable(
  "message_references",
  {
    ...ofEmail,
    inboxId: uuid("inbox_id").notNull(),
    referencedId: text("referenced_id").notNull(),
    kind: text("kind", { enum: REFERENCE_KINDS }).notNull(),
    position: integer("position").notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId, t.referencedId] }),
    index("message_references_by_id").on(t.tenantId, t.inboxId, t.referencedId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
    oneOf("message_references_kind", t.kind, REFERENCE_KINDS),
  ],
);

/** A mail as it came; its bytes lie in the bucket. Kept whatever becomes of it. */
export const inboundRaw = pgTable(
  "inbound_raw",
  {
    tenantId: tenantId(),
    id: id(),
    inboxId: uuid("inbox_id").notNull(),
    source: text("source", { enum: RAW_SOURCES }).notNull(),
    envelopeFrom: text("envelope_from").notNull(),
    envelopeTo: text("envelope_to").notNull(),
    tag: text("tag"),
    /** Which rule found the inbox: exact, base or catch-all. */
    route: text("route").notNull(),
    size: integer("size").notNull(),
    sha256: text("sha256").notNull(),
    status: text("status", { enum: RAW_STATUSES }).notNull().default("pending"),
    error: text("error"),
    messageId: uuid("message_id"),
    attempts: integer("attempts").notNull().default(0),
    nextAttemptAt: instant("next_attempt_at").notNull().default(sql`now()`),
    claimedUntil: instant("claimed_until"),
    createdAt: createdAt(),
    finishedAt: instant("finished_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("inbound_raw_by_inbox").on(t.tenantId, t.inboxId, t.status, t.id),
    index("inbound_raw_by_message").on(t.tenantId, t.messageId),
    index("inbound_raw_due").on(t.nextAttemptAt).where(sql`${t.status} = 'pending'`),
    index("inbound_raw_finished")
      .on(t.finishedAt)
      .where(sql`${t.status} <> 'pending' and (${t.status} <> 'recorded' or ${t.messageId} is null)`),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
    references([t.tenantId, t.messageId], messages).onDelete("set null"),
    oneOf("inbound_raw_source", t.source, RAW_SOURCES),
    oneOf("inbound_raw_status", t.status, RAW_STATUSES),
  ],
);

/** A mail that we made; its bytes lie in the bucket as long as its message is there. */
export const outboundRaw = pgTable(
  "outbound_raw",
  {
    tenantId: tenantId(),
    id: id(),
    messageId: uuid("message_id"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("outbound_raw_by_message").on(t.tenantId, t.messageId),
    index("outbound_raw_finished").on(t.createdAt).where(sql`${t.messageId} is null`),
    references([t.tenantId, t.messageId], messages).onDelete("set null"),
  ],
);

/** What a mail is made of that is sent at a time to come, beside its scheduled message. */
export const scheduledEmails = pgTable(
  "scheduled_emails",
  {
    ...ofEmail,
    inboxId: uuid("inbox_id").notNull(),
    draft: jsonb("draft").$type<Record<string, unknown>>().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.messageId] }),
    index("scheduled_emails_by_inbox").on(t.tenantId, t.inboxId),
    references([t.tenantId, t.messageId], messages).onDelete("cascade"),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
  ],
);

/** When a sender was last answered automatically. */
export const autoReplies = pgTable(
  "auto_replies",
  {
    tenantId: tenantId(),
    inboxId: uuid("inbox_id").notNull(),
    address: text("address").notNull(),
    repliedAt: instant("replied_at").notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.inboxId, t.address] }),
    references([t.tenantId, t.inboxId], inboxes).onDelete("cascade"),
  ],
);
