import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { mustBeAllowed } from "../channels/access";
import { announce, RECORDED } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { askDoor, asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import type { Job, Step } from "../lib/job";
import { logFault } from "../lib/log";
import { audit } from "../tenants/audit";
import { sendMessage } from "./send";

export type Truncation = {
  upToSeq?: number | undefined;
  before?: string | undefined;
  hard: boolean;
  message?: { text: string; metadata: Record<string, unknown> } | undefined;
};

/** What there is up to a number or a time, or all of it, is hidden at once; what is to be gone for good, a job takes away. */
export async function truncateChannel(ctx: Context, channelId: string, { upToSeq, before, hard, message }: Truncation) {
  const hooks = JSON.stringify(candidatesByType(ctx.snapshot, ["channel.truncated"]));
  const place = sql`(select c.truncated_seq from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid)`;
  const job = scheduleJob(ctx, { type: "channels.truncation", payload: { channelId } });
  const [, , recorded, rows, jobs] = await asTenant(ctx, [
    mustBeAllowed(ctx, channelId, "channel.truncate"),
    audit(ctx, "channel.truncated", { type: "channel", id: channelId }, { upToSeq, before, hard }),
    db
      .select(RECORDED)
      .from(
        sql`truncate_channel(${channelId}::uuid, ${upToSeq ?? null}::bigint, ${before ?? null}::timestamptz, ${hard}, ${newId()}::uuid, ${hooks}::jsonb)`,
      ),
    db.select({ upToSeq: sql<number>`${place}`.mapWith(Number).as("up_to") }).from(sql`(select 1) one`),
    ...(hard ? [job.query] : []),
  ]);
  announce(ctx, recorded);
  if (hard) job.announce(jobs as never);
  if (message) {
    const said = { kind: "system" as const, silent: false, pending: false, mentions: [], attachments: [] };
    const server: Context = { ...ctx, actor: { kind: "system" } };
    await sendMessage(server, channelId, { ...message, ...said, clientId: `truncation ${recorded[0]!.id}` });
  }
  return { upToSeq: rows[0]!.upToSeq };
}

const EVENTS_MOST = 1_000;
const MESSAGES_MOST = 500;

/** First the words in the log of events, while the messages tell which; then these. */
export async function truncateForGood(ctx: Context, job: Job): Promise<Step> {
  const { channelId } = job.payload as { channelId: string };
  const { behind } = (job.cursor ?? { behind: 0 }) as { behind: number | null };
  const upTo = sql`(select c.truncated_seq from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid)`;
  if (behind !== null) {
    const [found] = await asTenant(ctx, [
      db.execute<{ next: string | null }>(
        sql`select forget_events(${channelId}::uuid, ${upTo}, ${behind}::bigint, ${EVENTS_MOST}) as next`,
      ),
    ]);
    const { next } = found.rows[0]!;
    return { cursor: { behind: next === null ? null : Number(next) } };
  }
  const [removed] = await asTenant(ctx, [
    db.execute<{ many: number }>(
      sql`select remove_messages(${channelId}::uuid, coalesce(${upTo}, 0), ${MESSAGES_MOST}) as many`,
    ),
  ]);
  const { many } = removed.rows[0]!;
  return many < MESSAGES_MOST ? { done: true } : { progress: job.progress + many };
}

/** A deleted channel is seen by nobody at once, and goes piece by piece. */
export async function removeChannel(ctx: Context, job: Job): Promise<Step> {
  const { channelId } = job.payload as { channelId: string };
  const [removed] = await asTenant(ctx, [
    db.execute<{ more: boolean }>(sql`select remove_channel_page(${channelId}::uuid, ${MESSAGES_MOST}) as more`),
  ]);
  return { done: !removed.rows[0]!.more };
}

type Expired = { tenantId: string; id: string };
const EXPIRED_MOST = 200;

/** Each minute: what waited for a verdict in vain is its writer's alone for good. */
export async function expirePending(env: Env, ctx: ExecutionContext): Promise<void> {
  const row = await askDoor<{ expired: Expired[] }>(env, "select door.expired_messages($1) as expired", [EXPIRED_MOST]);
  const tenants = Map.groupBy(row?.expired ?? [], ({ tenantId }) => tenantId);
  for (const [tenantId, expired] of tenants) {
    await asSystem(
      env,
      tenantId,
      (work) => ctx.waitUntil(work),
      async (own) => {
        const hooks = JSON.stringify(candidatesByType(own.snapshot, ["message.pending", "message.shadowed"]));
        const [first, ...rest] = expired.map(({ id }) =>
          db.select(RECORDED).from(sql`expire_message(${id}::uuid, ${newId()}::uuid, ${hooks}::jsonb)`),
        );
        announce(own, (await asTenant(own, [first!, ...rest])).flat());
      },
    ).catch((error) => logFault("pending messages", error));
  }
}
