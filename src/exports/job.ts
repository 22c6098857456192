import { sql } from "drizzle-orm";
import { objectKey } from "../files/objects";
import { removeMarks } from "../files/parts";
import type { Context } from "../lib/context";
import { toHex, utf8 } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import type { Job, Step } from "../lib/job";
import { beginFile, completeFile, gone } from "./service";

/** A bucket wants parts of one size, the last one aside. */
const PART = 5_242_880;
const PAGE_BYTES = 1_000_000;
const STEP_MS = 10_000;

type Place = {
  fileId: string;
  uploadId: string;
  tables: string[];
  /** In the first of them. */
  behind: unknown[] | null;
  parts: string[];
  bytes: number;
  rows: number;
};
type Page = { rows: Record<string, unknown>[]; place: unknown[] | null };

/** What has been read and is no whole part yet waits beside the file, under the number of the part it will begin. */
const restKey = (key: string, part: number) => `${key}/rest-${part}`;

/** Table by table, page by page, until a part is full or there is no more: then the part and the place reached are kept. */
export async function exportPart(ctx: Context, job: Job): Promise<Step> {
  const userId = (job.payload.userId as string | undefined) ?? null;
  const place = job.cursor as Place | null;
  if (place === null) return begin(ctx, userId);
  const key = objectKey(ctx.tenantId, place.fileId);
  if (place.tables.length === 0) return finish(ctx, job, key, place);
  const chunks = [await restOf(ctx.env, key, place.parts.length + 1)];
  let size = chunks[0]!.length;
  let { tables, behind, rows } = place;
  for (const until = Date.now() + STEP_MS; size < PART && tables.length > 0 && Date.now() < until; ) {
    const page = await readPage(ctx, tables[0]!, userId, behind);
    const lines = page.rows.map((row) => `${JSON.stringify({ table: tables[0], row })}\n`).join("");
    const chunk = utf8(lines);
    chunks.push(chunk);
    size += chunk.length;
    rows += page.rows.length;
    behind = page.place;
    if (page.place === null) tables = tables.slice(1);
  }
  const all = joined(chunks, size);
  const upload = ctx.env.FILES.resumeMultipartUpload(key, place.uploadId);
  const { parts } = structuredClone(place);
  let at = 0;
  for (; all.length - at >= PART || (tables.length === 0 && (at < all.length || parts.length === 0)); at += PART) {
    const part = all.slice(at, at + PART);
    parts.push((await upload.uploadPart(parts.length + 1, part)).etag);
  }
  const rest = all.slice(at);
  if (rest.length > 0) await ctx.env.FILES.put(restKey(key, parts.length + 1), rest);
  const bytes = place.bytes + Math.min(at, all.length);
  const cursor: Place = { ...place, tables, behind, parts, bytes, rows };
  return { cursor, progress: rows };
}

async function begin(ctx: Context, userId: string | null): Promise<Step> {
  const [tables] = await asTenant(ctx, [
    db.select({ name: sql<string>`t` }).from(sql`exported_tables(${userId !== null}) t`),
  ]);
  const name = `${userId ? `user ${userId}` : "tenant"} ${new Date().toISOString().slice(0, 10)}.ndjson`;
  const place = { behind: null, parts: [], bytes: 0, rows: 0, tables: tables.map((table) => table.name) };
  return { cursor: { ...(await beginFile(ctx, name)), ...place } satisfies Place };
}

async function readPage(ctx: Context, table: string, userId: string | null, behind: unknown[] | null): Promise<Page> {
  const place = behind && JSON.stringify(behind);
  const [[found]] = await asTenant(ctx, [
    db
      .select({ page: sql<Page>`p` })
      .from(sql`export_page(${table}, ${userId}::uuid, ${place}::jsonb, ${PAGE_BYTES}) p`),
  ]);
  return found!.page;
}

async function restOf(env: Env, key: string, part: number): Promise<Uint8Array> {
  const rest = await env.FILES.get(restKey(key, part));
  return rest ? new Uint8Array(await rest.arrayBuffer()) : new Uint8Array();
}

function joined(chunks: Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** Each step finds out whether it was done before. */
async function finish(ctx: Context, job: Job, key: string, place: Place): Promise<Step> {
  const { FILES } = ctx.env;
  const parts = place.parts.map((etag, i) => ({ partNumber: i + 1, etag }));
  if (!(await FILES.head(key))) await FILES.resumeMultipartUpload(key, place.uploadId).complete(parts);
  const object = await FILES.get(key);
  if (!object) throw gone();
  const digest = new crypto.DigestStream("SHA-256");
  await object.body.pipeTo(digest);
  await removeMarks(ctx.env, key);
  const result = { fileId: place.fileId, rows: place.rows, bytes: object.size };
  const step = { done: true, progress: place.rows, result };
  await asTenant(ctx, [
    completeFile(place.fileId, object.size, toHex(new Uint8Array(await digest.digest))),
    job.save(step),
  ]);
  return step;
}
