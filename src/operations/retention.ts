import { type SQL, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import type { Job, Step } from "../lib/job";
import { DEFAULT_LIMITS, type Limits } from "../tenants/metrics";

type Kept = {
  data: string;
  /** For how long, where no plan says otherwise. */
  days: number;
  planLimit?: keyof Limits;
  /** Looked for tenant by tenant. */
  byTenant?: true;
  /** What goes in one step; less, where each row takes many others with it. */
  most?: number;
  /** The door that removes it in place of this job; the days stand there too. */
  door?: string;
};

/** How long everything is kept that does not stay. How it is found stands in door.remove_expired, or the door named. */
export const RETENTION: readonly Kept[] = [
  { data: "auditLogs", days: DEFAULT_LIMITS.auditDays, planLimit: "auditDays", byTenant: true },
  /** With their deliveries and attempts, once no delivery is pending. */
  { data: "events", days: DEFAULT_LIMITS.eventDays, planLimit: "eventDays", byTenant: true, most: 200 },
  { data: "webhookAttempts", days: 30, byTenant: true },
  /** With their messages, once they lay in the trash for so long. */
  { data: "trashedConversations", days: 30, byTenant: true, most: 100 },
  { data: "idempotencyKeys", days: 1 },
  /** After their expiry: a token just expired may still be accepted from a clock that is behind. */
  { data: "revokedTokens", days: 1 },
  /** Never used. */
  { data: "socketTickets", days: 1 },
  { data: "webhookSecrets", days: 1 },
  /** After their expiry. */
  { data: "suppressions", days: 30 },
  /** No suppression rests on one for longer. */
  { data: "bounces", days: 180 },
  { data: "providerCallbacks", days: 30 },
  /** Completed or cancelled. */
  { data: "finishedJobs", days: 1 },
  { data: "failedJobs", days: 7 },
  { data: "rawsWithoutMessage", days: 30, door: "expired_raws" },
  { data: "unattachedFiles", days: 1, door: "claim_unused_files" },
  { data: "pushTasks", days: 1, door: "due_pushes" },
];

export const REMOVED_BY_JOB = RETENTION.filter(({ door }) => door === undefined);

const STEP_MOST = 1_000;
const FIRST = "00000000-0000-0000-0000-000000000000";

type Place = { entry: number; place: string };
type Removed = { removed: number; next: string | null };

const removed: SQL = sql`current_setting('app.removed')::jsonb`;

/** Entry by entry, a bounded number of rows in each step, whose removal and the place reached are one transaction. */
export async function applyRetention(ctx: Context, job: Job): Promise<Step> {
  const { entry, place } = (job.cursor ?? { entry: 0, place: FIRST }) as Place;
  const kept = REMOVED_BY_JOB[entry];
  if (!kept) return { done: true };
  const { data, days, planLimit = null, byTenant = false, most = STEP_MOST } = kept;
  const following = JSON.stringify({ entry: entry + 1, place: FIRST });
  const [found] = await asTenant(ctx, [
    db.execute<{ removed: string }>(sql`select set_config('app.removed',
      door.remove_expired(${data}, ${days}::int, ${byTenant}::boolean, ${planLimit}, ${place}::uuid, ${most}::int)::text, true) as removed`),
    job.save({
      cursor: sql`case when ${removed} ->> 'next' is null then ${following}::jsonb
        else jsonb_build_object('entry', ${entry}::int, 'place', ${removed} ->> 'next') end`,
      progress: sql`${job.progress}::int + (${removed} ->> 'removed')::int`,
    }),
  ]);
  const { removed: count, next } = JSON.parse(found.rows[0]!.removed) as Removed;
  const cursor: Place = next === null ? { entry: entry + 1, place: FIRST } : { entry, place: next };
  return { cursor, progress: job.progress + count };
}
