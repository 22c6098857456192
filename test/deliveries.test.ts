import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { asSystem } from "../src/auth/system";
import { advance, type DeliveryState, type ReceiptStatus } from "../src/deliveries/advance";
import { recordReceipts } from "../src/deliveries/receipts";
import { readRepliesWith } from "../src/deliveries/replies";
import { retryDelay } from "../src/deliveries/schedule";
import { announceDeliveries, type NewDelivery, recordDeliveries } from "../src/deliveries/service";
import type { Context } from "../src/lib/context";
import { asTenant } from "../src/lib/db";
import { newId } from "../src/lib/ids";
import { callProvider } from "../src/providers/call";
import { SCRIPTS, signCallback } from "../src/providers/sandbox";
import { callsOf } from "./calls";
import { type Any, client, expectProblem, newTenant, type Tenant } from "./helpers";
import {
  becomes,
  betweenDatabase,
  deliverBodies,
  deliveriesOf,
  deliveryOf,
  holdBack,
  inContext,
  ledgerOf,
  makeDue,
  newDeliveries,
  sendNow,
} from "./outbound";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

const statusesOf = async (id: string) => (await ledgerOf(id)).map(({ status }) => status);
const outboxOf = async (tenant: Tenant, query = ""): Promise<Any[]> =>
  (await tenant.get(`/v1/sandbox/outbox${query}`)).body.data;

async function newIntegration(tenant: Tenant, more: Record<string, unknown> = {}): Promise<Any> {
  const made = await tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email", ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

describe("advance", () => {
  const pending: DeliveryState = { status: "pending", complained: false, unsubscribed: false };
  const ending = (...said: ReceiptStatus[]) => said.reduce(advance, pending);
  const said = fc.constantFrom<ReceiptStatus>(
    "pending",
    "sent",
    "deferred",
    "delivered",
    "opened",
    "clicked",
    "suppressed",
    "cancelled",
    "failed",
    "bounced",
    "complained",
    "unsubscribed",
  );

  it.each<[ReceiptStatus[], DeliveryState["status"]]>([
    [["sent", "deferred", "delivered", "opened", "clicked"], "clicked"],
    [["deferred", "sent"], "deferred"],
    [["sent", "bounced"], "bounced"],
    [["deferred", "bounced"], "bounced"],
    [["delivered", "bounced"], "bounced"],
    [["bounced", "opened"], "opened"],
    [["failed", "sent"], "sent"],
    [["sent", "failed"], "sent"],
    [["suppressed", "pending"], "suppressed"],
    [["cancelled", "failed"], "cancelled"],
  ])("%j leads to %s", (receipts, status) => {
    expect(ending(...receipts).status).toBe(status);
  });

  it("complaints and unsubscriptions stand beside the status", () => {
    expect(ending("delivered", "complained", "unsubscribed")).toEqual({
      status: "delivered",
      complained: true,
      unsubscribed: true,
    });
  });

  it("comes to the same under every order and any repetition of up to six receipts", () => {
    fc.assert(
      fc.property(fc.array(said, { minLength: 1, maxLength: 6 }), (receipts) => {
        const expected = ending(...receipts);
        for (const order of permutations(receipts)) {
          expect(ending(...order)).toEqual(expected);
          expect(ending(...order, ...order)).toEqual(expected);
        }
      }),
      { numRuns: 150 },
    );
  });
});

function* permutations<T>(items: T[]): Generator<T[]> {
  if (items.length <= 1) yield items;
  else
    for (const [i, item] of items.entries())
      for (const rest of permutations(items.toSpliced(i, 1))) yield [item, ...rest];
}

it("retries wait longer and longer, ±20 %, as long as the provider asks, and end", () => {
  const waits = Array.from({ length: 11 }, (_, i) => retryDelay("email", i + 1, null, 0.5)!);

  expect(waits).toEqual([...waits].sort((a, b) => a - b));
  expect(
    [retryDelay("email", 1, null, 0), retryDelay("email", 1, null, 1)].map((wait) => Math.round(wait! * 10)),
  ).toEqual([40, 60]);
  expect(retryDelay("email", 1, 90, 0.5)).toBe(90);
  expect(retryDelay("email", 1, 1_000_000, 0.5)).toBe(86_400);
  expect(retryDelay("email", 12, null)).toBeNull();
});

describe("the sandbox", () => {
  const expected: Record<keyof typeof SCRIPTS, Record<string, unknown>> = {
    silent: { status: "sent" },
    delivered: { status: "delivered" },
    opened: { status: "opened" },
    clicked: { status: "clicked" },
    deferred: { status: "deferred" },
    bounced: { status: "bounced" },
    "soft-bounced": { status: "bounced" },
    "late-bounced": { status: "bounced" },
    complained: { status: "delivered", complained: true },
    unsubscribed: { status: "delivered", unsubscribed: true },
    replied: { status: "delivered" },
    "fail-retry": { status: "pending", attempts: 1 },
    "fail-always": { status: "pending", attempts: 1 },
    "fail-permanent": { status: "failed", error: "554 The sandbox refuses this recipient." },
    suppressed: { status: "suppressed" },
  };

  it.each([
    ["names of addresses", "email", (name: string) => `${name}+order@example.com`],
    ["the ends of numbers", "sms", (name: string) => `+1 (202) 55500${SCRIPTS[name as keyof typeof SCRIPTS].digits}`],
  ])("plays back what %s ask for", async (_, medium, recipientOf) => {
    const tenant = await newTenant();
    const names = Object.keys(expected) as (keyof typeof SCRIPTS)[];
    const { ids } = await newDeliveries(
      tenant,
      names.map((name) => ({ medium, recipient: recipientOf(name) })),
    );

    await sendNow(tenant, ids);

    await vi.waitFor(
      async () => {
        const rows = await deliveriesOf(tenant);
        const found = Object.fromEntries(names.map((name, i) => [name, rows.find(({ id }) => id === ids[i])]));
        expect(found).toMatchObject(expected);
      },
      { timeout: 8000, interval: 100 },
    );
    expect(await ledgerOf(ids[names.indexOf("bounced")]!)).toMatchObject([
      { status: "sent", details: { attempt: 1, provider: "sandbox" } },
      { status: "bounced", details: { hard: true, reason: "userUnknown" } },
    ]);
  });

  it("keeps what was sent, newest first, by channel and recipient", async () => {
    const tenant = await newTenant();
    const one = await newDeliveries(tenant, [{ recipient: "silent@one.example" }, { recipient: "silent@two.example" }]);
    const other = await newDeliveries(tenant, [
      { recipient: "silent@one.example" },
      { recipient: "fail-permanent@one.example" },
    ]);
    await deliverBodies([one, other].map(({ ids }) => ({ tenantId: tenant.id, deliveryIds: ids })));

    const all = await outboxOf(tenant);
    const first = await tenant.get("/v1/sandbox/outbox?limit=2");
    const rest = await tenant.get(`/v1/sandbox/outbox?limit=2&cursor=${first.body.nextCursor}`);

    expect(all).toHaveLength(3);
    expect(all[0]).toMatchObject({ content: { text: "hello" }, status: "sent", attempts: 1, medium: "email" });
    expect([...first.body.data, ...rest.body.data]).toEqual(all);
    expect(rest.body.nextCursor).toBeNull();
    expect(
      (await outboxOf(tenant, `?channelId=${one.channelId}&recipient=silent@two.example`)).map(({ id }) => id),
    ).toEqual([one.ids[1]]);
    expect(await outboxOf(await newTenant())).toEqual([]);
  });

  it("lets a test say a receipt, once by each reference, and only of what the sandbox sent", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [
      { recipient: "silent@example.com" },
      { recipient: "silent@example.com" },
    ]);
    await sendNow(tenant, [ids[0]!]);
    const say = (body: Record<string, unknown>, who = tenant) =>
      who.post("/v1/sandbox/receipts", { deliveryId: ids[0], ...body });

    for (let times = 0; times < 2; times++) {
      expect((await say({ status: "bounced", reference: "b1", details: { hard: true } })).status).toBe(204);
    }
    expect((await say({ status: "delivered" })).status).toBe(204);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "bounced" });
    expect(await statusesOf(ids[0]!)).toEqual(["sent", "bounced", "delivered"]);
    expectProblem(await say({ status: "delivered", deliveryId: ids[1] }), 404, "not_found");
    expectProblem(await say({ status: "delivered" }, await newTenant()), 404, "not_found");
    expectProblem(await say({ status: "read" }), 422, "invalid_request", "status");
  });
});

it("receipts that come at the same time lose nothing", async () => {
  const tenant = await newTenant();
  const { channelId, ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
  await sendNow(tenant, ids);

  const said = ["delivered", "opened", "clicked", "complained", "bounced", "deferred"];
  const answers = await Promise.all(
    said.map((status) => tenant.post("/v1/sandbox/receipts", { deliveryId: ids[0], status })),
  );

  expect(answers.map(({ status }) => status)).toEqual(said.map(() => 204));
  expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "clicked", complained: true });
  expect((await statusesOf(ids[0]!)).sort()).toEqual([...said, "sent"].sort());
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${channelId}`)).body.data;
  expect(told.map((event: Any) => event.seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(told.at(-1).data.status).toBe("clicked");
});

it("each change of a delivery is an event in its channel's stream", async () => {
  const tenant = await newTenant();
  const { channelId, ids } = await newDeliveries(tenant, [{ recipient: "opened@example.com" }]);

  await sendNow(tenant, ids);
  await becomes(ids[0]!, "opened");

  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${channelId}`)).body.data;
  const about = { channelId, deliveryId: ids[0], medium: "email", recipient: "opened@example.com" };
  expect(told.map(({ type, data }: Any) => [type, data])).toMatchObject([
    ["delivery.updated", { ...about, receipt: "sent", status: "sent" }],
    ["delivery.updated", { ...about, receipt: "delivered", status: "delivered" }],
    ["delivery.updated", { ...about, receipt: "opened", status: "opened" }],
  ]);
});

describe("sent at least once, and by one at a time", () => {
  it("a queue message that comes ten times, at once and later, is one send", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    const body = { tenantId: tenant.id, deliveryIds: ids };

    await Promise.all(Array.from({ length: 5 }, () => deliverBodies([body, body])));

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent", attempts: 1 });
    expect(await statusesOf(ids[0]!)).toEqual(["sent"]);
  });

  it("what was never put on the queue goes out with the next sweep", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [
      { recipient: "silent@one.example" },
      { recipient: "silent@two.example", medium: "sms" },
    ]);
    await makeDue(ids);

    await sweep();

    await Promise.all(ids.map((id) => becomes(id, "sent")));
  });

  it("what a consumer died with is nobody else's until its claim has lapsed, and then the sweep's", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    await asOwner(
      "update deliveries set next_attempt_at = now(), claimed_until = now() + interval '1 minute', attempts = 1 where id = $1",
      ids,
    );

    await sweep();
    await sendNow(tenant, ids);
    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "pending", attempts: 1 });

    await asOwner("update deliveries set claimed_until = now() - interval '1 second' where id = $1", ids);
    await sweep();
    expect(await becomes(ids[0]!, "sent")).toMatchObject({ attempts: 2 });
  });

  it("a crash after the send and before the record sends again under the same id, which counts once", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [{ recipient: "delivered@example.com" }]);

    await betweenDatabase(
      ({ queries, send }) =>
        queries.includes("record_receipts") ? Promise.reject(new Error("the isolate is gone")) : send(),
      () => sendNow(tenant, ids),
    );
    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "pending", attempts: 1 });
    await makeDue(ids);
    await sweep();

    expect(await becomes(ids[0]!, "delivered")).toMatchObject({
      attempts: 2,
      provider_message_id: `sandbox-${ids[0]}`,
    });
    expect(await outboxOf(tenant)).toHaveLength(1);
    expect((await statusesOf(ids[0]!)).sort()).toEqual(["delivered", "sent"]);
  });

  it("an answer that was lost after the record changes nothing", async () => {
    const tenant = await newTenant();
    const { channelId, ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    let lost = 0;

    await betweenDatabase(
      async ({ queries, send }) => {
        const response = await send();
        if (queries.includes("record_receipts") && lost++ === 0) throw new Error("the connection is gone");
        return response;
      },
      () => sendNow(tenant, ids),
    );

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent", attempts: 1 });
    expect(await statusesOf(ids[0]!)).toEqual(["sent"]);
    expect((await tenant.get(`/v1/events?stream=channel&streamId=${channelId}`)).body.data).toHaveLength(1);
  });

  it("a receipt that overtakes the record of its send is kept", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    let overtaken = false;

    await betweenDatabase(
      async ({ queries, send }) => {
        if (queries.includes("record_receipts") && !overtaken) {
          overtaken = true;
          await asOwner("update deliveries set status = 'delivered' where id = $1", ids);
        }
        return send();
      },
      () => sendNow(tenant, ids),
    );

    expect(await deliveryOf(ids[0]!)).toMatchObject({
      status: "delivered",
      provider_message_id: `sandbox-${ids[0]}`,
      claimed_until: null,
    });
    expect(await statusesOf(ids[0]!)).toEqual(["sent"]);
  });

  it("one tenant's trouble keeps no other's sends from being recorded", async () => {
    const [one, other] = [await newTenant(), await newTenant()];
    const mine = await newDeliveries(one, [{ recipient: "silent@example.com" }]);
    const theirs = await newDeliveries(other, [{ recipient: "silent@example.com" }]);

    await betweenDatabase(
      ({ queries, send }) =>
        queries.includes("record_receipts") && queries.includes(mine.ids[0]!)
          ? Promise.reject(new Error("broken"))
          : send(),
      () =>
        deliverBodies([
          { tenantId: one.id, deliveryIds: mine.ids },
          { tenantId: other.id, deliveryIds: theirs.ids },
        ]),
    );

    expect(await deliveryOf(theirs.ids[0]!)).toMatchObject({ status: "sent" });
    expect(await deliveryOf(mine.ids[0]!)).toMatchObject({ status: "pending" });
  });

  it("takes two database calls for the deliveries of twenty tenants", async () => {
    const tenants = await Promise.all(Array.from({ length: 20 }, () => newTenant()));
    const wishes = [{ recipient: "silent@a.example" }, { recipient: "silent@b.example" }];
    const round = async () => {
      const bodies: { tenantId: string; deliveryIds: string[] }[] = [];
      for (const { id } of tenants)
        bodies.push({ tenantId: id, deliveryIds: (await newDeliveries({ id }, wishes)).ids });
      await holdBack(bodies.flatMap(({ deliveryIds }) => deliveryIds));
      return bodies;
    };
    await deliverBodies(await round());
    const rounds: Awaited<ReturnType<typeof round>>[] = [];

    // What isolates know of a tenant is read anew by and by: on a slow machine during one of the rounds.
    const calls = await callsOf(
      () => deliverBodies(rounds.at(-1)!),
      async () => rounds.push(await round()),
      3,
    );

    expect(calls).toBe(2);
    for (const { deliveryIds } of rounds.flat()) for (const id of deliveryIds) await becomes(id, "sent");
  }, 60_000);

  it("a sweep that finds much calls for help, and all of it goes out", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(
      tenant,
      Array.from({ length: 150 }, () => ({ recipient: "silent@example.com" })),
    );
    await makeDue(ids);

    await sweep();

    await vi.waitFor(
      async () => expect((await deliveriesOf(tenant)).filter(({ status }) => status !== "sent")).toEqual([]),
      { timeout: 8000, interval: 100 },
    );
  });
});

describe("what a feature records with its own batch", () => {
  const system = <T>(tenant: Tenant, run: (ctx: Context) => Promise<T>) =>
    inContext((exec) => asSystem(env, tenant.id, (work) => exec.waitUntil(work), run));

  it("goes out by itself, but for what ended before it began", async () => {
    const tenant = await newTenant();
    const { channelId } = await newDeliveries(tenant, []);
    const common = { channelId, messageId: crypto.randomUUID(), medium: "email" as const, content: { text: "hi" } };
    const news: NewDelivery[] = [
      { ...common, id: newId(), recipient: "delivered@example.com" },
      { ...common, id: newId(), recipient: "ann@example.com", status: "suppressed", error: "It bounced before." },
    ];

    await system(tenant, async (ctx) => {
      const [first, ...rest] = recordDeliveries(ctx, news);
      await asTenant(ctx, [first!, ...rest]);
      announceDeliveries(ctx, news);
    });

    await becomes(news[0]!.id, "delivered");
    expect(await deliveryOf(news[1]!.id)).toMatchObject({
      status: "suppressed",
      attempts: 0,
      error: "It bounced before.",
    });
    expect(await ledgerOf(news[1]!.id)).toEqual([{ status: "suppressed", details: { error: "It bounced before." } }]);
  });

  it("is cancelled by a word before it is sent, and not after", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [
      { recipient: "silent@example.com" },
      { recipient: "silent@example.com" },
    ]);
    await sendNow(tenant, [ids[0]!]);

    const cancel = ids.map((deliveryId) => ({
      deliveryId,
      eventId: `cancel ${deliveryId}`,
      status: "cancelled" as const,
      details: {},
    }));
    await system(tenant, (ctx) => recordReceipts(ctx, null, cancel));
    await sendNow(tenant, ids);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent" });
    expect(await deliveryOf(ids[1]!)).toMatchObject({ status: "cancelled", attempts: 0 });
  });
});

it("a reply goes to whoever reads its medium's, with the delivery it replies to", async () => {
  const tenant = await newTenant();
  const { ids } = await newDeliveries(tenant, [
    { recipient: "replied", medium: "custom" },
    { recipient: "silent", medium: "custom" },
  ]);
  await sendNow(tenant, ids);
  const read: unknown[] = [];
  readRepliesWith("custom", async (ctx, repliedTo, reply) => {
    read.push([ctx.tenantId, repliedTo.id, reply.from, reply.eventId]);
  });

  await deliverBodies([{ tenantId: tenant.id, deliveryIds: ids, playBack: true }]);

  expect(read).toContainEqual([tenant.id, ids[0], "replied", `sandbox-${ids[0]} reply`]);
  expect(JSON.stringify(read)).not.toContain(ids[1]);
});

it("a provider that does not answer in time has failed for now", async () => {
  let signal: AbortSignal | undefined;
  const call = callProvider(env, 20, (io) => {
    signal = io.signal;
    return new Promise(() => {});
  });

  await expect(call).rejects.toMatchObject({ name: "ProviderError", verdict: "retry" });
  expect(signal?.aborted).toBe(true);
});

describe("what does not go out at once", () => {
  it("is tried again, each time with its own entry, and then goes out", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [{ recipient: "fail-retry@example.com" }]);

    await sendNow(tenant, ids);
    const waiting = await deliveryOf(ids[0]!);
    const seconds = (Date.parse(waiting.next_attempt_at) - Date.now()) / 1000;
    expect(waiting).toMatchObject({
      status: "pending",
      attempts: 1,
      claimed_until: null,
      error: "451 The sandbox pretends to be busy.",
    });
    expect(seconds).toBeGreaterThan(2);
    expect(seconds).toBeLessThan(6.1);
    await sendNow(tenant, ids);
    expect(await deliveryOf(ids[0]!)).toMatchObject({ attempts: 1 });

    for (let attempt = 2; attempt <= 3; attempt++) {
      await makeDue(ids);
      await sendNow(tenant, ids);
    }

    expect(await becomes(ids[0]!, "delivered")).toMatchObject({ attempts: 3, error: null });
    expect(await ledgerOf(ids[0]!)).toMatchObject([
      { status: "pending", details: { attempt: 1, error: "451 The sandbox pretends to be busy." } },
      { status: "pending", details: { attempt: 2 } },
      { status: "sent", details: { attempt: 3 } },
      { status: "delivered" },
    ]);
  });

  it("has failed after its last attempt", async () => {
    const tenant = await newTenant();
    const { channelId, ids } = await newDeliveries(tenant, [{ recipient: "fail-always@example.com" }]);
    await asOwner("update deliveries set attempts = 11 where id = $1", ids);

    await sendNow(tenant, ids);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "failed", attempts: 12 });
    const told = (await tenant.get(`/v1/events?stream=channel&streamId=${channelId}`)).body.data;
    expect(told).toMatchObject([
      { data: { status: "failed", details: { error: "451 The sandbox pretends to be busy." } } },
    ]);
  });

  it("waits while its account is disabled, is sent once it is enabled, and never by the sandbox instead", async () => {
    const tenant = await newTenant();
    const integration = await newIntegration(tenant);
    await tenant.patch(`/v1/integrations/${integration.id}`, { enabled: false });
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);

    await sendNow(tenant, ids);
    expect(await deliveryOf(ids[0]!)).toMatchObject({
      status: "pending",
      attempts: 0,
      error: "integration_disabled",
      integration_id: integration.id,
    });
    await sweep();
    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "pending", attempts: 0 });

    await tenant.patch(`/v1/integrations/${integration.id}`, { enabled: true });
    await sweep();

    expect(await becomes(ids[0]!, "sent")).toMatchObject({ attempts: 1, integration_id: integration.id });
  });

  it("is given up when its account stays disabled for three days", async () => {
    const tenant = await newTenant();
    const integration = await newIntegration(tenant);
    await tenant.patch(`/v1/integrations/${integration.id}`, { enabled: false });
    const { ids } = await newDeliveries(tenant, [{}]);
    await asOwner("update deliveries set created_at = now() - interval '73 hours' where id = $1", ids);

    await sendNow(tenant, ids);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "failed", error: "integration_disabled" });
  });
});

it("a delivery goes by the account it names, else by the tenant's first of its medium, and stays with it", async () => {
  const tenant = await newTenant();
  const [first, second, texts] = [
    await newIntegration(tenant, { name: "First" }),
    await newIntegration(tenant, { name: "Second" }),
    await newIntegration(tenant, { name: "Texts", medium: "sms" }),
  ];
  const { ids } = await newDeliveries(tenant, [
    { recipient: "silent@example.com" },
    { recipient: "silent@example.com", integrationId: second.id },
    { recipient: "+12025550000", medium: "sms" },
    { recipient: "silent", medium: "custom" },
  ]);

  await sendNow(tenant, ids);

  const rows = await Promise.all(ids.map(deliveryOf));
  expect(rows.map(({ integration_id }) => integration_id)).toEqual([first.id, second.id, texts.id, null]);
});

describe("a provider's callback", () => {
  const secret = "a-secret-of-the-provider";

  async function sent() {
    const tenant = await newTenant();
    const integration = await newIntegration(tenant, { credentials: { signingSecret: secret } });
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    await sendNow(tenant, ids);
    return { tenant, integration, id: ids[0]!, messageId: `sandbox-${ids[0]}` };
  }

  async function callBack(
    tenantId: string,
    integrationId: string,
    receipts: Record<string, unknown>[],
    signature?: string,
  ) {
    const body = JSON.stringify({ receipts });
    const headers = { "Sandbox-Signature": signature ?? (await signCallback(secret, body)) };
    return client(null).post(`/v1/callbacks/${tenantId}/${integrationId}`, body, { headers });
  }

  it("is believed by its signature, and heard once", async () => {
    const { tenant, integration, id, messageId } = await sent();
    const receipts = [
      { eventId: "e1", messageId, status: "delivered" },
      { eventId: "e2", messageId, status: "opened" },
    ];

    const answers = await Promise.all([1, 2, 3].map(() => callBack(tenant.id, integration.id, receipts)));

    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204]);
    expect(await deliveryOf(id)).toMatchObject({ status: "opened" });
    expect((await statusesOf(id)).sort()).toEqual(["delivered", "opened", "sent"]);
  });

  it("changes nothing with a wrong, old or missing signature, or none agreed on", async () => {
    const { tenant, integration, id, messageId } = await sent();
    const receipts = [{ eventId: "e1", messageId, status: "bounced" }];
    const body = JSON.stringify({ receipts });
    const bare = await newIntegration(tenant, { name: "Bare" });
    const old = await signCallback(secret, body, Math.floor(Date.now() / 1000) - 301);

    for (const signature of ["", "t=1,v1=00", old, await signCallback("another-secret-of-no-use", body)]) {
      expectProblem(await callBack(tenant.id, integration.id, receipts, signature), 403, "not_allowed");
    }
    expectProblem(await callBack(tenant.id, bare.id, receipts), 403, "not_allowed");
    expectProblem(await callBack(tenant.id, integration.id, [{ status: "bounced" }]), 422, "invalid_request");

    expect(await deliveryOf(id)).toMatchObject({ status: "sent" });
  });

  it("says nothing of another account's messages, or of another tenant", async () => {
    const { tenant, integration, id, messageId } = await sent();
    const second = await newIntegration(tenant, { name: "Second", credentials: { signingSecret: secret } });
    const stranger = await sent();
    const receipts = [{ eventId: "e1", messageId, status: "bounced" }];

    expect((await callBack(tenant.id, second.id, receipts)).status).toBe(204);
    expectProblem(await callBack(stranger.tenant.id, integration.id, receipts), 404, "not_found");
    expect((await callBack(stranger.tenant.id, stranger.integration.id, receipts)).status).toBe(204);
    expectProblem(await callBack(crypto.randomUUID(), integration.id, receipts), 404, "not_found");

    expect(await deliveryOf(id)).toMatchObject({ status: "sent" });
  });
});

it("a suspended tenant's deliveries wait", async () => {
  const tenant = await newTenant();
  const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
  await asOwner("update tenants set suspended_at = now() where id = $1", [tenant.id]);

  await sendNow(tenant, ids);

  expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "pending", attempts: 0, error: "tenant_suspended" });
});

it("a tenant that is deleted while its deliveries go out leaves the others' alone", async () => {
  const [gone, other] = [await newTenant(), await newTenant()];
  const [lost, kept] = [
    await newDeliveries(gone, [{ recipient: "silent@example.com" }]),
    await newDeliveries(other, [{ recipient: "silent@example.com" }]),
  ];

  await betweenDatabase(
    async ({ queries, send }) => {
      const response = await send();
      if (queries.includes("claim_outbound"))
        await asOwner("update tenants set deleted_at = now() where id = $1", [gone.id]);
      return response;
    },
    () =>
      deliverBodies([
        { tenantId: gone.id, deliveryIds: lost.ids },
        { tenantId: other.id, deliveryIds: kept.ids },
      ]),
  );

  expect(await deliveryOf(kept.ids[0]!)).toMatchObject({ status: "sent" });
});
