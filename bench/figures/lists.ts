import { Agent } from "node:http";
import { atLeast, type Bench } from "../figure.ts";
import { type Ask, interleaved, load, once } from "../load.ts";
import { newTenant, type Stack } from "../stack.ts";

const CHANNELS = 60;
const STREAMS = 50;
const EVENTS = 1_000;
/** Padded to what an event of a message takes. */
const EVENT_BYTES = 760;

/** What an app asks for when it opens: its channels, and then what it missed in them. */
export const lists: Bench = {
  names: ["channel_list_vs_floor", "resume_vs_floor"],
  async measure(stack) {
    const tenant = await newTenant(stack);
    const [reader, ...others] = await users(stack, tenant.id, 5);
    await talkedIn(stack, tenant.id, reader!, others);
    const headers = {
      Authorization: `Bearer ${tenant.key}`,
      "Content-Type": "application/json",
      "Parley-User": reader!,
    };
    const per = (base: URL, ask: Ask) => async () =>
      (await load(base, () => ask, { concurrency: 16, ms: 2500 })).perSecond;
    const listed = await interleaved(
      per(stack.worker, { path: "/v1/channels?limit=50", headers }),
      per(stack.floor, { path: `/channels/${tenant.id}/${reader}` }),
    );
    const streams = await missedIn(stack, tenant.id, reader!);
    const resumed = await interleaved(
      () => resume(stack.worker, headers, streams),
      () => readPages(stack.floor, tenant.id, streams),
    );
    return {
      channel_list_vs_floor: atLeast(
        listed.ratio,
        0.4,
        "ratio",
        `${Math.round(listed.mine)}/s against ${Math.round(listed.theirs)}/s`,
      ),
      resume_vs_floor: atLeast(
        resumed.ratio,
        0.5,
        "ratio",
        `${Math.round(resumed.mine)} events/s against ${Math.round(resumed.theirs)}`,
      ),
    };
  },
};

async function users({ sql }: Stack, tenant: string, count: number): Promise<string[]> {
  const rows = await sql(
    "insert into users (tenant_id, id, display_name) select $1, gen_random_uuid(), 'User ' || n from generate_series(1, $2::int) n returning id",
    [tenant, count],
  );
  return rows.map(({ id }) => String(id));
}

/** Five members and twenty messages to a channel, half of them read. */
async function talkedIn({ sql }: Stack, tenant: string, reader: string, others: string[]): Promise<void> {
  await sql(
    `with channel as (insert into channels (tenant_id, id, name) select $1, gen_random_uuid(), 'Channel ' || n from generate_series(1, $2::int) n
        returning tenant_id, id),
      member as (insert into channel_members (tenant_id, channel_id, user_id, read_seq, read_ordinal)
        select tenant_id, id, m.user_id, 10, 10 from channel cross join unnest($3::uuid[]) m(user_id)),
      stream as (insert into streams (tenant_id, kind, id, last_seq, last_ordinal, last_message_at) select tenant_id, 'channel', id, 20, 20, now() from channel)
    insert into messages (tenant_id, id, channel_id, seq, ordinal, user_id, text)
      select tenant_id, gen_random_uuid(), id, n, n, $4, 'Hello, how are you today?' from channel cross join generate_series(1, 20) n`,
    [tenant, CHANNELS, [reader, ...others], others[0]],
  );
  for (const table of ["channels", "channel_members", "streams", "messages"]) await sql(`vacuum (analyze) ${table}`);
}

async function missedIn({ sql }: Stack, tenant: string, reader: string): Promise<string[]> {
  const rows = await sql(
    `with channel as (insert into channels (tenant_id, id, name) select $1, gen_random_uuid(), 'Stream ' || n from generate_series(1, $2::int) n
        returning tenant_id, id),
      member as (insert into channel_members (tenant_id, channel_id, user_id) select tenant_id, id, $3 from channel),
      stream as (insert into streams (tenant_id, kind, id, last_seq) select tenant_id, 'channel', id, $4::int from channel),
      event as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
        select tenant_id, e.id, 'channel', channel.id, e.n, 'message.new', json_build_object('id', e.id, 'type', 'message.new',
            'stream', json_build_object('kind', 'channel', 'id', channel.id), 'seq', e.n, 'data', json_build_object('message', repeat('x', $5::int - 200)))::text
          from channel cross join lateral (select gen_random_uuid() as id, n from generate_series(1, $4::int) n where channel.id is not null) e)
    select id from channel`,
    [tenant, STREAMS, reader, EVENTS, EVENT_BYTES],
  );
  return rows.map(({ id }) => String(id));
}

const agent = new Agent({ keepAlive: true });

type Synced = Record<string, { events: { seq: number }[]; seq: number; more: boolean }>;

/** Page after page until nothing is left; events a second. */
async function resume(base: URL, headers: Record<string, string>, streams: string[]): Promise<number> {
  const started = performance.now();
  const cursors = new Map(streams.map((id) => [id, 0]));
  let got = 0;
  while (cursors.size > 0) {
    const body = JSON.stringify({ cursors: Object.fromEntries(cursors) });
    const answer = JSON.parse(await once(agent, base, { method: "POST", path: "/v1/sync", headers, body }));
    for (const [id, { events, seq, more }] of Object.entries(answer.streams as Synced)) {
      got += events.length;
      if (more) cursors.set(id, seq);
      else cursors.delete(id);
    }
  }
  if (got !== STREAMS * EVENTS) throw new Error(`${got} events were resumed in place of ${STREAMS * EVENTS}.`);
  return got / ((performance.now() - started) / 1000);
}

async function readPages(base: URL, tenant: string, streams: string[]): Promise<number> {
  const started = performance.now();
  let got = 0;
  for (const id of streams) {
    const answer = JSON.parse(await once(agent, base, { path: `/events/${tenant}/${id}` })) as { events: unknown[] };
    got += answer.events.length;
  }
  return got / ((performance.now() - started) / 1000);
}
