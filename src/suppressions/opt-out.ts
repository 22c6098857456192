import { and, eq, type SQL, sql } from "drizzle-orm";
import { announce, recordedIn } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { auditEach } from "../tenants/audit";
import { suppressions } from "./schema";
import { suppress, unsuppress } from "./service";
import type { Unsubscription } from "./unsubscribe";

/** Its own opt-out alone: what else suppresses an address is not its own to undo. */
const optOut = ({ tenantId, address, stream }: Unsubscription): SQL =>
  and(
    eq(suppressions.tenantId, tenantId),
    eq(suppressions.address, address),
    eq(suppressions.stream, stream),
    eq(suppressions.reason, "unsubscribe"),
  )!;

export async function isUnsubscribed(ctx: Context, about: Unsubscription): Promise<boolean> {
  const [rows] = await asTenant(ctx, [db.select({ id: suppressions.id }).from(suppressions).where(optOut(about))]);
  return rows.length > 0;
}

/** Once or often: the same. Holds even where the mail itself is gone by now. */
export async function unsubscribe(ctx: Context, about: Unsubscription): Promise<void> {
  const { deliveryId, address, stream } = about;
  // Of several at once the one that made it: only after it is there can that be told.
  const isMade = sql`exists (select 1 from suppressions where ${optOut(about)} and created_at = now())`;
  const [recorded] = await asTenant(ctx, [
    suppress(ctx, [{ address, stream, reason: "unsubscribe", details: { by: "link" }, deliveryId }]),
    auditOptOut(ctx, "address.unsubscribed", about, isMade),
  ]);
  announce(ctx, recordedIn([recorded]));
}

export async function resubscribe(ctx: Context, about: Unsubscription): Promise<void> {
  const [, recorded] = await asTenant(ctx, [
    auditOptOut(ctx, "address.resubscribed", about, sql`exists (select 1 from suppressions where ${optOut(about)})`),
    unsuppress(ctx, sql`array(select id from suppressions where ${optOut(about)})`, "undone"),
  ]);
  announce(ctx, recordedIn([recorded]));
}

/** Where it changes something. */
const auditOptOut = (ctx: Context, action: string, { deliveryId, address, stream }: Unsubscription, changes: SQL) =>
  auditEach(ctx, "delivery", {
    action: sql`${action}`,
    id: sql`${deliveryId}::text`,
    before: sql`null::jsonb`,
    after: sql`${JSON.stringify({ address, stream })}::jsonb`,
    from: sql`(select 1) x where ${changes}`,
  });
