import { sql } from "drizzle-orm";
import { type Context, systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newEvents } from "./missed";
import { PAGE_BYTES, PAGE_EVENTS } from "./protocol";

export type Cursors = Record<string, number>;
/** `seq` is where the next page begins; a stream that the reader may not see has an error and nothing else. */
export type Synced = {
  streams: Record<string, { events: unknown[]; seq: number; more: boolean } | { error: "not_found" }>;
};

const rowsOf = (cursors: Cursors, reader: ReturnType<typeof sql>) =>
  db
    .select({
      stream: sql<string>`stream`.as("stream"),
      kind: sql<"channel" | "user" | null>`kind`.as("kind"),
      behind: sql<number>`behind`.mapWith(Number).as("behind"),
      last: sql<string | null>`last`.as("last"),
      seq: sql<string | null>`seq`.as("seq"),
      payload: sql<string | null>`payload`.as("payload"),
    })
    .from(sql`sync_streams(${JSON.stringify(cursors)}::jsonb, ${reader}, ${PAGE_EVENTS}, ${PAGE_BYTES})`);

type Row = Awaited<ReturnType<typeof rowsOf>>[number];

/** Of many streams what the acting user missed, in one call, as JSON: events are texts that nobody here reads. What retention removed is a gap. */
export async function sync(ctx: Context, cursors: Cursors): Promise<string> {
  const [rows] = await asTenant(ctx, [rowsOf(cursors, sql`current_user_id()`)]);
  return paged(rows);
}

export async function syncStreams(env: Env, tenantId: string, userId: string, cursors: Cursors): Promise<Synced> {
  const [rows] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [rowsOf(cursors, sql`${userId}::uuid`)],
  );
  return JSON.parse(paged(rows)) as Synced;
}

const paged = (rows: readonly Row[]): string =>
  `{"streams":{${[...Map.groupBy(rows, ({ stream }) => stream)].map(([id, [head, ...own]]) => `"${id}":${synced(id, head!, own)}`).join(",")}}}`;

/** Each number between the cursor and `seq` is an event or lies in a range. */
function synced(id: string, { kind, behind, last, payload: full }: Row, rows: readonly Row[]): string {
  if (last === null) return '{"error":"not_found"}';
  const ends = Math.max(Number(last), behind);
  const read = full === "full" ? behind : rows.length === 0 ? ends : Number(rows.at(-1)!.seq);
  const events = newEvents(kind ?? "channel", id, behind);
  for (const { seq, payload } of rows) events.add({ seq: Number(seq), payload });
  return `{"events":[${events.end(read).join(",")}],"seq":${read},"more":${read < ends}}`;
}
