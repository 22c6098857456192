import { and, desc, eq, gt, isNull, lte, or, type SQL, sql } from "drizzle-orm";
import type { EventData } from "../events/catalogue";
import { announce, RECORDED, recordedIn } from "../events/service";
import { currentTenant } from "../lib/columns";
import type { Context } from "../lib/context";
import { utf8 } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, mustExist, own, shown } from "../lib/rows";
import { auditEach } from "../tenants/audit";
import { hooksOf } from "./receipts";
import { type SUPPRESSION_REASONS, suppressions } from "./schema";
import { foldedAddress } from "./streams";

type Reason = (typeof SUPPRESSION_REASONS)[number];
const columns = shown(suppressions);

export type Filters = {
  address?: string | undefined;
  stream?: string | undefined;
  reason?: Reason | undefined;
  expired?: boolean | undefined;
};

function matching(ctx: Context, { address, stream, reason, expired = false }: Filters, page: Page) {
  const { expiresAt } = suppressions;
  return and(
    eq(suppressions.tenantId, ctx.tenantId),
    address === undefined ? undefined : eq(suppressions.address, foldedAddress(address)),
    stream === undefined ? undefined : eq(suppressions.stream, stream),
    reason === undefined ? undefined : eq(suppressions.reason, reason),
    expired ? lte(expiresAt, sql`now()`) : or(isNull(expiresAt), gt(expiresAt, sql`now()`)),
    after(page, [suppressions.id]),
  );
}

async function pageOf(ctx: Context, filters: Filters, page: Page) {
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(suppressions)
      .where(matching(ctx, filters, page))
      .orderBy(desc(suppressions.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export const listSuppressions = (ctx: Context, query: Filters & Page) => pageOf(ctx, query, query);

/** Page by page as the reader takes it; the first page answers for permission. */
export async function exportSuppressions(ctx: Context, filters: Filters): Promise<ReadableStream> {
  let next = await pageOf(ctx, filters, { limit: 1000 });
  return new ReadableStream({
    async pull(controller) {
      if (next.data.length > 0) controller.enqueue(utf8(next.data.map((row) => `${JSON.stringify(row)}\n`).join("")));
      if (next.nextCursor === null) return controller.close();
      next = await pageOf(ctx, filters, { limit: 1000, cursor: next.nextCursor });
    },
  });
}

export async function getSuppression(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [db.select(columns).from(suppressions).where(own(suppressions, id))]);
  return found(rows);
}

export type NewSuppression = {
  address: string;
  stream: string;
  reason: Reason;
  details: Record<string, unknown>;
  expiresAt?: string | null | undefined;
};

/** The query that takes suppressions away and tells of them. */
export const unsuppress = (ctx: Context, ids: SQL, because: EventData<"address.unsuppressed">["because"]) =>
  db.select(RECORDED).from(sql`unsuppress(${ids}, ${because}, ${hooksOf(ctx)}::jsonb)`);

/** The query that suppresses addresses and tells of those that were not; for the batch of whatever is the cause. */
export const suppress = (ctx: Context, given: readonly (NewSuppression & { deliveryId?: string })[]) =>
  db
    .select(RECORDED)
    .from(
      sql`suppress(${JSON.stringify(
        given.map(({ address, ...one }) => ({ id: newId(), address: foldedAddress(address), ...one })),
      )}::jsonb, ${hooksOf(ctx)}::jsonb)`,
    );

const given = (wanted: readonly { address: string; stream: string; reason: string }[]) =>
  sql`${suppressions.tenantId} = ${currentTenant} and (${suppressions.address}, ${suppressions.stream}, ${suppressions.reason}) in (
    select w.address, w.stream, w.reason from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb) w(address text, stream text, reason text))`;

const auditRows = (ctx: Context, action: "added" | "removed", which: SQL) => {
  const row = sql`to_jsonb(suppressions) - 'tenant_id'`;
  return auditEach(ctx, "suppression", {
    action: sql`${`suppression.${action}`}`,
    id: sql`suppressions.id`,
    before: action === "removed" ? row : sql`null::jsonb`,
    after: action === "added" ? row : sql`null::jsonb`,
    from: sql`suppressions where ${which}`,
  });
};

/** Returns them as they stand, in the order given; what was suppressed already is there once. */
export async function addSuppressions(ctx: Context, news: readonly NewSuppression[]) {
  const wanted = news.map(({ address, stream, reason }) => ({ address: foldedAddress(address), stream, reason }));
  const [recorded, , rows] = await asTenant(ctx, [
    suppress(ctx, news),
    auditRows(ctx, "added", given(wanted)),
    db.select(columns).from(suppressions).where(given(wanted)),
  ]);
  announce(ctx, recordedIn([recorded]));
  const key = (one: { address: string; stream: string; reason: string }) =>
    JSON.stringify([one.address, one.stream, one.reason]);
  const at = new Map(rows.map((row) => [key(row), row]));
  return wanted.map((one) => at.get(key(one))!);
}

export async function removeSuppression(ctx: Context, id: string): Promise<void> {
  const [, , recorded] = await asTenant(ctx, [
    mustExist(suppressions, id),
    auditRows(ctx, "removed", own(suppressions, id)),
    unsuppress(ctx, sql`array[${id}::uuid]`, "removed"),
  ]);
  announce(ctx, recordedIn([recorded]));
}
