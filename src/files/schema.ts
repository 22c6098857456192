import { sql } from "drizzle-orm";
import { bigint, index, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { createdAt, id, instant, oneOf, references, tenantId } from "../lib/columns";
import { tenants } from "../tenants/schema";
import { users } from "../users/schema";

export const UPLOAD_STATUSES = ["uploading", "completed", "failed"] as const;

/** An object in the bucket under `<tenant>/<id>`. `attachedAt` is set once something refers to it. */
export const files = pgTable(
  "files",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    name: text("name").notNull(),
    contentType: text("content_type").notNull(),
    size: bigint("size", { mode: "number" }).notNull().default(0),
    sha256: text("sha256"),
    status: text("status", { enum: UPLOAD_STATUSES }).notNull().default("uploading"),
    error: text("error"),
    uploadId: text("upload_id"),
    createdBy: uuid("created_by"),
    attachedAt: instant("attached_at"),
    completedAt: instant("completed_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("files_by_status").on(t.tenantId, t.status, t.createdAt),
    index("files_by_type").on(t.tenantId, t.contentType, t.createdAt),
    index("files_by_size").on(t.tenantId, t.size),
    index("files_by_creator").on(t.tenantId, t.createdBy),
    index("files_unused").on(t.createdAt).where(sql`${t.attachedAt} is null`),
    references([t.tenantId, t.createdBy], users).onDelete("set null"),
    oneOf("files_status", t.status, UPLOAD_STATUSES),
  ],
);

/** Who refers to a file from JSON, kept by triggers: a draft, what a message said before, a change that waits or is one user's own, a campaign. */
export const heldFiles = pgTable(
  "held_files",
  {
    tenantId: tenantId(),
    fileId: uuid("file_id").notNull(),
    /** The table and the key of its row. */
    holder: text("holder").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.fileId, t.holder] }),
    references([t.tenantId, t.fileId], files).onDelete("cascade"),
  ],
);
