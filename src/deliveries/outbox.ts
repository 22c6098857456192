import { and, between, desc, eq, getTableColumns } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found } from "../lib/rows";
import type { Said } from "../providers/provider";
import { sandboxId } from "../providers/sandbox";
import { recordReceipts } from "./receipts";
import { deliveries } from "./schema";

const { tenantId: _t, claimedUntil: _c, nextAttemptAt: _n, ...columns } = getTableColumns(deliveries);

const FIRST = "00000000-0000-0000-0000-000000000000";
const LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff";
/** What went through the sandbox bears its id, which is in the order of sending. */
const bySandbox = between(deliveries.providerMessageId, sandboxId(FIRST), sandboxId(LAST));

export type OutboxFilter = Page & { channelId?: string | undefined; recipient?: string | undefined };

export async function listOutbox(ctx: Context, { channelId, recipient, ...page }: OutboxFilter) {
  const wanted = and(
    eq(deliveries.tenantId, ctx.tenantId),
    bySandbox,
    channelId === undefined ? undefined : eq(deliveries.channelId, channelId),
    recipient === undefined ? undefined : eq(deliveries.recipient, recipient),
    after(page, [deliveries.providerMessageId]),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(deliveries)
      .where(wanted)
      .orderBy(desc(deliveries.providerMessageId))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.providerMessageId]);
}

export type SpokenReceipt = {
  deliveryId: string;
  status: Said;
  reference?: string | undefined;
  details?: Record<string, unknown> | undefined;
};

/** As if a provider had called back. Of what others sent, only they may say something. */
export async function sayReceipt(
  ctx: Context,
  { deliveryId, status, reference = newId(), details = {} }: SpokenReceipt,
): Promise<void> {
  const said = { deliveryId, status, eventId: `said ${deliveryId} ${reference}`, details };
  found(await recordReceipts(ctx, null, [said], { within: bySandbox }));
}
