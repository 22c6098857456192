import { env } from "cloudflare:workers";
import { expect, inject, it, vi } from "vitest";
import { asSystem } from "../../src/auth/system";
import { announce, type DeliveryMessage, recordCustomEvents } from "../../src/events/service";
import { asTenant } from "../../src/lib/db";
import { deliverQueued, sweepWebhooks } from "../../src/webhooks/consumer";
import { disable } from "../../src/webhooks/health";
import { type Any, newTenant, type Tenant } from "../helpers";
import { inContext } from "../outbound";
import { newReceiver } from "../receiver";
import { asOwner } from "../setup/owner";
import "../setup/provided";

const onServer = it.runIf(inject("realPostgres"));
const EVENTS = 10_000;
const CHANNELS = 50;
const PER_BATCH = 200;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function newHook(tenant: Tenant, more: Record<string, unknown> = {}) {
  const receiver = newReceiver();
  const made = await tenant.post("/v1/webhooks", { name: "Shop", url: receiver.url, events: ["custom.*"], ...more });
  expect(made.status).toBe(201);
  return { ...receiver, id: made.body.id as string };
}

async function pendingOf(tenant: Tenant): Promise<number> {
  const query = "select count(*)::int as n from webhook_deliveries where tenant_id = $1 and status = 'pending'";
  return (await asOwner<{ n: number }>(query, [tenant.id]))[0]!.n;
}

/** A queue that keeps what may go at once and loses what is to wait: the sweep finds that. */
function newQueue() {
  const bodies: DeliveryMessage[] = [];
  const sendBatch = async (messages: { body: DeliveryMessage; delaySeconds?: number }[]) => {
    bodies.push(...messages.filter(({ delaySeconds }) => !delaySeconds).map(({ body }) => body));
  };
  const own: Env = { ...env, WEBHOOKS: { sendBatch } as unknown as Queue };
  const consumer = async () => {
    for (let some = bodies.splice(0, 10); some.length > 0; some = bodies.splice(0, 10)) {
      await inContext((exec) => deliverQueued(own, some, exec));
    }
  };
  return {
    env: own,
    async drain() {
      while (bodies.length > 0) await Promise.all(Array.from({ length: 4 }, consumer));
    },
  };
}

/** Lets so many minutes pass for whatever waits and nobody has in hand. */
async function minutesPass(tenant: Tenant, minutes: number): Promise<void> {
  await asOwner(
    `update webhook_deliveries d set next_attempt_at = next_attempt_at - $2 * interval '1 minute'
      from (select id from webhook_deliveries where tenant_id = $1 and status = 'pending' and claimed_until is null for update skip locked) w
     where d.tenant_id = $1 and d.id = w.id`,
    [tenant.id, minutes],
  );
  await asOwner(
    "update webhook_health set paused_until = paused_until - $2 * interval '1 minute' where tenant_id = $1",
    [tenant.id, minutes],
  );
}

onServer(
  "after an outage of an hour 10,000 events arrive, and at an ordered endpoint in the order of their channels",
  async () => {
    const [tenant, queue] = [await newTenant(), newQueue()];
    await tenant.put("/v1/event-types/custom.step", { description: "A step", stream: "channel", schema: {} });
    const hooks = [await newHook(tenant), await newHook(tenant, { ordered: true })];
    for (const hook of hooks) await hook.answers({ status: 500 });
    const channels = Array.from({ length: CHANNELS }, () => crypto.randomUUID());
    const cronAfter = async (minutes: number) => {
      await minutesPass(tenant, minutes);
      await inContext((exec) => sweepWebhooks(queue.env, exec));
      await queue.drain();
    };

    for (let n = 0; n < EVENTS; n += PER_BATCH) {
      const events = Array.from({ length: PER_BATCH }, (_, i) => ({
        type: "custom.step" as const,
        stream: { kind: "channel" as const, id: channels[(n + i) % CHANNELS]! },
        data: { n: n + i },
      }));
      await inContext((exec) =>
        asSystem(
          queue.env,
          tenant.id,
          (work) => exec.waitUntil(work),
          async (ctx) => announce(ctx, (await asTenant(ctx, [recordCustomEvents(ctx, events)]))[0]),
        ),
      );
      await queue.drain();
      if (n % 2000 === 0) await cronAfter(6);
    }
    for (let minutes = 30; minutes < 60; minutes += 10) await cronAfter(10);
    expect(await pendingOf(tenant)).toBe(2 * EVENTS);

    for (const hook of hooks) await hook.answers({ status: 200 });
    const failed = await Promise.all(hooks.map(async (hook) => (await hook.received()).length));
    // No delivery waits longer for its next attempt than the schedule says, and the sweep takes a thousand at a time.
    for (let sweeps = 0; sweeps < 60 && (await pendingOf(tenant)) > 0; sweeps++) await cronAfter(30);
    expect(await pendingOf(tenant)).toBe(0);

    for (const [i, hook] of hooks.entries()) {
      const came = (await hook.received()).slice(failed[i]);
      expect(new Set(came.map(({ json }) => json.data.n)).size).toBe(EVENTS);
      expect(came.every(({ json, headers }) => headers["webhook-id"] === json.id)).toBe(true);
    }
    const inOrder = (await hooks[1]!.received()).slice(failed[1]) as Any[];
    for (const [channel, all] of Map.groupBy(inOrder, ({ json }) => json.stream.id)) {
      const seqs = all.map(({ json }) => json.seq);
      expect(seqs, channel).toEqual(seqs.toSorted((a, b) => a - b));
    }
    const statuses = await asOwner<Any>("select distinct status from webhook_deliveries where tenant_id = $1", [
      tenant.id,
    ]);
    expect(statuses).toEqual([{ status: "delivered" }]);
  },
  600_000,
);

onServer("an endpoint's pace, and the one probe of a resting one, hold however many consumers there are", async () => {
  const [tenant, queue] = [await newTenant(), newQueue()];
  const paced = await newHook(tenant, { perSecond: 5 });
  const resting = await newHook(tenant);
  await tenant.put("/v1/event-types/custom.step", { description: "A step", schema: {} });
  await resting.answers({ status: 500 });
  await asOwner("update webhook_health set failed_attempts = 5 where webhook_id = $1", [resting.id]);
  const events = Array.from({ length: 96 }, (_, n) => ({
    type: "custom.step" as const,
    stream: { kind: "tenant" as const, id: tenant.id },
    data: { n },
  }));
  const ids = await inContext((exec) =>
    asSystem(
      queue.env,
      tenant.id,
      (work) => exec.waitUntil(work),
      async (ctx) => (await asTenant(ctx, [recordCustomEvents(ctx, events)]))[0].flatMap((one) => one.deliveries),
    ),
  );

  // Until it lets go, all of them have begun.
  const holding = asOwner(
    "with held as (update webhook_health set slow = slow where tenant_id = $1 returning 1) select pg_sleep(1), count(*) from held",
    [tenant.id],
  );
  await pause(200);
  const started = Math.floor(Date.now() / 1000);
  await Promise.all([
    holding,
    ...Array.from({ length: 12 }, (_, n) =>
      inContext((exec) =>
        deliverQueued(queue.env, [{ tenantId: tenant.id, deliveryIds: ids.filter((_, i) => i % 12 === n) }], exec),
      ),
    ),
  ]);
  const seconds = Math.floor(Date.now() / 1000) - started + 1;

  expect((await paced.received()).length).toBeLessThanOrEqual(5 * seconds);
  expect((await paced.received()).length).toBeGreaterThanOrEqual(5);
  expect(await resting.received()).toHaveLength(1);
});

const DEAD = 50;
const PER_SECOND = 25;
const SECONDS = 8;

type Endpoint = Awaited<ReturnType<typeof newHook>> & { tenant: Tenant };

async function newEndpoint(): Promise<Endpoint> {
  const tenant = await newTenant();
  await tenant.put("/v1/event-types/custom.step", { description: "A step", schema: {} });
  return { tenant, ...(await newHook(tenant, { timeoutMs: 1000 })) };
}

const happen = ({ tenant }: Endpoint) => tenant.post("/v1/events", { type: "custom.step", data: {} });

/** One event after the other for the one endpoint and for one of the others: how long they take to the one, at the 99th of 100. */
async function lagBeside(one: Endpoint, others: Endpoint[]): Promise<number> {
  const before = (await one.received()).length;
  const count = PER_SECOND * SECONDS;
  const started = Date.now();
  const sent: Promise<unknown>[] = [];
  for (let n = 0; n < count; n++) {
    await pause(Math.max(0, started + (n * 1000) / PER_SECOND - Date.now()));
    sent.push(happen(one), happen(others[n % others.length]!));
  }
  await Promise.all(sent);
  const came = await vi.waitFor(
    async () => {
      const all = await one.received();
      expect(all.length).toBeGreaterThanOrEqual(before + count);
      return all.slice(before);
    },
    { timeout: 60_000, interval: 200 },
  );
  const lags = came.map(({ at, json }) => at - Date.parse((json as Any).timestamp)).sort((a, b) => a - b);
  return lags[Math.floor(lags.length * 0.99)]!;
}

/** What their health says, and nothing left to do. */
async function setHealth(others: Endpoint[], state: string): Promise<void> {
  const ids = others.map(({ id }) => id);
  await asOwner("delete from webhook_deliveries where webhook_id = any ($1::uuid[]) and status = 'pending'", [ids]);
  await asOwner(`update webhook_health set paused_until = null, ${state} where webhook_id = any ($1::uuid[])`, [ids]);
}
const HEALTHY = "failure_count = 0, failed_attempts = 0, failing_since = null, slow = false";
const LONG_DEAD = "failure_count = 20, failed_attempts = 20, failing_since = now() - interval '1 hour', slow = true";

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const DEATHS = [{ delayMs: 3000 }, { status: 503 }, { hangUp: true }, { status: 500, delayMs: 900 }];

async function amongMany(): Promise<{ one: Endpoint; others: Endpoint[] }> {
  const one = await newEndpoint();
  const others: Endpoint[] = [];
  while (others.length < DEAD) others.push(...(await Promise.all(Array.from({ length: 10 }, newEndpoint))));
  return { one, others };
}

onServer(
  "fifty dead endpoints make a healthy one wait no more than half as long again",
  async () => {
    const { one, others } = await amongMany();
    const [alive, dead]: [number[], number[]] = [[], []];
    await lagBeside(one, others);

    for (let round = 0; round < 3; round++) {
      for (const other of others) await other.answers({ status: 200 });
      await setHealth(others, HEALTHY);
      alive.push(await lagBeside(one, others));
      for (const [n, other] of others.entries()) await other.answers(DEATHS[n % DEATHS.length]!);
      await setHealth(others, LONG_DEAD);
      dead.push(await lagBeside(one, others));
    }

    console.info(
      `lag of a healthy endpoint, p99: ${alive.join(", ")} ms beside healthy ones, ${dead.join(", ")} ms beside dead ones`,
    );
    expect(median(dead.map((lag, round) => lag / alive[round]!))).toBeLessThanOrEqual(1.5);
  },
  600_000,
);

// Measured at 1.9 to 2.6 s beside 0.1 s: until an endpoint is known to hang, it holds one of six connections for its timeout.
it.todo(
  "fifty endpoints that die at once, with nothing known of them yet, make a healthy one wait no more than that either",
);

onServer(
  "an endpoint is disabled beside those who claim and record its deliveries, and nobody waits in a circle",
  async () => {
    const tenant = await newTenant();
    for (let round = 0; round < 15; round++) {
      const hook = await newHook(tenant, { perSecond: 10_000 });
      await hook.answers({ status: 500 });
      const ids = await asOwner<{ id: string }>(
        `with made as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
             select $1, gen_random_uuid(), 'channel', gen_random_uuid(), 1, 'custom.step', '{}' from generate_series(1, 120) returning id)
           insert into webhook_deliveries (tenant_id, id, webhook_id, event_id) select $1, gen_random_uuid(), $2, id from made returning id`,
        [tenant.id, hook.id],
      );
      const groups = Array.from({ length: 6 }, (_, n) => ids.slice(n * 20, n * 20 + 20).map(({ id }) => id));

      const claims = groups.map((deliveryIds) =>
        inContext((exec) => deliverQueued(env, [{ tenantId: tenant.id, deliveryIds }], exec)),
      );
      await pause(round * 10);
      const disabling = inContext((exec) => disable(env, { tenantId: tenant.id, webhookId: hook.id }, "Gone.", exec));

      expect((await Promise.allSettled([...claims, disabling])).filter(({ status }) => status === "rejected")).toEqual(
        [],
      );
      await asOwner(
        "update webhook_deliveries set next_attempt_at = now(), claimed_until = null where webhook_id = $1 and status = 'pending'",
        [hook.id],
      );
      await inContext((exec) =>
        deliverQueued(env, [{ tenantId: tenant.id, deliveryIds: ids.map(({ id }) => id) }], exec),
      );
      const left = await asOwner<Any>(
        "select count(*)::int as n from webhook_deliveries where webhook_id = $1 and status = 'pending'",
        [hook.id],
      );
      expect(left[0].n).toBe(0);
    }
  },
  240_000,
);
