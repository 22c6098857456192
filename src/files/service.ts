import { and, desc, eq, gte, isNull, type SQL, sql } from "drizzle-orm";
import { currentTenant } from "../lib/columns";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { after, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import { audit } from "../tenants/audit";
import { objectKey } from "./objects";
import { ownFile, reachable, shownFile } from "./own";
import { abandonParts } from "./parts";
import { files, type UPLOAD_STATUSES } from "./schema";

export async function getFile(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [db.select(shownFile).from(files).where(ownFile(id))]);
  return found(rows);
}

export type FileFilters = Page & {
  status?: (typeof UPLOAD_STATUSES)[number] | undefined;
  type?: string | undefined;
  minSize?: number | undefined;
  since?: string | undefined;
};

export async function listFiles(ctx: Context, filters: FileFilters) {
  const { status, type, minSize, since } = filters;
  const where = and(
    eq(files.tenantId, ctx.tenantId),
    reachable,
    after(filters, [files.id]),
    status === undefined ? undefined : eq(files.status, status),
    type === undefined ? undefined : ofType(type),
    minSize === undefined ? undefined : gte(files.size, minSize),
    since === undefined ? undefined : gte(files.createdAt, since),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(shownFile)
      .from(files)
      .where(where)
      .orderBy(desc(files.id))
      .limit(filters.limit + 1),
  ]);
  return paged(rows, filters, (row) => [row.id]);
}

/** `image/*` is all that begins so. */
const ofType = (type: string): SQL =>
  type.endsWith("/*")
    ? sql`split_part(${files.contentType}, '/', 1) = ${type.slice(0, -2)}`
    : eq(files.contentType, type);

/** Given up first, so that nothing can be attached to it any more; then the object, then the row. */
export async function deleteFile(ctx: Context, id: string): Promise<void> {
  const unused = isNull(files.attachedAt);
  const [, , , rows] = await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${files} where ${ownFile(id)})`, "not_found"),
    refuseUnless(sql`exists (select 1 from ${files} where ${ownFile(id, unused)})`, "conflict"),
    audit(ctx, "file.deleted", { type: "file", id }),
    db
      .update(files)
      .set({ status: "failed", error: "It was deleted." })
      .where(ownFile(id, unused))
      .returning({ uploadId: files.uploadId }),
  ]);
  const { uploadId } = found(rows);
  const key = objectKey(ctx.tenantId, id);
  if (uploadId) await abandonParts(ctx.env, key, uploadId);
  await ctx.env.FILES.delete(key);
  await asTenant({ ...ctx, snapshot: null }, [db.delete(files).where(own(files, id, unused))]);
}

/**
 * For the batch of whoever refers to files: from now on they stay. All of them must be complete, and within the
 * caller's reach, or the batch is refused.
 */
export function attachFiles(ids: string[]) {
  const wanted = sql.join(
    ids.map((id) => sql`${id}::uuid`),
    sql`, `,
  );
  const those = sql`${files.tenantId} = ${currentTenant} and ${files.id} in (${wanted}) and ${reachable}`;
  return db.execute(sql`with attached as (
      update ${files} set attached_at = coalesce(${files.attachedAt}, now()) where ${those} and ${files.status} = 'completed' returning 1)
    select refuse_unless((select count(*) from attached) = ${new Set(ids).size},
      case when (select count(*) from ${files} where ${those}) = ${new Set(ids).size} then 'conflict' else 'not_found' end)`);
}
