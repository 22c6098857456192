import { and, eq, ne, sql } from "drizzle-orm";
import { endAllSockets, tellEnded } from "../auth/sockets";
import { scheduledJobs } from "../jobs/schema";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { announceJobs, type Job, type Step } from "../lib/job";
import { found } from "../lib/rows";
import { audit } from "./audit";
import { tenants } from "./schema";
import { actAs, DEPLOYMENT } from "./service";

/** Nobody gets in any more from this moment on; a job of the deployment's removes what is there. */
export async function deleteTenant(ctx: Context, tenantId: string): Promise<{ id: string; jobId: string }> {
  const real = and(eq(tenants.id, tenantId), ne(tenants.id, DEPLOYMENT));
  const [, , , rows, , , places] = await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${tenants} where ${real})`, "not_found"),
    audit(ctx, "tenant.deleted", { type: "tenant", id: tenantId }),
    db
      .update(tenants)
      .set({ deletedAt: sql<string>`coalesce(${tenants.deletedAt}, now())` })
      .where(real),
    db
      .insert(scheduledJobs)
      .values({
        tenantId: DEPLOYMENT,
        id: newId(),
        type: "tenant.removal",
        payload: { tenantId },
        uniqueKey: `tenant.removal ${tenantId}`,
        runAt: sql`now()`,
        maxAttempts: 20,
        createdBy: "deployment",
      })
      .onConflictDoUpdate({
        target: [scheduledJobs.tenantId, scheduledJobs.uniqueKey],
        targetWhere: sql`status in ('pending', 'running')`,
        set: { uniqueKey: sql`excluded.unique_key` },
      })
      .returning({ id: scheduledJobs.id, runAt: scheduledJobs.runAt }),
    actAs(tenantId),
    ...endAllSockets(),
  ]);
  tellEnded(ctx, tenantId, places, "tenant_deleted");
  const job = found(rows);
  ctx.waitUntil(announceJobs(ctx.env, [{ tenantId: DEPLOYMENT, ...job }]));
  return { id: tenantId, jobId: job.id };
}

const ROWS_MOST = 2_000;
const COUNTED_MOST = 1_000_000;
const OBJECTS_MOST = 1_000;
const UPLOADS_MOST = 200;

type Place =
  | { stage: "uploads"; behind: string | null }
  | { stage: "rows" }
  | { stage: "objects"; objects: number }
  | { stage: "tenant"; objects: number };

/** What is being uploaded in parts is given up while its rows still tell of it; then rows, then objects, then the tenant itself. Each step may be taken again after a crash. */
export async function removeTenant(ctx: Context, job: Job): Promise<Step> {
  const tenantId = String(job.payload.tenantId);
  const place = job.cursor as Place | null;
  if (place === null) return countRows(ctx, job, tenantId);
  if (place.stage === "uploads") return abortUploads(ctx, job, tenantId, place.behind);
  if (place.stage === "rows") return removeRows(ctx, job, tenantId);
  if (place.stage === "objects") return removeObjects(ctx, job, tenantId, place.objects);
  const result = { rows: job.progress, objects: place.objects };
  await asTenant(ctx, [
    db.execute(sql`select door.remove_tenant(${tenantId}::uuid)`),
    audit(ctx, "tenant.removed", { type: "tenant", id: tenantId }, result),
    job.save({ done: true, result }),
  ]);
  return { done: true };
}

async function countRows(ctx: Context, job: Job, tenantId: string): Promise<Step> {
  const cursor: Place = { stage: "uploads", behind: null };
  const total = sql`door.count_tenant_rows(${tenantId}::uuid, ${COUNTED_MOST}::int)`;
  await asTenant(ctx, [job.save({ cursor, total })]);
  return { cursor };
}

async function abortUploads(ctx: Context, job: Job, tenantId: string, behind: string | null): Promise<Step> {
  const [uploads] = await asTenant(ctx, [
    db
      .select({ id: sql<string>`id`, uploadId: sql<string>`upload_id` })
      .from(sql`door.open_uploads(${tenantId}::uuid, ${behind}::uuid, ${UPLOADS_MOST}::int)`),
  ]);
  for (const { id, uploadId } of uploads) {
    // Of one that has ended, nothing is left to give up.
    await ctx.env.FILES.resumeMultipartUpload(`${tenantId}/${id}`, uploadId)
      .abort()
      .catch(() => {});
  }
  const last = uploads.length === UPLOADS_MOST ? uploads.at(-1) : undefined;
  const cursor: Place = last ? { stage: "uploads", behind: last.id } : { stage: "rows" };
  await asTenant(ctx, [job.save({ cursor })]);
  return { cursor };
}

async function removeRows(ctx: Context, job: Job, tenantId: string): Promise<Step> {
  const following: Place = { stage: "objects", objects: 0 };
  const removed = sql`current_setting('app.removed')::int`;
  const [found] = await asTenant(ctx, [
    db.execute<{ removed: string }>(
      sql`select set_config('app.removed', door.remove_tenant_rows(${tenantId}::uuid, ${ROWS_MOST}::int)::text, true) as removed`,
    ),
    job.save({
      cursor: sql`case when ${removed} = 0 then ${JSON.stringify(following)} else ${JSON.stringify(job.cursor)} end`,
      progress: sql`${job.progress}::int + ${removed}`,
    }),
  ]);
  const count = Number(found.rows[0]!.removed);
  return { progress: job.progress + count, ...(count === 0 && { cursor: following }) };
}

async function removeObjects(ctx: Context, job: Job, tenantId: string, before: number): Promise<Step> {
  const { objects } = await ctx.env.FILES.list({ prefix: `${tenantId}/`, limit: OBJECTS_MOST });
  if (objects.length > 0) await ctx.env.FILES.delete(objects.map(({ key }) => key));
  const cursor: Place = { stage: objects.length > 0 ? "objects" : "tenant", objects: before + objects.length };
  await asTenant(ctx, [job.save({ cursor })]);
  return { cursor };
}
