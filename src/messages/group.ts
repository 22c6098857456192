import { sql } from "drizzle-orm";
import { type Context, systemContext } from "../lib/context";
import { asTenant, db, prebuilt } from "../lib/db";
import type { Frame } from "../lib/objects";
import type { Message } from "./input";
import type { SendAnswer, SendAsk } from "./send";

export type Timed = SendAsk & { sinceOwn: number | null; sinceAny: number | null };
/** What a channel asks of the time between two messages, in seconds. */
export type Pace = { slowMode: number; cooldown: number };
export type GroupAnswer = {
  answers: SendAnswer[];
  frames: Frame[];
  deliveries: string[];
  pace: Pace;
  listeners: string[];
};

/** Stores a group of sends in one call. With `withListeners` also tells which members have a socket of their own open. */
export async function recordGroup(
  env: Env,
  sends: readonly Timed[],
  withListeners: boolean,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<GroupAnswer> {
  const { tenantId, channelId } = sends[0]!;
  const credentials = sends.map(({ credential }, n) => ({ n, credential }));
  const rows = sends.map(({ send, sinceOwn, sinceAny }, n) => ({ n, ...send, sinceOwn, sinceAny }));
  const [recorded, listening = []] = await asTenant(systemContext(env, tenantId, waitUntil), [
    recording({ channelId, sends: JSON.stringify(rows), credentials: JSON.stringify(credentials) }),
    ...(withListeners ? [listenersOf({ channelId })] : []),
  ]);
  return {
    ...readRecorded(channelId, recorded),
    pace: { slowMode: recorded[0]?.slowMode ?? 0, cooldown: recorded[0]?.cooldown ?? 0 },
    listeners: (listening as { userId: string }[]).map(({ userId }) => userId),
  };
}

const RECORDED_SEND = {
  code: sql<string | null>`code`.as("code"),
  wait: sql<number | null>`wait`.as("wait"),
  message: sql<Message | null>`message`.as("message"),
  seq: sql<number | null>`seq`.as("seq"),
  payload: sql<string | null>`payload`.as("payload"),
  audience: sql<string | null>`audience`.as("audience"),
  deliveries: sql<string[]>`to_jsonb(deliveries)`.as("deliveries"),
  slowMode: sql<number | null>`"slowMode"`.as("slowMode"),
  cooldown: sql<number | null>`cooldown`.as("cooldown"),
};

const recording = prebuilt(
  db
    .select(RECORDED_SEND)
    .from(
      sql`record_messages(${sql.placeholder("channelId")}::uuid, ${sql.placeholder("sends")}::jsonb, (select jsonb_agg(to_jsonb(v)) from door.enter_many(${sql.placeholder("credentials")}::jsonb) v))`,
    ),
);
type Recorded = Awaited<ReturnType<typeof recording>>;

const readRecorded = (channelId: string, recorded: Recorded) => ({
  answers: recorded.map(({ code, wait, message, seq, audience }): SendAnswer => {
    if (message) return { ok: true, message, isNew: seq !== null, isOpen: audience === null };
    return { ok: false, code: code ?? "internal", ...(code === "too_soon" && { retryAfter: wait ?? 1 }) };
  }),
  frames: recorded.flatMap(({ seq, payload, audience }): Frame[] => {
    if (payload === null) return [];
    const { type } = JSON.parse(payload) as { type: string };
    return [{ stream: { kind: "channel", id: channelId }, seq: Number(seq), type, payload, audience }];
  }),
  deliveries: recorded.flatMap((row) => row.deliveries ?? []),
});

/** Who could see it at once: the channels' objects with sockets, and members with a notification socket. */
export type Live = { channelId: string; userId: string; place: "channel" | "user" };
export type EachAnswer = { answers: SendAnswer[]; frames: Frame[]; deliveries: string[]; live: Live[] };

/** One send into each of many channels, in one statement; channels in the order of their ids, as locks are taken. */
export async function recordEach(ctx: Context, asks: readonly SendAsk[]): Promise<EachAnswer> {
  const places = asks
    .map(({ channelId, credential, send }, at) => ({
      at,
      channel: channelId,
      sends: [{ n: 0, ...send, sinceOwn: null, sinceAny: null }],
      credentials: [{ n: 0, credential }],
    }))
    .sort((a, b) => (a.channel < b.channel ? -1 : a.channel > b.channel ? 1 : 0));
  const channelIds = JSON.stringify(places.map(({ channel }) => channel));
  const { blockVersion } = asks[0]!.credential as { blockVersion?: number };
  const [live, recorded] = await asTenant({ ...ctx, ...(blockVersion !== undefined && { blockVersion }) }, [
    db
      .selectDistinct({
        channelId: sql<string>`m.channel_id`.as("channel_id"),
        userId: sql<string>`s.user_id`.as("user_id"),
        place: sql<Live["place"]>`s.place`.as("place"),
      })
      .from(
        sql`channel_members m join live_sockets s on s.tenant_id = m.tenant_id and s.user_id = m.user_id and s.until > now() and (s.place = 'user' or s.place_id = m.channel_id)`,
      )
      .where(
        sql`m.tenant_id = current_tenant() and m.channel_id = any (array(select jsonb_array_elements_text(${channelIds}::jsonb)::uuid)) and not is_banned(m.channel_id, m.user_id)`,
      ),
    db
      .select({
        at: sql<number>`p.at`.as("at"),
        channelId: sql<string>`p.channel`.as("channel"),
        ...RECORDED_SEND,
      })
      .from(
        sql`jsonb_to_recordset(${JSON.stringify(places)}::jsonb) p(at int, channel uuid, sends jsonb, credentials jsonb)
          cross join lateral record_messages(p.channel, p.sends, (select jsonb_agg(to_jsonb(v)) from door.enter_many(p.credentials) v)) r`,
      ),
  ]);
  const answers: SendAnswer[] = [];
  const read = recorded.map((row) => readRecorded(row.channelId, [row]));
  recorded.forEach(({ at }, i) => {
    answers[at] = read[i]!.answers[0]!;
  });
  return {
    answers,
    frames: read.flatMap(({ frames }) => frames),
    deliveries: read.flatMap(({ deliveries }) => deliveries),
    live,
  };
}

/** Members with a notification socket. */
const listenersOf = prebuilt(
  db
    .selectDistinct({ userId: sql<string>`s.user_id`.as("user_id") })
    .from(
      sql`live_sockets s join channel_members m on m.tenant_id = s.tenant_id and m.channel_id = ${sql.placeholder("channelId")}::uuid and m.user_id = s.user_id`,
    )
    .where(
      sql`s.tenant_id = current_tenant() and s.place = 'user' and s.until > now() and not is_banned(m.channel_id, m.user_id)`,
    ),
);

export async function readListeners(env: Env, tenantId: string, channelId: string): Promise<string[]> {
  const [rows] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [listenersOf({ channelId })],
  );
  return rows.map(({ userId }) => userId);
}
