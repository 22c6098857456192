import { systemContext } from "../lib/context";
import { askDoor } from "../lib/db";
import { announceJobs, type DueJob } from "../lib/job";
import { logFault } from "../lib/log";
import { z } from "../lib/validate";
import { DEPLOYMENT } from "../tenants/service";
import { ensureRecurring } from "./recurring";
import { jobTypes } from "./registry";
import { type Claimed, LEASE_SECONDS, runJob } from "./run";

/** A message comes up to a second early, because a queue delays by whole seconds. */
const AHEAD_MS = 1_500;
const SLICE_MS = 20_000;
/** Above this an isolate takes no more until some are done. */
const RUNNING_MOST = 50;
const SWEEP_MOST = 10;
/** What falls due before the next sweep is over. */
const NEXT_SECONDS = 90;
const ANNOUNCED_MOST = 500;

const Message = z.object({ tenantId: z.uuid(), jobId: z.uuid() });
let running = 0;

/** The jobs run on behind the batch, so that the next ones need not wait for them. */
export async function runQueuedJobs(env: Env, bodies: unknown[], ctx: ExecutionContext): Promise<void> {
  const wanted = bodies.filter((body) => Message.safeParse(body).success);
  if (wanted.length === 0) return;
  const claimed = await claim(env, "select door.claim_jobs($1::jsonb, $2::text[], $3, $4) as jobs", [
    JSON.stringify(wanted),
    jobTypes(),
    AHEAD_MS,
    LEASE_SECONDS,
  ]);
  const work = runAll(env, claimed, ctx);
  if (running > RUNNING_MOST) await work;
  else ctx.waitUntil(work);
}

/** Each minute: recurring jobs are made, what nobody has taken up is taken up, and what is due soon is announced. */
export async function runDueJobs(env: Env, ctx: ExecutionContext): Promise<void> {
  const deployment = systemContext(env, DEPLOYMENT, (work) => ctx.waitUntil(work));
  const failed = (error: unknown) => logFault(deployment.requestId, error);
  await ensureRecurring(deployment).catch(failed);
  const until = Date.now() + SLICE_MS;
  let claimed = await claimDue(env);
  // At the same time, for what is due soon is not to wait until those are done.
  const announced = dueSoon(env).then((soon) => announceJobs(env, soon));
  await Promise.all([runAll(env, claimed, ctx), announced.catch(failed)]);
  while (claimed.length === SWEEP_MOST && Date.now() < until) {
    claimed = await claimDue(env);
    await runAll(env, claimed, ctx);
  }
}

const claimDue = (env: Env) =>
  claim(env, "select door.claim_due_jobs($1::text[], $2, $3) as jobs", [jobTypes(), SWEEP_MOST, LEASE_SECONDS]);

async function claim(env: Env, query: string, params: unknown[]): Promise<Claimed[]> {
  return (await askDoor<{ jobs: Claimed[] }>(env, query, params))?.jobs ?? [];
}

async function dueSoon(env: Env): Promise<DueJob[]> {
  const row = await askDoor<{ soon: DueJob[] }>(env, "select door.jobs_due_within($1::text[], $2, $3) as soon", [
    jobTypes(),
    NEXT_SECONDS,
    ANNOUNCED_MOST,
  ]);
  return row?.soon ?? [];
}

async function runAll(env: Env, claimed: Claimed[], ctx: ExecutionContext): Promise<void> {
  running += claimed.length;
  await Promise.all(claimed.map((job) => runJob(env, job, ctx, SLICE_MS))).finally(() => {
    running -= claimed.length;
  });
}
