import { createExecutionContext, createMessageBatch, getQueueResult, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import worker from "../src/index";
import type { Any } from "./helpers";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

export const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";

/** Delivers these bodies as the queue does. */
export async function queueJobs(...bodies: unknown[]) {
  const messages = bodies.map((body, n) => ({ id: `${n}`, timestamp: new Date(), attempts: 1, body }));
  const batch = createMessageBatch("parley-jobs", messages);
  const ctx = createExecutionContext();
  await worker.queue(batch, env, ctx);
  await waitOnExecutionContext(ctx);
  return getQueueResult(batch, ctx);
}

type Given = {
  type: string;
  payload?: Record<string, unknown>;
  /** From now. */
  seconds?: number;
  attempts?: number;
  maxAttempts?: number;
  status?: string;
};

/**
 * A job as a crash before its announcement leaves it. Test files share a database and not their buckets: what must run
 * in one of them alone has a type that is registered there alone.
 */
export async function newJob(tenantId: string, given: Given): Promise<string> {
  const id = crypto.randomUUID();
  const { type, payload = {}, seconds = 0, attempts = 0, maxAttempts = 5, status = "pending" } = given;
  await asOwner(
    `insert into scheduled_jobs (tenant_id, id, type, payload, run_at, attempts, max_attempts, status, finished_at, created_by)
     values ($1, $2, $3, $4, now() + make_interval(secs => $5), $6, $7, $8,
       case when $8 in ('pending', 'running') then null else now() end, 'test')`,
    [tenantId, id, type, JSON.stringify(payload), seconds, attempts, maxAttempts, status],
  );
  return id;
}

export const jobRow = async (id: string) => (await asOwner<Any>("select * from scheduled_jobs where id = $1", [id]))[0];
export const setJob = (id: string, change: string) =>
  asOwner(`update scheduled_jobs set ${change} where id = $1`, [id]);

export const eventually = <T>(check: () => Promise<T> | T): Promise<T> =>
  vi.waitFor(check, { timeout: 12_000, interval: 50 });

/** Files share a database: a job that another one took up and did not end, as it ended itself, is free again. */
export async function freeJobs(tenantId: string): Promise<void> {
  const lost = await asOwner(
    `update scheduled_jobs set status = 'pending', locked_until = null where tenant_id = $1 and status = 'running'
       and started_at < now() - interval '3 seconds' returning id`,
    [tenantId],
  );
  if (lost.length > 0) await sweep();
}

export const completed = (id: string): Promise<Any> =>
  eventually(async () => {
    const row = await jobRow(id);
    expect(row.status).toBe("completed");
    return row;
  });
