import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { deliverQueued } from "../src/webhooks/consumer";
import { type Any, newTenant, type Tenant } from "./helpers";
import { betweenDatabase, inContext, postWith } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

const EVENTS = 3;
const dead = { sendBatch: () => Promise.reject(new Error("the isolate is gone")) } as unknown as Queue;

type Prepared = { tenant: Tenant; hook: Any; receiver: ReturnType<typeof newReceiver>; ids: string[] };

/** Committed events of which nobody was told; for a second more the sweeps of other tests do not see them. */
async function committed(more: Record<string, unknown> = {}): Promise<Prepared> {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await tenant.post("/v1/webhooks", { name: "Shop", url: receiver.url, events: ["custom.*"], ...more });
  await tenant.put("/v1/event-types/custom.order", { description: "An order", schema: {} });
  for (let n = 0; n < EVENTS; n++)
    await postWith({ ...env, WEBHOOKS: dead }, tenant, "/v1/events", { type: "custom.order", data: { n } });
  const rows = await asOwner<{ id: string }>(
    "update webhook_deliveries set next_attempt_at = now() + interval '950 milliseconds' where tenant_id = $1 returning id",
    [tenant.id],
  );
  return { tenant, receiver, hook: hook.body, ids: rows.map(({ id }) => id) };
}

const consume = ({ tenant, ids }: Pick<Prepared, "tenant" | "ids">) =>
  inContext((ctx) => deliverQueued(env, [{ tenantId: tenant.id, deliveryIds: ids }], ctx)).catch(() => {});

/** As if the claims of whoever died had run out, and the time of what waits had come. */
const lapse = (tenant: Tenant) =>
  asOwner(
    `update webhook_deliveries set claimed_until = now() - interval '1 second', next_attempt_at = now() - interval '2 seconds'
      where tenant_id = $1 and status = 'pending'`,
    [tenant.id],
  );

const statusesOf = async (tenant: Tenant) =>
  (await asOwner("select status from webhook_deliveries where tenant_id = $1", [tenant.id])).map(
    ({ status }) => status,
  );

const dies =
  (call: string, after = false) =>
  (run: () => Promise<unknown>) =>
    betweenDatabase(async ({ queries, send }) => {
      if (!queries.includes(call)) return send();
      if (after) await send();
      throw new Error("the isolate is gone");
    }, run);

const SEAMS: [name: string, crash: (prepared: Prepared) => Promise<unknown>, sent: number][] = [
  ["after the commit, before anything is on the queue, or when the queue loses it", async () => {}, 0],
  ["when the claim is made and its answer lost", (p) => dies("claim_deliveries", true)(() => consume(p)), 0],
  ["after sending, before recording", (p) => dies("record_attempts")(() => consume(p)), EVENTS],
  ["after recording, before anything else", (p) => dies("record_attempts", true)(() => consume(p)), EVENTS],
  ["when the message comes twice at the same time", (p) => Promise.all([consume(p), consume(p)]), EVENTS],
];

it.each(SEAMS)("%s: each event arrives, under one webhook-id, within one sweep", async (_, crash, sent) => {
  const prepared = await committed();
  const { tenant, receiver } = prepared;

  await crash(prepared);
  expect(await receiver.received()).toHaveLength(sent);
  await lapse(tenant);
  await sweep();

  await vi.waitFor(async () => expect(await statusesOf(tenant)).toEqual(Array(EVENTS).fill("delivered")), {
    timeout: 8000,
  });
  const came = Map.groupBy(await receiver.received(), ({ headers }) => headers["webhook-id"]!);
  expect([...came.values()].map(([first]) => first!.json.data.n).sort()).toEqual([0, 1, 2]);
  for (const [id, all] of came) {
    expect(new Set(all.map(({ body }) => body)).size).toBe(1);
    expect(all[0]!.json.id).toBe(id);
  }
});

it("a crash between the last failure and its event gives up in the end, and tells so once", async () => {
  const prepared = await committed({ retryCount: 0 });
  const { tenant, receiver } = prepared;
  const other = newReceiver();
  await tenant.post("/v1/webhooks", { name: "Operator", url: other.url, events: ["webhook.exhausted"] });
  await receiver.answers({ status: 400 });

  await dies("record_events")(() => consume(prepared));
  expect(await statusesOf(tenant)).toEqual(Array(EVENTS).fill("pending"));
  await lapse(tenant);
  await sweep();

  const told = await other.got(EVENTS);
  expect(new Set(told.map(({ json }) => json.data.deliveryId))).toEqual(new Set(prepared.ids));
  expect(await receiver.received()).toHaveLength(2 * EVENTS);
});

it("a webhook that is deleted while it is called keeps no other's results from being recorded", async () => {
  const [leaving, staying] = [await committed(), await committed()];
  await leaving.receiver.answers({ delayMs: 300 });
  const bodies = [leaving, staying].map(({ tenant, ids }) => ({ tenantId: tenant.id, deliveryIds: ids }));

  const consumed = inContext((ctx) => deliverQueued(env, bodies, ctx));
  await leaving.receiver.got(1);
  expect((await leaving.tenant.delete(`/v1/webhooks/${leaving.hook.id}`)).status).toBe(204);
  await consumed;

  expect(await statusesOf(staying.tenant)).toEqual(Array(EVENTS).fill("delivered"));
  expect(await statusesOf(leaving.tenant)).toEqual([]);
});

const twoTenants = async (more: Record<string, unknown> = {}) => {
  const both = [await committed(more), await committed()] as const;
  const consumed = () =>
    inContext((ctx) =>
      deliverQueued(
        env,
        both.map(({ tenant, ids }) => ({ tenantId: tenant.id, deliveryIds: ids })),
        ctx,
      ),
    );
  return { both, consumed };
};

it("a secret that does not open fails its own endpoint's deliveries and nobody else's", async () => {
  const { both, consumed } = await twoTenants();
  const [spoilt, sound] = both;
  await asOwner("update webhook_secrets set sealed = decode(repeat('00', 60), 'hex') where webhook_id = $1", [
    spoilt.hook.id,
  ]);

  await consumed();

  expect(await statusesOf(sound.tenant)).toEqual(Array(EVENTS).fill("delivered"));
  expect(await statusesOf(spoilt.tenant)).toEqual(Array(EVENTS).fill("pending"));
  expect(await spoilt.receiver.received()).toEqual([]);
  const attempts = (await spoilt.tenant.get(`/v1/webhook-attempts?webhookId=${spoilt.hook.id}`)).body.data;
  expect(attempts).toHaveLength(EVENTS);
  expect(attempts[0]).toMatchObject({ ok: false, status: null, error: "secret" });
});

it("a tenant that is deleted between sending and recording leaves the others' health and endings alone", async () => {
  const { both, consumed } = await twoTenants({ retryCount: 0 });
  const [gone, other] = both;
  await gone.receiver.answers({ status: 410 });
  await other.receiver.answers({ status: 410 });

  await betweenDatabase(async ({ queries, send }) => {
    const response = await send();
    if (queries.includes("record_attempts"))
      await asOwner("update tenants set deleted_at = now() where id = $1", [gone.tenant.id]);
    return response;
  }, consumed);

  expect((await other.tenant.get(`/v1/webhooks/${other.hook.id}`)).body.status).toBe("disabled");
});

it("endpoints that have just begun to hang hold up nobody who is behind them in the batch", async () => {
  const hanging = await committed({ timeoutMs: 20_000 });
  const alive = await committed();
  await hanging.receiver.answers({ delayMs: 15_000 });
  await hanging.tenant.post("/v1/webhooks", {
    name: "Hangs too",
    url: hanging.receiver.url,
    events: ["custom.*"],
    timeoutMs: 20_000,
  });
  await asOwner(
    `insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, next_attempt_at, created_at)
       select d.tenant_id, gen_random_uuid(), w.id, d.event_id, d.next_attempt_at, d.created_at - interval '1 minute'
         from webhook_deliveries d join webhooks w on w.tenant_id = d.tenant_id and w.name = 'Hangs too' where d.tenant_id = $1`,
    [hanging.tenant.id],
  );
  const held = await asOwner<{ id: string }>(
    "update webhook_deliveries set created_at = now() - interval '1 minute' where tenant_id = $1 returning id",
    [hanging.tenant.id],
  );
  const bodies = [
    { tenantId: hanging.tenant.id, deliveryIds: held.map(({ id }) => id) },
    { tenantId: alive.tenant.id, deliveryIds: alive.ids },
  ];

  const started = Date.now();
  const consumed = inContext((ctx) => deliverQueued(env, bodies, ctx));
  await alive.receiver.got(EVENTS);

  expect(held).toHaveLength(2 * EVENTS);
  expect(Date.now() - started).toBeLessThan(12_000);
  await consumed;
});
