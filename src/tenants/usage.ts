import { and, asc, eq, gte, lt, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { DEFAULT_LIMITS, METRICS, type Metric } from "./metrics";
import { usageMetrics, usageTotals } from "./schema";

const nextMonth = (now: Date) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1)).toISOString();

/** Each metric with its limit, its use, and when the use starts anew. */
export async function limitsOf(ctx: Context) {
  const limits: Record<string, number> = { ...DEFAULT_LIMITS, ...ctx.snapshot?.limits };
  const [totals, months] = await asTenant(ctx, [
    db
      .select({ metric: usageTotals.metric, use: usageTotals.value })
      .from(usageTotals)
      .where(eq(usageTotals.tenantId, ctx.tenantId)),
    db
      .select({ metric: usageMetrics.metric, use: sql<number>`sum(${usageMetrics.value})`.mapWith(Number) })
      .from(usageMetrics)
      .where(
        and(eq(usageMetrics.tenantId, ctx.tenantId), gte(usageMetrics.hour, sql`date_trunc('month', now(), 'UTC')`)),
      )
      .groupBy(usageMetrics.metric),
  ]);
  const used = new Map([...totals, ...months].map(({ metric, use }) => [metric, use]));
  return Object.entries(METRICS).map(([metric, kind]) => ({
    metric: metric as Metric,
    kind,
    limit: limits[metric] ?? null,
    use: kind === "rate" ? null : (used.get(metric) ?? 0),
    reset: kind === "monthly" ? nextMonth(new Date()) : null,
  }));
}

export type UsageQuery = { metric: string; from: string; to: string; bucket: "hour" | "day" };

/** Most are as many as there are hours or days between; the route bounds the range. */
export async function usageBetween(ctx: Context, { metric, from, to, bucket }: UsageQuery) {
  const start = sql<string>`date_trunc(${bucket}, ${usageMetrics.hour}, 'UTC')`.mapWith(usageMetrics.hour);
  const [rows] = await asTenant(ctx, [
    db
      .select({ start, value: sql<number>`sum(${usageMetrics.value})`.mapWith(Number) })
      .from(usageMetrics)
      .where(
        and(
          eq(usageMetrics.tenantId, ctx.tenantId),
          eq(usageMetrics.metric, metric),
          gte(usageMetrics.hour, from),
          lt(usageMetrics.hour, to),
        ),
      )
      .groupBy(sql`1`)
      .orderBy(asc(sql`1`)),
  ]);
  return rows;
}
