import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import { newUsage, type Use } from "../src/lib/usage";
import { asOwner } from "./setup/owner";

// Clocks are set to the future alone: an alarm that lies in the past would go off by itself.
const ignore = () => undefined;
const objectOf = (tenantId: string) => env.LIMITER.getByName(tenantId);
const alarmOf = (tenantId: string) => runInDurableObject(objectOf(tenantId), (_, state) => state.storage.getAlarm());

async function minutePasses(tenantId: string): Promise<void> {
  expect(await runDurableObjectAlarm(objectOf(tenantId))).toBe(true);
}

afterEach(() => {
  vi.restoreAllMocks();
});

async function newTenant(): Promise<string> {
  const id = crypto.randomUUID();
  await asOwner("insert into tenants (id, name) values ($1, 'Acme')", [id]);
  return id;
}

/** Uses of one isolate, reported at once, because it does not know the month yet and has to ask. */
async function report(tenantId: string, ...uses: Use[]): Promise<void> {
  const { countUse, monthlyUse } = newUsage();
  for (const use of uses) countUse(env, ignore, tenantId, use);
  await monthlyUse(env, ignore, tenantId, "messages");
}

async function written(tenantId: string, metric = "messages"): Promise<number[]> {
  const query = "select value::int from usage_metrics where tenant_id = $1 and metric = $2 order by hour";
  return (await asOwner<{ value: number }>(query, [tenantId, metric])).map(({ value }) => value);
}

it("what isolates count is one row per metric and hour after the minute", async () => {
  const tenantId = await newTenant();
  await report(tenantId, { counts: { messages: 2 } }, { counts: { messages: 3, apiRequests: 1 } });
  await report(tenantId, { counts: { messages: 10 } });

  await minutePasses(tenantId);

  expect([await written(tenantId), await written(tenantId, "apiRequests")]).toEqual([[15], [1]]);
});

it("later minutes raise the hour's row", async () => {
  const tenantId = await newTenant();
  for (const messages of [1, 2, 3]) {
    await report(tenantId, { counts: { messages } });
    await minutePasses(tenantId);
  }

  expect(await written(tenantId)).toEqual([6]);
});

it("nothing is counted twice when the database did the work and its answer was lost", async () => {
  const tenantId = await newTenant();
  await report(tenantId, { counts: { messages: 5 } });
  const real = globalThis.fetch;
  const connection = vi.spyOn(globalThis, "fetch").mockImplementation(async (...words) => {
    await (await real(...words)).text();
    throw new Error("connection lost");
  });
  vi.spyOn(console, "error").mockImplementation(ignore);

  await minutePasses(tenantId);
  connection.mockRestore();
  await report(tenantId, { counts: { messages: 1 } });
  await minutePasses(tenantId);

  expect(await written(tenantId)).toEqual([6]);
});

it("a report whose answer was lost is sent again and counted once", async () => {
  const tenantId = await newTenant();
  let calls = 0;
  const losing = {
    LIMITER: {
      getByName: (name: string) => ({
        report: async (...words: Parameters<ReturnType<typeof objectOf>["report"]>) => {
          const answer = await env.LIMITER.getByName(name).report(...words);
          if (++calls === 1) throw Object.assign(new Error("moved"), { retryable: true });
          return answer;
        },
      }),
    },
  } as unknown as Env;
  const { countUse, monthlyUse } = newUsage();

  countUse(losing, ignore, tenantId, { counts: { messages: 4 } });

  expect(await monthlyUse(losing, ignore, tenantId, "messages")).toBe(4);
  expect(calls).toBe(2);
});

it("while the database is away counts are kept, and written when it is back", async () => {
  const tenantId = await newTenant();
  await report(tenantId, { counts: { messages: 5 } });
  const connection = vi.spyOn(globalThis, "fetch").mockRejectedValue(new Error("away"));
  vi.spyOn(console, "error").mockImplementation(ignore);

  await minutePasses(tenantId);
  await evictDurableObject(objectOf(tenantId));
  expect(await alarmOf(tenantId)).not.toBeNull();
  connection.mockRestore();
  await minutePasses(tenantId);

  expect(await written(tenantId)).toEqual([5]);
});

it("an object with nothing to write holds no alarm", async () => {
  const tenantId = await newTenant();
  await report(tenantId);
  expect(await alarmOf(tenantId)).toBeNull();

  await report(tenantId, { counts: { messages: 1 } });
  expect(await alarmOf(tenantId)).not.toBeNull();
  await minutePasses(tenantId);

  expect(await alarmOf(tenantId)).toBeNull();
});

it("a new object goes on where the database stands", async () => {
  const tenantId = await newTenant();
  const insert = "insert into usage_metrics (tenant_id, metric, hour, value) values ($1, 'messages', $2, $3)";
  await asOwner(insert, [tenantId, "2126-10-31T23:00:00Z", 7]);
  await asOwner(insert, [tenantId, "2126-11-01T00:00:00Z", 20]);
  await asOwner(insert, [tenantId, "2126-11-20T08:00:00Z", 100]);
  vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2126, 10, 20, 8, 59, 59));
  const { countUse, monthlyUse } = newUsage();

  countUse(env, ignore, tenantId, { counts: { messages: 1 } });
  const used = await monthlyUse(env, ignore, tenantId, "messages");
  await minutePasses(tenantId);

  expect(used).toBe(121);
  expect(await written(tenantId)).toEqual([7, 20, 101]);
});

it("a new month begins at nothing", async () => {
  const tenantId = await newTenant();
  const clock = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2126, 10, 30, 23, 59, 59));
  await report(tenantId, { counts: { messages: 5 } });
  clock.mockReturnValue(Date.UTC(2126, 11, 1));

  const { countUse, monthlyUse } = newUsage();
  countUse(env, ignore, tenantId, { counts: { messages: 1 } });
  expect(await monthlyUse(env, ignore, tenantId, "messages")).toBe(1);
  await minutePasses(tenantId);

  expect(await written(tenantId)).toEqual([5, 1]);
});

it("an isolate knows the month's use without waiting, its own included, and others' within the minute", async () => {
  const tenantId = await newTenant();
  let calls = 0;
  const counting = {
    LIMITER: {
      getByName: (name: string) => {
        calls++;
        return env.LIMITER.getByName(name);
      },
    },
  } as unknown as Env;
  const { countUse, monthlyUse } = newUsage();
  const used = () => monthlyUse(counting, ignore, tenantId, "messages");
  const clock = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2126, 10, 20));

  expect(await used()).toBe(0);
  countUse(counting, ignore, tenantId, { counts: { messages: 2 } });
  await report(tenantId, { counts: { messages: 40 } });
  expect(await used()).toBe(2);
  expect(calls).toBe(1);
  clock.mockReturnValue(Date.UTC(2126, 10, 20) + 60_001);
  expect(await used()).toBe(42);
});

it("isolates report by themselves", async () => {
  const tenantId = await newTenant();
  const work: Promise<unknown>[] = [];
  const { countUse } = newUsage();

  countUse(env, (promise) => work.push(promise), tenantId, { counts: { messages: 1 } });
  countUse(env, (promise) => work.push(promise), tenantId, { counts: { messages: 1 } });
  await Promise.all(work);
  await minutePasses(tenantId);

  expect(work).toHaveLength(1);
  expect(await written(tenantId)).toEqual([2]);
});

it("the last use of keys and users is written, once however often they came, and never for one who is gone", async () => {
  const tenantId = await newTenant();
  const [keyId, userId] = [crypto.randomUUID(), crypto.randomUUID()];
  const key = "insert into api_keys (tenant_id, id, name, kind, hash, hint) values ($1, $2, 'k', 'live', $3, 'k')";
  await asOwner(key, [tenantId, keyId, `\\x${keyId.replaceAll("-", "")}`]);
  await asOwner("insert into users (tenant_id, id) values ($1, $2)", [tenantId, userId]);
  const now = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2126, 10, 20, 8));
  await report(
    tenantId,
    { keyId, userId },
    { keyId, userId },
    { keyId: crypto.randomUUID(), userId: crypto.randomUUID() },
  );
  now.mockReturnValue(Date.UTC(2126, 10, 20, 8, 0, 30));
  await report(tenantId, { keyId, userId });

  await minutePasses(tenantId);

  const query = `select
    (select json_agg(last_used_at at time zone 'UTC') from api_key_uses where tenant_id = $1) as keys,
    (select sum(requests)::int from api_key_uses where tenant_id = $1) as requests,
    (select json_agg(last_seen_at at time zone 'UTC') from users where tenant_id = $1) as users`;
  const at = "2126-11-20T08:00:00";
  expect(await asOwner(query, [tenantId])).toEqual([{ keys: [at], requests: 3, users: [at] }]);
  expect(await alarmOf(tenantId)).toBeNull();
});

it("a tenant that is gone leaves nothing behind", async () => {
  const tenantId = await newTenant();
  await report(tenantId, { counts: { messages: 1 } });
  await asOwner("update tenants set deleted_at = now() where id = $1", [tenantId]);

  await minutePasses(tenantId);

  const left = await runInDurableObject(objectOf(tenantId), (_, { storage }) => [...storage.kv.list()]);
  expect([left, await alarmOf(tenantId)]).toEqual([[], null]);
});
