import { z } from "@hono/zod-openapi";
import { type SQL, sql } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import { fromBase64Url, toBase64Url, utf8 } from "./crypto";
import { ApiError } from "./errors";
import { isStorable } from "./validate";

/** The query members every list takes. */
export const PageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(50)
    .openapi({ type: "integer", minimum: 1, maximum: 100, default: 50 }),
  cursor: z.string().max(1000).optional(),
};

export type Page = { limit: number; cursor?: string };
export type Listed<T> = { data: T[]; nextCursor: string | null };

export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable() });

const encode = (place: readonly unknown[]): string => toBase64Url(utf8(JSON.stringify(place)));

/** A column, or an expression that rows are ordered by. */
type Order = AnyPgColumn | { expression: SQL; type: string };
const typeOf = (order: Order): string => ("expression" in order ? order.type : order.getSQLType());
const sqlOf = (order: Order): SQL => ("expression" in order ? order.expression : sql`${order}`);

function decode(cursor: string, columns: readonly Order[]): unknown[] {
  try {
    const place = JSON.parse(new TextDecoder().decode(fromBase64Url(cursor)));
    if (
      Array.isArray(place) &&
      place.length === columns.length &&
      columns.every((column, i) => fits(column, place[i]))
    ) {
      return place;
    }
  } catch {}
  throw new ApiError("invalid_cursor");
}

/** Cursors come back from outside: what the database could not compare must not reach it. */
function fits(column: Order, part: unknown): boolean {
  const type = typeOf(column);
  if (type === "bigint" || type === "integer") return Number.isSafeInteger(part);
  if (typeof part !== "string" || part.length > 300) return false;
  if (type === "uuid") return z.uuid().safeParse(part).success;
  if (type === "timestamptz") return z.iso.datetime().safeParse(part).success && !part.startsWith("0000");
  return isStorable(part);
}

/** Where the page before ended. */
export const placeOf = (page: Page, columns: readonly Order[]): unknown[] | undefined =>
  page.cursor ? decode(page.cursor, columns) : undefined;

/** Rows after the cursor, in the order of these columns; the last one is unique. */
export function after(page: Page, columns: readonly Order[], direction: "asc" | "desc" = "desc"): SQL | undefined {
  const place = placeOf(page, columns);
  if (!place) return undefined;
  const own = sql.join(columns.map(sqlOf), sql`, `);
  const theirs = sql.join(
    columns.map((column, i) => sql`${place[i]}::${sql.raw(typeOf(column))}`),
    sql`, `,
  );
  return direction === "desc" ? sql`(${own}) < (${theirs})` : sql`(${own}) > (${theirs})`;
}

/** Microseconds, which the ISO form of a moment leaves out, belong to a place. */
export const exactly = (moment: AnyPgColumn | SQL) =>
  sql<string>`to_char(${moment} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Of `limit + 1` rows asked for, the extra one only tells that there are more. */
export function paged<T>(rows: T[], page: Page, place: (row: T) => readonly unknown[]): Listed<T> {
  const data = rows.slice(0, page.limit);
  const last = data.at(-1);
  return { data, nextCursor: rows.length > page.limit && last !== undefined ? encode(place(last)) : null };
}
