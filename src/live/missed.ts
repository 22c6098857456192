import { sql } from "drizzle-orm";
import { systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import type { Frame } from "../lib/objects";
import { PAGE_BYTES, PAGE_EVENTS } from "./protocol";

type Row = { seq: number; payload: string | null };
/** `events` are frames and skip ranges, as JSON; `to` is the number they lead to. */
export type Page = { events: string[]; to: number; more: boolean };

type Kind = "channel" | "user";

export const range = (type: "skip" | "gap", kind: Kind, id: string, from: number, to: number): string =>
  `{"type":"${type}","stream":{"kind":"${kind}","id":"${id}"},"from":${from},"to":${to}}`;

/** Nothing here for this reader. */
export const skip = (channelId: string, from: number, to: number): string =>
  range("skip", "channel", channelId, from, to);

/** Events as a reader gets them, each number once: a range to skip for what is not theirs, a gap for what retention removed. */
export function newEvents(kind: Kind, id: string, behind: number) {
  const events: string[] = [];
  let at = behind;
  let skipFrom: number | null = null;

  function closeSkip(): void {
    if (skipFrom !== null) events.push(range("skip", kind, id, skipFrom, at));
    skipFrom = null;
  }

  /** Rows are there for all numbers but those that retention removed. */
  function reach(seq: number): void {
    if (at + 1 >= seq) return;
    closeSkip();
    events.push(range("gap", kind, id, at + 1, seq - 1));
    at = seq - 1;
  }

  function add({ seq, payload }: Row): void {
    reach(seq);
    if (payload === null) skipFrom ??= seq;
    else {
      closeSkip();
      events.push(shownToWriter(payload));
    }
    at = seq;
  }

  function end(to: number): string[] {
    reach(to + 1);
    closeSkip();
    return events;
  }

  return { add, end, at: () => at };
}

/** Whoever wrote a shadowed message or change sees it as if nothing were wrong. */
export function shownToWriter(payload: string): string {
  if (!payload.includes('"type":"message.shadowed"')) return payload;
  const { seq, data } = JSON.parse(payload) as { seq: number; data: { message?: { seq: number; deletedAt: unknown } } };
  const isNew = data.message?.seq === seq && !data.message.deletedAt;
  return payload.replace('"type":"message.shadowed"', `"type":"message.${isNew ? "new" : "updated"}"`);
}

/** As much of the rows of one stream as a page holds. */
export function pageOf(kind: Kind, id: string, behind: number, upTo: number, rows: readonly Row[]): Page {
  const events = newEvents(kind, id, behind);
  let bytes = 0;
  for (const row of rows) {
    bytes += row.payload?.length ?? 0;
    if (bytes > PAGE_BYTES && row.payload !== null && bytes > row.payload.length)
      return { events: events.end(row.seq - 1), to: row.seq - 1, more: true };
    events.add(row);
  }
  const more = rows.length === PAGE_EVENTS && events.at() < upTo;
  const to = more ? events.at() : upTo;
  return { events: events.end(to), to, more };
}

/** One page of what a user missed of a channel. */
export async function readMissed(
  env: Env,
  tenantId: string,
  channelId: string,
  userId: string,
  behind: number,
  upTo: number,
): Promise<Page> {
  if (behind >= upTo) return { events: [], to: upTo, more: false };
  const [rows] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [
      db
        .select({ seq: sql<number>`seq`.mapWith(Number).as("seq"), payload: sql<string | null>`payload`.as("payload") })
        .from(
          sql`missed_events(${channelId}::uuid, ${userId}::uuid, ${behind}::bigint, ${upTo}::bigint, ${PAGE_EVENTS})`,
        ),
    ],
  );
  return pageOf("channel", channelId, behind, upTo, rows);
}

/** What the database holds of a stream after a number, for an object that was not told. */
export async function readFrames(
  env: Env,
  tenantId: string,
  stream: Frame["stream"],
  behind: number,
): Promise<Frame[]> {
  const [rows] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [
      db
        .select({
          seq: sql<number>`seq`.mapWith(Number).as("seq"),
          type: sql<string>`type`.as("type"),
          payload: sql<string>`payload`.as("payload"),
          audience: sql<string | null>`audience`.as("audience"),
        })
        .from(sql`events`)
        .where(
          sql`tenant_id = current_tenant() and stream_kind = ${stream.kind} and stream_id = ${stream.id}::uuid and seq > ${behind}::bigint`,
        )
        .orderBy(sql`seq`)
        .limit(PAGE_EVENTS),
    ],
  );
  return rows.map((row) => ({ ...row, stream }));
}
