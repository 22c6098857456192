import { and, eq, gt, gte, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { apiKeys, apiKeyUses } from "../src/auth/schema";
import { systemContext } from "../src/lib/context";
import { asTenant, db } from "../src/lib/db";
import { monthOf, type UsageAnswer, type UsageReport } from "../src/lib/usage";
import { usageMetrics } from "../src/tenants/schema";
import { users } from "../src/users/schema";

/** Rows of one statement when last uses are written. */
const CHUNK = 5_000;
const HOUR_MS = 3_600_000;

type Storage = DurableObjectStorage;

/**
 * What a tenant used, kept as whole sums: per month to answer from, per hour to write. The object is the only writer of
 * its hours, so writing a sum again after an unknown outcome changes nothing.
 */
const TABLES = `
  create table if not exists months (metric text primary key, month text not null, value integer not null) without rowid;
  create table if not exists hours (metric text, hour integer, value integer not null, written integer not null,
    primary key (metric, hour)) without rowid;
  create table if not exists reports (isolate text primary key, seq integer not null, at integer not null) without rowid;
  create table if not exists uses (kind text, id text, at integer not null, primary key (kind, id)) without rowid;
  create table if not exists keys (id text primary key, requests integer not null, written integer not null) without rowid;
`;
/** Raised with every new table: objects of an earlier release get it at their next report. */
const TABLES_VERSION = 2;

export const tenantOf = (storage: Storage): string | undefined => storage.kv.get<string>("tenant");
export const isLoaded = (storage: Storage): boolean => storage.kv.get("loaded") === true;

/** Adds a report, unless it is the repetition of one. */
export function record(storage: Storage, tenantId: string, report: UsageReport, now: number): void {
  if (storage.kv.get("tables") !== TABLES_VERSION) {
    storage.sql.exec(TABLES);
    storage.kv.put("tables", TABLES_VERSION);
    storage.kv.put("tenant", tenantId);
  }
  const { isolate, seq, counts, keys, keyRequests = {}, users } = report;
  const metrics = Object.entries(counts);
  if (metrics.length + keys.length + users.length === 0) return;
  const repeats = storage.sql.exec("select 1 from reports where isolate = ? and seq >= ?", isolate, seq).toArray();
  if (repeats.length > 0) return;
  storage.sql.exec("insert or replace into reports (isolate, seq, at) values (?, ?, ?)", isolate, seq, now);
  for (const [metric, amount] of metrics) add(storage, metric, now, { month: amount, hour: amount, written: 0 });
  for (const id of keys) storage.sql.exec("insert or ignore into uses (kind, id, at) values ('key', ?, ?)", id, now);
  for (const [id, requests] of Object.entries(keyRequests)) addRequests(storage, id, requests, 0);
  for (const id of users) storage.sql.exec("insert or ignore into uses (kind, id, at) values ('user', ?, ?)", id, now);
}

function addRequests(storage: Storage, id: string, requests: number, written: number): void {
  storage.sql.exec(
    `insert into keys (id, requests, written) values (?, ?, ?) on conflict (id) do update set
       requests = requests + excluded.requests, written = written + excluded.written`,
    ...[id, requests, written],
  );
}

function add(
  storage: Storage,
  metric: string,
  now: number,
  amount: { month: number; hour: number; written: number },
): void {
  storage.sql.exec(
    `insert into months (metric, month, value) values (?, ?, ?) on conflict (metric) do update set
       month = max(month, excluded.month),
       value = case when month > excluded.month then value
         when month < excluded.month then excluded.value else value + excluded.value end`,
    ...[metric, monthOf(now), amount.month],
  );
  storage.sql.exec(
    `insert into hours (metric, hour, value, written) values (?, ?, ?, ?) on conflict (metric, hour) do update set
       value = value + excluded.value, written = written + excluded.written`,
    ...[metric, hourOf(now), amount.hour, amount.written],
  );
}

const hourOf = (time: number): number => Math.floor(time / HOUR_MS) * HOUR_MS;

/** The sums of the month that `now` lies in. */
export function monthOn(storage: Storage, now: number): Omit<UsageAnswer, "paceMs"> {
  const month = monthOf(now);
  const sums = storage.sql.exec<{ metric: string; value: number }>(
    "select metric, value from months where month = ?",
    month,
  );
  return { month, used: Object.fromEntries(sums.toArray().map(({ metric, value }) => [metric, value])) };
}

export function isPending({ sql }: Storage): boolean {
  const [row] = sql.exec(
    "select exists (select 1 from hours where value > written) or exists (select 1 from uses) or exists (select 1 from keys where requests > written) as it",
  );
  return row?.it === 1;
}

/** Brings what the database already holds into an object that is new or has lost its storage. */
export async function load(ctx: DurableObjectState, env: Env, tenantId: string): Promise<void> {
  const now = Date.now();
  const month = `${monthOf(now)}-01T00:00:00.000Z`;
  const hour = new Date(hourOf(now)).toISOString();
  const { metric, value } = usageMetrics;
  const [rows, keys] = await asTenant(
    systemContext(env, tenantId, (work) => ctx.waitUntil(work)),
    [
      db
        .select({
          metric,
          month: sql`sum(${value})`.mapWith(Number),
          hour: sql`coalesce(sum(${value}) filter (where ${usageMetrics.hour} = ${hour}), 0)`.mapWith(Number),
        })
        .from(usageMetrics)
        .where(and(eq(usageMetrics.tenantId, tenantId), gte(usageMetrics.hour, month)))
        .groupBy(metric),
      db
        .select({ id: apiKeyUses.keyId, requests: apiKeyUses.requests })
        .from(apiKeyUses)
        .where(and(eq(apiKeyUses.tenantId, tenantId), gt(apiKeyUses.requests, 0))),
    ],
  );
  ctx.storage.transactionSync(() => {
    for (const row of rows) add(ctx.storage, row.metric, now, { ...row, written: row.hour });
    for (const { id, requests } of keys) addRequests(ctx.storage, id, requests, requests);
    ctx.storage.kv.put("loaded", true);
  });
}

/** Writes the hours that changed and the last uses; marks as written what was read, not what came meanwhile. */
export async function flush(ctx: DurableObjectState, env: Env, tenantId: string): Promise<void> {
  const { sql: store } = ctx.storage;
  const hours = store
    .exec<{ metric: string; hour: number; value: number }>(
      "select metric, hour, value from hours where value > written",
    )
    .toArray();
  const uses = store.exec<Use>("select kind, id, at from uses limit ?", CHUNK).toArray();
  const keys = store.exec<Requests>("select id, requests from keys where requests > written limit ?", CHUNK).toArray();
  const queries = [
    ...writeHours(tenantId, hours),
    ...writeKeyUses(tenantId, uses),
    ...writeKeyRequests(tenantId, keys),
    ...writeUserUses(tenantId, uses),
  ];
  const [first, ...others] = queries;
  if (!first) return;
  await asTenant(
    systemContext(env, tenantId, (work) => ctx.waitUntil(work)),
    [first, ...others],
  );
  const now = Date.now();
  for (const { metric, hour, value } of hours) {
    store.exec("update hours set written = ? where metric = ? and hour = ?", value, metric, hour);
  }
  for (const { id, requests } of keys) store.exec("update keys set written = ? where id = ?", requests, id);
  store.exec("delete from hours where written = value and hour < ?", hourOf(now) - HOUR_MS);
  store.exec("delete from reports where at < ?", now - HOUR_MS);
  const ids = JSON.stringify(uses.map(({ id }) => id));
  store.exec("delete from uses where id in (select value from json_each(?))", ids);
  if (uses.length === CHUNK || keys.length === CHUNK) await flush(ctx, env, tenantId);
}

type Requests = { id: string; requests: number };
type Use = { kind: "key" | "user"; id: string; at: number };

function writeHours(tenantId: string, hours: { metric: string; hour: number; value: number }[]): BatchItem<"pg">[] {
  if (hours.length === 0) return [];
  const rows = hours.map(({ metric, hour, value }) => ({
    tenantId,
    metric,
    hour: new Date(hour).toISOString(),
    value,
  }));
  return [
    db
      .insert(usageMetrics)
      .values(rows)
      .onConflictDoUpdate({
        target: [usageMetrics.tenantId, usageMetrics.metric, usageMetrics.hour],
        set: { value: sql`greatest(${usageMetrics.value}, excluded.value)` },
      }),
  ];
}

/** The uses of one kind as a table of `id` and `at`. */
function tableOf(uses: Use[], kind: Use["kind"]) {
  const rows = uses.filter((use) => use.kind === kind).map(({ id, at }) => ({ id, at: new Date(at).toISOString() }));
  return rows.length > 0 && sql`jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as used(id uuid, at timestamptz)`;
}

function writeKeyUses(tenantId: string, uses: Use[]): BatchItem<"pg">[] {
  const used = tableOf(uses, "key");
  if (!used) return [];
  return [
    db.execute(sql`
      insert into ${apiKeyUses} (tenant_id, key_id, last_used_at)
      select k.tenant_id, k.id, used.at from ${used} join ${apiKeys} k on k.tenant_id = ${tenantId} and k.id = used.id
      on conflict (tenant_id, key_id) do update set last_used_at = greatest(${apiKeyUses.lastUsedAt}, excluded.last_used_at)`),
  ];
}

/** Whole sums again, so that writing one twice changes nothing. */
function writeKeyRequests(tenantId: string, keys: Requests[]): BatchItem<"pg">[] {
  if (keys.length === 0) return [];
  return [
    db.execute(sql`
      update ${apiKeyUses} set requests = greatest(${apiKeyUses.requests}, used.requests)
        from jsonb_to_recordset(${JSON.stringify(keys)}::jsonb) as used(id uuid, requests bigint)
       where ${apiKeyUses.tenantId} = ${tenantId} and ${apiKeyUses.keyId} = used.id`),
  ];
}

/** A user whose row somebody is changing now is seen again soon: waiting for it could end in a deadlock. */
function writeUserUses(tenantId: string, uses: Use[]): BatchItem<"pg">[] {
  const used = tableOf(uses, "user");
  if (!used) return [];
  return [
    db.execute(sql`
      update ${users} set last_seen_at = seen.at from (
        select u.id, used.at from ${used} join ${users} u on u.tenant_id = ${tenantId} and u.id = used.id
         where u.last_seen_at is null or u.last_seen_at < used.at for no key update of u skip locked) seen
       where ${users.tenantId} = ${tenantId} and ${users.id} = seen.id`),
  ];
}
