import type { Context } from "../lib/context";
import { toHex } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { found } from "../lib/rows";
import { described, objectKey } from "./objects";
import { ownFile, shownFile } from "./own";
import { files } from "./schema";
import { type Body, bucketFault, store } from "./store";
import { completed, fail, type NewFile, refuseByPlan, refuseMismatch, reserved } from "./upload";

const MIB = 1_048_576;
const SMALLEST_PART = 8 * MIB;
const MOST_PARTS = 10_000;

/** All parts but the last are this large. */
const partSizeOf = (size: number): number => Math.max(SMALLEST_PART, Math.ceil(size / MOST_PARTS / MIB) * MIB);
const partsOf = (size: number): number => Math.max(1, Math.ceil(size / partSizeOf(size)));

export type Part = { number: number; size: number; sha256: string };
type StoredPart = Part & { etag: string };

/** The bucket cannot list the parts of an upload under way: each leaves an empty object that tells of it. */
const markOf = (key: string, number: number): string => `${key}/${String(number).padStart(5, "0")}`;

export async function beginParts(ctx: Context, file: NewFile) {
  refuseByPlan(ctx, file);
  const id = newId();
  const key = objectKey(ctx.tenantId, id);
  // A repeated call is answered with the upload that the first one began.
  const upload = ctx.once?.answer ? null : await ctx.env.FILES.createMultipartUpload(key, described(file));
  try {
    const [rows] = await asTenant(ctx, reserved(ctx, id, file, upload?.uploadId));
    return { ...found(rows), partSize: partSizeOf(file.size), parts: partsOf(file.size) };
  } catch (error) {
    await upload?.abort();
    throw error;
  }
}

/** A part sent again takes the place of the one before, so whoever is interrupted sends what the list lacks. */
export async function putPart(ctx: Context, id: string, number: number, body: Body, length: number, expected?: string) {
  const { size, uploadId } = await underWay(ctx, id);
  const due = number < partsOf(size) ? partSizeOf(size) : size - (partsOf(size) - 1) * partSizeOf(size);
  if (number > partsOf(size)) throw invalid("path.number", `The upload has ${partsOf(size)} parts.`);
  if (length !== due) throw invalid("header.Content-Length", `Part ${number} has ${due} bytes.`);
  const key = objectKey(ctx.tenantId, id);
  const upload = ctx.env.FILES.resumeMultipartUpload(key, uploadId);
  const { stored, sha256 } = await store(body, due, (bytes) => upload.uploadPart(number, bytes));
  refuseMismatch(sha256, expected);
  const customMetadata = { etag: stored.etag, sha256, size: String(due) };
  await ctx.env.FILES.put(markOf(key, number), "", { customMetadata });
  return { number, size: due, sha256 };
}

export async function listParts(ctx: Context, id: string, page: { limit: number; cursor?: string | undefined }) {
  await underWay(ctx, id);
  const { data, nextCursor } = await marksOf(ctx.env, objectKey(ctx.tenantId, id), page.limit, page.cursor);
  return { data: data.map(({ etag: _, ...part }) => part), nextCursor };
}

/** Each step finds out whether it was done before, so that an interrupted call is simply made again. */
export async function completeParts(ctx: Context, id: string, expected?: string) {
  const row = await wanted(ctx, id);
  const { uploadId, ...file } = row;
  if (file.status === "completed") return file;
  if (file.status !== "uploading" || !uploadId) throw notUnderWay();
  const { FILES } = ctx.env;
  const key = objectKey(ctx.tenantId, id);
  if (!(await FILES.head(key))) await join(ctx.env, key, uploadId, file.size);
  const object = await FILES.get(key);
  if (!object) throw notUnderWay();
  const digest = new crypto.DigestStream("SHA-256");
  await object.body.pipeTo(digest).catch((fault) => Promise.reject(bucketFault(fault)));
  const sha256 = toHex(new Uint8Array(await digest.digest));
  await removeMarks(ctx.env, key);
  try {
    refuseMismatch(sha256, expected, "sha256");
  } catch (mismatch) {
    await fail(ctx, id, mismatch);
    throw mismatch;
  }
  return completed(ctx, id, sha256);
}

async function join(env: Env, key: string, uploadId: string, size: number): Promise<void> {
  const there = new Map<number, StoredPart>();
  for (let after: string | null = "0"; after !== null; ) {
    const page: Awaited<ReturnType<typeof marksOf>> = await marksOf(env, key, 1_000, after);
    for (const part of page.data) there.set(part.number, part);
    after = page.nextCursor;
  }
  const numbers = Array.from({ length: partsOf(size) }, (_, i) => i + 1);
  const missing = numbers.filter((number) => !there.has(number));
  if (missing.length > 0) {
    throw new ApiError("conflict", `${missing.length} parts are missing.`, { missing: missing.slice(0, 100) });
  }
  const parts = numbers.map((number) => ({ partNumber: number, etag: there.get(number)!.etag }));
  await env.FILES.resumeMultipartUpload(key, uploadId)
    .complete(parts)
    .catch(async (fault) => {
      // Another call may have joined them just now.
      if (!(await env.FILES.head(key))) throw bucketFault(fault);
    });
}

/** Gives up an upload in parts, with all that came of it. */
export async function abandonParts(env: Env, key: string, uploadId: string): Promise<void> {
  await env.FILES.resumeMultipartUpload(key, uploadId)
    .abort()
    .catch(() => {});
  await removeMarks(env, key);
}

export async function removeMarks(env: Env, key: string): Promise<void> {
  for (;;) {
    const { objects, truncated } = await env.FILES.list({ prefix: `${key}/`, limit: 1_000 });
    if (objects.length > 0) await env.FILES.delete(objects.map((object) => object.key));
    if (!truncated) return;
  }
}

async function marksOf(env: Env, key: string, limit: number, after = "0") {
  if (!/^\d{1,5}$/.test(after)) throw new ApiError("invalid_cursor");
  const listed = await env.FILES.list({
    prefix: `${key}/`,
    startAfter: markOf(key, Number(after)),
    include: ["customMetadata"],
    limit,
  });
  const data = listed.objects.map(({ key: mark, customMetadata: told = {} }): StoredPart => {
    return {
      number: Number(mark.slice(-5)),
      size: Number(told.size),
      sha256: told.sha256 ?? "",
      etag: told.etag ?? "",
    };
  });
  return { data, nextCursor: listed.truncated ? String(data.at(-1)!.number) : null };
}

async function wanted(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...shownFile, uploadId: files.uploadId })
      .from(files)
      .where(ownFile(id)),
  ]);
  return found(rows);
}

async function underWay(ctx: Context, id: string): Promise<{ size: number; uploadId: string }> {
  const { status, size, uploadId } = await wanted(ctx, id);
  if (status !== "uploading" || uploadId === null) throw notUnderWay();
  return { size, uploadId };
}

const notUnderWay = () => new ApiError("conflict", "This file is not being uploaded in parts.");
const invalid = (path: string, message: string) =>
  new ApiError("invalid_request", undefined, { errors: [{ path, message }] });
