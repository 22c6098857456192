import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import worker from "../src/index";
import { encryptFor } from "../src/providers/web-push";
import { type Any, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { newPerson } from "./live";
import { becomes, deliverBodies, deliveriesOf, inContext, makeDue } from "./outbound";
import { bytesOf, newBrowser, newKeys, newVapid, pushServices } from "./push-services";
import { asOwner } from "./setup/owner";

let google: Awaited<ReturnType<typeof newKeys>>;
let apple: Awaited<ReturnType<typeof newKeys>>;

beforeAll(async () => {
  [google, apple] = await Promise.all([newKeys("RS256"), newKeys("ES256")]);
});
afterEach(() => vi.unstubAllGlobals());

const FCM = () => ({
  name: "Firebase",
  medium: "push",
  provider: "fcm",
  config: { projectId: "parley-test" },
  credentials: { clientEmail: "push@parley-test.iam.gserviceaccount.com", privateKey: google.privateKey },
});
const APNS = () => ({
  name: "Apple",
  medium: "push",
  provider: "apns",
  config: { topic: "org.example.chat" },
  credentials: { keyId: "ABCDE12345", teamId: "TEAM123456", privateKey: apple.privateKey },
});
const services = (more: Partial<Parameters<typeof pushServices>[0]> = {}) =>
  pushServices({
    fcm: { publicKey: google.publicKey as CryptoKey, projectId: "parley-test" },
    apns: { publicKey: apple.publicKey as CryptoKey, teamId: "TEAM123456", topic: "org.example.chat" },
    ...more,
  });

async function connectAccount(tenant: Tenant, input: Any): Promise<Any> {
  const made = await tenant.post("/v1/integrations", input);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

async function putDevice(tenant: Tenant, userId: string, pushProvider: string, pushToken: string, deviceId = "phone") {
  const put = await tenant.put(`/v1/users/${userId}/devices/${deviceId}`, { pushProvider, pushToken });
  expect(put.status, JSON.stringify(put.body)).toBe(200);
}

/** Ann writes; Ben has a telephone with Firebase's token "ben…". */
async function setting({ account = FCM() as Any, name = "lunch" as string | null, withDevice = true } = {}) {
  const tenant = await newTenant();
  if (account) await connectAccount(tenant, account);
  const ann = await newPerson(tenant, { displayName: "Ann" });
  const ben = await newPerson(tenant, { displayName: "Ben" });
  const channel = (await tenant.post("/v1/channels", { name, members: [{ userId: ann.id }, { userId: ben.id }] })).body;
  const token = `ben-${crypto.randomUUID()}`;
  if (withDevice) await putDevice(tenant, ben.id, "fcm", token);
  const send = async (input: Any) => {
    const sent = await ann.post(`/v1/channels/${channel.id}/messages`, input);
    expect(sent.status, JSON.stringify(sent.body)).toBe(201);
    return sent.body;
  };
  return { tenant, ann, ben, channel, token, send };
}

const pushesOf = async (tenant: Tenant) => (await deliveriesOf(tenant)).filter(({ medium }) => medium === "push");
/** Nothing is left to be found out about any message of the tenant. */
const settled = (tenant: Tenant) =>
  vi.waitFor(
    async () => expect(await asOwner("select 1 from push_tasks where tenant_id = $1", [tenant.id])).toEqual([]),
    { timeout: 30_000, interval: 50 },
  );

describe("a member who is not online", () => {
  it("is notified by Firebase of who wrote what and where, with what leads there", async () => {
    const firebase = services();
    const { tenant, ben, channel, token, send } = await setting();

    const message = await send({ text: "Soup or\nsalad?" });

    const [told] = await firebase.toldOf(token);
    expect(told!.payload.notification).toEqual({ title: "Ann in lunch", body: "Soup or salad?" });
    expect(told!.payload.data).toEqual({
      channelId: channel.id,
      messageId: message.id,
      seq: String(message.seq),
      type: "message.new",
      notice: "message",
    });
    expect(told!.payload.android.collapse_key).toBe(message.id);
    const [delivery] = await pushesOf(tenant);
    expect(await becomes(delivery.id, "sent")).toMatchObject({ message_id: message.id, recipient: ben.id });
    const { body } = await tenant.get(`/v1/events?type=delivery.updated`);
    expect(body.data).toEqual([]);
  });

  it("is notified by Apple with a token that Apple's key verifies, and by a browser's service in a text that the browser alone can read", async () => {
    const vapid = await newVapid();
    const endpoint = `http://localhost:8099/web-push/${crypto.randomUUID()}`;
    const browser = await newBrowser(endpoint);
    const all = services({ webpush: { ...vapid, read: browser.read } });
    const { tenant, ben, channel, send } = await setting({ account: APNS(), name: null, withDevice: false });
    await connectAccount(tenant, {
      name: "Browsers",
      medium: "push",
      provider: "webpush",
      config: { publicKey: vapid.publicKey, subject: "mailto:push@example.org" },
      credentials: { privateKey: vapid.privateKey },
    });
    const iphone = "ab".repeat(32);
    await putDevice(tenant, ben.id, "apns", iphone, "iphone");
    await putDevice(tenant, ben.id, "webpush", browser.token, "laptop");

    const message = await send({ text: "Hello" });

    const [[byApple], [byBrowser]] = await Promise.all([all.toldOf(iphone), all.toldOf(endpoint)]);
    expect(byApple!.payload).toMatchObject({
      aps: { alert: { title: "Ann", body: "Hello" }, "thread-id": channel.id },
      messageId: message.id,
    });
    expect(byApple!.headers.get("apns-collapse-id")).toBe(message.id);
    expect(byBrowser!.payload).toMatchObject({ title: "Ann", body: "Hello", data: { channelId: channel.id } });
    expect(byBrowser!.headers.get("Topic")).toBe(message.id.replaceAll("-", ""));
  });

  it("is notified once by however many workers, and after a crash by the sweep", async () => {
    const firebase = services();
    const { tenant, token, send } = await setting();
    const first = await send({ text: "one" });
    await firebase.toldOf(token);
    await settled(tenant);
    // As if the message had been committed and everything behind it lost.
    await asOwner("insert into push_tasks (tenant_id, message_id, due_at) values ($1, $2, now())", [
      tenant.id,
      (await asOwner<Any>("select id from messages where tenant_id = $1", [tenant.id]))[0]!.id,
    ]);
    await asOwner("delete from deliveries where tenant_id = $1", [tenant.id]);

    await Promise.all([1, 2, 3].map(() => inContext((ctx) => worker.scheduled!({} as never, env, ctx))));

    await firebase.toldOf(token, 2);
    await settled(tenant);
    expect((await pushesOf(tenant)).map(({ message_id }) => message_id)).toEqual([first.id]);
  });

  it("gets at every page of a large channel", async () => {
    services();
    const { tenant, ann, send } = await setting({
      account: { ...FCM(), provider: "sandbox", config: {}, credentials: {} },
    });
    const users = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        tenant.post("/v1/users/bulk", { users: Array.from({ length: 100 }, (_, i) => ({ externalId: `u${n}-${i}` })) }),
      ),
    );
    expect(
      users.every(({ status }) => status < 300),
      JSON.stringify(users[0]?.body),
    ).toBe(true);
    await asOwner(
      `insert into channel_members (tenant_id, channel_id, user_id) select u.tenant_id, c.id, u.id from users u
         join channels c on c.tenant_id = u.tenant_id where u.tenant_id = $1 and u.id <> $2 on conflict do nothing`,
      [tenant.id, ann.id],
    );
    await asOwner(
      `insert into user_devices (tenant_id, id, user_id, device_id, push_provider, push_token)
         select u.tenant_id, gen_random_uuid(), u.id, 'phone', 'fcm', u.external_id from users u where u.tenant_id = $1 and u.external_id is not null`,
      [tenant.id],
    );

    await send({ text: "everybody" });

    await settled(tenant);
    const recipients = (await pushesOf(tenant)).map(({ recipient }) => recipient);
    expect(new Set(recipients).size).toBe(recipients.length);
    expect(recipients.length).toBe(601);
  });
});

describe("nobody is notified", () => {
  it.each<[string, (s: Awaited<ReturnType<typeof setting>>) => Promise<Any>]>([
    [
      "of their own message",
      async ({ tenant, ann, send }) => {
        await putDevice(tenant, ann.id, "fcm", "ann-own");
        await asOwner("delete from user_devices where tenant_id = $1 and user_id <> $2", [tenant.id, ann.id]);
        return send({ text: "hello" });
      },
    ],
    ["of a silent message", async ({ send }) => send({ text: "hello", silent: true })],
    ["of a message that waits for approval", async ({ send }) => send({ text: "hello", pending: true })],
    [
      "who muted the channel",
      async ({ ben, channel, send }) => {
        expect((await ben.patch(`/v1/channels/${channel.id}/own`, { muted: true })).status).toBe(200);
        return send({ text: "hello" });
      },
    ],
    [
      "who blocked the writer",
      async ({ tenant, ann, ben, send }) => {
        expect((await tenant.put(`/v1/users/${ben.id}/blocks/${ann.id}`, {})).status).toBeLessThan(300);
        return send({ text: "hello" });
      },
    ],
    [
      "who wants to know of mentions only",
      async ({ tenant, ben, send }) => {
        expect((await tenant.put(`/v1/users/${ben.id}/push-preferences`, { level: "mentions" })).status).toBe(204);
        return send({ text: "hello" });
      },
    ],
    [
      "who sleeps",
      async ({ tenant, ben, send }) => {
        const wish = { level: "all", snoozedUntil: new Date(Date.now() + 3_600_000).toISOString() };
        expect((await tenant.put(`/v1/users/${ben.id}/push-preferences`, wish)).status).toBe(204);
        return send({ text: "hello" });
      },
    ],
    [
      "where the channel's push is off",
      async ({ tenant, channel, send }) => {
        expect((await tenant.patch(`/v1/channels/${channel.id}`, { settings: { push: false } })).status).toBe(200);
        return send({ text: "hello" });
      },
    ],
    [
      "who is online",
      async ({ ben, channel, send }) => {
        await ben.watch(channel.id);
        return send({ text: "hello" });
      },
    ],
    [
      "of what a shadow-banned user writes",
      async ({ tenant, ann, send }) => {
        await asOwner("insert into bans (tenant_id, id, user_id, shadow) values ($1, gen_random_uuid(), $2, true)", [
          tenant.id,
          ann.id,
        ]);
        return send({ text: "hello" });
      },
    ],
  ])("%s", async (_, act) => {
    services();
    const made = await setting();

    await act(made);

    await settled(made.tenant);
    expect(await pushesOf(made.tenant)).toEqual([]);
  });
});

it("an approved message notifies when it appears", async () => {
  const firebase = services();
  const { tenant, token, send } = await setting();
  const { id } = await send({ text: "may I?", pending: true });

  expect((await tenant.post(`/v1/messages/${id}/approve`, {})).status).toBe(200);

  expect((await firebase.toldOf(token))[0]!.payload.data.messageId).toBe(id);
});

it("a mention gets through to who wants mentions only, in its own words; a reply tells the thread alone", async () => {
  const firebase = services();
  const { tenant, ben, channel, token, send } = await setting();
  const carl = await newUser(tenant);
  await tenant.post(`/v1/channels/${channel.id}/members`, { members: [{ userId: carl.id }] });
  await putDevice(tenant, carl.id, "fcm", `carl-${token}`);
  await tenant.put(`/v1/users/${ben.id}/push-preferences`, { channelId: channel.id, level: "mentions" });
  await tenant.put(`/v1/users/${ben.id}/push-preferences`, { level: "all" });
  await tenant.put(`/v1/push-templates/mention`, { title: "Hey, {{sender}} calls", body: "{{text}} / {{channel}}" });

  const parent = await send({ text: "{{sender}} for you", mentions: [ben.id] });
  await firebase.toldOf(token);
  await firebase.toldOf(`carl-${token}`);
  await tenant.put(`/v1/users/${ben.id}/push-preferences`, { channelId: channel.id, level: null });
  const carls = await userClient(tenant, carl.id);
  expect(
    (await carls.post(`/v1/channels/${channel.id}/messages`, { text: "me too", parentId: parent.id })).status,
  ).toBe(201);
  await send({ text: "to the thread", parentId: parent.id });

  const [, reply] = await firebase.toldOf(`carl-${token}`, 2);
  await settled(tenant);
  expect(reply!.payload.notification).toEqual({ title: "Ann replied in lunch", body: "to the thread" });
  const bens = firebase.told.filter((one) => one.token === token);
  expect(bens.map(({ payload }) => payload.notification)).toEqual([
    { title: "Hey, Ann calls", body: "{{sender}} for you / lunch" },
  ]);
});

it("a long text is cut between graphemes until the service takes it", async () => {
  const firebase = services();
  const { tenant, token, send } = await setting();
  await tenant.put("/v1/push-templates/message", { title: "{{sender}}", body: "{{text}}{{text}}" });

  await send({ text: "👩‍👩‍👧".repeat(1_000) });

  const { notification } = (await firebase.toldOf(token))[0]!.payload;
  const graphemes = Array.from(new Intl.Segmenter().segment(notification.body), ({ segment }) => segment);
  expect(new Set(graphemes)).toEqual(new Set(["👩‍👩‍👧", "…"]));
  expect(graphemes.at(-1)).toBe("…");
  expect(graphemes.length).toBeGreaterThan(150);
});

describe("what a service answers", () => {
  it.each([
    [
      "UNREGISTERED",
      { status: 404, body: { error: { status: "NOT_FOUND", details: [{ errorCode: "UNREGISTERED" }] } } },
    ],
    [
      "a token it cannot read",
      {
        status: 400,
        body: { error: { status: "INVALID_ARGUMENT", details: [{ fieldViolations: [{ field: "message.token" }] }] } },
      },
    ],
  ])("%s takes the token out of its device, and no other", async (_, refusal) => {
    const firebase = services();
    const { tenant, ben, token, send } = await setting();
    await putDevice(tenant, ben.id, "fcm", `other-${token}`, "tablet");
    firebase.refuse(token, refusal);

    await send({ text: "hello" });

    await firebase.toldOf(`other-${token}`);
    await vi.waitFor(async () => {
      const { body } = await tenant.get(`/v1/users/${ben.id}/devices`);
      const has = Object.fromEntries(body.data.map((one: Any) => [one.deviceId, one.hasPushToken]));
      expect(has).toEqual({ phone: false, tablet: true });
    });
  });

  it("busy is tried again under the same collapse key, at most five times", async () => {
    const firebase = services();
    const { tenant, token, send } = await setting();
    firebase.refuse(token, { status: 503, headers: { "Retry-After": "30" } });
    await send({ text: "hello" });
    await settled(tenant);
    const [{ id }] = (await pushesOf(tenant)) as [Any];

    for (let tries = 1; tries < 5; tries++) {
      await vi.waitFor(async () =>
        expect((await pushesOf(tenant))[0]).toMatchObject({ attempts: tries, claimed_until: null }),
      );
      await makeDue([id]);
      await deliverBodies([{ tenantId: tenant.id, deliveryIds: [id] }]);
    }

    expect(await becomes(id, "failed")).toMatchObject({ attempts: 5 });
  });

  it("a refusal of the account makes it failing, with the reason", async () => {
    services({ apns: { publicKey: google.publicKey as CryptoKey, teamId: "OTHER", topic: "org.example.chat" } });
    const { tenant, ben, send } = await setting({ account: APNS(), withDevice: false });
    vi.unstubAllGlobals();
    services({ apns: { publicKey: apple.publicKey as CryptoKey, teamId: "TEAM123456", topic: "org.example.other" } });
    await putDevice(tenant, ben.id, "apns", "cd".repeat(32));

    await send({ text: "hello" });

    await vi.waitFor(async () => {
      const { body } = await tenant.get("/v1/integrations");
      expect(body.data[0]).toMatchObject({ status: "failing", error: "Apple refuses: InvalidProviderToken." });
    });
  });
});

it("an account's check says whether the vendor accepts it", async () => {
  const firebase = services();
  const tenant = await newTenant();
  const good = await Promise.all([FCM(), APNS()].map((account) => connectAccount(tenant, account)));
  const bad = await connectAccount(tenant, { ...APNS(), config: { topic: "org.example.unknown" } });
  for (const { id } of good)
    expect((await tenant.post(`/v1/integrations/${id}/check`)).body).toMatchObject({ status: "active", error: null });
  expect((await tenant.post(`/v1/integrations/${bad.id}/check`)).body).toMatchObject({ status: "failing" });
  expect(firebase.grants()).toBe(1);
});

it("a browser's subscription is looked at when it is registered, templates when they are put", async () => {
  const tenant = await newTenant();
  const { id } = await newUser(tenant);

  const device = { pushProvider: "webpush", pushToken: '{"endpoint":"nowhere"}' };
  expectProblem(await tenant.put(`/v1/users/${id}/devices/laptop`, device), 422, "invalid_request", "pushToken");
  const template = { title: "{{name}}", body: "{{text}}" };
  expectProblem(await tenant.put("/v1/push-templates/reply", template), 422, "invalid_request", "title");

  await tenant.put("/v1/push-templates/reply", { title: "{{sender}}", body: "{{text}}" });
  const listed = async () =>
    (await tenant.get("/v1/push-templates")).body.data.find((one: Any) => one.kind === "reply");
  expect(await listed()).toMatchObject({ title: "{{sender}}", isDefault: false });
  await tenant.delete("/v1/push-templates/reply");
  expect(await listed()).toMatchObject({ isDefault: true });
});

it("the stand-in browser reads the example of RFC 8291, and what is encrypted for it", async () => {
  const point = bytesOf("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
  const url = (bytes: Uint8Array) =>
    btoa(String.fromCharCode(...bytes))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
  const jwk = { kty: "EC", crv: "P-256", x: url(point.slice(1, 33)), y: url(point.slice(33)) };
  const P256 = { name: "ECDH", namedCurve: "P-256" };
  const pair = {
    privateKey: await crypto.subtle.importKey(
      "jwk",
      { ...jwk, d: "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94" },
      P256,
      false,
      ["deriveBits"],
    ),
    publicKey: await crypto.subtle.importKey("jwk", jwk, P256, true, []),
  };
  const browser = await newBrowser("https://push.example.net/x", { pair, auth: bytesOf("BTBZMqHH6r4Tts7J_aSIgg") });

  const example =
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
  expect(await browser.read(bytesOf(example))).toBe("When I grow up, I want to be a watermelon");
  const sealed = await encryptFor(
    JSON.parse(browser.token),
    new TextEncoder().encode("only for you") as Uint8Array<ArrayBuffer>,
  );
  expect(await browser.read(sealed)).toBe("only for you");
});
