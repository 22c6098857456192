import { expect, it } from "vitest";
import { type Any, admin, client, expectProblem, newTenant, newUser, userClient } from "./helpers";

it("a new tenant's first key works at once and sees its own tenant", async () => {
  const tenant = await newTenant({ name: "Globex" });

  const me = await tenant.get("/v1/whoami");
  const own = await tenant.get("/v1/tenant");

  expect(me.body).toMatchObject({ tenantId: tenant.id, tenantName: "Globex", credential: "key" });
  expect(own.body).toMatchObject({ id: tenant.id, name: "Globex", suspendedAt: null });
});

it("only the deployment's key may manage tenants and plans", async () => {
  const tenant = await newTenant();

  for (const path of ["/v1/tenants", `/v1/tenants/${tenant.id}`, "/v1/plans", "/v1/admin/sizes"]) {
    expectProblem(await tenant.get(path), 403, "missing_scope");
  }
  expectProblem(await client(null).get("/v1/tenants"), 401, "missing_credential");
});

it("a suspended tenant's credentials are refused until it is resumed", async () => {
  const tenant = await newTenant();
  expect((await tenant.get("/v1/whoami")).status).toBe(200);

  const operator = await admin();
  expect((await operator.post(`/v1/tenants/${tenant.id}/suspend`)).body.suspendedAt).toEqual(expect.any(String));
  expectProblem(await tenant.get("/v1/whoami"), 403, "tenant_suspended");

  expect((await operator.post(`/v1/tenants/${tenant.id}/resume`)).body.suspendedAt).toBeNull();
  expect((await tenant.get("/v1/whoami")).status).toBe(200);
});

it("the operator gets, lists and changes tenants, and never meets the deployment itself among them", async () => {
  const operator = await admin();
  const plan = (await operator.post("/v1/plans", { name: crypto.randomUUID(), tier: "pro" })).body;
  const one = await newTenant({ name: "One", planId: plan.id, metadata: { crm: 7, gone: null } });
  const two = await newTenant({ name: "Two", planId: plan.id });
  await operator.post(`/v1/tenants/${two.id}/suspend`);
  const names = async (query: string) =>
    (await operator.get(`/v1/tenants?planId=${plan.id}${query}`)).body.data.map((t: Any) => t.name);

  expect((await operator.get(`/v1/tenants/${one.id}`)).body).toMatchObject({
    name: "One",
    planId: plan.id,
    metadata: { crm: 7 },
    suspendedAt: null,
  });
  expect(await names("")).toEqual(["Two", "One"]);
  expect(await names("&suspended=true")).toEqual(["Two"]);
  expect(await names("&suspended=false")).toEqual(["One"]);
  const changed = await operator.patch(`/v1/tenants/${one.id}`, {
    name: "First",
    planId: null,
    metadata: { crm: null, region: "eu" },
  });
  expect(changed.body).toMatchObject({ name: "First", planId: null, metadata: { region: "eu" } });

  const deployment = "00000000-0000-0000-0000-000000000000";
  for (const id of [deployment, crypto.randomUUID()]) {
    expect([404, 422]).toContain((await operator.get(`/v1/tenants/${id}`)).status);
    expect([404, 422]).toContain((await operator.patch(`/v1/tenants/${id}`, { name: "x" })).status);
    expect([404, 422]).toContain((await operator.post(`/v1/tenants/${id}/suspend`)).status);
  }
  expectProblem(await operator.post("/v1/tenants", {}), 422, "invalid_request", "name");
});

it("a tenant changes its own name, settings and metadata, and not its plan", async () => {
  const tenant = await newTenant();

  const changed = await tenant.patch("/v1/tenant", {
    name: "Renamed",
    settings: { allowedOrigins: ["https://a.example"] },
    metadata: { a: 1 },
  });
  expect(changed.body).toMatchObject({
    id: tenant.id,
    name: "Renamed",
    settings: { allowedOrigins: ["https://a.example"] },
    metadata: { a: 1 },
  });
  const merged = await tenant.patch("/v1/tenant", { settings: { allowedOrigins: null }, metadata: { b: 2 } });
  expect(merged.body).toMatchObject({ name: "Renamed", settings: {}, metadata: { a: 1, b: 2 } });

  expectProblem(await tenant.patch("/v1/tenant", { planId: crypto.randomUUID() }), 422, "invalid_request", "planId");
  expectProblem(await tenant.patch("/v1/tenant", { suspendedAt: null }), 422, "invalid_request", "suspendedAt");
  expect((await tenant.get("/v1/tenant")).body).toEqual(merged.body);
});

it("each credential learns who it is", async () => {
  const tenant = await newTenant();
  const user = await newUser(tenant);

  expect((await tenant.get("/v1/whoami")).body).toEqual({
    tenantId: tenant.id,
    tenantName: "Acme",
    credential: "key",
    keyId: expect.any(String),
    userId: null,
    scopes: expect.arrayContaining(["tenant:read"]),
  });
  expect((await (await userClient(tenant, user.id)).get("/v1/whoami")).body).toEqual({
    tenantId: tenant.id,
    tenantName: "Acme",
    credential: "user",
    keyId: null,
    userId: user.id,
    scopes: null,
  });
});
