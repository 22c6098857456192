import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { mustBeAllowed } from "../channels/access";
import { announce, recordEvents } from "../events/service";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import type { Job, Step } from "../lib/job";
import { after, type Page, paged } from "../lib/page";
import { changes, found, own } from "../lib/rows";
import type { Message, MessageChange, NewMessage } from "./input";
import { messages } from "./schema";
import { preparedSend, sendMessage, toObject } from "./send";
import { withIds } from "./service";

export type Scheduled = Omit<NewMessage, "clientId" | "pending">;
const YEAR_MS = 366 * 86_400_000;

export const shown = { sendAt: messages.scheduledFor, message: sql<Message>`message_json(messages)`.as("message") };
type Row = { sendAt: string | null; message: Message };
export const asShown = ({ sendAt, message }: Row) => ({ id: message.id, sendAt: sendAt!, message });
const isTheirs = sql`(current_user_id() is null or ${messages.userId} = current_user_id())`;

export function mustLieAhead(sendAt: string): void {
  const ahead = Date.parse(sendAt) - Date.now();
  if (ahead > 0 && ahead < YEAR_MS) return;
  const errors = [{ path: "sendAt", message: "It lies in the future, within a year." }];
  throw new ApiError("invalid_request", undefined, { errors });
}

/** A job that finds another time at the message than its own was overtaken by a change. */
export const sending = (ctx: Context, messageId: string, sendAt: string) =>
  scheduleJob(ctx, { type: "messages.send", payload: { messageId, sendAt }, runAt: sendAt });

export async function scheduleMessage(ctx: Context, channelId: string, input: Scheduled, sendAt: string) {
  mustLieAhead(sendAt);
  const send = preparedSend(ctx, { ...input, pending: false });
  const job = sending(ctx, send.id, sendAt);
  const [, , jobs, rows] = await asTenant(ctx, [
    mustBeAllowed(ctx, channelId, input.kind === "system" ? "message.system" : "message.send"),
    db.execute(
      sql`select schedule_message(${channelId}::uuid, ${JSON.stringify(send)}::jsonb, ${sendAt}::timestamptz)`,
    ),
    job.query,
    db.select(shown).from(messages).where(own(messages, send.id)),
  ]);
  job.announce(jobs);
  return asShown(found(rows));
}

/** Of the acting user, or to a server of all; the next one first. What was refused at its time is there as rejected. */
export async function listScheduled(ctx: Context, page: Page & { channelId?: string | undefined }) {
  const { channelId } = page;
  const [rows] = await asTenant(ctx, [
    db
      .select(shown)
      .from(messages)
      .where(
        sql`${messages.tenantId} = current_tenant() and ${messages.scheduledFor} is not null and ${isTheirs}
          and ${messages.state} in ('scheduled', 'rejected')
          and ${channelId === undefined ? sql`true` : sql`${messages.channelId} = ${channelId}::uuid`}
          and ${after(page, [messages.scheduledFor, messages.id], "asc") ?? sql`true`}`,
      )
      .orderBy(messages.scheduledFor, messages.id)
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, ({ sendAt, message }) => [sendAt, message.id]);
  return { data: data.map(asShown), nextCursor };
}

export async function changeScheduled(
  ctx: Context,
  id: string,
  patch: MessageChange & { sendAt?: string | undefined },
) {
  if (patch.sendAt !== undefined) mustLieAhead(patch.sendAt);
  const job = patch.sendAt === undefined ? undefined : sending(ctx, id, patch.sendAt);
  const [, rows, jobs] = await asTenant(ctx, [
    db.execute(sql`select change_scheduled(${id}::uuid, ${JSON.stringify(changes(withIds(patch)))}::jsonb)`),
    db.select(shown).from(messages).where(own(messages, id)),
    ...(job ? [job.query] : []),
  ]);
  job?.announce(jobs as never);
  return asShown(found(rows));
}

export async function cancelScheduled(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [db.execute(sql`select cancel_scheduled(${id}::uuid)`)]);
}

const WORTH_A_RETRY = new Set(["unavailable", "internal", "rate_limited"]);
/** As many as a job has: after the last one its writer is told. */
const TRIES_MOST = 5;

/** Sends what has its message already, as its writer, if it still is what was read: last changed at `asOf`. */
type Sender = (writer: Context, message: Message, asOf: string) => Promise<void>;

/** `byDirection`: what goes outside is sent by the feature of its medium. Where it was changed meanwhile, it is read and judged anew. */
export const scheduledJob =
  (byDirection: Record<string, Sender>) =>
  async (ctx: Context, job: Job): Promise<Step> => {
    for (let tries = 1; tries <= TRIES_MOST; tries++)
      if (await sentAsRead(ctx, job, byDirection, tries === TRIES_MOST)) return { done: true };
    throw new ApiError("unavailable");
  };

/** At its time, all is judged as for any other message: whether its writer still may, and what hooks say. */
async function sentAsRead(
  ctx: Context,
  job: Job,
  byDirection: Record<string, Sender>,
  isLast: boolean,
): Promise<boolean> {
  const { messageId, sendAt } = job.payload as { messageId: string; sendAt: string };
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...shown, asOf: sql<string>`${messages.updatedAt}::text`.as("as_of") })
      .from(messages)
      .where(own(messages, messageId, sql`${messages.state} = 'scheduled'`)),
  ]);
  const row = rows[0];
  if (!row || row.sendAt !== sendAt) return true;
  const { asOf, message } = row;
  const { channelId, userId } = message;
  const send = byDirection[message.direction ?? ""] ?? sendAsChat;
  return asSystem(ctx.env, ctx.tenantId, ctx.waitUntil, async (fresh) => {
    const writer: Context = { ...fresh, actor: { kind: "system", ...(userId && { user: { id: userId } }) } };
    try {
      await send(writer, message, asOf);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // A merged conversation takes its messages along.
      if (error.facts.overtaken || (error.code === "channel_merged" && !isLast)) return false;
      if (error.code === "too_soon") await sendLater(fresh, job, Number(error.facts.reset ?? 1));
      else if (WORTH_A_RETRY.has(error.code) && job.attempt < TRIES_MOST) throw error;
      else return refuseScheduled(fresh, { id: messageId, asOf, channelId, userId }, error.code);
    }
    return true;
  });
}

async function sendAsChat(writer: Context, message: Message, asOf: string): Promise<void> {
  const { id, channelId, parentId, quotedId, mentioning, attachments, ...said } = message;
  const { text, kind, silent, showInChannel, mentions, metadata } = said;
  const input: NewMessage = {
    ...{ text, kind, silent, showInChannel, mentions, metadata, pending: false },
    ...(parentId && { parentId }),
    ...(quotedId && { quotedId }),
    ...(mentioning && { mentioning }),
    attachments: attachments as NewMessage["attachments"],
  };
  await sendMessage(writer, channelId, input, (ask) =>
    toObject(writer)({ ...ask, send: { ...ask.send, id, scheduled: true, asOf } }),
  );
}

/** Slow mode lets it through when its turn comes. */
async function sendLater(ctx: Context, { type, payload }: Job, seconds: number): Promise<void> {
  const later = scheduleJob(ctx, { type, payload, runAt: new Date(Date.now() + seconds * 1000).toISOString() });
  const [rows] = await asTenant(ctx, [later.query]);
  later.announce(rows);
}

type Refused = { id: string; asOf: string; channelId: string; userId: string | null };

/** Its writer is told, or, where a key wrote it, the tenant; unless it is no longer what was refused. */
async function refuseScheduled(ctx: Context, { id, asOf, channelId, userId }: Refused, code: string): Promise<boolean> {
  const stream = userId ? { kind: "user" as const, id: userId } : { kind: "tenant" as const, id: ctx.tenantId };
  try {
    const [, recorded] = await asTenant(ctx, [
      db.execute(sql`select refuse_scheduled(${id}::uuid, ${asOf}::timestamptz)`),
      recordEvents(ctx, [{ type: "message.refused", stream, data: { channelId, messageId: id, code } }]),
    ]);
    announce(ctx, recorded);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.code === "conflict") return false;
    throw error;
  }
}
