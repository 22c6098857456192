import { desc, eq, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found } from "../lib/rows";
import { audit, auditChange } from "./audit";
import type { Limits } from "./metrics";
import { plans, tenants } from "./schema";

export type PlanInput = {
  name: string;
  tier: string;
  monthlyPrice?: string | null | undefined;
  yearlyPrice?: string | null | undefined;
  features?: Record<string, unknown> | undefined;
  limits?: Limits | undefined;
};

const mustExistPlan = (id: string) =>
  refuseUnless(sql`exists (select 1 from ${plans} where ${eq(plans.id, id)})`, "not_found");

export async function createPlan(ctx: Context, input: PlanInput) {
  const id = newId();
  const [rows] = await asTenant(ctx, [
    db
      .insert(plans)
      .values({ id, ...input })
      .returning(),
    audit(ctx, "plan.created", { type: "plan", id }, input),
  ]);
  return found(rows);
}

export async function listPlans(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    db
      .select()
      .from(plans)
      .where(after(page, [plans.id]))
      .orderBy(desc(plans.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getPlan(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [db.select().from(plans).where(eq(plans.id, id))]);
  return found(rows);
}

/** What isolates know of the plan's tenants goes out of date with it, so new limits hold from the next request on. */
export async function updatePlan(ctx: Context, id: string, patch: Partial<PlanInput>) {
  const [, , rows] = await asTenant(ctx, [
    mustExistPlan(id),
    auditChange(ctx, "plan.updated", { type: "plan", id }, plans, changes(patch)),
    db
      .update(plans)
      .set({ ...changes(patch), updatedAt: sql<string>`now()` })
      .where(eq(plans.id, id))
      .returning(),
    ...(patch.limits || patch.features
      ? [
          db
            .update(tenants)
            .set({ configVersion: sql`${tenants.configVersion} + 1` })
            .where(eq(tenants.planId, id)),
        ]
      : []),
  ]);
  return found(rows);
}

export async function deletePlan(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExistPlan(id),
    refuseUnless(sql`not exists (select 1 from ${tenants} where ${eq(tenants.planId, id)})`, "plan_in_use"),
    audit(ctx, "plan.deleted", { type: "plan", id }),
    db.delete(plans).where(eq(plans.id, id)),
  ]);
}
