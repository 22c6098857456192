import { beforeAll, expect, it } from "vitest";
import { registerJob } from "../src/jobs/registry";
import type { Job, Step } from "../src/lib/job";
import { applyRetention, REMOVED_BY_JOB, RETENTION } from "../src/operations/retention";
import { type Any, admin, newTenant, type Tenant } from "./helpers";
import { completed, DEPLOYMENT, jobRow, newJob, queueJobs, setJob } from "./jobs";
import { insertion, newRow, type Row, type Table, tenantTables } from "./rows";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

/** Set by a test that wants a step to crash once its writes are committed. */
let crashAfter: ((job: Job, step: Step) => boolean) | undefined;
registerJob("test.retention", async (ctx, job) => {
  const step = await applyRetention(ctx, job);
  if (crashAfter?.(job, step)) throw new Error("crashed after the commit");
  return step;
});

let tables: Table[];
beforeAll(async () => {
  tables = await tenantTables();
});

async function runRetention(): Promise<Any> {
  const jobId = await newJob(DEPLOYMENT, { type: "test.retention" });
  await queueJobs({ tenantId: DEPLOYMENT, jobId });
  return jobRow(jobId);
}

/** One row, its parents found among these, with these values; days are how long ago. */
async function put(
  tenant: Tenant,
  name: string,
  values: Row = {},
  parents = new Map<string, Row>(),
  ages: Record<string, number> = {},
) {
  const table = tables.find((one) => one.name === name)!;
  const row: Row = { ...newRow(table, tenant.id, "old", parents), ...values };
  for (const [column, days] of Object.entries(ages))
    row[column] = new Date(Date.now() - days * 86_400_000).toISOString();
  await asOwner(...insertion(table, row));
  return row;
}

const left = async (tenant: Tenant, name: string, column = "id") =>
  (
    await asOwner<Any>(`select ${column} as it from ${name} where tenant_id = $1 order by created_at desc`, [tenant.id])
  ).map((row) => row.it);

async function planWith(limits: Record<string, number>): Promise<string> {
  const made = await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "test", limits });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body.id;
}

it("the deployment's recurring job applies it", async () => {
  const tenant = await newTenant();
  const entry = await put(tenant, "audit_logs", {}, new Map(), { created_at: 91 });
  const jobId = await newJob(DEPLOYMENT, { type: "retention" });

  await sweep();

  await completed(jobId);
  expect(await asOwner("select 1 from audit_logs where id = $1", [entry.id])).toEqual([]);
});

it("the audit log is kept for 90 days, or as long as the plan says, for each tenant", async () => {
  const usual = await newTenant();
  const short = await newTenant({ planId: await planWith({ auditDays: 7 }) });
  const long = await newTenant({ planId: await planWith({ auditDays: 400 }) });
  const ids: string[] = [];
  for (const tenant of [usual, short, long]) {
    for (const days of [6, 89, 399]) {
      ids.push((await put(tenant, "audit_logs", {}, new Map(), { created_at: days + 0.9 })).id as string);
    }
  }

  const job = await runRetention();

  expect(job).toMatchObject({ status: "completed" });
  const kept = (await asOwner<Any>("select id from audit_logs where id = any ($1)", [ids])).map((row) => row.id);
  expect(kept.sort()).toEqual([ids[0], ids[1], ids[3], ids[6], ids[7], ids[8]].sort());
});

it("events go after 30 days or the plan's with their deliveries and attempts, but not while a delivery is pending", async () => {
  const tenant = await newTenant();
  const short = await newTenant({ planId: await planWith({ eventDays: 3 }) });
  const webhook = await put(tenant, "webhooks");
  const kept: unknown[] = [];
  for (const [days, status, stays] of [
    [29, "delivered", true],
    [31, "delivered", false],
    [31, "pending", true],
    [40, "exhausted", false],
  ] as const) {
    const event = await put(tenant, "events", {}, new Map(), { created_at: days });
    const parents = new Map([
      ["webhooks", webhook],
      ["events", event],
    ]);
    const delivery = await put(tenant, "webhook_deliveries", { status }, parents);
    await put(tenant, "webhook_attempts", {}, new Map([...parents, ["webhook_deliveries", delivery]]));
    if (stays) kept.push(event.id);
  }
  const young = await put(short, "events", {}, new Map(), { created_at: 2 });
  await put(short, "events", {}, new Map(), { created_at: 4 });

  await runRetention();

  expect((await left(tenant, "events")).sort()).toEqual(kept.sort());
  expect((await left(tenant, "webhook_deliveries", "event_id")).sort()).toEqual(kept.sort());
  expect(await left(tenant, "webhook_attempts")).toHaveLength(2);
  expect(await left(short, "events")).toEqual([young.id]);
});

it("attempts without a delivery go after 30 days, idempotency keys after one", async () => {
  const tenant = await newTenant();
  const parents = new Map([["webhooks", await put(tenant, "webhooks")]]);
  const attempt = await put(tenant, "webhook_attempts", {}, parents, { created_at: 29 });
  await put(tenant, "webhook_attempts", {}, parents, { created_at: 31 });
  const key = await put(tenant, "idempotency_keys", {}, new Map(), { created_at: 0.9 });
  await put(tenant, "idempotency_keys", {}, new Map(), { created_at: 1.1 });

  await runRetention();

  expect(await left(tenant, "webhook_attempts")).toEqual([attempt.id]);
  expect(await left(tenant, "idempotency_keys", "key")).toEqual([key.key]);
});

it("revoked tokens and a webhook's replaced secrets go once they have long expired", async () => {
  const tenant = await newTenant();
  const parents = new Map([["webhooks", await put(tenant, "webhooks")]]);
  const lasting = await put(tenant, "webhook_secrets", { expires_at: null }, parents);
  const ending = await put(tenant, "webhook_secrets", {}, parents, { expires_at: -1 });
  await put(tenant, "webhook_secrets", {}, parents, { expires_at: 1.1 });
  const [revoked] = [
    await put(tenant, "revoked_tokens", {}, new Map(), { expires_at: 0.5 }),
    await put(tenant, "revoked_tokens", {}, new Map(), { expires_at: 1.1 }),
  ];

  await runRetention();

  expect((await left(tenant, "webhook_secrets")).sort()).toEqual([lasting.id, ending.id].sort());
  expect(await left(tenant, "revoked_tokens", "jti")).toEqual([revoked.jti]);
});

it("tickets that were never used go a day after they expired", async () => {
  const tenant = await newTenant();
  const [one, two] = [await put(tenant, "users"), await put(tenant, "users")];
  const ticket = (user: Row, age: number) => {
    const values = { user_id: user.id, hash: `\\x${crypto.randomUUID().replaceAll("-", "")}` };
    return put(tenant, "socket_tickets", values, new Map(), { expires_at: age });
  };
  await ticket(one, 1.1);
  const recent = await ticket(two, 0.9);

  await runRetention();

  expect(await asOwner("select user_id from socket_tickets where tenant_id = $1", [tenant.id])).toEqual([
    { user_id: recent.user_id },
  ]);
});

it("completed and cancelled jobs are kept for a day, failed ones for seven, open ones as long as they are open", async () => {
  const tenant = await newTenant();
  const stays: string[] = [];
  for (const [status, days, kept] of [
    ["completed", 0.9, true],
    ["completed", 1.1, false],
    ["cancelled", 1.1, false],
    ["failed", 6.9, true],
    ["failed", 7.1, false],
  ] as const) {
    const id = await newJob(tenant.id, { type: "test.done", status });
    await setJob(id, `finished_at = now() - interval '1 day' * ${days}`);
    if (kept) stays.push(id);
  }
  const open = await newJob(tenant.id, { type: "test.done", seconds: 3600 });
  await setJob(open, "created_at = now() - interval '1 year'");

  await runRetention();

  expect((await left(tenant, "scheduled_jobs")).sort()).toEqual([...stays, open].sort());
});

it("no step removes more than a bounded number, and a crash after one repeats nothing and goes on", async () => {
  const [first, second] = [await newTenant(), await newTenant()];
  const many = (tenant: Tenant, rows: number) =>
    asOwner(
      `insert into audit_logs (tenant_id, id, actor_kind, action, target_type, request_id, created_at)
       select $1, gen_random_uuid(), 'system', 'old', 'x', 'x', now() - interval '100 days' from generate_series(1, $2)`,
      [tenant.id, rows],
    );
  await many(first, 1500);
  await many(second, 700);
  const old = async () => (await asOwner<Any>("select count(*)::int as n from audit_logs where action = 'old'"))[0].n;
  const jobId = await newJob(DEPLOYMENT, { type: "test.retention" });
  const message = { tenantId: DEPLOYMENT, jobId };
  // Other files of the run have tenants too, so that a step may find nothing of these two.
  crashAfter = (job, step) => (step.progress ?? 0) > job.progress;

  await queueJobs(message);
  const once = await jobRow(jobId);
  expect(once.status).toBe("pending");
  expect(once.progress_done).toBeGreaterThan(0);
  expect(once.progress_done).toBeLessThanOrEqual(1000);
  expect(await old()).toBeGreaterThanOrEqual(1200);
  await setJob(jobId, "run_at = now()");
  await queueJobs(message);
  const twice = await jobRow(jobId);
  expect(twice.progress_done).toBeGreaterThan(once.progress_done);
  expect(twice.progress_done).toBeLessThanOrEqual(2000);
  crashAfter = undefined;
  await setJob(jobId, "run_at = now()");
  await queueJobs(message);

  expect(await old()).toBe(0);
  const done = await jobRow(jobId);
  expect(done.status).toBe("completed");
  expect(done.progress_done).toBeGreaterThanOrEqual(2200);
});

it("what the door removes is what the table in the code names, and nothing younger than a day", async () => {
  const tenant = await newTenant();
  await put(tenant, "audit_logs", { action: "young" }, new Map(), { created_at: 0.9 });

  for (const { data, byTenant = false } of REMOVED_BY_JOB) {
    const asked = asOwner<Any>("select door.remove_expired($1, 0, $2, null, $3, 0) as r", [data, byTenant, DEPLOYMENT]);
    expect((await asked)[0].r.removed, data).toBe(0);
  }
  await asOwner("select door.remove_expired('auditLogs', -5, true, null, $1, 1000)", [tenant.id]);
  await expect(asOwner("select door.remove_expired('users', 1, true, null, $1, 1)", [tenant.id])).rejects.toThrow();

  expect(
    await asOwner("select action from audit_logs where tenant_id = $1 and action = 'young'", [tenant.id]),
  ).toHaveLength(1);
});

it("what other doors remove they keep for as long as the table in the code says", async () => {
  const elsewhere = RETENTION.filter(({ door }) => door !== undefined);
  expect(elsewhere.length).toBeGreaterThan(0);

  for (const { data, door, days } of elsewhere) {
    const [row] = await asOwner<Any>("select prosrc from pg_proc where oid = ('door.' || $1)::regproc", [door]);
    const [, many, unit] = /_at < now\(\) - .*?interval '(\d+) (hour|day)s?'/.exec(row?.prosrc) ?? [];
    expect(Number(many) / (unit === "hour" ? 24 : 1), data).toBe(days);
  }
});
