import type { Context, Snapshot } from "./context";
import { ApiError } from "./errors";
import { countUse, knownUse, monthlyUse } from "./usage";

const nextMonth = (now = new Date()) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1)).toISOString();

/** By what this isolate knows, without waiting: a minute behind at most. */
export function hasLeft({ tenantId, limits }: Snapshot, metric: string): boolean {
  const limit = limits[metric];
  return limit === undefined || knownUse(tenantId, metric) < limit;
}

/** What the plan gives in a month, and what of it is used; nothing where it sets no limit. */
export async function monthOf(
  env: Env,
  waitUntil: Context["waitUntil"],
  { tenantId, limits }: Snapshot,
  metric: string,
): Promise<{ limit: number; use: number; reset: string } | null> {
  const limit = limits[metric];
  if (limit === undefined) return null;
  return { limit, use: await monthlyUse(env, waitUntil, tenantId, metric), reset: nextMonth() };
}

/** Takes from the month's quantity, if the plan has any left; and notes which key or user was there. */
export async function spend(
  ctx: Context,
  metric: string,
  amount: number,
  by: { keyId?: string; userId?: string } = {},
): Promise<void> {
  const lacking = await lackingFor(ctx, metric, amount);
  if (lacking) throw new ApiError("plan_limit_reached", undefined, lacking);
  countUse(ctx.env, ctx.waitUntil, ctx.tenantId, { counts: { [metric]: amount }, ...by });
}

/** Why so much more is not to be had this month, of what is counted here or later, when it goes out; null where it is. */
export async function lackingFor(
  { env, snapshot, waitUntil }: Context,
  metric: string,
  amount: number,
): Promise<{ metric: string; limit: number; use: number; reset: string } | null> {
  const month = snapshot && (await monthOf(env, waitUntil, snapshot, metric));
  return month && month.use + amount > month.limit ? { metric, ...month } : null;
}
