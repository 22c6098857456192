import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { forget } from "../src/auth/snapshots";
import { asSystem } from "../src/auth/system";
import { type Judgement, judgeBeforeSend } from "../src/webhooks/before-send";
import { isOpen, report } from "../src/webhooks/breaker";
import { type Any, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { newPerson, newRoom } from "./live";
import { newPost } from "./mail";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

const CHANNEL = crypto.randomUUID();

async function newHook(tenant: Tenant, more: Record<string, unknown> = {}) {
  const receiver = newReceiver();
  const made = await tenant.post("/v1/webhooks", {
    name: "Check",
    url: receiver.url,
    kind: "before_message_send",
    ...more,
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const answers = (answer: unknown, rest: Record<string, unknown> = {}) =>
    receiver.answers({ body: JSON.stringify(answer), ...rest });
  return { ...receiver, answers, raw: receiver.answers, id: made.body.id as string };
}

async function judge(tenant: Tenant, text = "hello", channelId = CHANNEL): Promise<Judgement> {
  const exec = createExecutionContext();
  forget(tenant.id);
  const judged = await asSystem(
    env,
    tenant.id,
    (work) => exec.waitUntil(work),
    (ctx) => judgeBeforeSend(ctx, { channelId, userId: null }, { text, metadata: { a: 1 }, mentions: [] }),
  );
  await waitOnExecutionContext(exec);
  return judged;
}

const attemptsOf = async (tenant: Tenant, id: string): Promise<Any[]> =>
  (await tenant.get(`/v1/webhook-attempts?webhookId=${id}`)).body.data;

it("a hook allows, rewrites and rejects, and the sender hears the reason", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant);

  await hook.answers({ action: "allow" });
  expect(await judge(tenant)).toMatchObject({ allowed: true, draft: { text: "hello" } });
  await hook.answers({ action: "rewrite", text: "***", metadata: { masked: true } });
  expect(await judge(tenant)).toMatchObject({
    allowed: true,
    draft: { text: "***", metadata: { masked: true }, mentions: [] },
  });
  await hook.answers({ action: "reject", reason: "No links, please." });
  expect(await judge(tenant)).toEqual({ allowed: false, reason: "No links, please." });

  const asked = await hook.received();
  expect(asked[0]!.json).toMatchObject({
    type: "before_message_send",
    data: { channelId: CHANNEL, message: { text: "hello", metadata: { a: 1 } } },
  });
  expect((await attemptsOf(tenant, hook.id)).map((a) => [a.trigger, a.note.action])).toEqual([
    ["hook", "reject"],
    ["hook", "rewrite"],
    ["hook", "allow"],
  ]);
});

it.each([
  ["an error", { status: 500 }],
  ["no JSON", { body: "fine!" }],
  ["an unknown action", { body: '{"action":"explode"}' }],
  ["a rewrite that is not valid", { body: '{"action":"rewrite","mentions":["ann"]}' }],
  ["silence", { delayMs: 400 }],
  ["a hang-up", { hangUp: true }],
])("after %s an open hook lets the message pass and a closed one does not", async (_, answer) => {
  const [open, closed] = [await newTenant(), await newTenant()];
  const lenient = await newHook(open, { timeoutMs: 150 });
  const strict = await newHook(closed, { timeoutMs: 150, failOpen: false });
  await lenient.raw(answer);
  await strict.raw(answer);

  expect(await judge(open)).toMatchObject({ allowed: true, draft: { text: "hello" } });
  expect(await judge(closed)).toMatchObject({ allowed: false });
  expect((await lenient.received()).length).toBe(1);
});

it("in shadow mode it is recorded what a hook would have done, and nothing is done", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { shadow: true, failOpen: false });
  await hook.answers({ action: "reject", reason: "no" });

  expect(await judge(tenant)).toMatchObject({ allowed: true, draft: { text: "hello" } });
  expect((await attemptsOf(tenant, hook.id))[0].note).toMatchObject({ action: "reject", shadow: true });
});

it("a hook of some channels is not asked about others, and each hook sees what the one before made of it", async () => {
  const tenant = await newTenant();
  const channel = (await tenant.post("/v1/channels", { name: "vip" })).body.id;
  const [first, second, elsewhere] = [
    await newHook(tenant),
    await newHook(tenant),
    await newHook(tenant, { scopes: { channels: [channel] } }),
  ];
  await first.answers({ action: "rewrite", text: "one" });
  await second.answers({ action: "allow" });

  expect(await judge(tenant)).toMatchObject({ draft: { text: "one" } });
  expect((await second.received())[0]!.json.data.message).toMatchObject({ text: "one" });
  expect(await elsewhere.received()).toEqual([]);
});

it("a hook of an inbox, a medium or a filter is asked about what is in it alone", async () => {
  const { tenant, inbox } = await newPost();
  const channel = (await tenant.post("/v1/channels", { name: "vip" })).body.id;
  await asOwner("update channels set medium = 'sms', inbox_id = $2 where id = $1", [channel, inbox.id]);
  const hooks = {
    ofInbox: await newHook(tenant, { scopes: { inboxes: [inbox.id], channels: [channel] } }),
    ofMedium: await newHook(tenant, { scopes: { media: ["sms"] } }),
    ofChat: await newHook(tenant, { scopes: { media: ["chat"] } }),
    ofText: await newHook(tenant, { filter: { "message.text": { in: ["hello"] } } }),
    ofOtherText: await newHook(tenant, { filter: { "message.text": "bye" } }),
    ofChannel: await newHook(tenant, { filter: { channelId: channel } }),
  };
  for (const hook of Object.values(hooks)) await hook.answers({ action: "allow" });

  expect(await judge(tenant, "hello", channel)).toMatchObject({ allowed: true });

  const asked = await Promise.all(Object.entries(hooks).map(async ([k, hook]) => [k, (await hook.received()).length]));
  expect(Object.fromEntries(asked)).toEqual({
    ofInbox: 1,
    ofMedium: 1,
    ofChat: 0,
    ofText: 1,
    ofOtherText: 0,
    ofChannel: 1,
  });
});

it("what hooks and actions answer is their endpoint's health, which ends none that fails closed", async () => {
  const tenant = await newTenant();
  const operator = newReceiver();
  await tenant.post("/v1/webhooks", { name: "Operator", url: operator.url, events: ["webhook.*"] });
  const hook = await newHook(tenant);
  const shown = async (id: string) => (await tenant.get(`/v1/webhooks/${id}`)).body;

  await hook.answers({ action: "allow" });
  await judge(tenant);
  expect(await shown(hook.id)).toMatchObject({
    status: "active",
    lastSuccessAt: expect.any(String),
    lastFailureAt: null,
  });

  await hook.raw({ status: 500 });
  for (let i = 0; i < 4; i++) await judge(tenant);
  expect((await operator.got(1))[0]!.json).toMatchObject({ type: "webhook.warning", data: { webhookId: hook.id } });
  expect(await shown(hook.id)).toMatchObject({ status: "warning", failureCount: 4, lastFailureAt: expect.any(String) });

  await hook.answers({ action: "allow" });
  await judge(tenant);
  expect((await operator.got(2))[1]!.json.type).toBe("webhook.recovered");
  expect(await shown(hook.id)).toMatchObject({ status: "active", failureCount: 0 });

  await hook.raw({ status: 410 });
  await judge(tenant);
  expect((await operator.got(3))[2]!.json).toMatchObject({ type: "webhook.disabled", data: { webhookId: hook.id } });
  await hook.answers({ action: "reject", reason: "no" });
  expect(await judge(tenant)).toMatchObject({ allowed: true });

  const strict = await newHook(tenant, { failOpen: false });
  await strict.raw({ status: 410 });
  await judge(tenant);
  await asOwner("update webhook_health set failing_since = now() - interval '6 days' where webhook_id = $1", [
    strict.id,
  ]);
  await judge(tenant);
  expect(await shown(strict.id)).toMatchObject({ status: "active", failureCount: 2 });
  expect(await judge(tenant)).toMatchObject({ allowed: false });
});

it.each(["disable", "410"])("an action's endpoint that answers %s is asked no more", async (how) => {
  const tenant = await newTenant();
  const channelId = (await tenant.post("/v1/channels", { name: "a" })).body.id;
  const hook = await newHook(tenant, { kind: "custom_action", action: "refund" });
  await (how === "410"
    ? hook.raw({ status: 410 })
    : hook.answers({ ok: true }, { headers: { "webhook-delivery": "disable" } }));

  await tenant.post("/v1/actions/refund", { channelId });

  await vi.waitFor(async () =>
    expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({ status: "disabled" }),
  );
  expectProblem(await tenant.post("/v1/actions/refund", { channelId }), 404, "not_found");
  expect(await hook.received()).toHaveLength(1);
});

it.each([
  ["open", true],
  ["closed", false],
] as const)("a hook whose secret does not open fails %s", async (_, failOpen) => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { failOpen });
  await asOwner("update webhook_secrets set sealed = decode(repeat('00', 60), 'hex') where webhook_id = $1", [hook.id]);

  expect((await judge(tenant)).allowed).toBe(failOpen);

  expect((await attemptsOf(tenant, hook.id))[0]).toMatchObject({ ok: false, error: "secret" });
  expect(await hook.received()).toEqual([]);
});

it("after five failures in a row nobody waits for the hook", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant);
  await hook.raw({ status: 500 });

  for (let i = 0; i < 8; i++) expect((await judge(tenant)).allowed).toBe(true);

  expect((await hook.received()).length).toBe(5);
});

it("a resting hook that fails closed lets nothing through, unasked", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant, { failOpen: false });
  await hook.raw({ status: 500 });
  for (let i = 0; i < 5; i++) await judge(tenant);
  await hook.answers({ action: "allow" });

  expect(await judge(tenant)).toMatchObject({ allowed: false });

  expect(await hook.received()).toHaveLength(5);
});

it("all hooks of a send share five seconds: one for which nothing is left is not asked, and stays open or closed", async () => {
  const tenant = await newTenant();
  const hooks = [await newHook(tenant), await newHook(tenant), await newHook(tenant)];
  for (const hook of hooks) await hook.answers({ action: "rewrite", text: hook.id });
  const urls = new Set(hooks.map(({ url }) => url));
  const { fetch } = globalThis;
  const { now } = Date;
  let passed = 0;
  vi.spyOn(Date, "now").mockImplementation(() => now() + passed);
  vi.spyOn(globalThis, "fetch").mockImplementation(async (...args) => {
    const answer = await fetch(...args);
    if (urls.has(String(args[0]))) passed += 2600;
    return answer;
  });
  try {
    expect(await judge(tenant)).toMatchObject({ allowed: true, draft: { text: hooks[1]!.id } });
    await tenant.patch(`/v1/webhooks/${hooks[2]!.id}`, { failOpen: false });
    expect(await judge(tenant)).toMatchObject({ allowed: false });
  } finally {
    vi.restoreAllMocks();
  }
  const asked = await Promise.all(hooks.map(async ({ received }) => (await received()).length));
  expect(asked).toEqual([2, 2, 0]);
});

it("a resting hook is asked once more after a while, and goes on when it answers", () => {
  const id = crypto.randomUUID();
  const at = 1_000_000;
  for (let n = 0; n < 4; n++) report(id, false, at);
  expect(isOpen(id, at)).toBe(false);
  report(id, false, at);

  expect([0, 4_999].map((ms) => isOpen(id, at + ms))).toEqual([true, true]);
  expect([5_000, 5_001].map((ms) => isOpen(id, at + ms))).toEqual([false, true]);
  report(id, false, at + 5_100);
  expect([14_000, 15_100].map((ms) => isOpen(id, at + ms))).toEqual([true, false]);
  report(id, true, at + 15_200);
  expect(isOpen(id, at + 15_201)).toBe(false);
});

it("what a hook says holds for a message sent over HTTP and over a socket", async () => {
  const tenant = await newTenant();
  const hook = await newHook(tenant);
  const ann = await newPerson(tenant);
  const room = await newRoom(tenant, [ann]);
  const socket = await ann.watch(room);
  const post = () => ann.post(`/v1/channels/${room}/messages`, { text: "see http://x.test" });
  const say = () => socket.ask({ op: "send", message: { text: "see http://x.test" } });

  await hook.answers({ action: "reject", reason: "No links, please." });
  const refused = await post();
  expectProblem(refused, 422, "message_rejected");
  expect(refused.body.detail).toBe("No links, please.");
  expect(await say()).toMatchObject({ type: "nack", code: "message_rejected", detail: "No links, please." });

  await hook.answers({ action: "rewrite", text: "see ***", metadata: { masked: true } });
  const rewritten = { text: "see ***", metadata: { masked: true } };
  expect((await post()).body).toMatchObject(rewritten);
  expect(await say()).toMatchObject({ type: "ack", result: rewritten });
  expect((await ann.get(`/v1/channels/${room}/messages`)).body.data).toMatchObject([rewritten, rewritten]);
  expect((await hook.received()).map(({ json }) => json.data)).toEqual(
    Array(4).fill({
      channelId: room,
      userId: ann.id,
      message: { text: "see http://x.test", metadata: {}, mentions: [] },
    }),
  );
});

it("whom a hook mentions is who the message mentions", async () => {
  const tenant = await newTenant();
  const [ann, bob, eve] = [await newPerson(tenant), await newPerson(tenant), await newPerson(tenant)];
  const room = await newRoom(tenant, [ann, bob, eve]);
  const hook = await newHook(tenant);
  await hook.answers({ action: "rewrite", mentions: [bob.id] });

  const sent = await ann.post(`/v1/channels/${room}/messages`, { text: "hello", mentions: [eve.id] });

  expect(sent.body).toMatchObject({ text: "hello", mentions: [bob.id] });
  expect((await ann.get(`/v1/messages/${sent.body.id}`)).body.mentions).toEqual([bob.id]);
});

it("an edit is judged as a new message is: refused, rewritten, or in shadow mode only looked at", async () => {
  const tenant = await newTenant();
  const ann = await newPerson(tenant);
  const room = await newRoom(tenant, [ann]);
  const sent = (await ann.post(`/v1/channels/${room}/messages`, { text: "fine", metadata: { a: 1, b: 2 } })).body;
  const hook = await newHook(tenant);
  const edit = (patch: Any) => ann.patch(`/v1/messages/${sent.id}`, patch);

  await hook.answers({ action: "reject", reason: "No links, please." });
  const refused = await edit({ text: "see http://x.test" });
  expectProblem(refused, 422, "message_rejected");
  expect(refused.body.detail).toBe("No links, please.");
  expect((await ann.get(`/v1/messages/${sent.id}`)).body).toMatchObject({ text: "fine", editedAt: null });

  await hook.answers({ action: "rewrite", text: "see ***", metadata: { masked: true } });
  expect((await edit({ text: "see http://y.test", metadata: { a: null, c: 3 } })).body).toMatchObject({
    text: "see ***",
  });
  const changed = (await ann.get(`/v1/messages/${sent.id}`)).body;
  expect([changed.text, changed.metadata]).toEqual(["see ***", { masked: true }]);
  expect((await hook.received()).map(({ json }) => json.data)).toEqual([
    {
      ...{ channelId: room, userId: ann.id, messageId: sent.id },
      message: { text: "see http://x.test", metadata: { a: 1, b: 2 }, mentions: [] },
    },
    {
      ...{ channelId: room, userId: ann.id, messageId: sent.id },
      message: { text: "see http://y.test", metadata: { b: 2, c: 3 }, mentions: [] },
    },
  ]);

  await tenant.patch(`/v1/webhooks/${hook.id}`, { shadow: true });
  await hook.answers({ action: "reject", reason: "no" });
  expect((await edit({ text: "as it is" })).body).toMatchObject({ text: "as it is", metadata: { masked: true } });
});

it("no hook hears of the edit of a message that is not the editor's to change", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const room = await newRoom(tenant, [ann, bob]);
  const sent = (await ann.post(`/v1/channels/${room}/messages`, { text: "mine" })).body;
  const hook = await newHook(tenant);

  expectProblem(await bob.patch(`/v1/messages/${sent.id}`, { text: "yours" }), 403, "not_allowed");

  expect(await hook.received()).toEqual([]);
});

it("nobody waits for a hook in shadow mode", async () => {
  const tenant = await newTenant();
  const [slow, real] = [await newHook(tenant, { shadow: true, timeoutMs: 5000 }), await newHook(tenant)];
  await slow.answers({ action: "reject", reason: "no" }, { delayMs: 4000 });
  await real.answers({ action: "allow" });
  const room = (await tenant.post("/v1/channels", { name: "room" })).body.id;

  const sent = await tenant.post(`/v1/channels/${room}/messages`, { text: "hello" });

  expect(sent.status).toBe(201);
  expect(await attemptsOf(tenant, slow.id)).toEqual([]);
});

it("a sender waits for a hook at most five seconds, and the hook says so", async () => {
  const tenant = await newTenant();

  const refused = await tenant.post("/v1/webhooks", {
    name: "x",
    url: newReceiver().url,
    kind: "before_message_send",
    timeoutMs: 9000,
  });

  expectProblem(refused, 422, "invalid_request", "timeoutMs");
});

it("a custom action asks the tenant's own server, signed, and passes its answer on", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const channelId = (await tenant.post("/v1/channels", { name: "support" })).body.id;
  await tenant.post("/v1/webhooks", { name: "Refund", url: receiver.url, kind: "custom_action", action: "refund" });
  await receiver.answers({ body: '{"refunded":true}' });

  const done = await tenant.post("/v1/actions/refund", { channelId, data: { order: 7 } });

  expect(done.body).toEqual({ answer: { refunded: true } });
  const stranger = await userClient(tenant, (await newUser(tenant)).id);
  expectProblem(await stranger.post("/v1/actions/refund", { channelId }), 404, "not_found");
  const [asked] = await receiver.got(1);
  expect(asked!.json).toMatchObject({ type: "action.refund", data: { channelId, input: { order: 7 } } });
  expect(asked!.headers["webhook-signature"]).toMatch(/^v1,/);
  await vi.waitFor(async () =>
    expect((await tenant.get("/v1/webhook-attempts?type=action.refund")).body.data).toHaveLength(1),
  );
});

it("an action is tried once, within 1.5 seconds where its webhook says nothing else", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const channelId = (await tenant.post("/v1/channels", { name: "support" })).body.id;
  const action = { url: receiver.url, kind: "custom_action" };
  const usual = (await tenant.post("/v1/webhooks", { name: "Usual", action: "usual", ...action })).body;
  await tenant.post("/v1/webhooks", { name: "Quick", action: "quick", timeoutMs: 150, ...action });
  await receiver.answers({ delayMs: 600, body: "{}" });

  const late = await tenant.post("/v1/actions/quick", { channelId });

  expect(usual.timeoutMs).toBe(1500);
  expectProblem(late, 502, "action_failed");
  expect(late.body.detail).toContain("timeout");
  expect(await receiver.received()).toHaveLength(1);
});

it("an action that is unknown, answers badly or too much is an error of its own", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const channelId = (await tenant.post("/v1/channels", { name: "support" })).body.id;
  await tenant.post("/v1/webhooks", { name: "Big", url: receiver.url, kind: "custom_action", action: "big" });

  expectProblem(await tenant.post("/v1/actions/none", { channelId }), 404, "not_found");
  expectProblem(await tenant.post("/v1/actions/big", { channelId: crypto.randomUUID() }), 404, "not_found");
  for (const answer of [{ status: 500 }, { body: "no json" }, { body: JSON.stringify("x".repeat(70_000)) }]) {
    await receiver.answers(answer);
    expectProblem(await tenant.post("/v1/actions/big", { channelId }), 502, "action_failed");
  }
});
