import { eq, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { type Page, paged, placeOf } from "../lib/page";
import { files } from "./schema";

const bytes = { expression: sql`coalesce(sum(${files.size}), 0)`, type: "bigint" };
/** Nobody comes behind everybody else who has as much. */
const user = {
  expression: sql`coalesce(${files.createdBy}, '00000000-0000-0000-0000-000000000000'::uuid)`,
  type: "uuid",
};

/** Files of any state, as they count for the plan. */
export async function storageByUser(ctx: Context, page: Page) {
  const place = placeOf(page, [bytes, user]);
  const [rows] = await asTenant(ctx, [
    db
      .select({
        userId: files.createdBy,
        files: sql<number>`count(*)::int`,
        bytes: sql<number>`${bytes.expression}`.mapWith(Number),
      })
      .from(files)
      .where(eq(files.tenantId, ctx.tenantId))
      .groupBy(files.createdBy)
      .having(
        place ? sql`(${bytes.expression}, ${user.expression}) < (${place[0]}::bigint, ${place[1]}::uuid)` : undefined,
      )
      .orderBy(sql`${bytes.expression} desc, ${user.expression} desc`)
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.bytes, row.userId ?? "00000000-0000-0000-0000-000000000000"]);
}
