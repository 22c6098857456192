import { and, asc, eq, sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { channels } from "../channels/schema";
import { createChannel } from "../channels/service";
import { announceDeliveries } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import type { Job, Step } from "../lib/job";
import { logFault } from "../lib/log";
import { publish, userObject } from "../lib/objects";
import { own } from "../lib/rows";
import { type EachAnswer, recordEach } from "../messages/group";
import { NewMessage } from "../messages/input";
import { askToSend, type SendAnswer, type SendAsk } from "../messages/send";
import { announcePush } from "../push/consumer";
import { users } from "../users/schema";
import { campaigns, campaignTargets } from "./schema";

/** Channels in one transaction: they are locked for as long. */
const MOST = 200;
const LANES = 6;
const TRIES_MOST = 5;

type Target = { id: string; userId: string | null; channelId: string | null };
type Head = {
  status: string;
  due: boolean;
  message: NewMessage;
  senderId: string | null;
  channelType: string;
  alive: boolean;
};
type Outcome = { id: string; channelId: string | null; answer: SendAnswer };

/** A piece of a campaign: the next targets, each once, whatever crashes and however often it begins anew. */
export async function sendCampaign(ctx: Context, job: Job): Promise<Step> {
  const { campaignId } = job.payload as { campaignId: string };
  const waitUntil = (work: Promise<unknown>) => ctx.waitUntil(work);
  try {
    return await asSystem(ctx.env, ctx.tenantId, waitUntil, (system) => sendSome(system, job, campaignId));
  } catch (error) {
    if (error instanceof ApiError && error.code === "plan_limit_reached")
      return end(ctx, job, campaignId, "paused", error.message);
    if (job.attempt >= TRIES_MOST) await fail(ctx, campaignId, error).catch((second) => logFault("campaign", second));
    throw error;
  }
}

async function sendSome(ctx: Context, job: Job, id: string): Promise<Step> {
  const [heads, targets] = await asTenant(ctx, [headOf(id), nextTargets(ctx, id)]);
  const head = heads[0] as Head | undefined;
  if (!head?.due) return { done: true };
  if (head.status !== "sending" && head.status !== "scheduled") return stop(ctx, job, id);
  if (head.status === "scheduled") await asTenant(ctx, [begin(id)]);
  if (head.senderId !== null && !head.alive) return end(ctx, job, id, "failed", "The sender is deactivated.");
  if (targets.length === 0) return end(ctx, job, id, "completed", null);

  const outcomes = await sendTo(ctx, id, head, targets);
  const marks = outcomes.map(({ id: target, channelId, answer }) => ({
    id: target,
    channelId,
    ...(answer.ok ? { messageId: answer.message.id, seq: answer.message.seq } : { code: answer.code }),
  }));
  const step = { progress: job.progress + targets.length };
  await asTenant(ctx, [mark(marks, outcomes.reached), job.save(step)]);
  return step;
}

const headOf = (id: string) =>
  db
    .select({
      status: campaigns.status,
      due: sql<boolean>`coalesce(${campaigns.scheduledFor} <= now() + interval '1 second', true)`.as("due"),
      message: sql<NewMessage>`${campaigns.message}`.as("message"),
      senderId: campaigns.senderId,
      channelType: campaigns.channelType,
      alive: sql<boolean>`${users.id} is not null and ${users.deactivatedAt} is null`.as("alive"),
    })
    .from(campaigns)
    .leftJoin(users, and(eq(users.tenantId, campaigns.tenantId), eq(users.id, campaigns.senderId)))
    .where(own(campaigns, id));

const nextTargets = (ctx: Context, id: string) =>
  db
    .select({ id: campaignTargets.id, userId: campaignTargets.userId, channelId: campaignTargets.channelId })
    .from(campaignTargets)
    .where(
      and(
        eq(campaignTargets.tenantId, ctx.tenantId),
        eq(campaignTargets.campaignId, id),
        eq(campaignTargets.status, "pending"),
      ),
    )
    .orderBy(asc(campaignTargets.id))
    .limit(MOST);

const begin = (id: string) =>
  db
    .update(campaigns)
    .set({ status: "sending", startedAt: sql<string>`now()` })
    .where(own(campaigns, id, eq(campaigns.status, "scheduled")));

/** The same clientId each time: what was sent before a crash is answered with what was sent. */
async function sendTo(ctx: Context, id: string, head: Head, targets: Target[]) {
  const input = NewMessage.parse({ ...head.message, clientId: `campaign:${id}` });
  const placed = await inChannels(ctx, head, targets);
  const asks: { target: Target; ask: SendAsk }[] = [];
  const outcomes: Outcome[] = [];
  for (const { target, channelId, code } of placed) {
    if (channelId === null) {
      outcomes.push({ id: target.id, channelId, answer: { ok: false, code } });
      continue;
    }
    const ask = await askToSend(ctx, channelId, input, async (_, draft) => ({ allowed: true, draft }));
    asks.push({ target, ask: { ...ask, send: { ...ask.send, onBehalf: head.senderId } as SendAsk["send"] } });
  }
  const recorded =
    asks.length > 0
      ? await recordEach(
          ctx,
          asks.map(({ ask }) => ask),
        )
      : null;
  asks.forEach(({ target, ask }, i) => {
    outcomes.push({ id: target.id, channelId: ask.channelId, answer: recorded!.answers[i]! });
  });
  if (recorded) tell(ctx, recorded);
  const reached = (recorded?.live ?? []).filter(({ userId }) => userId !== head.senderId).map((one) => one.channelId);
  return Object.assign(outcomes, { reached: [...new Set(reached)] });
}

type Placed = { target: Target; channelId: string | null; code: string };

/** Users are written to in the one channel of theirs and the sender's, which is made where there is none. */
async function inChannels(ctx: Context, { senderId, channelType: type }: Head, targets: Target[]): Promise<Placed[]> {
  const people =
    senderId === null ? [] : targets.flatMap(({ id, userId }) => (userId === null ? [] : [{ id, userId }]));
  const known = people.length === 0 ? [] : (await asTenant(ctx, [sharedChannels(type, senderId!, people)]))[0];
  const shared = new Map(known.map(({ target, channelId }) => [target, channelId]));
  const placed: Placed[] = [];
  const waiting = targets.values();
  const lane = async () => {
    for (const target of waiting) {
      const { id, userId } = target;
      let channelId = target.channelId ?? shared.get(id) ?? null;
      let code = "not_found";
      if (channelId === null && userId !== null && senderId !== null) {
        const members = [{ userId: senderId }, { userId }];
        const made = await createChannel(ctx, { type, members, distinct: true }).catch(refusedOf);
        if (typeof made === "string") code = made;
        else channelId = made.id;
      }
      placed.push({ target, channelId, code });
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return placed;
}

const sharedChannels = (type: string, senderId: string, people: { id: string; userId: string }[]) =>
  db
    .select({ target: sql<string>`p.id`.as("target"), channelId: channels.id })
    .from(sql`jsonb_to_recordset(${JSON.stringify(people)}::jsonb) p(id uuid, "userId" uuid)`)
    .innerJoin(
      channels,
      sql`${channels.tenantId} = current_tenant() and ${channels.distinctKey} = distinct_key(${type}, array[${senderId}::uuid, p."userId"])`,
    );

/** A user who is gone meanwhile fails alone; a plan's limit or a database that is away stops the campaign. */
function refusedOf(error: unknown): string {
  if (error instanceof ApiError && (error.code === "invalid_request" || error.code === "not_found")) return "not_found";
  throw error;
}

/** After the commit, and a mere speed-up. Objects without sockets need not hear of it. */
function tell(ctx: Context, { frames, deliveries, live }: EachAnswer): void {
  const { env, tenantId, waitUntil } = ctx;
  announceDeliveries(env, tenantId, deliveries, waitUntil);
  const watched = new Set(live.flatMap(({ place, channelId }) => (place === "channel" ? [channelId] : [])));
  const seen = frames.filter(({ stream }) => watched.has(stream.id));
  if (seen.length > 0) waitUntil(publish(env, tenantId, seen).catch(() => {}));
  const last = new Map(frames.flatMap(({ stream, seq, audience }) => (audience === null ? [[stream.id, seq]] : [])));
  const hints = live.filter(({ place, channelId }) => place === "user" && last.has(channelId));
  waitUntil(
    Promise.allSettled(
      hints.map(({ userId, channelId }) => userObject(env, tenantId, userId).hint(channelId, last.get(channelId)!)),
    ),
  );
  waitUntil(announcePush(env, tenantId, frames, waitUntil).catch(() => {}));
}

function mark(marks: object[], reached: string[]) {
  return db.execute(sql`update campaign_targets t set status = case when m."messageId" is null then 'failed' else 'sent' end,
      code = m.code, channel_id = coalesce(m."channelId", t.channel_id), message_id = m."messageId", seq = m.seq, sent_at = now(),
      reached = m."channelId" in (select value::uuid from jsonb_array_elements_text(${JSON.stringify(reached)}::jsonb))
    from jsonb_to_recordset(${JSON.stringify(marks)}::jsonb) m(id uuid, "channelId" uuid, "messageId" uuid, seq bigint, code text)
   where t.tenant_id = current_tenant() and t.id = m.id and t.status = 'pending'`);
}

/** Unless it was resumed meanwhile: then this job goes on. */
async function stop(ctx: Context, job: Job, id: string): Promise<Step> {
  const step = { done: true };
  await asTenant(ctx, [
    refuseUnless(
      sql`not exists (select 1 from ${campaigns} where ${own(campaigns, id, sql`${campaigns.status} = 'sending'`)} for share)`,
      "conflict",
    ),
    job.save(step),
  ]);
  return step;
}

async function end(
  ctx: Context,
  job: Job,
  id: string,
  status: "completed" | "paused" | "failed",
  error: string | null,
) {
  const step = { done: true };
  await asTenant(ctx, [finish(id, status, error), job.save(step)]);
  return step;
}

const fail = (ctx: Context, id: string, error: unknown) =>
  asTenant(ctx, [finish(id, "failed", error instanceof ApiError ? error.message : "Something went wrong.")]);

const finish = (id: string, status: "completed" | "paused" | "failed", error: string | null) =>
  db
    .update(campaigns)
    .set({ status, error, finishedAt: status === "paused" ? null : sql<string>`now()` })
    .where(own(campaigns, id, eq(campaigns.status, "sending")));
