import { and, desc, eq, inArray, notInArray, type SQL, sql } from "drizzle-orm";
import type { Actor, Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { announceJobs } from "../lib/job";
import { after, type Page, paged } from "../lib/page";
import { found, mustExist, own } from "../lib/rows";
import { audit } from "../tenants/audit";
import { optionsOf, uncancellable } from "./registry";
import { type JOB_STATUSES, scheduledJobs as jobs } from "./schema";

const { id, type, payload, status, runAt, attempts, maxAttempts, progressDone, progressTotal } = jobs;
const { result, error, createdBy, startedAt, finishedAt, createdAt } = jobs;
const columns = {
  ...{ id, type, payload, status, runAt, attempts, maxAttempts, progressDone, progressTotal },
  ...{ result, error, createdBy, startedAt, finishedAt, createdAt },
};

type JobRow = Awaited<ReturnType<typeof jobRow>>[number];
const jobRow = (jobId: string) => db.select(columns).from(jobs).where(own(jobs, jobId));

export function shownJob({ progressDone, progressTotal, ...job }: JobRow) {
  return { ...job, progress: { done: progressDone, total: progressTotal } };
}

export type NewJob = {
  type: string;
  payload?: Record<string, unknown>;
  /** Now, where it is left out. */
  runAt?: string | undefined;
  /** While one with this key is not finished, there is no second. */
  uniqueKey?: string;
  total?: number;
};

/**
 * The query goes into the batch of whatever the job follows from, and returns the job: with a unique key that may be
 * the one there is already. When the batch is committed, `announce` lets it start at its time.
 */
export function scheduleJob(ctx: Context, input: NewJob) {
  const { tenantId } = ctx;
  const query = db
    .insert(jobs)
    .values({
      tenantId,
      id: newId(),
      type: input.type,
      payload: input.payload ?? {},
      uniqueKey: input.uniqueKey ?? null,
      runAt: input.runAt ?? sql`now()`,
      maxAttempts: optionsOf(input.type).maxAttempts,
      progressTotal: input.total ?? null,
      createdBy: nameOf(ctx.actor),
    })
    .onConflictDoUpdate({
      target: [jobs.tenantId, jobs.uniqueKey],
      targetWhere: sql`status in ('pending', 'running')`,
      set: { uniqueKey: sql`excluded.unique_key` },
    })
    .returning(columns);
  return { query, announce: (rows: readonly JobRow[]) => announce(ctx, rows) };
}

const announce = (ctx: Context, rows: readonly { id: string; runAt: string }[]) =>
  ctx.waitUntil(
    announceJobs(
      ctx.env,
      rows.map((row) => ({ tenantId: ctx.tenantId, id: row.id, runAt: row.runAt })),
    ),
  );

function nameOf(actor: Actor): string {
  if (actor.kind === "key") return `key:${actor.key.id}`;
  if (actor.kind === "token") return `token:${actor.authKeyId}`;
  return actor.kind === "user" ? `user:${actor.user.id}` : "system";
}

export type JobStatus = (typeof JOB_STATUSES)[number];
export type JobFilters = Page & { type?: string | undefined; status?: JobStatus | undefined };

export async function listJobs(ctx: Context, filters: JobFilters) {
  const where = and(
    eq(jobs.tenantId, ctx.tenantId),
    after(filters, [jobs.id]),
    filters.type === undefined ? undefined : eq(jobs.type, filters.type),
    filters.status === undefined ? undefined : eq(jobs.status, filters.status),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(jobs)
      .where(where)
      .orderBy(desc(jobs.id))
      .limit(filters.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, filters, (row) => [row.id]);
  return { data: data.map(shownJob), nextCursor };
}

export async function getJob(ctx: Context, jobId: string) {
  const [rows] = await asTenant(ctx, [jobRow(jobId)]);
  return shownJob(found(rows));
}

const mustBe = (jobId: string, condition: SQL) =>
  refuseUnless(sql`exists (select 1 from ${jobs} where ${own(jobs, jobId, condition)})`, "conflict");

/** One that runs stops at the end of its step, whose writes are not kept. */
export async function cancelJob(ctx: Context, jobId: string) {
  const kept = uncancellable();
  const open = and(
    inArray(jobs.status, ["pending", "running"]),
    kept.length > 0 ? notInArray(jobs.type, kept) : undefined,
  );
  const [, , , , rows] = await asTenant(ctx, [
    mustExist(jobs, jobId),
    db
      .update(jobs)
      .set({ status: "cancelled", finishedAt: sql`now()`, lockedUntil: null })
      .where(own(jobs, jobId, open)),
    mustBe(jobId, eq(jobs.status, "cancelled")),
    audit(ctx, "job.cancelled", { type: "job", id: jobId }),
    jobRow(jobId),
  ]);
  return shownJob(found(rows));
}

/** One that waits starts now; one that failed goes on where it was. */
export async function runJobNow(ctx: Context, jobId: string) {
  const [, , , , rows] = await asTenant(ctx, [
    mustExist(jobs, jobId),
    db
      .update(jobs)
      .set({ status: "pending", runAt: sql`now()`, attempts: 0, error: null, finishedAt: null })
      .where(own(jobs, jobId, inArray(jobs.status, ["pending", "failed"]))),
    mustBe(jobId, and(eq(jobs.status, "pending"), sql`${jobs.runAt} = now()`)!),
    audit(ctx, "job.run", { type: "job", id: jobId }),
    jobRow(jobId),
  ]);
  announce(ctx, rows);
  return shownJob(found(rows));
}
