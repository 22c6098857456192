import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { optionsOf } from "./registry";
import { scheduledJobs as jobs } from "./schema";

/** What the deployment does by itself, at each full `every` of the clock. */
export const RECURRING = [
  { type: "domains.check", every: "1 hour" },
  { type: "email.purge", every: "1 hour" },
  { type: "retention", every: "1 hour" },
  { type: "secrets.rewrap", every: "1 hour" },
] as const;

/** Whoever asks: of each there is one that is not finished, made for the next time of its kind. */
export async function ensureRecurring(ctx: Context): Promise<void> {
  await asTenant(ctx, [
    db
      .insert(jobs)
      .values(
        RECURRING.map(({ type, every }) => ({
          tenantId: ctx.tenantId,
          id: newId(),
          type,
          uniqueKey: `recurring ${type}`,
          runAt: sql`date_bin(${every}::interval, now(), '2000-01-01Z') + ${every}::interval`,
          maxAttempts: optionsOf(type).maxAttempts,
          createdBy: "system",
        })),
      )
      .onConflictDoNothing(),
  ]);
}
