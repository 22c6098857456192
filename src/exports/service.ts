import { eq, sql } from "drizzle-orm";
import { described, objectKey } from "../files/objects";
import { files } from "../files/schema";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { found, own } from "../lib/rows";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";

/** All of the tenant's data, or one user's, into a file; a job does it. */
export async function startExport(ctx: Context, { userId }: { userId?: string | undefined }) {
  const uniqueKey = `exports ${userId ?? "tenant"}`;
  const job = scheduleJob(ctx, { type: "exports", payload: userId === undefined ? {} : { userId }, uniqueKey });
  const exists = userId === undefined ? sql`true` : sql`exists (select 1 from ${users} where ${own(users, userId)})`;
  const [, , rows] = await asTenant(ctx, [
    refuseUnless(exists, "not_found"),
    audit(ctx, "export.started", { type: userId === undefined ? "tenant" : "user", id: userId ?? ctx.tenantId }),
    job.query,
  ]);
  job.announce(rows);
  return { jobId: found(rows).id };
}

const FILE_TYPE = "application/x-ndjson";

/** The file in the list, uploading until the job is done. Nobody's own, so only who reads all of the tenant's finds it. */
export async function beginFile(ctx: Context, name: string): Promise<{ fileId: string; uploadId: string }> {
  const fileId = newId();
  const file = { name, contentType: FILE_TYPE };
  const { uploadId } = await ctx.env.FILES.createMultipartUpload(objectKey(ctx.tenantId, fileId), described(file));
  await asTenant(ctx, [db.insert(files).values({ tenantId: ctx.tenantId, id: fileId, ...file, uploadId })]);
  return { fileId, uploadId };
}

/** With the place of the job, so that a file is complete once. */
export const completeFile = (fileId: string, size: number, sha256: string) =>
  db
    .update(files)
    .set({ status: "completed", size, sha256, uploadId: null, completedAt: sql<string>`now()` })
    .where(own(files, fileId, eq(files.status, "uploading")));

export const gone = () => new ApiError("conflict", "The file of this export is gone; start another.");
