import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, inject, it, vi } from "vitest";
import { app } from "../src/app";
import { callsOf } from "./calls";
import { type Any, admin, client, newTenant, newUser } from "./helpers";

afterEach(() => vi.restoreAllMocks());

/** As a Worker that was deployed with other settings answers. */
async function ask(path: string, settings: Partial<Env>): Promise<{ status: number; body: Any }> {
  const context = createExecutionContext();
  const response = await app.fetch(new Request(`http://parley.test${path}`), { ...env, ...settings }, context);
  await waitOnExecutionContext(context);
  return { status: response.status, body: await response.json() };
}

it("/health tells the version and asks nothing else", async () => {
  const calls = await callsOf(async () => {
    expect(await ask("/health", { VERSION: "1.2.3" })).toEqual({ status: 200, body: { ok: true, version: "1.2.3" } });
  });

  expect(calls).toBe(0);
});

it("/ready is 200 on a database of this release in a safe role", async () => {
  const { status, body } = await client(null).get("/ready");

  expect(status).toBe(200);
  expect(body).toEqual({ database: "ok", migrations: "current", role: "safe" });
});

it.each<[what: string, settings: () => Partial<Env>, detail: RegExp]>([
  ["a database of another release", () => ({ RELEASE: "0000_other+0" }), /not migrated to this release/],
  ["the owner's role", () => ({ APP_DATABASE_URL: inject("ownerDatabaseUrl") }), /could pass the wall/],
])("/ready is 503 on %s and says so", async (_, settings, detail) => {
  const { status, body } = await ask("/ready", settings());

  expect(status).toBe(503);
  expect(body).toMatchObject({ code: "unavailable", detail: expect.stringMatching(detail) });
});

it("/ready is 503 while the database cannot be reached", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("connection refused"));

  expect(await ask("/ready", {})).toMatchObject({ status: 503, body: { code: "unavailable" } });
});

it("the operator sees how large every table is", async () => {
  await newUser(await newTenant());

  const { status, body } = await (await admin()).get("/v1/admin/sizes");

  expect(status).toBe(200);
  const sizes = new Map<string, Any>(body.data.map((size: Any) => [size.table, size]));
  for (const table of ["tenants", "users", "messages", "audit_logs"]) expect(sizes.has(table), table).toBe(true);
  expect(sizes.get("users").bytes).toBeGreaterThan(8192);
  expect(sizes.get("users").rows).toEqual(expect.any(Number));
});
