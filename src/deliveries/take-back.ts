import { getTableColumns, sql } from "drizzle-orm";
import { announce, RECORDED, recordedIn } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { found, mustExist, own } from "../lib/rows";
import { audit } from "../tenants/audit";
import { ORDER } from "./advance";
import { deliveries } from "./schema";

const { tenantId: _t, claimedUntil: _c, nextAttemptAt: _n, ...columns } = getTableColumns(deliveries);
const TYPES = ["delivery.updated", "address.unsuppressed"];

/** A bounce that was none, as of a mail that was taken for one. */
export async function takeBackBounce(ctx: Context, id: string) {
  const hooks = JSON.stringify(candidatesByType(ctx.snapshot, TYPES));
  const ranks = JSON.stringify(ORDER);
  const [, , recorded, rows] = await asTenant(ctx, [
    mustExist(deliveries, id),
    audit(ctx, "delivery.bounce_taken_back", { type: "delivery", id }),
    db
      .select(RECORDED)
      .from(
        sql`take_back_bounce(${id}::uuid, array(select jsonb_array_elements_text(${ranks}::jsonb)), ${hooks}::jsonb)`,
      ),
    db.select(columns).from(deliveries).where(own(deliveries, id)),
  ]);
  announce(ctx, recordedIn([recorded]));
  return found(rows);
}
