import { env } from "cloudflare:workers";
import { beforeEach, expect, it } from "vitest";
import { objectKey } from "../src/files/objects";
import { registerJob } from "../src/jobs/registry";
import type { Job } from "../src/lib/job";
import { removeTenant } from "../src/tenants/deletion";
import { type Any, admin, client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { completed, DEPLOYMENT, jobRow, newJob, queueJobs, setJob } from "./jobs";
import { fillTables, snapshot, tenantTables } from "./rows";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

/** What a test wants to happen around a step; an error after it is a crash once its writes are committed. */
let before: ((job: Job) => Promise<void> | void) | undefined;
let after: ((job: Job) => void) | undefined;
registerJob("test.removal", async (ctx, job) => {
  await before?.(job);
  const step = await removeTenant(ctx, job);
  after?.(job);
  return step;
});
beforeEach(() => {
  before = undefined;
  after = undefined;
});

async function askForRemoval(tenant: Tenant): Promise<string> {
  const answer = await (await admin()).delete(`/v1/tenants/${tenant.id}`);
  expect(answer.status, JSON.stringify(answer.body)).toBe(202);
  expect(answer.body).toEqual({ id: tenant.id, jobId: expect.any(String) });
  return answer.body.jobId;
}

/** Deleted, with a job that waits until this file runs it. */
async function hide(tenant: Tenant): Promise<string> {
  const payload = { tenantId: tenant.id };
  const jobId = await newJob(DEPLOYMENT, { type: "test.removal", payload, seconds: 86_400, maxAttempts: 50 });
  await setJob(jobId, `unique_key = 'tenant.removal ${tenant.id}'`);
  expect(await askForRemoval(tenant)).toBe(jobId);
  return jobId;
}

async function run(jobId: string): Promise<Any> {
  await setJob(jobId, "run_at = now()");
  await queueJobs({ tenantId: DEPLOYMENT, jobId });
  return jobRow(jobId);
}

/** By the catalogue: the tables that hold a row of this tenant. */
async function tablesHolding(tenantId: string): Promise<string[]> {
  const tables = await asOwner<{ name: string }>(
    `select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1`,
  );
  const asked = tables.map(
    ({ name }) => `select '${name}' as name where exists (select 1 from "${name}" where tenant_id = $1)`,
  );
  const rows = await asOwner<{ name: string }>(
    [...asked, "select 'tenants' from tenants where id = $1"].join(" union all "),
    [tenantId],
  );
  return rows.map(({ name }) => name);
}

const objectsOf = async (tenantId: string) => (await env.FILES.list({ prefix: `${tenantId}/` })).objects.length;

it("a deleted tenant is refused from that moment, however it shows itself", async () => {
  const tenant = await newTenant();
  const user = await userClient(tenant, (await newUser(tenant)).id);
  expect((await tenant.get("/v1/whoami")).status).toBe(200);

  await hide(tenant);

  for (const caller of [tenant, user, client(tenant.key)]) {
    expectProblem(await caller.get("/v1/whoami"), 401, "unknown_credential");
  }
  const operator = await admin();
  expectProblem(await operator.get(`/v1/tenants/${tenant.id}`), 404, "not_found");
  expectProblem(await operator.post(`/v1/tenants/${tenant.id}/resume`), 404, "not_found");
});

it("nothing of the tenant is left in any table or in the bucket, and nobody else loses anything", async () => {
  const tables = await tenantTables();
  const [tenant, other] = [await newTenant(), await newTenant()];
  for (const one of [tenant, other]) {
    await fillTables(tables, one.id, "mine");
    for (let n = 0; n < 3; n++) await env.FILES.put(`${one.id}/${n}`, "bytes");
  }
  const theirs = await snapshot(tables, other.id);
  const held = (await tablesHolding(tenant.id)).length;
  expect(held).toBe(tables.length + 1);

  const row = await run(await hide(tenant));

  expect(await tablesHolding(tenant.id)).toEqual([]);
  expect(await objectsOf(tenant.id)).toBe(0);
  expect(await snapshot(tables, other.id)).toEqual(theirs);
  expect(await objectsOf(other.id)).toBe(3);
  expect(row.status).toBe("completed");
  expect(row.result).toEqual({ rows: row.progress_total, objects: 3 });
  expect(row.progress_done).toBe(row.progress_total);
  expect(row.progress_total).toBeGreaterThanOrEqual(held - 1);
});

it("what was being uploaded in parts is given up, and no part of it can come any more", async () => {
  const tenant = await newTenant();
  const begun = await tenant.post("/v1/files/uploads", { name: "film.mp4", contentType: "video/mp4", size: 9_000_000 });
  expect(begun.status).toBe(201);
  const [file] = await asOwner<{ upload_id: string }>("select upload_id from files where id = $1", [begun.body.id]);
  const upload = env.FILES.resumeMultipartUpload(objectKey(tenant.id, begun.body.id), file!.upload_id);
  await upload.uploadPart(1, new Uint8Array(8_388_608));

  await run(await hide(tenant));

  expect(await tablesHolding(tenant.id)).toEqual([]);
  await expect(upload.uploadPart(2, new Uint8Array(10))).rejects.toThrow();
  expect(await objectsOf(tenant.id)).toBe(0);
});

it("who may see the deployment's jobs sees how far it is, and the deployment's log says who asked for it", async () => {
  const tenant = await newTenant();
  const operator = await admin();
  await asOwner(
    `insert into api_key_scopes (tenant_id, key_id, scope) select tenant_id, id, 'jobs:read' from api_keys
      where tenant_id = $1 and kind = 'admin' on conflict do nothing`,
    [DEPLOYMENT],
  );

  const jobId = await askForRemoval(tenant);
  await completed(jobId);

  const { body } = await operator.get(`/v1/jobs/${jobId}`);
  expect(body).toMatchObject({ type: "tenant.removal", payload: { tenantId: tenant.id }, status: "completed" });
  expect(body.progress.done).toBe(body.progress.total);
  const log = await operator.get(`/v1/audit-logs?targetType=tenant&targetId=${tenant.id}`);
  expect(log.body.data.map((entry: Any) => [entry.action, entry.actorKind])).toEqual([
    ["tenant.removed", "system"],
    ["tenant.deleted", "key"],
    ["tenant.created", "key"],
  ]);
});

it("a crash after each step only makes it take longer", async () => {
  const tables = await tenantTables();
  const tenant = await newTenant();
  await fillTables(tables, tenant.id, "mine");
  await asOwner(
    "insert into users (tenant_id, id, display_name) select $1, gen_random_uuid(), 'x' from generate_series(1, 5000)",
    [tenant.id],
  );
  await env.FILES.put(`${tenant.id}/a`, "bytes");
  const stages: unknown[] = [];
  const removed: number[] = [];
  after = (job) => {
    stages.push((job.cursor as Any)?.stage ?? "count");
    removed.push(job.progress);
    throw new Error("crashed after the commit");
  };

  const jobId = await hide(tenant);
  for (let tries = 0; tries < 30 && (await run(jobId)).status !== "completed"; tries++);

  const row = await jobRow(jobId);
  expect(row).toMatchObject({ status: "completed", progress_done: row.progress_total });
  expect([...new Set(stages)]).toEqual(["count", "uploads", "rows", "objects", "tenant"]);
  expect(stages.filter((stage) => stage === "rows").length).toBeGreaterThan(3);
  expect(removed.at(-1)).toBe(row.progress_total);
  expect(Math.max(...removed.map((rows, n) => rows - (removed[n - 1] ?? 0)))).toBeLessThanOrEqual(2_000);
  expect(await tablesHolding(tenant.id)).toEqual([]);
  expect(await objectsOf(tenant.id)).toBe(0);
});

it("what was still being written when the tenant was hidden goes with it", async () => {
  const tenant = await newTenant();
  const tables = await tenantTables();
  before = async (job) => {
    if ((job.cursor as Any)?.stage === "tenant") await fillTables(tables, tenant.id, "late");
  };

  expect(await run(await hide(tenant))).toMatchObject({ status: "completed" });

  expect(await tablesHolding(tenant.id)).toEqual([]);
});

it("asked again it answers with the job under way, and after a failure with a new one", async () => {
  const tenant = await newTenant();

  const jobId = await hide(tenant);
  expect(await askForRemoval(tenant)).toBe(jobId);
  await setJob(jobId, "status = 'failed', finished_at = now()");
  const second = await askForRemoval(tenant);

  expect(second).not.toBe(jobId);
  await completed(second);
  expect(await tablesHolding(tenant.id)).toEqual([]);
});

it("only the deployment's key deletes, what is not there is 404, and the deployment itself stays", async () => {
  const tenant = await newTenant();
  const operator = await admin();

  expectProblem(await tenant.delete(`/v1/tenants/${tenant.id}`), 403, "missing_scope");
  expectProblem(await operator.delete(`/v1/tenants/${crypto.randomUUID()}`), 404, "not_found");
  expectProblem(await operator.delete(`/v1/tenants/${DEPLOYMENT}`), 404, "not_found");

  expect((await tenant.get("/v1/whoami")).status).toBe(200);
});

it("the doors of the removal stay shut for a tenant that is not deleted", async () => {
  const tenant = await newTenant();

  for (const call of ["remove_tenant_rows($1, 10)", "count_tenant_rows($1, 10)", "remove_tenant($1)"]) {
    for (const id of [tenant.id, DEPLOYMENT]) {
      await expect(asOwner(`select door.${call}`, [id]), call).rejects.toThrow("is not deleted");
    }
  }
});

it("a deleted tenant's own jobs do not run any more", async () => {
  const tenant = await newTenant();
  registerJob("test.never", () => Promise.reject(new Error("it ran")));
  const jobId = await newJob(tenant.id, { type: "test.never" });
  await asOwner("update tenants set deleted_at = now() where id = $1", [tenant.id]);

  await queueJobs({ tenantId: tenant.id, jobId });
  await sweep();

  expect(await jobRow(jobId)).toMatchObject({ status: "pending", attempts: 0 });
});

it("the removal cannot be cancelled", async () => {
  await asOwner(
    `insert into api_key_scopes (tenant_id, key_id, scope) select tenant_id, id, 'jobs:write' from api_keys
      where tenant_id = $1 and kind = 'admin' on conflict do nothing`,
    [DEPLOYMENT],
  );
  const jobId = await newJob(DEPLOYMENT, { type: "tenant.removal", seconds: 86_400 });

  expectProblem(await (await admin()).post(`/v1/jobs/${jobId}/cancel`), 409, "conflict");

  await setJob(jobId, "status = 'cancelled', finished_at = now()");
});
