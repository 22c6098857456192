import { sql } from "drizzle-orm";
import { index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from "drizzle-orm/pg-core";
import { createdAt, id, instant, oneOf, tenantId } from "../lib/columns";
import { tenants } from "../tenants/schema";

export const JOB_STATUSES = ["pending", "running", "completed", "failed", "cancelled"] as const;

/** Work for later. `cursor` is where it is: each step saves it with its own writes, so a crash repeats nothing. */
export const scheduledJobs = pgTable(
  "scheduled_jobs",
  {
    tenantId: tenantId().references(() => tenants.id, { onDelete: "cascade" }),
    id: id(),
    type: text("type").notNull(),
    payload: jsonb("payload").$type<Record<string, unknown>>().notNull().default({}),
    /** A recurring or unique job has at most one row that is not finished. */
    uniqueKey: text("unique_key"),
    runAt: instant("run_at").notNull(),
    status: text("status", { enum: JOB_STATUSES }).notNull().default("pending"),
    attempts: integer("attempts").notNull().default(0),
    maxAttempts: integer("max_attempts").notNull().default(5),
    lockedUntil: instant("locked_until"),
    cursor: jsonb("cursor").$type<Record<string, unknown>>(),
    progressDone: integer("progress_done").notNull().default(0),
    progressTotal: integer("progress_total"),
    result: jsonb("result").$type<Record<string, unknown>>(),
    error: text("error"),
    createdBy: text("created_by").notNull(),
    startedAt: instant("started_at"),
    finishedAt: instant("finished_at"),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.id] }),
    index("scheduled_jobs_due").on(t.runAt).where(sql`${t.status} in ('pending', 'running')`),
    index("scheduled_jobs_by_status").on(t.tenantId, t.status, t.runAt),
    index("scheduled_jobs_by_type").on(t.tenantId, t.type, t.createdAt),
    index("scheduled_jobs_finished").on(t.finishedAt).where(sql`${t.finishedAt} is not null`),
    uniqueIndex("scheduled_jobs_by_unique_key")
      .on(t.tenantId, t.uniqueKey)
      .where(sql`${t.status} in ('pending', 'running')`),
    oneOf("scheduled_jobs_status", t.status, JOB_STATUSES),
  ],
);
