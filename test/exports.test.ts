import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { exportPart } from "../src/exports/job";
import { systemContext } from "../src/lib/context";
import type { Job } from "../src/lib/job";
import { type Any, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { jobRow, newJob, queueJobs, setJob } from "./jobs";
import { newPerson, newRoom } from "./live";
import { newReceiver } from "./receiver";
import { fillTables, tenantTables } from "./rows";
import { asOwner } from "./setup/owner";

type Line = { table: string; row: Any };

async function exported(tenant: Tenant, input: Record<string, unknown> = {}): Promise<{ job: Any; lines: Line[] }> {
  const started = await tenant.post("/v1/exports", input);
  expect(started.status, JSON.stringify(started.body)).toBe(202);
  // It reads every table there is: on a busy machine that takes its time.
  await vi.waitFor(async () => expect((await jobRow(started.body.jobId)).status).toBe("completed"), {
    timeout: 45_000,
    interval: 100,
  });
  const job = (await tenant.get(`/v1/jobs/${started.body.jobId}`)).body;
  return { job, lines: await linesOf(tenant, job.result.fileId) };
}

async function linesOf(tenant: Tenant, fileId: string): Promise<Line[]> {
  const { body } = await tenant.get<string>(`/v1/files/${fileId}/content`);
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

const rowsOf = (lines: Line[], table: string) => lines.filter((line) => line.table === table).map(({ row }) => row);

it("a tenant's export holds every row it has, nothing secret, and nothing of others", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  const [ann, bob] = [await newPerson(tenant, { displayName: "Ann" }), await newPerson(tenant)];
  const room = await newRoom(tenant, [ann, bob], { name: "Room" });
  for (const text of ["one", "two"]) await ann.post(`/v1/channels/${room}/messages`, { text });
  const headers = { "X-Token": "hush-hush" };
  const hook = { name: "x", url: newReceiver().url, enabled: false, headers };
  const { secret } = (await tenant.post("/v1/webhooks", hook)).body;
  await newUser(other, { displayName: "Stranger" });

  const { job, lines } = await exported(tenant);

  expect(rowsOf(lines, "tenants")).toMatchObject([{ id: tenant.id, name: "Acme" }]);
  expect(rowsOf(lines, "users").map((row) => row.id)).toEqual([ann.id, bob.id].sort());
  expect(rowsOf(lines, "messages").map((row) => row.text)).toEqual(["one", "two"]);
  expect(rowsOf(lines, "channel_members")).toHaveLength(2);
  expect(rowsOf(lines, "webhooks")).toMatchObject([{ name: "x" }]);
  const text = JSON.stringify(lines);
  for (const hidden of [tenant.key, secret, "hush-hush", "Stranger", other.id]) expect(text).not.toContain(hidden);
  expect(rowsOf(lines, "api_keys")[0]).not.toHaveProperty("hash");
  expect(job).toMatchObject({ status: "completed", result: { rows: lines.length } });
  const file = (await tenant.get(`/v1/files/${job.result.fileId}`)).body;
  expect(file).toMatchObject({ status: "completed", size: job.result.bytes, contentType: "application/x-ndjson" });
  expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
});

it("a tenant's export holds each row of each table that is exported", async () => {
  const tenant = await newTenant();
  await fillTables(await tenantTables(), tenant.id, "mine");
  const names = (await asOwner<{ name: string }>("select exported_tables(false) as name")).map(({ name }) => name);
  const held = async (name: string) => {
    const own = name === "tenants" ? "id" : "tenant_id";
    return asOwner<{ row: Any }>(`select to_jsonb(x) as row from "${name}" x where ${own} = $1`, [tenant.id]);
  };
  const before = await Promise.all(
    names.map(async (name) => ({ name, rows: (await held(name)).map(({ row }) => row) })),
  );
  expect(before.filter(({ rows }) => rows.length === 0)).toEqual([]);

  const { lines } = await exported(tenant);

  for (const { name, rows } of before) {
    const told = rowsOf(lines, name);
    expect([name, told.length >= rows.length]).toEqual([name, true]);
    const ids = told.map(({ id }) => id);
    for (const { id } of rows) expect([name, ids]).toEqual([name, expect.arrayContaining([id])]);
  }
});

it("a user's export holds what is theirs and nothing that is another's", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant, { displayName: "Ann" }), await newPerson(tenant, { displayName: "Bob" })];
  const room = await newRoom(tenant, [ann, bob]);
  const said = (await ann.post(`/v1/channels/${room}/messages`, { text: "mine" })).body.id;
  await bob.post(`/v1/channels/${room}/messages`, { text: "theirs" });
  await ann.post(`/v1/messages/${said}/reactions`, { emoji: "🎉" });

  const { lines } = await exported(tenant, { userId: ann.id });

  expect(rowsOf(lines, "users")).toMatchObject([{ id: ann.id, display_name: "Ann" }]);
  expect(rowsOf(lines, "messages")).toMatchObject([{ id: said, text: "mine" }]);
  expect(rowsOf(lines, "channel_members")).toMatchObject([{ user_id: ann.id }]);
  expect(rowsOf(lines, "tenants")).toEqual([]);
  expect(JSON.stringify(lines)).not.toContain("theirs");
  expectProblem(await tenant.post("/v1/exports", { userId: crypto.randomUUID() }), 404, "not_found");
});

it("what is larger than a part comes in several, and a step that is taken twice changes nothing", {
  timeout: 60_000,
}, async () => {
  const tenant = await newTenant();
  await asOwner(
    `insert into users (tenant_id, id, display_name, bio)
       select $1::uuid, gen_random_uuid(), n::text, repeat(md5(n::text), 60) from generate_series(1, 3000) n`,
    [tenant.id],
  );
  const jobId = await newJob(tenant.id, { type: "exports", seconds: 3600 });
  const exec = createExecutionContext();
  const ctx = systemContext(env, tenant.id, (work) => exec.waitUntil(work));
  let cursor: Any = null;
  for (let n = 0; cursor === null || cursor.tables.length > 0; n++) {
    const job = { tenantId: tenant.id, id: jobId, type: "exports", payload: {}, cursor } as unknown as Job;
    const step = await exportPart(ctx, job);
    // Every other step is lost before its place is saved, but for the first, which begins another file.
    if (cursor === null || n % 2 === 0) cursor = step.cursor;
  }
  await setJob(jobId, `cursor = '${JSON.stringify(cursor)}', run_at = now()`);
  await queueJobs({ tenantId: tenant.id, jobId });

  const { result } = (await tenant.get(`/v1/jobs/${jobId}`)).body;
  const lines = await linesOf(tenant, result.fileId);
  expect(result.bytes).toBeGreaterThan(5_242_880);
  expect(new Set(rowsOf(lines, "users").map((row) => row.id)).size).toBe(3000);
  expect(rowsOf(lines, "users")).toHaveLength(3000);
  const { objects } = await env.FILES.list({ prefix: `${tenant.id}/` });
  expect(objects.map(({ key }) => key)).toEqual([`${tenant.id}/${result.fileId}`]);
});

it("tells how much each user's files take, the most first, page by page", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const upload = (who: Pick<Tenant, "post">, size: number) =>
    who.post("/v1/files?name=x.txt", "x".repeat(size), { headers: { "Content-Type": "text/plain" } });
  for (const size of [10, 20]) await upload(ann, size);
  await upload(bob, 100);
  await upload(tenant, 5);

  const all = await tenant.get("/v1/usage/storage?by=user");
  const first = await tenant.get("/v1/usage/storage?limit=2");
  const rest = await tenant.get(`/v1/usage/storage?limit=2&cursor=${first.body.nextCursor}`);

  expect(all.body.data).toEqual([
    { userId: bob.id, files: 1, bytes: 100 },
    { userId: ann.id, files: 2, bytes: 30 },
    { userId: null, files: 1, bytes: 5 },
  ]);
  expect([...first.body.data, ...rest.body.data]).toEqual(all.body.data);
  expect(rest.body.nextCursor).toBeNull();
});
