import { and, desc, eq, getTableColumns, sql } from "drizzle-orm";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, own } from "../lib/rows";
import type { Heard } from "../providers/provider";
import { type CALLBACK_STATUSES, providerCallbacks as callbacks } from "./schema";

export type CallbackStatus = (typeof CALLBACK_STATUSES)[number];
export type CameTo = { status: CallbackStatus; error: string | null };

const { tenantId: _t, digest: _d, headers: _h, heard: _l, body, ...listed } = getTableColumns(callbacks);

export const CALLBACK_JOB = "callbacks.replay";
/** Five seconds, then longer and longer: nine hours in all. */
export const CALLBACK_ATTEMPTS = 13;

/** They say who it is rather than what it says. */
const SECRET_HEADERS = /^(authorization|cookie|proxy-authorization|cf-|x-real-ip|x-forwarded-)/;

const shownHeaders = (headers: Headers): Record<string, string> =>
  Object.fromEntries(
    [...headers].filter(([name]) => !SECRET_HEADERS.test(name)).map(([name, value]) => [name, plain(value)]),
  );

const plain = (text: string): string => text.replaceAll("\0", "").toWellFormed();

/** Vendors pass on what mail servers said: not all of it can be stored. */
export const storable = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value, (_, part) => (typeof part === "string" ? plain(part) : part)));

type Called = { integrationId: string; headers: Headers; body: Uint8Array<ArrayBuffer>; heard: Heard };

const textOf = (body: Uint8Array): string => plain(new TextDecoder().decode(body));
const digestOf = ({ body, heard }: Called): Promise<string> => sha256Hex(heard.once ?? body);

/** Whether what its provider signed came before with something else: who saw one callback could make any. */
export async function isForged(ctx: Context, called: Called): Promise<boolean> {
  if (called.heard.once === undefined) return false;
  const [rows] = await asTenant(ctx, [
    db
      .select({ body: callbacks.body })
      .from(callbacks)
      .where(isCallback(ctx, called.integrationId, await digestOf(called))),
  ]);
  return rows[0] !== undefined && rows[0].body !== textOf(called.body);
}

const isCallback = (ctx: Context, integrationId: string, digest: string) =>
  and(eq(callbacks.tenantId, ctx.tenantId), eq(callbacks.integrationId, integrationId), eq(callbacks.digest, digest));

/** Once for each body. What could not be used yet is tried again by a job; the provider need not call again. */
export async function keepCallback(ctx: Context, called: Called, { status, error }: CameTo): Promise<void> {
  const { integrationId, heard } = called;
  const digest = await digestOf(called);
  const again = status === "heard" ? null : replaying(ctx, integrationId, digest);
  const answers = await asTenant(ctx, [
    db
      .insert(callbacks)
      .values({
        tenantId: ctx.tenantId,
        id: newId(),
        ...{ integrationId, digest, heard, status, error },
        headers: shownHeaders(called.headers),
        body: textOf(called.body),
      })
      .onConflictDoUpdate({
        target: [callbacks.tenantId, callbacks.integrationId, callbacks.digest],
        set: { status, error, times: sql`${callbacks.times} + 1`, updatedAt: sql<string>`now()` },
      }),
    ...(again ? [again.query] : []),
  ]);
  again?.announce(answers[1] as never);
}

const replaying = (ctx: Context, integrationId: string, digest: string) =>
  scheduleJob(ctx, {
    type: CALLBACK_JOB,
    payload: { integrationId, digest },
    uniqueKey: `callback ${integrationId} ${digest}`,
    runAt: new Date(Date.now() + 5000).toISOString(),
  });

export type CallbackFilters = Page & { integrationId?: string | undefined; status?: CallbackStatus | undefined };

export async function listCallbacks(ctx: Context, { integrationId, status, ...page }: CallbackFilters) {
  const where = and(
    eq(callbacks.tenantId, ctx.tenantId),
    integrationId === undefined ? undefined : eq(callbacks.integrationId, integrationId),
    status === undefined ? undefined : eq(callbacks.status, status),
    after(page, [callbacks.id]),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(listed)
      .from(callbacks)
      .where(where)
      .orderBy(desc(callbacks.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

const selectCallback = (id: string) =>
  db
    .select({ ...listed, body, headers: callbacks.headers, heard: callbacks.heard })
    .from(callbacks)
    .where(own(callbacks, id));

export async function getCallback(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectCallback(id)]);
  return found(rows);
}

/** Where a job finds it. */
export async function findCallback(ctx: Context, integrationId: string, digest: string) {
  const [rows] = await asTenant(ctx, [
    db
      .select({ id: callbacks.id, integrationId: callbacks.integrationId, heard: callbacks.heard })
      .from(callbacks)
      .where(isCallback(ctx, integrationId, digest)),
  ]);
  return rows[0];
}

export async function noteCallback(ctx: Context, id: string, { status, error }: CameTo) {
  const [, rows] = await asTenant(ctx, [
    db.update(callbacks).set({ status, error }).where(own(callbacks, id)),
    selectCallback(id),
  ]);
  return found(rows);
}
