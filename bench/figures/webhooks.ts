import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { atLeast, atMost, type Bench, type Figure } from "../figure.ts";
import { type Ask, interleaved, once, quantile } from "../load.ts";
import { type Receiver, startReceiver } from "../receiver.ts";
import { newTenant, type Stack } from "../stack.ts";

type Hook = { tenantId: string; webhookId: string };
type Key = { id: string; key: string };

const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const TENANTS = 20;
export const MANY = 4000;
const TYPE = "custom.order";
const ORDER = {
  order: {
    id: "8f14e45f-ceea-467f-a9b1-3c8e5f4d2b6a",
    total: 129.5,
    currency: "EUR",
    lines: 3,
    note: "Leave it at the door, please.",
  },
};

async function call<T>(stack: Stack, key: string, method: string, path: string, body: unknown): Promise<T> {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  return JSON.parse(await once(agent, stack.worker, { method, path, headers, body: JSON.stringify(body) })) as T;
}

export async function newHooks(stack: Stack, { id: tenantId, key }: Key, url: string, count = 1): Promise<Hook[]> {
  await call(stack, key, "PUT", `/v1/event-types/${TYPE}`, { description: "An order", schema: {} });
  const hooks: Hook[] = [];
  while (hooks.length < count) {
    const { id } = await call<{ id: string }>(stack, key, "POST", "/v1/webhooks", {
      name: "Bench",
      url,
      events: [TYPE],
    });
    hooks.push({ tenantId, webhookId: id });
  }
  return hooks;
}

let numbered = 0;

/** Events and their deliveries as the commit of a request leaves them; the ids go to the queue. */
async function recordEvents(stack: Stack, hooks: Hook[], count: number): Promise<{ tenantId: string; id: string }[]> {
  const rows = await stack.sql(
    `with hook as (select h."tenantId" as tenant, h."webhookId" as webhook, row_number() over () - 1 as nth
        from jsonb_to_recordset($1::jsonb) h("tenantId" uuid, "webhookId" uuid)),
      event as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
        select h.tenant, gen_random_uuid(), 'tenant', h.tenant, $2 + n, '${TYPE}', jsonb_build_object('id', gen_random_uuid(), 'type', '${TYPE}',
            'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'stream', jsonb_build_object('kind', 'tenant', 'id', h.tenant), 'seq', $2 + n, 'data', $3::jsonb)::text
        from generate_series(1, $4::int) n join hook h on h.nth = n % $5 returning tenant_id, id)
    insert into webhook_deliveries (tenant_id, id, webhook_id, event_id)
      select e.tenant_id, gen_random_uuid(), h.webhook, e.id from event e join hook h on h.tenant = e.tenant_id
    returning tenant_id as "tenantId", id`,
    [JSON.stringify(hooks), 1_000_000 + numbered, JSON.stringify(ORDER), count, hooks.length],
  );
  numbered += count;
  return rows as { tenantId: string; id: string }[];
}

const post = (path: string, body: unknown): Ask => ({
  method: "POST",
  path,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

async function allDelivered(stack: Stack): Promise<void> {
  for (;;) {
    const [row] = await stack.sql(
      "select exists (select 1 from webhook_deliveries where status = 'pending' order by next_attempt_at limit 1) as waits",
    );
    if (row!.waits === false) return;
    await delay(10);
  }
}

/** Deliveries a second from the queue to the log. */
export async function throughput(stack: Stack, receiver: Receiver, hooks: Hook[]): Promise<number> {
  const deliveries = await recordEvents(stack, hooks, MANY);
  await receiver.reset();
  const started = performance.now();
  await once(agent, stack.floor, post("/queue", deliveries));
  await receiver.wait(MANY);
  await allDelivered(stack);
  return MANY / ((performance.now() - started) / 1000);
}

export async function bareThroughput(stack: Stack, receiver: Receiver): Promise<number> {
  const body = JSON.stringify({ ...ORDER, padding: "x".repeat(200) });
  const started = performance.now();
  await once(agent, stack.floor, post("/deliveries", { url: `${receiver.url}/in`, count: MANY, body }));
  return MANY / ((performance.now() - started) / 1000);
}

const sendEvent = ({ key }: Key): Ask => ({
  method: "POST",
  path: "/v1/events",
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
  body: JSON.stringify({ type: TYPE, data: ORDER }),
});

/** Events at a steady pace, whatever their answers take: from each commit to the first attempt. */
async function lag(
  stack: Stack,
  receiver: Receiver,
  tenants: Key[],
  perSecond: number,
  seconds: number,
): Promise<number[]> {
  await receiver.reset();
  const count = perSecond * seconds;
  const started = performance.now();
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < count; n++) {
    const early = started + (n * 1000) / perSecond - performance.now();
    if (early > 1) await delay(early);
    sent.push(once(agent, stack.worker, sendEvent(tenants[n % tenants.length]!)));
  }
  await Promise.all(sent);
  const came = await receiver.wait(count);
  return came.map(({ at, timestamp }) => at - Date.parse(timestamp)).sort((a, b) => a - b);
}

/** Calls that are not the events' own, for each delivery, while 20 tenants send as fast as they can. */
async function callsPerDelivery(stack: Stack, receiver: Receiver, tenants: Key[]): Promise<Figure> {
  await receiver.reset();
  await allDelivered(stack);
  const before = await stack.calls();
  let sent = 0;
  const until = performance.now() + 5000;
  const client = async (n: number) => {
    for (let i = n; performance.now() < until; i += 32, sent++)
      await once(agent, stack.worker, sendEvent(tenants[i % tenants.length]!));
  };
  await Promise.all(Array.from({ length: 32 }, (_, n) => client(n)));
  await receiver.wait(sent);
  const [row] = await stack.sql("select 1 as one");
  await delay(Number(row!.one) * 200);
  const calls = (await stack.calls()) - before - 1 - sent;
  return atMost(calls / sent, 0.1, "calls", `${sent} deliveries`);
}

async function fanOut(stack: Stack, receiver: Receiver): Promise<Figure> {
  const tenant = await newTenant(stack);
  await newHooks(stack, tenant, `${receiver.url}/in`, 1000);
  await receiver.reset();
  const started = performance.timeOrigin + performance.now();
  await once(agent, stack.worker, sendEvent(tenant));
  const came = await receiver.wait(1000);
  return atMost((came.at(-1)!.at - started) / 1000, 5, "s");
}

export const webhooks: Bench = {
  names: ["webhooks_vs_floor", "webhook_lag_p99_ms", "fanout_1_event_1000_endpoints_s", "db_calls_per_delivery"],
  async measure(stack) {
    const receiver = await startReceiver();
    try {
      const tenants: Key[] = [];
      for (let n = 0; n < TENANTS; n++) tenants.push(await newTenant(stack));
      const hooks = (await Promise.all(tenants.map((tenant) => newHooks(stack, tenant, `${receiver.url}/in`)))).flat();

      const { ratio, mine, theirs } = await interleaved(
        () => throughput(stack, receiver, hooks),
        () => bareThroughput(stack, receiver),
        { settle: stack.analyze },
      );
      const lags = await lag(stack, receiver, tenants, 100, 10);
      return {
        webhooks_vs_floor: atLeast(ratio, 0.6, "ratio", `${Math.round(mine)}/s against ${Math.round(theirs)}/s`),
        webhook_lag_p99_ms: atMost(
          quantile(lags, 0.99),
          1000,
          "ms",
          `p50 ${quantile(lags, 0.5).toFixed(0)} ms at 100 events/s`,
        ),
        db_calls_per_delivery: await callsPerDelivery(stack, receiver, tenants),
        fanout_1_event_1000_endpoints_s: await fanOut(stack, receiver),
      };
    } finally {
      receiver.stop();
      agent.destroy();
    }
  },
};
