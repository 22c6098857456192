import { sql } from "drizzle-orm";
import { mustSee } from "../channels/access";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { type Page, paged, placeOf } from "../lib/page";
import type { Message } from "./input";

export type Search = Page & {
  q: string;
  channelId?: string | undefined;
  userId?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  hasAttachments?: boolean | undefined;
};

const exactly = sql<string>`to_char(m.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const BY_SEQ = [{ expression: sql`m.seq`, type: "bigint" }];
const BY_TIME = [
  { expression: sql`m.created_at`, type: "timestamptz" },
  { expression: sql`m.id`, type: "uuid" },
];

/** Newest first; in one channel by number, in all of the acting user's by time. */
export async function searchMessages(ctx: Context, search: Search) {
  const { limit, cursor: _, ...ask } = search;
  const inOne = ask.channelId !== undefined;
  const [first, id] = placeOf(search, inOne ? BY_SEQ : BY_TIME) ?? [];
  const below = first === undefined ? {} : inOne ? { seq: first } : { at: first, id };
  const wanted = JSON.stringify({ ...ask, below, most: limit + 1 });
  const [, rows] = await asTenant(ctx, [
    ask.channelId === undefined ? db.execute(sql`select 1`) : mustSee(ask.channelId),
    db
      .select({
        message: sql<Message>`message_json(m)`.as("message"),
        highlight: sql<string>`highlighted(s.language, ${ask.q}, m.text)`.as("highlight"),
        exactly: exactly.as("exactly"),
      })
      .from(
        sql`door.search_messages(${wanted}::jsonb) s join messages m on m.tenant_id = current_tenant() and m.id = s.id`,
      )
      .orderBy(inOne ? sql`m.seq desc` : sql`m.created_at desc, m.id desc`)
      .limit(limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, search, ({ message, exactly }) =>
    inOne ? [message.seq] : [exactly, message.id],
  );
  return { data: data.map(({ message, highlight }) => ({ message, highlight: parts(highlight) })), nextCursor };
}

const HIT = /\uE000([^\uE001]*)\uE001/;

/** Text and hits by turns: what was found is told apart without any markup in what users wrote. */
const parts = (highlight: string) =>
  highlight
    .split(HIT)
    .map((text, n) => ({ text, hit: n % 2 === 1 }))
    .filter(({ text }) => text !== "");
