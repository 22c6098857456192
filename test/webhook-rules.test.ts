import { createExecutionContext, createMessageBatch, getQueueResult, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook as Verifier } from "standardwebhooks";
import { expect, it, vi } from "vitest";
import { CATALOGUE, EVENT_TYPES, type EventKind } from "../src/events/catalogue";
import { passes } from "../src/events/subscribers";
import worker from "../src/index";
import { hkdf, hmac, newestMaster, toBase64Url, utf8 } from "../src/lib/crypto";
import { type Any, admin, client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { newPerson, newRoom } from "./live";
import { betweenDatabase } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

async function newHook(tenant: Tenant, more: Record<string, unknown> = {}) {
  const receiver = newReceiver();
  const made = await tenant.post("/v1/webhooks", { name: "Shop", url: receiver.url, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return { ...receiver, id: made.body.id as string, secret: made.body.secret as string };
}

const newChannel = async (tenant: Tenant): Promise<string> =>
  (await tenant.post("/v1/channels", { name: "general" })).body.id;

const shown = async (tenant: Tenant, id: string): Promise<Any> => (await tenant.get(`/v1/webhooks/${id}`)).body;

const eventually = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 8000, interval: 50 });

it("a limit that is reached twice is told once, and delivered", async () => {
  const plan = await (await admin()).post("/v1/plans", { name: "Small", tier: "test", limits: { users: 0 } });
  const tenant = await newTenant({ planId: plan.body.id });
  const hook = await newHook(tenant, { events: ["usage.*"] });

  for (let n = 0; n < 2; n++) expectProblem(await tenant.post("/v1/users", {}), 402, "plan_limit_reached");

  const [told] = await hook.got(1);
  expect(told!.json).toMatchObject({ type: "usage.limit_reached", data: { metric: "users", limit: 0, use: 0 } });
  expectProblem(await tenant.post("/v1/users", {}), 402, "plan_limit_reached");
  expect((await tenant.get("/v1/events?type=usage.limit_reached")).body.data).toHaveLength(1);
  expect(await hook.received()).toHaveLength(1);
});

it("a portal link lasts an hour at most, and a signed one that has expired says so", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant);
  const made = (await tenant.post(`/v1/webhooks/${hook.id}/portal-links`)).body;
  expect(Date.parse(made.expiresAt) - Date.now()).toBeLessThanOrEqual(3_600_000);

  const { version, secret } = newestMaster(env);
  const signed = async (expiresAt: number) => {
    const pass = toBase64Url(utf8(JSON.stringify([version, tenant.id, hook.id, expiresAt, []])));
    return `/portal/${pass}.${toBase64Url(await hmac(await hkdf(secret, "", "portal links"), pass))}`;
  };
  expect((await client(null).get(await signed(Date.now() + 60_000))).status).toBe(200);
  const expired = await client(null).get<string>(await signed(Date.now() - 1));
  expect(expired.status).toBe(410);
  expect(expired.body).toContain("expired");
});

it("an endpoint's own troubles are told through the others, whatever it is subscribed to", async () => {
  const tenant = await newTenant();
  const failing = await newHook(tenant, { events: ["*", "webhook.*"], retryCount: 0 });
  const other = await newHook(tenant, { events: ["webhook.*"] });
  await failing.answers({ status: 400 });

  for (let n = 0; n < 4; n++) await newChannel(tenant);

  const told = await other.got(5);
  expect(told.map(({ json }) => json.type).sort()).toEqual([...Array(4).fill("webhook.exhausted"), "webhook.warning"]);
  const own = await asOwner<{ type: string }>(
    `select distinct e.type from webhook_deliveries d join events e on e.tenant_id = d.tenant_id and e.id = d.event_id
      where d.webhook_id = $1`,
    [failing.id],
  );
  expect(own).toEqual([{ type: "channel.created" }]);
});

it("what its owner has switched off is called by nobody, whatever its kind", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const room = await newRoom(tenant, [ann, bob]);
  const push = await newHook(tenant, { events: ["message.new"] });
  const hook = await newHook(tenant, { kind: "before_message_send" });
  const action = await newHook(tenant, { kind: "custom_action", action: "refund" });
  await hook.answers({ body: JSON.stringify({ action: "reject", reason: "no" }) });
  await action.answers({ body: "{}" });
  const send = () => ann.post(`/v1/channels/${room}/messages`, { text: "hello" });
  const refund = () => ann.post("/v1/actions/refund", { channelId: room });
  expect([(await send()).status, (await refund()).status]).toEqual([422, 200]);

  for (const { id } of [push, hook, action])
    expect((await tenant.patch(`/v1/webhooks/${id}`, { enabled: false })).body.enabled).toBe(false);

  expect([(await send()).status, (await refund()).status]).toEqual([201, 404]);
  expect(await asOwner("select 1 from webhook_deliveries where webhook_id = $1", [push.id])).toEqual([]);
  expect([await hook.received(), await action.received()].map((all) => all.length)).toEqual([1, 1]);

  await tenant.patch(`/v1/webhooks/${push.id}`, { enabled: true });
  expect((await send()).status).toBe(201);
  await push.got(1);
});

it("when an endpoint last succeeded and last failed is shown", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { events: ["channel.created"], retryCount: 0 });
  expect(await shown(tenant, hook.id)).toMatchObject({ lastSuccessAt: null, lastFailureAt: null });

  await newChannel(tenant);
  await eventually(async () =>
    expect(await shown(tenant, hook.id)).toMatchObject({ lastSuccessAt: expect.any(String), lastFailureAt: null }),
  );
  const { lastSuccessAt } = await shown(tenant, hook.id);
  await hook.answers({ status: 500 });
  await newChannel(tenant);
  await eventually(async () =>
    expect(await shown(tenant, hook.id)).toMatchObject({ lastSuccessAt, lastFailureAt: expect.any(String) }),
  );
  expect(Math.abs(Date.parse((await shown(tenant, hook.id)).lastFailureAt) - Date.now())).toBeLessThan(60_000);
});

it("an ordered channel goes on behind an event that was given up", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { ordered: true, events: ["custom.*"], retryCount: 0 });
  await tenant.put("/v1/event-types/custom.step", { description: "A step", stream: "channel", schema: {} });
  const channelId = await newChannel(tenant);
  await hook.answers({ status: 500, delayMs: 500 }, { status: 200 });

  for (let n = 1; n <= 3; n++) await tenant.post("/v1/events", { type: "custom.step", channelId, data: { n } });

  expect((await hook.got(3)).map(({ json }) => json.data.n)).toEqual([1, 2, 3]);
  await eventually(async () =>
    expect(
      (await asOwner("select status from webhook_deliveries where webhook_id = $1 order by order_seq", [hook.id])).map(
        ({ status }) => status,
      ),
    ).toEqual(["exhausted", "delivered", "delivered"]),
  );
});

it("three failures say nothing, one success between starts anew, and 4.9 days of failures disable nobody", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { events: ["channel.created"] });
  const other = await newHook(tenant, { events: ["webhook.*"] });
  const fails = async (times: number, count: number) => {
    await hook.answers({ status: 400 });
    for (let n = 0; n < times; n++) await newChannel(tenant);
    await eventually(async () => expect((await shown(tenant, hook.id)).failureCount).toBe(count));
  };

  await fails(3, 3);
  expect((await shown(tenant, hook.id)).status).toBe("active");
  await hook.answers({ status: 200 });
  await newChannel(tenant);
  await eventually(async () => expect((await shown(tenant, hook.id)).failureCount).toBe(0));
  await asOwner("update webhook_health set paused_until = null where webhook_id = $1", [hook.id]);
  await fails(3, 3);
  expect((await shown(tenant, hook.id)).status).toBe("active");
  expect(await other.received()).toEqual([]);

  await asOwner("update webhook_health set failing_since = now() - interval '4.9 days' where webhook_id = $1", [
    hook.id,
  ]);
  await fails(1, 4);
  expect((await other.got(1)).map(({ json }) => json.type)).toEqual(["webhook.warning"]);
  expect(await shown(tenant, hook.id)).toMatchObject({ status: "warning", enabled: true });
});

const VALUES = [undefined, null, 0, 1, "", "1", "a", true, false, [], ["a"], {}, { a: 1 }];
const CONDITIONS = [
  ...VALUES.filter((value) => value !== undefined && (typeof value !== "object" || value === null)),
  ...[null, 1, "a", true].flatMap((value) => [{ eq: value }, { ne: value }, { in: [value] }, { in: [value, "1"] }]),
  { in: [] },
  { exists: true },
  { exists: false },
  { exists: true, ne: "a" },
  { exists: false, in: [null] },
];

it("a filter lets through the same in the Worker and in the database", async () => {
  const cases = CONDITIONS.flatMap((condition) =>
    VALUES.flatMap((value) => [
      { filter: { "a.b": condition }, data: { a: value === undefined ? {} : { b: value } } },
      { filter: { x: condition, y: condition }, data: { x: value, y: 1 } },
    ]),
  ).map((one) => JSON.parse(JSON.stringify(one)) as { filter: Record<string, unknown>; data: unknown });

  const rows = await asOwner<{ passes: boolean }>(
    `select passes_filter(c.value -> 'filter', c.value -> 'data') as passes
       from jsonb_array_elements($1::jsonb) with ordinality c(value, n) order by n`,
    [JSON.stringify(cases)],
  );

  const differing = cases.filter(({ filter, data }, n) => passes(filter, data) !== rows[n]!.passes);
  expect(differing).toEqual([]);
  expect(new Set(rows.map((row) => row.passes)).size).toBe(2);
});

it("a message reaches those whose filter it passes", async () => {
  const tenant = await newTenant();
  const ann = await newPerson(tenant);
  const room = await newRoom(tenant, [ann]);
  const high = await newHook(tenant, { events: ["message.new"], filter: { "message.metadata.priority": "high" } });
  const rest = await newHook(tenant, {
    events: ["message.new"],
    filter: { "message.metadata.priority": { ne: "high" } },
  });

  for (const priority of ["high", "low"])
    await ann.post(`/v1/channels/${room}/messages`, { text: priority, metadata: { priority } });

  expect((await high.got(1)).map(({ json }) => (json.data as Any).message.text)).toEqual(["high"]);
  expect((await rest.got(1)).map(({ json }) => (json.data as Any).message.text)).toEqual(["low"]);
});

it("events are listed by time", async () => {
  const tenant = await newTenant();
  await tenant.put("/v1/event-types/custom.x", { description: "x", schema: {} });
  for (let n = 0; n < 3; n++) await tenant.post("/v1/events", { type: "custom.x", data: n });
  await asOwner("update events set created_at = now() - (3 - seq) * interval '1 hour' where tenant_id = $1", [
    tenant.id,
  ]);
  const hours = (n: number) => encodeURIComponent(new Date(Date.now() - n * 3_600_000).toISOString());
  const listed = async (query: string) => (await tenant.get(`/v1/events?${query}`)).body.data.map((e: Any) => e.data);

  expect(await listed("")).toEqual([2, 1, 0]);
  expect(await listed(`from=${hours(1.5)}`)).toEqual([2, 1]);
  expect(await listed(`to=${hours(0.5)}`)).toEqual([1, 0]);
  expect(await listed(`from=${hours(1.5)}&to=${hours(0.5)}`)).toEqual([1]);
});

it("an overlap of more than seven days is refused", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant);
  const rotate = (overlapSeconds: number) => tenant.post(`/v1/webhooks/${hook.id}/rotate-secret`, { overlapSeconds });

  expectProblem(await rotate(604_801), 422, "invalid_request", "overlapSeconds");
  expect((await rotate(604_800)).status).toBe(201);
});

it("a member asks an action with their own token, and what reaches the server is signed", async () => {
  const tenant = await newTenant();
  const [ann, stranger] = [await newPerson(tenant), await newUser(tenant)];
  const channelId = await newRoom(tenant, [ann]);
  const hook = await newHook(tenant, { kind: "custom_action", action: "refund" });
  await hook.answers({ body: JSON.stringify({ refunded: 5 }) });
  const ask = { channelId, data: { order: 7 } };

  expect((await ann.post("/v1/actions/refund", ask)).body).toEqual({ answer: { refunded: 5 } });
  expectProblem(await (await userClient(tenant, stranger.id)).post("/v1/actions/refund", ask), 404, "not_found");

  const [came, ...more] = await hook.received();
  expect(more).toEqual([]);
  expect(new Verifier(hook.secret).verify(came!.body, came!.headers)).toMatchObject({
    type: "action.refund",
    data: { channelId, user: { id: ann.id }, input: { order: 7 } },
  });
});

it("a secret is shown once, and stands in plain text nowhere", async () => {
  const tenant = await newTenant();
  const body = { name: "Shop", url: newReceiver().url };
  const headers = { "Idempotency-Key": '"once"' };
  const made = await tenant.post("/v1/webhooks", body, { headers });
  const { secret, id } = made.body;
  expect(secret).toMatch(/^whsec_/);

  const answers = [
    await tenant.get(`/v1/webhooks/${id}`),
    await tenant.get("/v1/webhooks"),
    await tenant.patch(`/v1/webhooks/${id}`, { name: "Shop 2" }),
    await tenant.get("/v1/audit-logs"),
  ];
  for (const answer of answers) {
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.body)).not.toContain(secret.slice("whsec_".length));
  }
  const kept = await asOwner<{ row: string }>(
    `select to_jsonb(k)::text as row from idempotency_keys k where tenant_id = $1
     union all select to_jsonb(s)::text from webhook_secrets s where tenant_id = $1
     union all select encode(s.sealed, 'escape') from webhook_secrets s where tenant_id = $1
     union all select to_jsonb(a)::text from audit_logs a where tenant_id = $1`,
    [tenant.id],
  );
  expect(kept.length).toBeGreaterThanOrEqual(4);
  for (const { row } of kept) expect(row).not.toContain(secret.slice("whsec_".length));
});

it("calls to tenants' servers go by the public internet alone, as the Worker is configured", () => {
  expect((Cloudflare.compatibilityFlags as Record<string, boolean>).global_fetch_strictly_public).toBe(true);
});

it("a consumer that throws leaves nothing on the queue, and the sweep delivers", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { events: ["channel.created"] });
  await betweenDatabase(
    ({ queries, send }) =>
      queries.includes("claim_deliveries") ? Promise.reject(new Error("the database is gone")) : send(),
    async () => {
      await newChannel(tenant);
      const [row] = await asOwner<{ id: string }>("select id from webhook_deliveries where webhook_id = $1", [hook.id]);
      const body = { tenantId: tenant.id, deliveryIds: [row!.id] };
      const batch = createMessageBatch("parley-webhooks", [{ id: "1", timestamp: new Date(), attempts: 1, body }]);
      const ctx = createExecutionContext();
      await worker.queue(batch as never, env, ctx);
      expect(await getQueueResult(batch, ctx)).toMatchObject({ ackAll: true, retryMessages: [] });
      await waitOnExecutionContext(ctx);
    },
  );
  await asOwner(
    "update webhook_deliveries set next_attempt_at = now() - interval '2 seconds', claimed_until = null where webhook_id = $1 and status = 'pending'",
    [hook.id],
  );

  await sweep();

  await hook.got(1);
});

it("a test event is sent as any type, made from the type's own schema, and is nothing that happened", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { events: ["webhook.test"] });
  const other = await newHook(tenant, { events: ["*"] });

  for (const type of EVENT_TYPES)
    expect((await tenant.post(`/v1/webhooks/${hook.id}/test`, { type })).status, type).toBe(202);

  const came = (await hook.got(EVENT_TYPES.length)) as Any[];
  expect(came.map(({ json }) => json.type).sort()).toEqual([...EVENT_TYPES].sort());
  for (const { json, body, headers } of came) {
    new Verifier(hook.secret).verify(body, headers);
    const kind: EventKind = CATALOGUE[json.type as keyof typeof CATALOGUE];
    expect([json.type, kind.data.parse(json.data)]).toEqual([json.type, json.data]);
    expect([json.type, json.stream.kind, "seq" in json]).toEqual([json.type, kind.stream, kind.durable]);
    expect(json.id).toBe(headers["webhook-id"]);
  }
  expect(await other.received()).toEqual([]);
  const kept = await asOwner("select distinct type from events where tenant_id = $1", [tenant.id]);
  expect(kept).toEqual([{ type: "webhook.test" }]);
  expectProblem(await tenant.post(`/v1/webhooks/${hook.id}/test`, { type: "no.such" }), 422, "invalid_request", "type");
});
