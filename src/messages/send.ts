import { ruleOf } from "../channels/access";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { enterCredential } from "../lib/credential";
import { StaleSnapshot } from "../lib/db";
import { ApiError, isErrorCode, type Violation } from "../lib/errors";
import { newId } from "../lib/ids";
import { channelObject } from "../lib/objects";
import { spend } from "../lib/quota";
import { type Rulings, refusedBy, rulingsFor } from "../moderation/rulings";
import { type Draft, type DraftContext, type Judge, judgeBeforeSend } from "../webhooks/before-send";
import type { Message, MessageChange, NewMessage } from "./input";

export const SEND_TYPES = ["message.new", "message.pending", "message.shadowed"] as const;

/** Outside chat a message has a direction; a note goes nowhere. */
export type Sent = NewMessage & { direction?: "internal" };

/** One send as it travels to the channel's object and on to the database. */
export type Send = ReturnType<typeof preparedSend>;
export type SendAsk = {
  tenantId: string;
  channelId: string;
  credential: Record<string, unknown> /** Whose slow mode it is. */;
  sender: string | null;
  send: Send;
};
export type SendAnswer =
  /** Open: others see it too. */
  { ok: true; message: Message; isNew: boolean; isOpen: boolean } | { ok: false; code: string; retryAfter?: number };

export function preparedSend(ctx: Context, input: Sent, rulings: Rulings | null = null) {
  const { attachments, pending, pendingSeconds, showInChannel, ...rest } = input;
  return {
    ...rest,
    id: newId(),
    event: newId(),
    showInChannel: input.parentId === undefined || (showInChannel ?? false),
    state: pending ? "pending" : "visible",
    ...(rulings && { rulings }),
    /** If not said here, the channel's type says for how long, or it is a week. */
    expiresAt: pending && pendingSeconds ? new Date(Date.now() + pendingSeconds * 1000).toISOString() : null,
    scheduled: false,
    /** Of a scheduled one: when it was last changed, as it was read. */
    asOf: null as string | null,
    mentions: [...new Set(input.mentions)],
    attachments: attachments.map((attachment) => ({ id: newId(), ...attachment })),
    may: ruleOf(ctx, input.kind === "system" ? "message.system" : "message.send"),
    mayFrozen: ruleOf(ctx, "message.send_frozen"),
    maySoon: ruleOf(ctx, "message.skip_slow_mode"),
    mayMention: ruleOf(ctx, "message.mention"),
    mayMentionAll: ruleOf(ctx, input.mentioning === "here" ? "message.mention_here" : "message.mention_all"),
    webhooks: candidatesByType(ctx.snapshot, SEND_TYPES),
  };
}

export const toObject = (ctx: Context) => async (ask: SendAsk) =>
  (await channelObject(ctx.env, ask.tenantId, ask.channelId).send(ask)) as SendAnswer;

/** The only way a chat message comes in: judged by the tenant's hooks, then by the channel's object and its database. */
export async function sendMessage(
  ctx: Context,
  channelId: string,
  input: Sent,
  deliver = toObject(ctx),
  judge: Judge = (about, draft) => judgeBeforeSend(ctx, about, draft),
): Promise<{ message: Message; isNew: boolean }> {
  const ask = await askToSend(ctx, channelId, input, judge);
  const answer = await deliver(ask);
  if (answer.ok) return answer;
  throw refusal(answer.code, answer.retryAfter, ask.send.rulings);
}

/** A send that is in order as far as can be said without the database. */
export async function askToSend(ctx: Context, channelId: string, input: NewMessage, judge: Judge): Promise<SendAsk> {
  if (input.text.trim() === "" && input.attachments.length === 0)
    throw invalid("text", "A message has text or attachments.");
  await spend(ctx, "messages", 1);
  const judged = await judgedByHooks(ctx, { channelId, userId: senderOf(ctx) }, input, judge);
  const { rulings, blockVersion } = await rulingsFor(ctx, saidIn(judged));
  return {
    tenantId: ctx.tenantId,
    channelId,
    credential: enterCredential({ ...ctx, blockVersion }),
    sender: senderOf(ctx),
    send: preparedSend(ctx, judged, rulings),
  };
}

/** What block lists look at. */
export const saidIn = ({ text = "", attachments = [] }: MessageChange) => ({
  text,
  beside: attachments.flatMap(({ fileId, fileName }) =>
    fileId === undefined && fileName !== undefined ? [fileName] : [],
  ),
  fileIds: attachments.flatMap(({ fileId }) => fileId ?? []),
  urls: attachments.flatMap(({ url, thumbnailUrl }) => [url, thumbnailUrl].filter((one) => one !== undefined)),
});

export const hasHooks = ({ snapshot }: Context): boolean =>
  snapshot?.webhooks.some(({ kind }) => kind === "before_message_send") ?? false;

/** The hooks of the tenant may refuse or rewrite it; where there are none, nobody is asked. */
export async function judgedByHooks<T extends Draft>(
  ctx: Context,
  about: DraftContext,
  input: T,
  judge: Judge = (about, draft) => judgeBeforeSend(ctx, about, draft),
): Promise<T> {
  if (!hasHooks(ctx)) return input;
  const { text, metadata, mentions } = input;
  const judgement = await judge(about, { text, metadata, mentions });
  if (!judgement.allowed) throw new ApiError("message_rejected", judgement.reason);
  return { ...input, ...judgement.draft };
}

export function senderOf({ actor }: Context): string | null {
  const user = "user" in actor ? actor.user : undefined;
  return user ? ("id" in user ? user.id : `external:${user.externalId}`) : null;
}

const invalid = (path: string, message: string) =>
  new ApiError("invalid_request", undefined, { errors: [{ path, message }] satisfies Violation[] });

const INVALID: Record<string, [path: string, message: string]> = {
  too_long: ["text", "It is longer than this channel allows."],
  threads_off: ["parentId", "This channel has no threads."],
  uploads_off: ["attachments", "This channel takes no attachments."],
  unknown_parent: ["parentId", "There is no such message to answer in this channel."],
  unknown_quoted: ["quotedId", "There is no such message to quote in this channel."],
  unknown_file: ["attachments", "A file is missing, or not uploaded completely."],
};

const FORBIDDEN: Record<string, string> = {
  may_not_mention: "You may not mention anybody here.",
  may_not_mention_all: "You may not mention everybody here.",
};

/** What a code of the object or of record_messages means to the caller. */
function refusal(code: string, retryAfter: number | undefined, rulings: Rulings | undefined): Error {
  if (code === "stale") return new StaleSnapshot();
  if (code === "overtaken") return new ApiError("conflict", undefined, { overtaken: true });
  if (code.startsWith("blocked ")) return refusedBy(rulings, code.slice("blocked ".length));
  const wrong = INVALID[code];
  if (wrong) return invalid(...wrong);
  const forbidden = FORBIDDEN[code];
  if (forbidden) return new ApiError("not_allowed", forbidden);
  return new ApiError(
    isErrorCode(code) ? code : "internal",
    undefined,
    retryAfter === undefined ? {} : { reset: Math.ceil(retryAfter) },
  );
}
