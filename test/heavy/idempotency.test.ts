import { expect, inject, it } from "vitest";
import { type Any, client, expectProblem, newTenant, newUser } from "../helpers";
import { asOwner } from "../setup/owner";

const real = inject("realPostgres");

it.runIf(real)(
  "100 concurrent calls with one Idempotency-Key have one effect and one answer, secret included",
  async () => {
    const tenant = await newTenant();
    const headers = { "Idempotency-Key": crypto.randomUUID() };

    const answers = await Promise.all(
      Array.from({ length: 100 }, () => tenant.post("/v1/api-keys", { name: "Key" }, { headers })),
    );

    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(answers.filter((answer) => answer.headers.get("Idempotency-Replayed") === null)).toHaveLength(1);
    expect((await tenant.get("/v1/api-keys")).body.data).toHaveLength(2);
    expect((await tenant.get("/v1/audit-logs?action=api_key.created")).body.data).toHaveLength(1);
    expect((await client(answers[42]!.body.secret).get("/v1/whoami")).status).toBe(200);
  },
);

it.runIf(real)("of concurrent calls with one key and two bodies, one body wins and the other is 422", async () => {
  const tenant = await newTenant();
  const headers = { "Idempotency-Key": crypto.randomUUID() };

  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) => tenant.post("/v1/teams", { name: `Team ${n % 2}` }, { headers })),
  );

  const made = answers.filter(({ status }) => status === 201);
  expect(new Set(made.map(({ body }) => body.id)).size).toBe(1);
  expect(made).toHaveLength(20);
  for (const answer of answers.filter(({ status }) => status !== 201))
    expectProblem(answer, 422, "idempotency_key_reused");
  expect((await tenant.get("/v1/teams")).body.data).toHaveLength(1);
});

it.runIf(real)("when the first call fails, one of those who waited for it does the work", async () => {
  const tenant = await newTenant();
  const holder = await newUser(tenant, { email: "ann@example.org" });
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const create = () => tenant.post("/v1/users", { email: "ann@example.org" }, { headers });

  const early = Array.from({ length: 10 }, create);
  const freed = tenant.patch(`/v1/users/${holder.id}`, { email: null });
  const late = Array.from({ length: 10 }, create);
  await freed;
  const answers = await Promise.all([...early, ...late, create()]);

  const made = answers.filter(({ status }) => status === 201);
  expect(made.length).toBeGreaterThan(0);
  expect(new Set(made.map(({ body }) => body.id)).size).toBe(1);
  for (const answer of answers.filter(({ status }) => status !== 201)) expectProblem(answer, 409, "conflict", "email");
  expect((await tenant.get("/v1/users?email=ann@example.org")).body.data).toHaveLength(1);
});

it.runIf(real)("a call that still runs after 5 seconds is 409 for the next, which can be tried again", async () => {
  const tenant = await newTenant();
  const { keyId } = (await tenant.get("/v1/whoami")).body as Any;
  const key = crypto.randomUUID();
  const create = () => tenant.post("/v1/teams", { name: "Team" }, { headers: { "Idempotency-Key": key } });
  const running = asOwner(
    `with first as (insert into idempotency_keys (tenant_id, key, fingerprint, seed) values ($1, $2, 'x', 'x') returning 1)
     select 1 / (pg_sleep(8)::text <> '')::int from first`,
    [tenant.id, `${keyId} ${key}`],
  ).catch((error) => error);
  const sleeping =
    "select 1 from pg_stat_activity where query like '%pg_sleep(8)%' and pid <> pg_backend_pid() and state = 'active'";
  await expect.poll(() => asOwner(sleeping)).toHaveLength(1);

  const started = Date.now();
  expectProblem(await create(), 409, "idempotency_in_progress");

  expect(Date.now() - started).toBeGreaterThan(4500);
  expect(await running).toBeInstanceOf(Error);
  expect((await create()).status).toBe(201);
});
