import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { RECURRING } from "../src/jobs/recurring";
import { registerJob } from "../src/jobs/registry";
import { retrySeconds } from "../src/jobs/run";
import { type NewJob, scheduleJob } from "../src/jobs/service";
import { systemContext } from "../src/lib/context";
import { asTenant, db } from "../src/lib/db";
import { ApiError } from "../src/lib/errors";
import type { Job } from "../src/lib/job";
import { users } from "../src/users/schema";
import { type Any, expectProblem, newTenant } from "./helpers";
import { completed, DEPLOYMENT, eventually, jobRow, newJob as newJobOf, queueJobs, setJob } from "./jobs";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

/** What a test wants to happen in the steps of its jobs, by job. */
type Script = { before?: (job: Job) => Promise<void> | void; after?: (job: Job) => Promise<void> | void };
const scripts = new Map<string, Script>();
const taken: string[] = [];

/** Makes one user in each step; so many users as it took steps means that none was lost or repeated. */
registerJob("test.users", async (ctx, job) => {
  taken.push(job.id);
  await scripts.get(job.id)?.before?.(job);
  const nth = ((job.cursor?.nth as number | undefined) ?? 0) + 1;
  const done = nth >= Number(job.payload.steps);
  const step = { done, cursor: { nth }, progress: nth, result: { made: nth } };
  await asTenant(ctx, [
    db.insert(users).values({ tenantId: ctx.tenantId, id: crypto.randomUUID(), displayName: `${job.id} ${nth}` }),
    job.save(step),
  ]);
  await scripts.get(job.id)?.after?.(job);
  return step;
});
registerJob("test.unsaved", async (_ctx, job) => ({ done: job.progress === 2, progress: job.progress + 1, total: 3 }));
registerJob("test.obstinate", async () => ({ done: true }), { cancellable: false });

const usersOf = async (tenantId: string) =>
  (await asOwner("select display_name from users where tenant_id = $1 order by created_at, id", [tenantId])).map(
    (row) => row.display_name,
  );

type Given = Partial<Parameters<typeof newJobOf>[1]>;
const newJob = (tenantId: string, given: Given = {}) =>
  newJobOf(tenantId, { type: "test.users", payload: { steps: 1 }, ...given });

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

async function schedule(tenantId: string, job: NewJob, sent?: Any[]) {
  const ctx = createExecutionContext();
  const recorder = { sendBatch: async (messages: Any[]) => void sent?.push(...messages) };
  const own = sent ? ({ ...env, JOBS: recorder } as unknown as Env) : env;
  const context = systemContext(own, tenantId, (work) => ctx.waitUntil(work));
  const { query, announce } = scheduleJob(context, job);
  const [rows] = await asTenant(context, [query]);
  announce(rows);
  await waitOnExecutionContext(ctx);
  return rows[0]!;
}

it("a job runs step by step when its message comes, and shows how far it is", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { payload: { steps: 3 } });

  const result = await queueJobs({ tenantId: tenant.id, jobId });

  expect(result.outcome).toBe("ok");
  const { body } = await tenant.get(`/v1/jobs/${jobId}`);
  expect(body).toMatchObject({
    id: jobId,
    type: "test.users",
    payload: { steps: 3 },
    status: "completed",
    attempts: 1,
  });
  expect(body).toMatchObject({
    progress: { done: 3, total: null },
    result: { made: 3 },
    error: null,
    createdBy: "test",
  });
  expect(body).toMatchObject({ startedAt: expect.any(String), finishedAt: expect.any(String) });
  expect(await usersOf(tenant.id)).toEqual([1, 2, 3].map((nth) => `${jobId} ${nth}`));
});

it("what a step returns without saving it is saved for it", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { type: "test.unsaved" });

  await queueJobs({ tenantId: tenant.id, jobId });

  const { body } = await tenant.get(`/v1/jobs/${jobId}`);
  expect(body).toMatchObject({ status: "completed", progress: { done: 3, total: 3 } });
});

it("a scheduled job starts by itself at its time, and not before", async () => {
  const tenant = await newTenant();
  const runAt = new Date(Date.now() + 2_400).toISOString();
  const job = await schedule(tenant.id, { type: "test.users", payload: { steps: 1 }, runAt });
  let startedAt = 0;
  scripts.set(job.id, {
    before: () => {
      startedAt = Date.now();
    },
  });

  await completed(job.id);

  expect(startedAt - Date.parse(runAt)).toBeGreaterThanOrEqual(-5);
  expect(startedAt - Date.parse(runAt)).toBeLessThan(3_000);
});

it("what is due within 15 minutes goes to the queue in whole seconds, what is due later when the cron finds it near", async () => {
  const tenant = await newTenant();
  const at = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
  const sent: Any[] = [];

  const now = await schedule(tenant.id, { type: "test.users", payload: { steps: 1 } }, sent);
  const soon = await schedule(tenant.id, { type: "test.users", payload: { steps: 1 }, runAt: at(600.9) }, sent);
  const later = await schedule(tenant.id, { type: "test.users", payload: { steps: 1 }, runAt: at(3600) }, sent);

  const body = (job: { id: string }) => ({ tenantId: tenant.id, jobId: job.id });
  expect(sent).toEqual([
    { body: body(now), delaySeconds: 0 },
    { body: body(soon), delaySeconds: 600 },
  ]);
  await setJob(later.id, "run_at = now() + interval '3 seconds'");
  await sweep();
  expect((await jobRow(later.id)).status).toBe("pending");
  await completed(later.id);
});

it("a job whose message was lost runs at the next sweep", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { seconds: -30 });

  await sweep();

  expect((await jobRow(jobId)).status).toBe("completed");
});

it("doubled and late messages repeat nothing, and messages that are none do no harm", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { payload: { steps: 2 } });
  const body = { tenantId: tenant.id, jobId };

  const [first] = await Promise.all([
    queueJobs(body, body, null, "x", { jobId: "1' or true" }),
    queueJobs(body),
    queueJobs(body),
  ]);
  await queueJobs(body);
  await sweep();

  expect(first.outcome).toBe("ok");
  expect(await usersOf(tenant.id)).toHaveLength(2);
});

it("a message that names another tenant's job does nothing", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  const jobId = await newJob(tenant.id, { seconds: 0 });

  await queueJobs({ tenantId: other.id, jobId });

  expect((await jobRow(jobId)).status).toBe("pending");
  await setJob(jobId, "status = 'cancelled', finished_at = now()");
});

it("a job that fails is tried again later and later, neighbours go on, and after the last try it has failed", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { maxAttempts: 3 });
  const neighbour = await newJob(tenant.id);
  scripts.set(jobId, {
    before: () => {
      throw new ApiError("unavailable", "The bucket cannot be reached.");
    },
  });
  const body = { tenantId: tenant.id, jobId };

  const waits: number[] = [];
  await queueJobs(body, { tenantId: tenant.id, jobId: neighbour });
  for (const attempts of [1, 2]) {
    const row = await jobRow(jobId);
    expect(row).toMatchObject({ status: "pending", attempts, error: "unavailable: The bucket cannot be reached." });
    waits.push((Date.parse(row.run_at) - Date.now()) / 1000);
    await setJob(jobId, "run_at = now()");
    await queueJobs(body);
  }

  expect((await jobRow(neighbour)).status).toBe("completed");
  expect(waits[0]).toBeGreaterThan(3);
  expect(waits[1]).toBeGreaterThan(14);
  const { body: shown } = await tenant.get(`/v1/jobs/${jobId}`);
  expect(shown).toMatchObject({ status: "failed", attempts: 3, error: "unavailable: The bucket cannot be reached." });
  expect(shown.finishedAt).toEqual(expect.any(String));
});

it("the waits between tries grow to an hour, each spread by a quarter", () => {
  expect([1, 2, 3, 4, 5, 9].map((attempt) => retrySeconds(attempt, 0.5))).toEqual([5, 20, 80, 320, 1280, 3600]);
  expect([retrySeconds(1, 0), retrySeconds(1, 1)]).toEqual([3.75, 6.25]);
});

it("an unexpected error is not shown to the tenant", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { maxAttempts: 1 });
  scripts.set(jobId, {
    before: () => {
      throw new Error("password of the database: hunter2");
    },
  });

  await queueJobs({ tenantId: tenant.id, jobId });

  const { body } = await tenant.get(`/v1/jobs/${jobId}`);
  expect(body.status).toBe("failed");
  expect(body.error).toMatch(/^Something went wrong; the log has it under [0-9a-f-]{36}\.$/);
});

it("a crash right after a step's batch repeats nothing of it and forgets the tries before", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { payload: { steps: 4 }, attempts: 3 });
  scripts.set(jobId, {
    after: (job) => {
      if (job.progress === 1) throw new Error("the connection broke after the commit");
    },
  });
  const body = { tenantId: tenant.id, jobId };

  await queueJobs(body);
  expect(await jobRow(jobId)).toMatchObject({ status: "pending", attempts: 1, progress_done: 2, cursor: { nth: 2 } });
  await setJob(jobId, "run_at = now()");
  await queueJobs(body);

  expect(await jobRow(jobId)).toMatchObject({ status: "completed", progress_done: 4 });
  expect(await usersOf(tenant.id)).toEqual([1, 2, 3, 4].map((nth) => `${jobId} ${nth}`));
});

it("a killed job goes on where it was, and what comes back from the dead writes nothing", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { payload: { steps: 3 } });
  const dead = gate();
  let runs = 0;
  scripts.set(jobId, { before: (job) => (job.progress === 1 && ++runs === 1 ? dead.opened : undefined) });
  const body = { tenantId: tenant.id, jobId };

  const killed = queueJobs(body);
  await eventually(() => expect(runs).toBe(1));
  await sweep();
  expect(await jobRow(jobId)).toMatchObject({ status: "running", progress_done: 1 });
  await setJob(jobId, "locked_until = now() - interval '1 second'");
  await sweep();
  expect(await jobRow(jobId)).toMatchObject({ status: "completed", progress_done: 3 });
  dead.open();
  await killed;

  expect(await jobRow(jobId)).toMatchObject({ status: "completed", progress_done: 3, attempts: 1 });
  expect(await usersOf(tenant.id)).toEqual([1, 2, 3].map((nth) => `${jobId} ${nth}`));
});

it("a job that was taken up and cut off again and again has failed", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id);
  await setJob(jobId, "status = 'running', attempts = 5, locked_until = now() - interval '1 second'");

  await sweep();

  expect(await jobRow(jobId)).toMatchObject({ status: "failed", error: "It was cut off 5 times." });
  expect(await usersOf(tenant.id)).toEqual([]);
});

it("a job longer than one invocation goes on in the next by itself", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { payload: { steps: 200 } });

  await queueJobs({ tenantId: tenant.id, jobId });

  expect(await jobRow(jobId)).toMatchObject({ status: "running", progress_done: 80 });
  await completed(jobId);
  expect(taken.filter((id) => id === jobId)).toHaveLength(200);
  expect(await usersOf(tenant.id)).toHaveLength(200);
});

it("a cancelled job never starts, and one that runs stops without the writes of its last step", async () => {
  const tenant = await newTenant();
  const [waiting, going] = [await newJob(tenant.id), await newJob(tenant.id, { payload: { steps: 5 } })];
  const paused = gate();
  scripts.set(going, { before: (job) => (job.progress === 2 ? paused.opened : undefined) });

  expect((await tenant.post(`/v1/jobs/${waiting}/cancel`)).body).toMatchObject({ id: waiting, status: "cancelled" });
  const run = queueJobs({ tenantId: tenant.id, jobId: going }, { tenantId: tenant.id, jobId: waiting });
  await eventually(async () => expect((await jobRow(going)).progress_done).toBe(2));
  expect((await tenant.post(`/v1/jobs/${going}/cancel`)).status).toBe(200);
  paused.open();
  await run;

  expect(await jobRow(going)).toMatchObject({ status: "cancelled", progress_done: 2 });
  expect(await usersOf(tenant.id)).toHaveLength(2);
  expect((await tenant.post(`/v1/jobs/${going}/cancel`)).body.status).toBe("cancelled");
  const [entry] = await asOwner("select action, target_id from audit_logs where tenant_id = $1 and target_id = $2", [
    tenant.id,
    waiting,
  ]);
  expect(entry).toMatchObject({ action: "job.cancelled" });
});

it("what is over cannot be cancelled, and what must not stop halfway neither", async () => {
  const tenant = await newTenant();
  const over = await newJob(tenant.id, { status: "completed" });
  const obstinate = await newJob(tenant.id, { type: "test.obstinate", seconds: 3600 });

  for (const jobId of [over, obstinate]) expectProblem(await tenant.post(`/v1/jobs/${jobId}/cancel`), 409, "conflict");

  expect((await jobRow(obstinate)).status).toBe("pending");
});

it("run now starts what waits, takes a failed job up where it was, and refuses what runs or is over", async () => {
  const tenant = await newTenant();
  const waiting = await newJob(tenant.id, { seconds: 86_400 });
  const failed = await newJob(tenant.id, { status: "failed", attempts: 5, payload: { steps: 3 } });
  await setJob(failed, `cursor = '{"nth": 2}', progress_done = 2, error = 'x'`);
  const over = await newJob(tenant.id, { status: "completed" });

  for (const jobId of [waiting, failed]) {
    expect((await tenant.post(`/v1/jobs/${jobId}/run`)).body).toMatchObject({
      id: jobId,
      status: "pending",
      attempts: 0,
    });
    await completed(jobId);
  }

  expectProblem(await tenant.post(`/v1/jobs/${over}/run`), 409, "conflict");
  expect((await usersOf(tenant.id)).sort()).toEqual([`${waiting} 1`, `${failed} 3`].sort());
});

it("jobs are listed newest first, by type and status, page by page, and only one's own", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  const at = new Date(Date.now() + 86_400_000).toISOString();
  const ids: string[] = [];
  for (let n = 0; n < 5; n++) ids.push((await schedule(tenant.id, { type: "test.users", runAt: at })).id);
  const obstinate = (await schedule(tenant.id, { type: "test.obstinate", runAt: at, total: 7 })).id;
  await tenant.post(`/v1/jobs/${ids[0]}/cancel`);

  const first = await tenant.get("/v1/jobs?limit=4");
  const second = await tenant.get(`/v1/jobs?limit=4&cursor=${first.body.nextCursor}`);
  const byType = await tenant.get("/v1/jobs?type=test.obstinate");
  const byStatus = await tenant.get("/v1/jobs?status=cancelled");

  const idsOf = (answer: Any) => answer.body.data.map((job: Any) => job.id);
  expect([...idsOf(first), ...idsOf(second)]).toEqual([obstinate, ...ids.toReversed()]);
  expect(second.body.nextCursor).toBeNull();
  expect(byType.body.data).toMatchObject([{ id: obstinate, progress: { done: 0, total: 7 }, createdBy: "system" }]);
  expect(idsOf(byStatus)).toEqual([ids[0]]);
  expect((await other.get("/v1/jobs")).body.data).toEqual([]);
  expectProblem(await other.get(`/v1/jobs/${ids[1]}`), 404, "not_found");
  for (const verb of ["cancel", "run"]) expectProblem(await other.post(`/v1/jobs/${ids[1]}/${verb}`), 404, "not_found");
});

it("while a job with its unique key is not finished, scheduling another returns that one", async () => {
  const tenant = await newTenant();
  const job = { type: "test.users", payload: { steps: 1 }, uniqueKey: "once" };
  const runAt = new Date(Date.now() + 86_400_000).toISOString();

  const both = await Promise.all([schedule(tenant.id, { ...job, runAt }), schedule(tenant.id, { ...job, runAt })]);
  expect(both[0].id).toBe(both[1].id);
  await tenant.post(`/v1/jobs/${both[0].id}/cancel`);

  expect((await schedule(tenant.id, { ...job, runAt })).id).not.toBe(both[0].id);
});

it("two crons at once make one job of each recurring kind, for its next full hour", async () => {
  await asOwner(
    "update scheduled_jobs set status = 'cancelled', finished_at = now() where unique_key like 'recurring %' and status in ('pending', 'running')",
  );

  await Promise.all([sweep(), sweep(), sweep()]);

  const open = await asOwner<Any>(
    `select type, created_by, run_at = date_trunc('hour', now()) + interval '1 hour' as next_hour from scheduled_jobs
      where tenant_id = $1 and unique_key like 'recurring %' and status = 'pending' order by type`,
    [DEPLOYMENT],
  );
  const once = { created_by: "system", next_hour: true };
  expect(open).toEqual(RECURRING.map(({ type }) => ({ type, ...once })));
});

it("a type that this release does not know is left for one that does", async () => {
  const tenant = await newTenant();
  const jobId = await newJob(tenant.id, { type: "test.of-tomorrow", seconds: -60 });

  await queueJobs({ tenantId: tenant.id, jobId });
  await sweep();

  expect(await jobRow(jobId)).toMatchObject({ status: "pending", attempts: 0 });
});

it("a suspended tenant's jobs still run", async () => {
  const tenant = await newTenant();
  await asOwner("update tenants set suspended_at = now() where id = $1", [tenant.id]);
  const jobId = await newJob(tenant.id);

  await queueJobs({ tenantId: tenant.id, jobId });

  expect((await jobRow(jobId)).status).toBe("completed");
});
