import { and, asc, eq, gte, inArray, ne, type SQL, sql } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import { asSystem } from "../auth/system";
import { channels } from "../channels/schema";
import { categoryOf } from "../events/catalogue";
import { events } from "../events/schema";
import { enqueueDeliveries } from "../events/service";
import { subscribers } from "../events/subscribers";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import type { Job, Step } from "../lib/job";
import { exactly } from "../lib/page";
import { found, mustExist } from "../lib/rows";
import { audit } from "../tenants/audit";
import { webhookDeliveries, webhooks } from "./schema";

export type Redelivery = { since: string; mode: "failed" | "missing" };

const FARTHEST_MS = 14 * 86_400_000;
const PAGE = 500;

/** All that failed since a time, or what the endpoint would have heard since then had it been there; as a job. */
export async function redeliverSince(ctx: Context, webhookId: string, { since, mode }: Redelivery) {
  if (Date.parse(since) < Date.now() - FARTHEST_MS) {
    throw new ApiError("invalid_request", undefined, {
      errors: [{ path: "since", message: "It may lie 14 days back." }],
    });
  }
  const uniqueKey = `webhooks.redelivery ${webhookId} ${mode}`;
  const job = scheduleJob(ctx, { type: "webhooks.redelivery", payload: { webhookId, since, mode }, uniqueKey });
  const [, , rows] = await asTenant(ctx, [
    mustExist(webhooks, webhookId),
    audit(ctx, "webhook.redelivered_since", { type: "webhook", id: webhookId }, { since, mode }),
    job.query,
  ]);
  job.announce(rows);
  return { jobId: found(rows).id };
}

type Place = { at: string; id: string };

function behind({ cursor }: Job, at: AnyPgColumn, id: AnyPgColumn): SQL | undefined {
  const place = cursor as Place | null;
  return place ? sql`(${at}, ${id}) > (${place.at}::timestamptz, ${place.id}::uuid)` : undefined;
}

const placeOf = (page: Place[]) => {
  const last = page.at(-1);
  return last && { cursor: { at: last.at, id: last.id } };
};

/** One page: what is in it is put to the endpoint, and where it ends is saved, in one batch. */
export async function redeliverPage(ctx: Context, job: Job): Promise<Step> {
  const { webhookId, since, mode } = job.payload as Redelivery & { webhookId: string };
  const waitUntil = (work: Promise<unknown>) => ctx.waitUntil(work);
  return asSystem(ctx.env, ctx.tenantId, waitUntil, (system) =>
    mode === "failed" ? retryFailed(system, job, webhookId, since) : sendMissing(system, job, webhookId, since),
  );
}

/** Behind the place reached: what fails again meanwhile is not taken up a second time. */
async function retryFailed(ctx: Context, job: Job, webhookId: string, since: string): Promise<Step> {
  const { createdAt, id } = webhookDeliveries;
  const failed = and(
    eq(webhookDeliveries.tenantId, ctx.tenantId),
    eq(webhookDeliveries.webhookId, webhookId),
    inArray(webhookDeliveries.status, ["exhausted", "cancelled"]),
    gte(webhookDeliveries.completedAt, since),
  );
  const [page] = await asTenant(ctx, [
    db
      .select({ id, at: exactly(createdAt) })
      .from(webhookDeliveries)
      .where(and(failed, behind(job, createdAt, id)))
      .orderBy(asc(createdAt), asc(id))
      .limit(PAGE),
  ]);
  const ids = page.map((row) => row.id);
  const step = { done: ids.length < PAGE, progress: job.progress + ids.length, ...placeOf(page) };
  if (ids.length === 0) return step;
  await asTenant(ctx, [
    db
      .update(webhookDeliveries)
      .set({
        status: "pending",
        attempts: 0,
        trigger: "redelivery",
        nextAttemptAt: sql`now()`,
        claimedUntil: null,
        completedAt: null,
      })
      .where(and(failed, inArray(id, ids))),
    job.save(step),
  ]);
  ctx.waitUntil(enqueueDeliveries(ctx.env, ctx.tenantId, ids).catch(() => {}));
  return step;
}

/** As channelOf() reads it from an event that is being recorded. */
const placeOfEvent = sql`case when ${events.streamKind} = 'channel' then ${events.streamId}
  when ${events.type} not like 'custom.%' then (${events.payload}::json #>> '{data,channelId}')::uuid end`;

async function sendMissing(ctx: Context, job: Job, webhookId: string, since: string): Promise<Step> {
  const scopes = JSON.stringify(ctx.snapshot?.webhooks.find(({ id }) => id === webhookId)?.scopes ?? []);
  const [page] = await asTenant(ctx, [
    db
      .select({
        event: events,
        at: exactly(events.createdAt),
        inScopes: sql<boolean>`in_scopes(${scopes}::jsonb, ${channels})`,
      })
      .from(events)
      .leftJoin(channels, and(eq(channels.tenantId, events.tenantId), eq(channels.id, placeOfEvent)))
      .where(
        and(
          eq(events.tenantId, ctx.tenantId),
          ne(events.type, "webhook.test"),
          gte(events.createdAt, since),
          behind(job, events.createdAt, events.id),
        ),
      )
      .orderBy(asc(events.createdAt), asc(events.id))
      .limit(PAGE),
  ]);
  const wanted = page.flatMap(({ event, inScopes }) => {
    const { data } = JSON.parse(event.payload) as { data: { inboxId?: string } | null };
    const about = categoryOf(event.type) === "email" ? { medium: "email", inboxId: data?.inboxId ?? "" } : {};
    const heard = { type: event.type, stream: { kind: event.streamKind, id: event.streamId }, data, about };
    const hook = subscribers(ctx.snapshot, heard).find(({ id }) => id === webhookId);
    return hook && (!hook.scopes || inScopes) ? [{ event, ordered: hook.ordered }] : [];
  });
  const step = {
    done: page.length < PAGE,
    progress: job.progress + wanted.length,
    ...placeOf(page.map(({ event, at }) => ({ id: event.id, at }))),
  };
  if (wanted.length === 0) return step;
  const rows = wanted.map(({ event, ordered }) => ({
    tenantId: ctx.tenantId,
    id: newId(),
    webhookId,
    eventId: event.id,
    trigger: "recovery" as const,
    ...(ordered && { orderKey: event.streamId, orderSeq: event.seq }),
  }));
  const [made] = await asTenant(ctx, [
    db.insert(webhookDeliveries).values(rows).onConflictDoNothing().returning({ id: webhookDeliveries.id }),
    job.save(step),
  ]);
  ctx.waitUntil(
    enqueueDeliveries(
      ctx.env,
      ctx.tenantId,
      made.map(({ id }) => id),
    ).catch(() => {}),
  );
  return step;
}
