import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { readRetryAfter } from "../src/lib/retry-after";
import { deliverQueued } from "../src/webhooks/consumer";
import { pauseAfter, RETRY_SECONDS, retryDelay } from "../src/webhooks/schedule";
import { type Any, expectProblem, newTenant, type Tenant } from "./helpers";
import { askWith, inContext, postWith } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

const quiet = { sendBatch: async () => {} } as unknown as Queue;
const unannounced: Env = { ...env, WEBHOOKS: quiet };

/** An endpoint that hears of channels, and a consumer that the test alone drives. */
async function newEndpoint(more: Record<string, unknown> = {}, env_ = unannounced) {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const body = { name: "Shop", url: receiver.url, events: ["channel.created"], ...more };
  const hook = await postWith(env_, tenant, "/v1/webhooks", body);
  const happen = (count = 1) =>
    Promise.all(Array.from({ length: count }, () => postWith(unannounced, tenant, "/v1/channels", { name: "x" })));
  const deliver = async (changed: Partial<Env> = {}) => {
    const ids = await asOwner<{ id: string }>(
      "update webhook_deliveries set next_attempt_at = now(), claimed_until = null where tenant_id = $1 and status = 'pending' returning id",
      [tenant.id],
    );
    const deliveryIds = ids.map(({ id }) => id);
    await inContext((ctx) =>
      deliverQueued({ ...unannounced, ...changed }, [{ tenantId: tenant.id, deliveryIds }], ctx),
    );
  };
  return { tenant, receiver, hook, happen, deliver };
}

const webhookOf = async (tenant: Tenant, { id }: Any) => (await tenant.get(`/v1/webhooks/${id}`)).body;
const deliveriesOf = async (tenant: Tenant): Promise<Any[]> => (await tenant.get("/v1/webhook-deliveries")).body.data;
const attemptsOf = async (tenant: Tenant, query = ""): Promise<Any[]> =>
  (await tenant.get(`/v1/webhook-attempts?${query}`)).body.data;
const healthOf = async ({ id }: Any): Promise<Any> =>
  (
    await asOwner(
      "select *, extract(epoch from paused_until - now())::float8 as pause from webhook_health where webhook_id = $1",
      [id],
    )
  )[0];

it("the waits before retries are the schedule's, each ±20 %, and end where the endpoint's retries end", () => {
  const all = RETRY_SECONDS.map((_, n) => [0, 0.5, 1].map((random) => retryDelay(n, 9, null, random)));

  expect(all.map((waits) => waits.map((seconds) => Math.round(seconds!)))).toEqual(
    RETRY_SECONDS.map((base) => [0.8, 1, 1.2].map((factor) => Math.round(base * factor))),
  );
  expect(retryDelay(9, 9, null)).toBeNull();
  expect(retryDelay(3, 3, null)).toBeNull();
  expect(retryDelay(0, 0, null)).toBeNull();
});

it("Retry-After is read as seconds or as a date, and heard within bounds", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  const read = (value: string | null) => readRetryAfter(value, now);

  expect(["120", " 5 ", "Thu, 01 Jan 2026 00:01:00 GMT"].map(read)).toEqual([120, 5, 60]);
  expect([null, "", "soon", "-5", "Wed, 31 Dec 2025 00:00:00 GMT", "1e3"].map(read)).toEqual(Array(6).fill(null));
  expect(retryDelay(0, 9, 600, 0.5)).toBe(600);
  expect(retryDelay(0, 9, 86_400, 0.5)).toBe(3600);
  expect(retryDelay(8, 9, 10_000_000, 0.5)).toBe(172_800);
  expect(retryDelay(2, 9, 1, 0.5)).toBe(1800);
  expect([429, 502, 503, 504].map((status) => pauseAfter(status, null))).toEqual([10, 10, 10, 10]);
  expect([pauseAfter(429, 120), pauseAfter(503, 86_400), pauseAfter(503, 0)]).toEqual([120, 300, 1]);
  expect([200, 400, 500, null].map((status) => pauseAfter(status, 60))).toEqual([null, null, null, null]);
});

it.each([429, 502, 503, 504])("%i slows the endpoint down: its other events wait too", async (status) => {
  const { receiver, hook, happen, deliver, tenant } = await newEndpoint();
  await receiver.answers({ status, headers: { "Retry-After": "120" } }, { status: 200 });

  await happen();
  await deliver();
  await happen(2);
  await deliver();

  expect(await receiver.received()).toHaveLength(1);
  const { pause } = await healthOf(hook);
  expect(pause).toBeGreaterThan(60);
  expect(pause).toBeLessThanOrEqual(120);
  const waits = (await deliveriesOf(tenant)).map((d) => (Date.parse(d.nextAttemptAt) - Date.now()) / 1000);
  expect(waits.every((seconds) => seconds > 60 && seconds < 125)).toBe(true);
});

it.each([
  ["disable", 500, "disabled", "cancelled"],
  ["disable", 200, "disabled", "delivered"],
  ["abort", 500, "active", "cancelled"],
  ["abort", 200, "active", "delivered"],
])("webhook-delivery: %s with a %i leaves the endpoint %s and the delivery %s", async (wish, code, health, status) => {
  const { tenant, receiver, hook, happen, deliver } = await newEndpoint();
  await receiver.answers({ status: code, headers: { "webhook-delivery": wish } });

  await happen();
  await deliver();

  expect(await deliveriesOf(tenant)).toMatchObject([{ status, attempts: 1 }]);
  expect(await webhookOf(tenant, hook)).toMatchObject({ status: health, enabled: true });
});

it("an endpoint's own pace is kept: what is too much for this second waits for the next ones", async () => {
  const { tenant, receiver, happen, deliver } = await newEndpoint({ perSecond: 2 });
  await happen(6);

  await deliver();

  expect(await receiver.received()).toHaveLength(2);
  const waiting = await asOwner<{ n: number }>(
    `select count(*)::int as n from webhook_deliveries where tenant_id = $1 and status = 'pending'
      group by date_trunc('second', next_attempt_at) order by date_trunc('second', next_attempt_at)`,
    [tenant.id],
  );
  expect(waiting.map(({ n }) => n)).toEqual([2, 2]);
});

it("after five failures in a row the endpoint rests, then one probe decides whether all of it goes on", async () => {
  const { tenant, receiver, hook, happen, deliver } = await newEndpoint();
  await receiver.answers({ status: 500 });
  await happen(5);
  await deliver();
  expect(await receiver.received()).toHaveLength(5);
  expect((await healthOf(hook)).pause).toBeGreaterThan(20);
  await deliver();
  expect(await receiver.received()).toHaveLength(5);
  const restIsOver = () =>
    asOwner("update webhook_health set paused_until = now() - interval '1 second' where webhook_id = $1", [hook.id]);

  await restIsOver();
  await deliver();
  expect(await receiver.received()).toHaveLength(6);
  expect((await healthOf(hook)).pause).toBeGreaterThan(40);

  await receiver.answers({ status: 200 });
  await restIsOver();
  await deliver();
  expect(await receiver.received()).toHaveLength(7);
  await deliver();
  expect(await receiver.received()).toHaveLength(11);
  expect((await deliveriesOf(tenant)).map(({ status }) => status)).toEqual(Array(5).fill("delivered"));
});

it("of an attempt is kept what was sent, what came back up to 16 KiB, and why nothing did", async () => {
  const { tenant, receiver, happen, deliver } = await newEndpoint({ headers: { "X-Token": "secret" }, timeoutMs: 200 });
  await receiver.answers(
    { status: 500, body: `\0${"ä".repeat(10_000)}`, headers: { "X-Trace": "abc" } },
    { delayMs: 1000 },
    { hangUp: true },
  );

  await happen();
  for (let n = 0; n < 3; n++) await deliver();

  const [hungUp, late, failed] = await attemptsOf(tenant);
  expect(failed).toMatchObject({ ok: false, status: 500, error: null, url: receiver.url, trigger: "event" });
  expect(failed.requestHeaders).toMatchObject({
    "X-Token": "[sent]",
    "webhook-id": expect.any(String),
    "webhook-signature": expect.stringMatching(/^v1,/),
    "content-type": "application/json",
  });
  expect(failed.responseHeaders).toMatchObject({ "x-trace": "abc" });
  expect(failed.responseBody.slice(0, 2)).toBe("\ufffdä");
  expect(new TextEncoder().encode(failed.responseBody).length).toBeLessThanOrEqual(16_384 + 4);
  expect(late).toMatchObject({ status: null, error: "timeout", responseBody: null, trigger: "retry" });
  expect(late.ms).toBeGreaterThanOrEqual(190);
  expect(hungUp).toMatchObject({ status: null, error: "connect" });
});

const named = (address: string) => ({
  body: JSON.stringify({
    Status: 0,
    Answer: [{ name: "hooks.shop.com.", type: address.includes(":") ? 28 : 1, TTL: 0, data: address }],
  }),
});

it("a name that leads elsewhere by the time of the delivery is not called, and the log says where it led", async () => {
  const resolver = newReceiver();
  await resolver.answers(named("203.0.114.9"));
  const looking: Env = { ...unannounced, DOH_URL: resolver.url };
  const { tenant, happen, deliver } = await newEndpoint({ url: "https://hooks.shop.com/in" }, looking);

  await happen();
  await resolver.answers(named("169.254.169.254"));
  await deliver(looking);

  expect(await attemptsOf(tenant)).toMatchObject([
    { ok: false, status: null, error: "unsafe_address", address: "169.254.169.254" },
  ]);
});

it.each([...["10.0.0.5", "127.0.0.1", "100.64.0.1", "169.254.169.254"], ...["::1", "64:ff9b::7f00:1"]])(
  "a name that leads to %s is refused to a new webhook and to one that is there",
  async (address) => {
    const [tenant, resolver] = [await newTenant(), newReceiver()];
    const looking: Env = { ...unannounced, DOH_URL: resolver.url };
    await resolver.answers(named("203.0.114.9"));
    const hook = await postWith(looking, tenant, "/v1/webhooks", { name: "Shop", url: "https://hooks.shop.com/in" });
    await resolver.answers(named(address));
    const inner = { url: "https://inner.shop.com/in" };

    const made = await askWith(looking, tenant, "POST", "/v1/webhooks", { name: "Inner", ...inner });
    const changed = await askWith(looking, tenant, "PATCH", `/v1/webhooks/${hook.id}`, inner);

    for (const refused of [made, changed]) expectProblem(refused, 422, "invalid_request", "url");
    expect((await tenant.get("/v1/webhooks")).body.data).toMatchObject([{ id: hook.id, url: hook.url }]);
  },
);

it("statistics tell the share of successes, the median and the slow end, and each hour", async () => {
  const { tenant, hook } = await newEndpoint();
  await asOwner(
    `insert into webhook_attempts (tenant_id, id, webhook_id, event_type, trigger, url, ok, ms, request_headers, created_at)
     select $1::uuid, gen_random_uuid(), $2::uuid, 'x', 'event', 'x', n > 25, n, '{}'::jsonb, date_trunc('hour', now()) - interval '1 hour' * (n % 2) - interval '1 second'
       from generate_series(1, 100) n
     union all select $1::uuid, gen_random_uuid(), $2::uuid, 'x', 'event', 'x', false, 9000, '{}'::jsonb, now() - interval '8 days'`,
    [tenant.id, hook.id],
  );

  for (const path of [`/v1/webhooks/${hook.id}/statistics`, "/v1/webhook-statistics"]) {
    const { body } = await tenant.get(path);
    expect(body).toMatchObject({ attempts: 100, succeeded: 75, successRate: 0.75, p50Ms: 50.5 });
    expect(body.p95Ms).toBeCloseTo(95.05);
    expect(body.byHour).toMatchObject([
      { attempts: 50, succeeded: 37 },
      { attempts: 50, succeeded: 38 },
    ]);
  }
});

it("deliveries and attempts are found by status, type, event, message, channel and time", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = (await tenant.post("/v1/webhooks", { name: "Shop", url: receiver.url })).body;
  await receiver.answers({ status: 200 }, { status: 400, headers: { "webhook-delivery": "abort" } });
  const channel = (await tenant.post("/v1/channels", { name: "a" })).body;
  await receiver.got(1);
  const { body: message } = await tenant.post(`/v1/channels/${channel.id}/messages`, { text: "hello" });
  await tenant.post("/v1/channels", { name: "b" });
  await vi.waitFor(async () => expect(await attemptsOf(tenant)).toHaveLength(3), { timeout: 8000 });
  const { eventId } = (await deliveriesOf(tenant)).find(({ eventType }) => eventType === "message.new");
  const count = async (query: string) => [
    (await tenant.get(`/v1/webhook-deliveries?${query}`)).body.data.length,
    (await attemptsOf(tenant, query)).length,
  ];

  expect(await count(`messageId=${message.id}`)).toEqual([1, 1]);
  expect(await count(`eventId=${eventId}`)).toEqual([1, 1]);
  expect(await count(`channelId=${channel.id}`)).toEqual([2, 2]);
  expect(await count("type=channel.created")).toEqual([2, 2]);
  const minute = (from: number) => new Date(Date.now() + from * 60_000).toISOString();
  expect(await count(`from=${minute(-1)}&to=${minute(1)}&webhookId=${hook.id}`)).toEqual([3, 3]);
  expect(await count(`from=${minute(1)}`)).toEqual([0, 0]);
  expect(await count(`to=${minute(-1)}`)).toEqual([0, 0]);
  expect((await tenant.get("/v1/webhook-deliveries?status=cancelled")).body.data).toHaveLength(2);
  expect(await attemptsOf(tenant, "status=400")).toHaveLength(2);
  expect(await attemptsOf(tenant, "ok=true")).toHaveLength(1);
});
