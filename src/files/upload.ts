import { eq, ne, sql } from "drizzle-orm";
import { currentUser } from "../lib/columns";
import { type Context, systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { logFault } from "../lib/log";
import { found, own, withinLimit } from "../lib/rows";
import { DEFAULT_LIMITS } from "../tenants/metrics";
import { described, objectKey } from "./objects";
import { shownFile } from "./own";
import { files } from "./schema";
import { type Body, store } from "./store";
import { fits } from "./types";

export type NewFile = { name: string; contentType: string; size: number };

/** What Cloudflare lets through in one request; what is larger comes in parts. */
const MOST_AT_ONCE = 100_000_000;

/** The row and its room come before the first byte: a refusal costs no transfer, and no limit is ever passed. */
export async function uploadFile(ctx: Context, file: NewFile, body: Body, expected?: string) {
  refuseByPlan(ctx, file);
  if (file.size > MOST_AT_ONCE) {
    const detail = `One request may carry ${MOST_AT_ONCE} bytes; send a larger file in parts.`;
    throw new ApiError("payload_too_large", detail, { limit: MOST_AT_ONCE, use: file.size });
  }
  const id = newId();
  await asTenant(ctx, reserved(ctx, id, file));
  const done = storeAndRecord(ctx, id, file, body, expected);
  // A caller that hangs up ends its request, and the upload must come to its end all the same.
  ctx.waitUntil(done.catch(() => {}));
  return done;
}

async function storeAndRecord(ctx: Context, id: string, file: NewFile, body: Body, expected?: string) {
  try {
    const key = objectKey(ctx.tenantId, id);
    const { sha256 } = await store(body, file.size, (bytes) => ctx.env.FILES.put(key, bytes, described(file)));
    refuseMismatch(sha256, expected);
    return await completed(ctx, id, sha256);
  } catch (error) {
    await fail(ctx, id, error).catch((fault) => logFault(ctx.requestId, fault));
    throw error;
  }
}

/** Before the first byte: what is larger than the plan lets a file be, or of a type that it does not name. */
export function refuseByPlan(ctx: Context, { size, contentType }: NewFile): void {
  const { limits, features } = ctx.snapshot ?? {};
  const allowed = features?.fileTypes as string[] | undefined;
  if (allowed && !allowed.some((pattern) => fits(contentType, pattern)))
    throw new ApiError("file_type_not_allowed", `The plan takes no ${contentType}.`, { allowed });
  const limit = limits?.fileBytes ?? DEFAULT_LIMITS.fileBytes;
  if (size > limit) {
    throw new ApiError("payload_too_large", `A file may take ${limit} bytes on this plan.`, { limit, use: size });
  }
}

export function refuseMismatch(sha256: string, expected: string | undefined, path = "header.Parley-Sha256"): void {
  if (expected === undefined || expected === sha256) return;
  const message = `The bytes that arrived have ${sha256}.`;
  throw new ApiError("invalid_request", "The bytes are not the ones announced.", { errors: [{ path, message }] });
}

/** The announced size counts from the beginning; a failed upload gives it back. */
export const reserved = (ctx: Context, id: string, file: NewFile, uploadId: string | null = null) =>
  [
    db
      .insert(files)
      .values({ tenantId: ctx.tenantId, id, ...file, uploadId, createdBy: currentUser })
      .returning(shownFile),
    ...withinLimit("storageBytes", ctx.snapshot?.limits),
  ] as const;

/** 404 when the row is gone or was given up meanwhile. */
export async function completed(ctx: Context, id: string, sha256: string) {
  // Settings that changed during a long upload are no reason to lose it.
  const [rows] = await asTenant({ ...ctx, snapshot: null }, [
    db
      .update(files)
      .set({
        status: "completed",
        sha256,
        uploadId: null,
        completedAt: sql<string>`coalesce(${files.completedAt}, now())`,
      })
      .where(own(files, id, ne(files.status, "failed")))
      .returning(shownFile),
  ]);
  return found(rows);
}

/** The object goes first: a row without an object does no harm, an object without a row would stay for ever. */
export async function fail({ env, tenantId, waitUntil }: Context, id: string, why: unknown): Promise<void> {
  await env.FILES.delete(objectKey(tenantId, id));
  const error = why instanceof ApiError ? why.message : "It broke off.";
  await asTenant(systemContext(env, tenantId, waitUntil), [
    db
      .update(files)
      .set({ status: "failed", size: 0, uploadId: null, error })
      .where(own(files, id, eq(files.status, "uploading"))),
  ]);
}
