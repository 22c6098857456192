import { Webhook as Verifier } from "standardwebhooks";
import { expect, it, vi } from "vitest";
import { type Any, expectProblem, newTenant, type Tenant } from "./helpers";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

async function newWebhook(tenant: Tenant, url: string, more: Record<string, unknown> = {}): Promise<Any> {
  const made = await tenant.post("/v1/webhooks", { name: "Orders", url, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

async function newChannel(tenant: Tenant, name = "general"): Promise<Any> {
  const made = await tenant.post("/v1/channels", { name });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

const deliveriesOf = async (tenant: Tenant, query: string): Promise<Any[]> =>
  (await tenant.get(`/v1/webhook-deliveries?${query}`)).body.data;

async function deliveryThat(tenant: Tenant, query: string, holds: (delivery: Any) => boolean): Promise<Any> {
  return vi.waitFor(
    async () => {
      const found = (await deliveriesOf(tenant, query)).find(holds);
      if (!found) throw new Error(JSON.stringify(await deliveriesOf(tenant, query)));
      return found;
    },
    { timeout: 8000, interval: 50 },
  );
}

it("an event reaches the endpoint, signed so that a third party's library accepts it", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["channel.created"] });

  const channel = await newChannel(tenant);

  const [delivery] = await receiver.got(1);
  const verified = new Verifier(hook.secret).verify(delivery!.body, delivery!.headers) as Any;
  expect(verified).toMatchObject({
    type: "channel.created",
    seq: 1,
    stream: { kind: "channel", id: channel.id },
    data: { channel: { name: "general" } },
  });
  expect(delivery!.headers["webhook-id"]).toBe(verified.id);
  expect(await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.status === "delivered")).toMatchObject({
    attempts: 1,
    eventType: "channel.created",
  });
});

it("a failed attempt is retried with the same id and the same bytes, and each attempt is logged", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { headers: { "X-Shop": "secret-value" } });
  await receiver.answers({ status: 500, body: "broken" }, { status: 200 });

  await newChannel(tenant);
  await receiver.got(1);
  const failed = await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.attempts === 1);
  const waits = Date.parse(failed.nextAttemptAt) - Date.now();
  expect(failed.status).toBe("pending");
  expect(waits).toBeGreaterThan(2500);
  expect(waits).toBeLessThan(6100);

  await asOwner("update webhook_deliveries set next_attempt_at = now() - interval '2 seconds' where id = $1", [
    failed.id,
  ]);
  await sweep();

  const [first, second] = await receiver.got(2);
  expect(second!.body).toBe(first!.body);
  expect(second!.headers["webhook-id"]).toBe(first!.headers["webhook-id"]);
  expect(second!.headers["x-shop"]).toBe("secret-value");
  await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.status === "delivered");
  const attempts = (await tenant.get(`/v1/webhook-attempts?deliveryId=${failed.id}`)).body.data;
  expect(attempts.map((a: Any) => [a.ok, a.status, a.trigger, a.responseBody])).toEqual([
    [true, 200, "retry", "ok"],
    [false, 500, "event", "broken"],
  ]);
  expect(JSON.stringify(attempts)).not.toContain("secret-value");
});

it("a redirect is a failure and is never followed", async () => {
  const [tenant, receiver, elsewhere] = [await newTenant(), newReceiver(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url);
  await receiver.answers({ status: 302, headers: { location: elsewhere.url } });

  await newChannel(tenant);

  const delivery = await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.attempts === 1);
  expect((await tenant.get(`/v1/webhook-attempts?deliveryId=${delivery.id}`)).body.data[0]).toMatchObject({
    ok: false,
    status: 302,
    error: "redirect",
  });
  expect(await elsewhere.received()).toEqual([]);
});

it("410 disables the endpoint and tells the others", async () => {
  const [tenant, gone, other] = [await newTenant(), newReceiver(), newReceiver()];
  const hook = await newWebhook(tenant, gone.url, { name: "Gone" });
  await newWebhook(tenant, other.url, { events: ["webhook.*"] });
  await gone.answers({ status: 410 });

  await newChannel(tenant);

  const [told] = await other.got(1);
  expect(told!.json).toMatchObject({ type: "webhook.disabled", data: { webhookId: hook.id, name: "Gone" } });
  expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({ status: "disabled", enabled: true });
  await newChannel(tenant);
  expect((await gone.received()).length).toBe(1);
});

it("four failed events in a row warn, and a success is a recovery", async () => {
  const [tenant, shaky, other] = [await newTenant(), newReceiver(), newReceiver()];
  const hook = await newWebhook(tenant, shaky.url, { events: ["channel.created"] });
  await newWebhook(tenant, other.url, { events: ["webhook.*"] });
  await shaky.answers({ status: 400 });

  for (let i = 0; i < 4; i++) await newChannel(tenant);
  expect((await other.got(1))[0]!.json.type).toBe("webhook.warning");
  expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({ status: "warning", failureCount: 4 });

  await shaky.answers({ status: 200 });
  await newChannel(tenant);
  expect((await other.got(2))[1]!.json.type).toBe("webhook.recovered");
  expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({ status: "active", failureCount: 0 });
});

it("an endpoint that failed for five days is disabled, and enabling it starts anew", async () => {
  const [tenant, dead, other] = [await newTenant(), newReceiver(), newReceiver()];
  const hook = await newWebhook(tenant, dead.url, { events: ["channel.created"] });
  await newWebhook(tenant, other.url, { events: ["webhook.disabled"] });
  await dead.answers({ status: 500 });
  await newChannel(tenant);
  await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.attempts === 1);
  await asOwner("update webhook_health set failing_since = now() - interval '6 days' where webhook_id = $1", [hook.id]);

  await newChannel(tenant);

  expect((await other.got(1))[0]!.json).toMatchObject({ type: "webhook.disabled", data: { webhookId: hook.id } });
  expect((await deliveriesOf(tenant, `webhookId=${hook.id}`)).every((d) => d.status === "cancelled")).toBe(true);
  const enabled = await tenant.patch(`/v1/webhooks/${hook.id}`, { enabled: true });
  expect(enabled.body).toMatchObject({ status: "active", failureCount: 0 });
});

it("the last attempt's failure is told as webhook.exhausted", async () => {
  const [tenant, dead, other] = [await newTenant(), newReceiver(), newReceiver()];
  const hook = await newWebhook(tenant, dead.url, { events: ["channel.created"], retryCount: 0 });
  await newWebhook(tenant, other.url, { events: ["webhook.exhausted"] });
  await dead.answers({ status: 500 });

  await newChannel(tenant);

  const [told] = await other.got(1);
  const delivery = await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.status === "exhausted");
  expect(told!.json.data).toMatchObject({
    webhookId: hook.id,
    deliveryId: delivery.id,
    eventType: "channel.created",
    attempts: 1,
  });
});

it("an ordered endpoint gets a channel's events one after the other, while other channels go on", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { ordered: true, events: ["custom.*"] });
  await tenant.put("/v1/event-types/custom.step", { description: "A step", stream: "channel", schema: {} });
  const [one, two] = [await newChannel(tenant), await newChannel(tenant)];
  const step = (channel: Any, n: number) =>
    tenant.post("/v1/events", { type: "custom.step", channelId: channel.id, data: { n } });
  await receiver.answers({ status: 500, headers: { "Retry-After": "600" } }, { status: 200 });

  await step(one, 1);
  await receiver.got(1);
  await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.attempts === 1);
  await step(one, 2);
  await step(one, 3);
  await step(two, 1);
  await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.streamId === two.id && d.status === "delivered");
  expect((await deliveriesOf(tenant, `webhookId=${hook.id}&channelId=${one.id}&status=delivered`)).length).toBe(0);

  await asOwner(
    "update webhook_deliveries set next_attempt_at = now() - interval '2 seconds' where webhook_id = $1 and status = 'pending'",
    [hook.id],
  );
  await sweep();

  const all = (await receiver.got(5)) as Any[];
  const seen = (channel: Any) => all.filter((r) => r.json.stream.id === channel.id).map((r) => r.json.data.n);
  expect([seen(one), seen(two)]).toEqual([[1, 1, 2, 3], [1]]);
});

it("an endpoint hears what its types, categories, scopes and filter let through", async () => {
  const tenant = await newTenant();
  const [all, none, scoped, filtered] = [newReceiver(), newReceiver(), newReceiver(), newReceiver()];
  const channel = await newChannel(tenant, "vip");
  await newWebhook(tenant, all.url);
  await newWebhook(tenant, none.url, { events: ["message.*", "webhook.warning"] });
  await newWebhook(tenant, scoped.url, {
    events: ["custom.order"].map(() => "custom.*"),
    scopes: { channels: [channel.id] },
  });
  await newWebhook(tenant, filtered.url, {
    filter: { "order.total": { in: [10, 20] }, "order.note": { exists: false } },
  });
  await tenant.put("/v1/event-types/custom.order", { description: "An order", stream: "channel", schema: {} });
  const order = (total: number, channelId: string) =>
    tenant.post("/v1/events", { type: "custom.order", channelId, data: { order: { total } } });

  const elsewhere = await newChannel(tenant);
  await order(10, channel.id);
  await order(30, elsewhere.id);

  expect((await all.got(3)).map((r) => r.json.type).sort()).toEqual([
    "channel.created",
    "custom.order",
    "custom.order",
  ]);
  expect((await scoped.got(1)).map((r) => r.json.data)).toEqual([{ order: { total: 10 } }]);
  expect((await filtered.got(1)).map((r) => r.json.data)).toEqual([{ order: { total: 10 } }]);
  expect(await none.received()).toEqual([]);
});

it("lists webhooks by kind, by whether they are enabled, and by what they hear and do not hear", async () => {
  const [tenant, { url }] = [await newTenant(), newReceiver()];
  const names: Record<string, string> = {};
  const add = async (name: string, more: Record<string, unknown>) => {
    names[(await newWebhook(tenant, url, { name, ...more })).id] = name;
  };
  await add("all", {});
  await add("messages", { events: ["message.*"] });
  await add("news", { events: ["message.new", "message.shadowed"], enabled: false });
  await add("typing", { events: ["typing.*"] });
  await add("check", { kind: "before_message_send" });
  const listed = async (query: string) =>
    (await tenant.get(`/v1/webhooks?${query}`)).body.data.map((w: Any) => names[w.id]).sort();

  expect(await listed("event=message.new")).toEqual(["all", "messages", "news"]);
  expect(await listed("event=message.new&enabled=true")).toEqual(["all", "messages"]);
  expect(await listed("notEvent=message.new&kind=push")).toEqual(["typing"]);
  expect(await listed("event=message.shadowed")).toEqual(["news"]);
  expect(await listed("event=typing.start")).toEqual(["typing"]);
  expect(await listed("event=message.updated&notEvent=channel.created")).toEqual(["messages"]);
  expect(await listed("kind=before_message_send")).toEqual(["check"]);
  expect(await listed("enabled=false")).toEqual(["news"]);
  expectProblem(await tenant.get("/v1/webhooks?kind=pull"), 422, "invalid_request", "query.kind");
});

it("refuses what no endpoint may be, with the path of what is wrong", async () => {
  const tenant = await newTenant();
  const make = (more: Record<string, unknown>) =>
    tenant.post("/v1/webhooks", { name: "x", url: "https://example.com/", ...more });

  expectProblem(await make({ url: "https://169.254.169.254/latest" }), 422, "invalid_request", "url");
  expectProblem(await make({ url: "http://intranet/" }), 422, "invalid_request", "url");
  const local = newReceiver().url;
  expectProblem(await make({ url: local, events: ["message.nwe"] }), 422, "invalid_request", "events.0");
  expectProblem(
    await make({ url: local, headers: { "Webhook-Id": "1" } }),
    422,
    "invalid_request",
    "headers.Webhook-Id",
  );
  expectProblem(await make({ url: local, kind: "custom_action" }), 422, "invalid_request", "action");
  expectProblem(await make({ url: local, scopes: { channels: [crypto.randomUUID()] } }), 404, "not_found");
});

it("how long an endpoint may take follows from its kind, however it came to be so", async () => {
  const [tenant, { url }] = [await newTenant(), newReceiver()];
  const make = (more: Record<string, unknown>) => tenant.post("/v1/webhooks", { name: "x", url, ...more });
  const [push, hook, action] = [
    await make({}),
    await make({ kind: "before_message_send" }),
    await make({ kind: "custom_action", action: "refund" }),
  ];
  expect([push, hook, action].map(({ body }) => body.timeoutMs)).toEqual([5000, 1500, 1500]);

  for (const refused of [
    await make({ timeoutMs: 99 }),
    await make({ timeoutMs: 30_001 }),
    await make({ kind: "before_message_send", timeoutMs: 5001 }),
    await tenant.patch(`/v1/webhooks/${hook.body.id}`, { timeoutMs: 9000 }),
    await tenant.patch(`/v1/webhooks/${push.body.id}`, { timeoutMs: 30_001 }),
  ])
    expectProblem(refused, 422, "invalid_request", "timeoutMs");
  expect((await tenant.patch(`/v1/webhooks/${hook.body.id}`, { timeoutMs: 5000 })).body.timeoutMs).toBe(5000);
  expect((await tenant.patch(`/v1/webhooks/${push.body.id}`, { timeoutMs: 30_000 })).body.timeoutMs).toBe(30_000);
});

it("old and new secrets both sign until the overlap is over", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["channel.created"] });
  const rotated = await tenant.post(`/v1/webhooks/${hook.id}/rotate-secret`, { overlapSeconds: 3600 });
  expect(rotated.body.secret).not.toBe(hook.secret);

  await newChannel(tenant);
  const [both] = await receiver.got(1);
  for (const secret of [hook.secret, rotated.body.secret]) new Verifier(secret).verify(both!.body, both!.headers);

  await asOwner("update webhook_secrets set expires_at = now() where webhook_id = $1 and expires_at is not null", [
    hook.id,
  ]);
  await newChannel(tenant);
  const [, after] = await receiver.got(2);
  new Verifier(rotated.body.secret).verify(after!.body, after!.headers);
  expect(() => new Verifier(hook.secret).verify(after!.body, after!.headers)).toThrow();
});

it("a test event and a redelivery come on request", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["message.new"] });

  const sent = await tenant.post(`/v1/webhooks/${hook.id}/test`);
  expect(sent.status).toBe(202);
  expect((await receiver.got(1))[0]!.json).toMatchObject({ type: "webhook.test", id: sent.body.eventId });
  await deliveryThat(tenant, `webhookId=${hook.id}`, (d) => d.status === "delivered");

  expect((await tenant.post(`/v1/webhook-deliveries/${sent.body.deliveryId}/redeliver`)).status).toBe(202);
  const [, again] = await receiver.got(2);
  expect(again!.headers["webhook-id"]).toBe(sent.body.eventId);
  const statistics = await vi.waitFor(async () => {
    const { body } = await tenant.get(`/v1/webhooks/${hook.id}/statistics`);
    expect(body.attempts).toBe(2);
    return body;
  });
  expect(statistics).toMatchObject({ succeeded: 2, successRate: 1, byHour: [{ attempts: 2, succeeded: 2 }] });
});
