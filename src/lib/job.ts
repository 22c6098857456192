import type { SQL } from "drizzle-orm";
import type { Context } from "./context";
import type { db } from "./db";

export type Values = Record<string, unknown>;

/** What a step has come to. What is left out stays as it was. */
export type Step = { done?: boolean; cursor?: Values; progress?: number; total?: number | null; result?: Values };

/** The same, where the database itself knows some of it. */
export type SavedStep = Omit<Step, "cursor" | "progress" | "total"> & {
  cursor?: Values | SQL;
  progress?: number | SQL;
  total?: number | null | SQL;
};

/** A job that was taken up, as its step sees it. */
export type Job = {
  tenantId: string;
  id: string;
  type: string;
  payload: Values;
  cursor: Values | null;
  progress: number;
  total: number | null;
  attempt: number;
  /**
   * Stands in the batch of the step's own writes, so that they and the place reached are saved together or not at all.
   * Returns the progress; ends the batch when the job was cancelled meanwhile or is somebody else's by now.
   */
  save(step: SavedStep): ReturnType<typeof db.execute<{ progress: number }>>;
};

/** One bounded piece of the work, well under a minute. A step that did not save what it returns has it saved for it. */
export type JobStep = (ctx: Context, job: Job) => Promise<Step>;

export type DueJob = { tenantId: string; id: string; runAt: string };

/** What is due later than this, the cron puts on the queue when its time comes near. */
const ANNOUNCED_MS = 15 * 60_000;
const MOST_AT_ONCE = 100;

/** After the commit, so that jobs start at their time; what gets lost here the cron finds. */
export async function announceJobs(env: Env, jobs: readonly DueJob[]): Promise<void> {
  const now = Date.now();
  const messages = jobs
    .map(({ tenantId, id, runAt }) => ({ body: { tenantId, jobId: id }, wait: Date.parse(runAt) - now }))
    .filter(({ wait }) => wait <= ANNOUNCED_MS)
    // The queue knows whole seconds; the consumer waits the rest.
    .map(({ body, wait }) => ({ body, delaySeconds: Math.max(0, Math.floor(wait / 1000)) }));
  for (let i = 0; i < messages.length; i += MOST_AT_ONCE) {
    await env.JOBS.sendBatch(messages.slice(i, i + MOST_AT_ONCE)).catch((error: unknown) =>
      console.error(JSON.stringify({ level: "error", message: "jobs were not announced", error: String(error) })),
    );
  }
}
