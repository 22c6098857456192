import { eq, SQL, sql } from "drizzle-orm";
import { type Context, systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError, databaseFault } from "../lib/errors";
import { announceJobs, type Job, type SavedStep, type Step } from "../lib/job";
import { logFault } from "../lib/log";
import { own } from "../lib/rows";
import { stepOf } from "./registry";
import { scheduledJobs as jobs } from "./schema";

/** A job taken up. `token` is the moment of it: what saves with another one has lost the job. */
export type Claimed = Omit<Job, "save"> & { token: string; waitMs: number };

/** Nobody else takes the job up for so long; each save renews it. */
export const LEASE_SECONDS = 60;
/** An invocation may make a thousand calls in all. */
const STEPS_MOST = 80;
const JOB_LOST = "PA423";

/** Step by step until it is done, its time is over, it fails, or it is somebody else's. */
export async function runJob(env: Env, claimed: Claimed, ctx: ExecutionContext, sliceMs: number): Promise<void> {
  const context = systemContext(env, claimed.tenantId, (work) => ctx.waitUntil(work));
  if (claimed.waitMs > 0) await new Promise((resolve) => setTimeout(resolve, claimed.waitMs));
  let job = claimed;
  try {
    const until = Date.now() + sliceMs;
    for (let steps = 0; steps === 0 || (steps < STEPS_MOST && Date.now() < until); steps++) {
      const step = await takeStep(context, job);
      if (step.done) return;
      job = { ...job, ...given(step), attempt: 1 };
    }
    await letGo(context, job);
  } catch (error) {
    if (databaseFault(error)?.code === JOB_LOST) return;
    await recordFailure(context, job, error).catch((second) => logFault(context.requestId, second));
  }
}

const given = ({ done: _, result: _r, ...place }: Step) =>
  Object.fromEntries(Object.entries(place).filter(([, value]) => value !== undefined));

async function takeStep(ctx: Context, job: Claimed): Promise<Step> {
  const run = stepOf(job.type);
  if (!run) throw new Error(`No job ${job.type} is registered.`);
  let saved = false;
  const save = (step: SavedStep) => {
    saved = true;
    return saveQuery(job, step);
  };
  const step = await run(ctx, { ...job, save });
  if (!saved) await asTenant(ctx, [saveQuery(job, step)]);
  return step;
}

function saveQuery(job: Claimed, { done = false, cursor, progress, total, result }: SavedStep) {
  const place = cursor instanceof SQL ? cursor : json(cursor);
  return db.execute<{
    progress: number;
  }>(sql`select save_job(${job.id}::uuid, ${job.token}::timestamptz, ${LEASE_SECONDS}::int, ${done}::boolean,
    ${place}::jsonb, (${progress ?? null})::int, ${total === undefined}::boolean, (${total ?? null})::int, ${json(result)}::jsonb) as progress`);
}

const json = (values: Record<string, unknown> | undefined) => (values === undefined ? null : JSON.stringify(values));

const held = (job: Claimed) =>
  own(jobs, job.id, eq(jobs.status, "running"), sql`${jobs.startedAt} = ${job.token}::timestamptz`);

/** It goes on in another invocation, behind what waits in the queue. */
async function letGo(ctx: Context, job: Claimed): Promise<void> {
  const [rows] = await asTenant(ctx, [
    db
      .update(jobs)
      .set({ lockedUntil: null, attempts: 0 })
      .where(held(job))
      .returning({ id: jobs.id, runAt: jobs.runAt }),
  ]);
  await announceJobs(
    ctx.env,
    rows.map((row) => ({ tenantId: ctx.tenantId, ...row })),
  );
}

/** 5 s, 20 s, 80 s … up to an hour, each ±25 %. */
export const retrySeconds = (attempt: number, random = Math.random()): number =>
  Math.min(3600, 5 * 4 ** (attempt - 1)) * (0.75 + 0.5 * random);

async function recordFailure(ctx: Context, job: Claimed, error: unknown): Promise<void> {
  const known = error instanceof ApiError;
  if (!known) logFault(ctx.requestId, error);
  const text = known
    ? `${error.code}: ${error.message}`
    : `Something went wrong; the log has it under ${ctx.requestId}.`;
  const again = sql`${jobs.attempts} < ${jobs.maxAttempts}`;
  const [rows] = await asTenant(ctx, [
    db
      .update(jobs)
      .set({
        status: sql`case when ${again} then 'pending' else 'failed' end`,
        runAt: sql`case when ${again} then now() + make_interval(secs => ${retrySeconds(job.attempt)}) else ${jobs.runAt} end`,
        finishedAt: sql`case when ${again} then null else now() end`,
        lockedUntil: null,
        error: text,
      })
      .where(held(job))
      .returning({ id: jobs.id, runAt: jobs.runAt, status: jobs.status }),
  ]);
  const retried = rows.filter((row) => row.status === "pending");
  await announceJobs(
    ctx.env,
    retried.map((row) => ({ tenantId: ctx.tenantId, ...row })),
  );
}
