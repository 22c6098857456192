import { atMost, type Bench, type Figure } from "../figure.ts";
import { newTenant, type Stack } from "../stack.ts";

const FEW = 100_000;
const MANY = 1_000_000;
/** What the tables hold that grow. */
const GROWN = ["channels", "channel_members", "messages", "events", "streams", "webhook_deliveries"];

type Measured = Record<string, { buffers: number; scanned: string[] }>;

/** Each hot query's pages at ten times the rows; what it finds stays the same. */
export const growth: Bench = {
  names: ["search_1m_buffers_growth", "hot_queries_1m_buffers_growth"],
  async measure(stack) {
    const { id, key } = await newTenant(stack);
    await seedOnce(stack, id);
    const at: Measured[] = [];
    for (const [from, upTo] of [[0, FEW] as const, [FEW, MANY] as const]) {
      await seed(stack, id, from, upTo);
      at.push(await measured(stack, id, key));
    }
    const [few, many] = at as [Measured, Measured];
    return {
      search_1m_buffers_growth: worst(few, many, ["search", "search, a word frequent elsewhere"]),
      hot_queries_1m_buffers_growth: worst(few, many, Object.keys(few)),
    };
  },
};

/** A table read from end to end is a growth without bounds. */
function worst(few: Measured, many: Measured, names: string[]): Figure {
  const growths = names.map((name) => {
    const [a, b] = [few[name]!, many[name]!];
    const factor = b.scanned.length > 0 ? Number.POSITIVE_INFINITY : b.buffers / a.buffers;
    return {
      factor,
      note: `${name} ${a.buffers} → ${b.buffers}${b.scanned.map((table) => ` reads all ${table}`).join()}`,
    };
  });
  const most = Math.max(...growths.map(({ factor }) => factor));
  return atMost(most, 2, "ratio", growths.map(({ note }) => note).join("; "));
}

const uuid = (kind: string, n: string) =>
  `overlay(overlay(md5('${kind}' || ${n} || $1::text) placing '8' from 13) placing '8' from 17)::uuid`;
const READER = uuid("user", "1");
const LARGE = uuid("channel", "1");

async function seedOnce({ sql }: Stack, tenant: string): Promise<void> {
  await sql(
    `insert into users (tenant_id, id, display_name) select $1::uuid, ${uuid("user", "n")}, 'User ' || n from generate_series(1, 1000) n`,
    [tenant],
  );
  await sql(
    `insert into webhooks (tenant_id, id, name, url, kind) values ($1::uuid, ${uuid("webhook", "1")}, 'Bench', 'https://example.com/in', 'push')`,
    [tenant],
  );
}

/**
 * A tenth of the messages in one channel, the others ninety to a channel, five members to each; the reader is in the
 * first fifty. Their messages hold the rare word twenty times, the others' a word that is frequent and never in theirs.
 */
async function seed({ sql }: Stack, tenant: string, from: number, upTo: number): Promise<void> {
  const rows = `(select n, case when n % 10 = 0 then 1 else n / 100 + 2 end as k, case when n % 10 = 0 then n / 10 else n % 100 end as seq
    from generate_series($2::int + 1, $3::int) n) x`;
  const channels = `(select k from generate_series(case $2::int when 0 then 1 else $2 / 100 + 3 end, $3::int / 100 + 2) k) x`;
  const range = [tenant, from, upTo];
  await sql(
    `insert into channels (tenant_id, id, name) select $1::uuid, ${uuid("channel", "k")}, 'Channel ' || k from ${channels}`,
    range,
  );
  await sql(
    `insert into channel_members (tenant_id, channel_id, user_id) select distinct $1::uuid, ${uuid("channel", "k")},
       case when i = 0 and k <= 50 then ${READER} else ${uuid("user", "2 + (k * 7 + i * 131) % 999")} end
     from ${channels} cross join generate_series(0, 4) i`,
    range,
  );
  await sql(
    `insert into streams (tenant_id, kind, id, last_seq, last_ordinal, last_message_at)
     select $1::uuid, 'channel', ${uuid("channel", "k")}, max(seq), max(seq), timestamptz '2026-01-01' + make_interval(secs => max(n)) from ${rows} group by k
     on conflict (tenant_id, kind, id) do update set last_seq = excluded.last_seq, last_ordinal = excluded.last_ordinal`,
    range,
  );
  await sql("alter table messages disable trigger messages_searchable", []);
  await sql(
    `insert into messages (tenant_id, id, channel_id, seq, ordinal, user_id, text, searchable, created_at)
     select $1::uuid, ${uuid("message", "n")}, ${uuid("channel", "k")}, seq, seq, ${uuid("user", "2 + n % 999")}, words, to_tsvector('simple', words),
       timestamptz '2026-01-01' + make_interval(secs => n)
     from (select x.*, 'Hello ' || n || case when k > 50 then ' everywhere' when n < 4000 and n % 200 = 7 then ' needle' else '' end as words from ${rows}) x`,
    range,
  );
  await sql("alter table messages enable trigger messages_searchable", []);
  await sql(
    `insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload, created_at)
     select $1::uuid, ${uuid("event", "n")}, 'channel', ${uuid("channel", "k")}, seq, case n % 100 when 1 then 'member.added' else 'message.new' end, '{"n":' || n || '}',
       timestamptz '2026-01-01' + make_interval(secs => n)
     from ${rows}`,
    range,
  );
  await sql(
    `insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, status, attempts, completed_at, next_attempt_at, created_at)
     select $1::uuid, ${uuid("delivery", "n")}, ${uuid("webhook", "1")}, ${uuid("event", "n")}, case when n <= 100 then 'pending' else 'delivered' end, 1,
       case when n > 100 then now() end, now() - interval '1 hour', timestamptz '2026-01-01' + make_interval(secs => n)
     from ${rows}`,
    range,
  );
  for (const table of GROWN) await sql(`vacuum (analyze) ${table}`);
}

async function measured(stack: Stack, tenant: string, key: string): Promise<Measured> {
  const [ids] = await stack.sql(`select ${READER} as reader, ${LARGE} as large, ${uuid("user", "500")} as other`, [
    tenant,
  ]);
  const reader = { "Parley-User": String(ids!.reader) };
  const get =
    (path: string, rows: number, more: object = reader) =>
    async () => {
      const headers = { Authorization: `Bearer ${key}`, ...more };
      const response = await fetch(new URL(path, stack.worker), { headers });
      const text = await response.text();
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
      const found = (JSON.parse(text) as { data: unknown[] }).data.length;
      if (found !== rows) throw new Error(`${path}: ${found} rows in place of ${rows}.`);
    };
  const queries: Record<string, () => Promise<unknown>> = {
    "list channels": get("/v1/channels?limit=50", 50),
    "list messages": get(`/v1/channels/${ids!.large}/messages?limit=50`, 50),
    "list events": get("/v1/events?type=member.added&limit=50", 50, {}),
    "deliveries due": () => stack.sql("select * from door.due_deliveries(1000)"),
    search: get("/v1/search/messages?q=needle&limit=20", 20),
    "search, a word frequent elsewhere": get("/v1/search/messages?q=everywhere&limit=20", 0),
  };
  const all: Measured = {};
  for (const [name, run] of Object.entries(queries)) {
    await run();
    const costs = await stack.costs(run);
    const scanned = costs.flatMap((cost) => cost.scanned).filter((table) => GROWN.includes(table));
    all[name] = { buffers: costs.reduce((sum, { buffers }) => sum + buffers, 0), scanned: [...new Set(scanned)] };
  }
  return all;
}
