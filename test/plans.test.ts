import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { METRICS } from "../src/tenants/metrics";
import { type Any, admin, client, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { asOwner } from "./setup/owner";

const newPlan = async (limits: Record<string, number> = {}, more: object = {}): Promise<Any> => {
  const made = await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", limits, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
};
const onPlan = async (limits: Record<string, number>): Promise<Tenant> =>
  newTenant({ planId: (await newPlan(limits)).id });
const limitOf = async (tenant: Tenant, metric: string) =>
  (await tenant.get("/v1/tenant/limits")).body.data.find((one: Any) => one.metric === metric);

describe("plans", () => {
  it("a plan is created, listed, changed and deleted", async () => {
    const operator = await admin();
    const name = crypto.randomUUID();

    const plan = await newPlan(
      { users: 10, messages: 1000 },
      { name, monthlyPrice: "9.9", yearlyPrice: "99", features: { campaigns: true } },
    );

    expect(plan).toMatchObject({
      name,
      tier: "pro",
      monthlyPrice: "9.90",
      yearlyPrice: "99.00",
      features: { campaigns: true },
      limits: { users: 10, messages: 1000 },
    });
    expect((await operator.get(`/v1/plans/${plan.id}`)).body).toEqual(plan);
    expect((await operator.get("/v1/plans?limit=100")).body.data).toContainEqual(plan);
    const changed = await operator.patch(`/v1/plans/${plan.id}`, {
      tier: "max",
      yearlyPrice: null,
      limits: { users: 20 },
    });
    expect(changed.body).toMatchObject({
      name,
      tier: "max",
      monthlyPrice: "9.90",
      yearlyPrice: null,
      limits: { users: 20 },
    });
    expect((await operator.delete(`/v1/plans/${plan.id}`)).status).toBe(204);
    expectProblem(await operator.get(`/v1/plans/${plan.id}`), 404, "not_found");
    expectProblem(await operator.delete(`/v1/plans/${plan.id}`), 404, "not_found");
  });

  it("two plans cannot share a name, one with tenants is not deleted, and a tenant's plan must exist", async () => {
    const operator = await admin();
    const [plan, other] = [await newPlan(), await newPlan()];
    const tenant = await newTenant({ planId: plan.id });

    expectProblem(await operator.post("/v1/plans", { name: plan.name, tier: "x" }), 409, "conflict", "name");
    expectProblem(await operator.patch(`/v1/plans/${other.id}`, { name: plan.name }), 409, "conflict", "name");
    expectProblem(await operator.delete(`/v1/plans/${plan.id}`), 409, "plan_in_use");
    expectProblem(
      await operator.post("/v1/tenants", { name: "x", planId: crypto.randomUUID() }),
      422,
      "invalid_request",
      "planId",
    );
    expectProblem(
      await operator.patch(`/v1/tenants/${tenant.id}`, { planId: crypto.randomUUID() }),
      422,
      "invalid_request",
      "planId",
    );
    expect((await operator.patch(`/v1/tenants/${tenant.id}`, { planId: null })).body.planId).toBeNull();
    expect((await operator.delete(`/v1/plans/${plan.id}`)).status).toBe(204);
  });

  it.each([
    ["a metric that is none", { limits: { unicorns: 1 } }, "limits"],
    ["a negative limit", { limits: { users: -1 } }, "limits.users"],
    ["a limit that is no whole number", { limits: { users: 1.5 } }, "limits.users"],
    ["a price in floating point", { monthlyPrice: 9.9 }, "monthlyPrice"],
    ["a price with three decimals", { monthlyPrice: "9.999" }, "monthlyPrice"],
  ])("%s is refused", async (_, input, path) => {
    const made = await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", ...input });

    expect(made.status).toBe(422);
    expect(made.body.errors.map((error: Any) => error.path.startsWith(path))).toContain(true);
  });

  it("a tenant neither sees nor changes plans", async () => {
    const tenant = await newTenant();
    const plan = await newPlan();

    for (const answer of [
      await tenant.get("/v1/plans"),
      await tenant.get(`/v1/plans/${plan.id}`),
      await tenant.patch(`/v1/plans/${plan.id}`, { tier: "x" }),
      await tenant.delete(`/v1/plans/${plan.id}`),
      await tenant.post("/v1/plans", { name: "x", tier: "x" }),
    ]) {
      expectProblem(answer, 403, "missing_scope");
    }
  });
});

describe("standing quantities", () => {
  it("over the limit is 402 with limit, use and reset, whichever way a row is made, and nothing is written", async () => {
    const tenant = await onPlan({ users: 3, teams: 1 });
    const pub = client(
      (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] })).body.secret,
    );
    await tenant.post("/v1/users/bulk", { users: [{ externalId: "a" }, { externalId: "b" }] });

    const tooMany = await tenant.post("/v1/users/bulk", { users: [{ externalId: "a" }, {}, {}] });
    expectProblem(tooMany, 402, "plan_limit_reached");
    expect(tooMany.body).toMatchObject({ metric: "users", limit: 3, use: 2, reset: null });
    expect((await pub.post("/v1/guests", {})).status).toBe(201);

    for (const answer of [
      await tenant.post("/v1/users", {}),
      await pub.post("/v1/guests", {}),
      await tenant.post("/v1/users/bulk", { users: [{}] }),
    ]) {
      expectProblem(answer, 402, "plan_limit_reached");
      expect(answer.body).toMatchObject({ metric: "users", limit: 3, use: 3, reset: null });
    }
    expect((await tenant.get("/v1/users")).body.data).toHaveLength(3);
    expect((await tenant.post("/v1/teams", { name: "One" })).status).toBe(201);
    expect((await tenant.post("/v1/teams", { name: "Two" })).body).toMatchObject({
      code: "plan_limit_reached",
      metric: "teams",
      limit: 1,
      use: 1,
    });
  });

  it("at the limit known users are still upserted and changed, and a deletion makes room", async () => {
    const tenant = await onPlan({ users: 1 });
    const user = await newUser(tenant, { externalId: "a" });

    expect((await tenant.post("/v1/users", { externalId: "a", bio: "Hi" })).status).toBe(201);
    expect((await tenant.post("/v1/users/bulk", { users: [{ externalId: "a" }] })).status).toBe(200);
    expectProblem(await tenant.post("/v1/users", { externalId: "b" }), 402, "plan_limit_reached");
    await tenant.delete(`/v1/users/${user.id}?mode=hard`);
    expect((await tenant.post("/v1/users", { externalId: "b" })).status).toBe(201);
  });

  it("a limit that is lowered below the use takes nothing away, and lets nothing be added", async () => {
    const plan = await newPlan({ users: 5 });
    const tenant = await newTenant({ planId: plan.id });
    await tenant.post("/v1/users/bulk", { users: [{ externalId: "a" }, {}, {}] });

    await (await admin()).patch(`/v1/plans/${plan.id}`, { limits: { users: 1 } });

    expect((await tenant.post("/v1/users", {})).body).toMatchObject({ code: "plan_limit_reached", limit: 1, use: 3 });
    expect((await tenant.post("/v1/users", { externalId: "a", bio: "Hi" })).status).toBe(201);
    expect((await tenant.get("/v1/users")).body.data).toHaveLength(3);
  });

  it("a changed plan, and a change to another plan, hold at the next request", async () => {
    const operator = await admin();
    const [small, large] = [await newPlan({ teams: 0 }), await newPlan({ teams: 2 })];
    const tenant = await newTenant({ planId: small.id });
    const create = () => tenant.post("/v1/teams", { name: "Team" });
    expectProblem(await create(), 402, "plan_limit_reached");

    await operator.patch(`/v1/plans/${small.id}`, { limits: { teams: 1 } });
    expect((await create()).status).toBe(201);
    expectProblem(await create(), 402, "plan_limit_reached");

    await operator.patch(`/v1/tenants/${tenant.id}`, { planId: large.id });
    expect((await create()).status).toBe(201);
    expectProblem(await create(), 402, "plan_limit_reached");

    await operator.patch(`/v1/tenants/${tenant.id}`, { planId: null });
    expect((await create()).status).toBe(201);
    expect((await limitOf(tenant, "teams")).limit).toBeNull();
  });

  it("what is counted is what is there, after any insertions and deletions", async () => {
    const step = fc.oneof(
      fc.record({ make: fc.constantFrom("user", "guest", "team"), times: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ remove: fc.constantFrom("user", "team"), which: fc.nat(5) }),
      fc.record({ fail: fc.constantFrom("user", "team") }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 10 }), async (steps) => {
        const tenant = await newTenant();
        const pub = client(
          (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] })).body.secret,
        );
        for (const one of steps) {
          if ("make" in one) {
            if (one.make === "guest") await pub.post("/v1/guests", {});
            else if (one.make === "team") await tenant.post("/v1/teams", { name: "Team" });
            else
              await tenant.post("/v1/users/bulk", {
                users: Array.from({ length: one.times }, (_, n) => (n ? {} : { externalId: "same" })),
              });
          } else if ("remove" in one) {
            const listed = (await tenant.get(`/v1/${one.remove}s`)).body.data;
            if (listed[one.which])
              await tenant.delete(
                `/v1/${one.remove}s/${listed[one.which].id}${one.remove === "user" ? "?mode=hard" : ""}`,
              );
          } else {
            await tenant.post(one.fail === "user" ? "/v1/users/bulk" : "/v1/users", {
              users: [{}, { teamIds: [crypto.randomUUID()] }],
            });
          }
        }
        for (const metric of ["users", "teams"]) {
          const [{ n }] = (await asOwner(`select count(*)::int as n from ${metric} where tenant_id = $1`, [
            tenant.id,
          ])) as [{ n: number }];
          expect(await limitOf(tenant, metric)).toMatchObject({ kind: "standing", use: n });
        }
      }),
      { numRuns: 20 },
    );
  });
});

describe("limits and usage", () => {
  it("every metric is listed with its limit, its use and when that starts anew", async () => {
    const tenant = await onPlan({ users: 7, messages: 500, requestsPerMinute: 900 });
    await newUser(tenant);

    const { data } = (await tenant.get("/v1/tenant/limits")).body;

    expect(data.map((one: Any) => one.metric)).toEqual(Object.keys(METRICS));
    const now = new Date();
    const nextMonth = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1)).toISOString();
    const of = (metric: string) => data.find((one: Any) => one.metric === metric);
    expect(of("users")).toEqual({ metric: "users", kind: "standing", limit: 7, use: 1, reset: null });
    expect(of("messages")).toEqual({ metric: "messages", kind: "monthly", limit: 500, use: 0, reset: nextMonth });
    expect(of("requestsPerMinute")).toEqual({
      metric: "requestsPerMinute",
      kind: "rate",
      limit: 900,
      use: null,
      reset: null,
    });
    expect(of("teams").limit).toBeNull();
    expect((await tenant.get("/v1/whoami")).headers.get("RateLimit-Policy")).toContain("q=900");
  });

  it("over a monthly quantity is 402 with limit, use and the month's end", async () => {
    const tenant = await onPlan({ apiRequests: 5 });

    const answers = [];
    for (let n = 0; n < 7; n++) answers.push(await tenant.get("/v1/whoami"));

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 402, 402]);
    expectProblem(answers[5]!, 402, "plan_limit_reached");
    expect(answers[5]!.body).toMatchObject({
      metric: "apiRequests",
      limit: 5,
      use: 5,
      reset: expect.stringMatching(/-01T00:00:00.000Z$/),
    });
  });

  it("over a rate is 429 with limit, use and reset, and says when to come back", async () => {
    const tenant = await onPlan({ requestsPerMinute: 3 });

    const answers = await Promise.all(Array.from({ length: 8 }, () => tenant.get("/v1/whoami")));

    // A window may end in between.
    const allowed = answers.filter(({ status }) => status === 200).length;
    expect([3, 6]).toContain(allowed);
    const refused = answers.find(({ status }) => status === 429)!;
    expectProblem(refused, 429, "rate_limited");
    expect(refused.body).toMatchObject({ limit: 3, use: 3, reset: expect.any(Number) });
    expect(Number(refused.headers.get("Retry-After"))).toBe(refused.body.reset);
    expect(refused.headers.get("RateLimit-Policy")).toBe('"default";q=3;w=60');
    expect(refused.headers.get("RateLimit")).toBe(`"default";r=0;t=${refused.body.reset}`);
  });

  it("usage adds up by hour and by day in UTC, within the time asked for", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const rows: [tenantId: string, metric: string, hour: string, value: number][] = [
      [tenant.id, "messages", "2026-03-01T22:00:00Z", 1],
      [tenant.id, "messages", "2026-03-01T23:00:00Z", 2],
      [tenant.id, "messages", "2026-03-02T00:00:00Z", 4],
      [tenant.id, "messages", "2026-03-04T12:00:00Z", 8],
      [tenant.id, "events", "2026-03-02T00:00:00Z", 16],
      [other.id, "messages", "2026-03-02T00:00:00Z", 32],
    ];
    for (const row of rows)
      await asOwner("insert into usage_metrics (tenant_id, metric, hour, value) values ($1, $2, $3, $4)", row);
    const usage = async (query: string) => (await tenant.get(`/v1/usage?metric=messages&${query}`)).body.data;
    const span = "from=2026-03-01T00:00:00Z&to=2026-03-05T00:00:00Z";

    expect(await usage(`${span}&bucket=day`)).toEqual([
      { start: "2026-03-01T00:00:00.000Z", value: 3 },
      { start: "2026-03-02T00:00:00.000Z", value: 4 },
      { start: "2026-03-04T00:00:00.000Z", value: 8 },
    ]);
    expect(await usage(span)).toHaveLength(3);
    expect((await usage(`${span}&bucket=hour`)).map((one: Any) => one.value)).toEqual([1, 2, 4, 8]);
    expect(await usage("from=2026-03-01T23:00:00Z&to=2026-03-02T00:00:00Z&bucket=hour")).toEqual([
      { start: "2026-03-01T23:00:00.000Z", value: 2 },
    ]);
    expect(await usage("from=2026-03-02T02:00:00%2B02:00&to=2026-03-02T03:00:00%2B02:00&bucket=hour")).toEqual([
      { start: "2026-03-02T00:00:00.000Z", value: 4 },
    ]);
    expect(await usage("from=2026-03-05T00:00:00Z&to=2026-03-01T00:00:00Z")).toEqual([]);
  });

  it.each([
    ["metric=unicorns&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", "query.metric"],
    ["metric=messages&to=2026-03-02T00:00:00Z", "query.from"],
    ["metric=messages&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z&bucket=week", "query.bucket"],
    ["metric=messages&from=2026-03-01T00:00:00Z&to=2026-04-02T00:00:00Z&bucket=hour", "query.to"],
    ["metric=messages&from=2025-03-01T00:00:00Z&to=2026-03-03T00:00:00Z&bucket=day", "query.to"],
  ])("/v1/usage?%s is refused", async (query, path) => {
    expectProblem(await (await newTenant()).get(`/v1/usage?${query}`), 422, "invalid_request", path);
  });
});
