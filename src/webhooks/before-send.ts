import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { passes } from "../events/subscribers";
import { type Context, type Snapshot, systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { Metadata, text, z } from "../lib/validate";
import { type Attempt, attempt, endingOf } from "./attempt";
import { isOpen, report } from "./breaker";
import { applyHealth, type Change, disable } from "./health";
import { webhookAttempts } from "./schema";

/** What a hook sees of a message and may rewrite. */
export type Draft = { text: string; metadata: Record<string, unknown>; mentions: string[] };
/** With a messageId it is an edit of that message, as it would read afterwards. */
export type DraftContext = { channelId: string; userId: string | null; messageId?: string };
export type Judgement = { allowed: true; draft: Draft } | { allowed: false; reason: string };
export type Judge = (about: DraftContext, draft: Draft) => Promise<Judgement>;

const Answer = z.discriminatedUnion("action", [
  z.strictObject({ action: z.literal("allow") }),
  z.strictObject({
    action: z.literal("rewrite"),
    text: text(100_000).optional(),
    metadata: Metadata.optional(),
    mentions: z.array(z.uuid()).max(100).optional(),
  }),
  z.strictObject({ action: z.literal("reject"), reason: text(500, 1) }),
]);
type Answer = z.infer<typeof Answer>;
type Hook = Snapshot["webhooks"][number];

const UNAVAILABLE = "The message could not be checked. Try again.";
const BUDGET_MS = 5000;

/**
 * One attempt at each hook, one after the other, within one budget: each sees what the one before made of it. Nobody
 * waits for one in shadow mode.
 */
export async function judgeBeforeSend(ctx: Context, about: DraftContext, draft: Draft): Promise<Judgement> {
  const until = Date.now() + BUDGET_MS;
  let current = draft;
  for (const hook of await hooksFor(ctx, about.channelId)) {
    if (!passes(hook.filter, { ...about, message: current })) continue;
    const asked = ask(ctx, hook, about, current, until - Date.now());
    if (hook.shadow) {
      ctx.waitUntil(asked.catch(() => {}));
      continue;
    }
    const answer = await asked;
    if (answer === null && !hook.failOpen) return { allowed: false, reason: UNAVAILABLE };
    if (answer?.action === "reject") return { allowed: false, reason: answer.reason };
    if (answer?.action === "rewrite") {
      const { action: _, ...rewritten } = answer;
      current = { ...current, ...JSON.parse(JSON.stringify(rewritten)) };
    }
  }
  return { allowed: true, draft: current };
}

/** For objects, which hold no settings of their tenant. */
export const judgeForTenant = (
  env: Env,
  tenantId: string,
  about: DraftContext,
  draft: Draft,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<Judgement> => asSystem(env, tenantId, waitUntil, (ctx) => judgeBeforeSend(ctx, about, draft));

/** Only the database knows a channel's inbox and medium; it is asked where some hook's scopes are more than channels. */
async function hooksFor(ctx: Context, channelId: string): Promise<Hook[]> {
  const hooks = (ctx.snapshot?.webhooks ?? []).filter((hook) => hook.kind === "before_message_send");
  if (hooks.every(({ scopes }) => scopes.every(({ kind }) => kind === "channel")))
    return hooks.filter(({ scopes }) => scopes.length === 0 || scopes.some(({ value }) => value === channelId));
  const asked = hooks.map(({ id, scopes }) => ({ id, scopes }));
  const [rows] = await asTenant(systemContext(ctx.env, ctx.tenantId, ctx.waitUntil), [
    db
      .select({ id: sql<string>`h.id` })
      .from(sql`jsonb_to_recordset(${JSON.stringify(asked)}::jsonb) h(id uuid, scopes jsonb)`)
      .where(
        sql`in_scopes(h.scopes, (select c from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid))`,
      ),
  ]);
  const heard = new Set(rows.map(({ id }) => id));
  return hooks.filter(({ id }) => heard.has(id));
}

/** Null: no answer that can be used. The attempt is logged behind the send, with what it would have done in shadow mode. */
async function ask(
  ctx: Context,
  hook: Hook,
  about: DraftContext,
  draft: Draft,
  leftMs: number,
): Promise<Answer | null> {
  if (isOpen(hook.id) || leftMs <= 0) return null;
  const id = newId();
  const body = JSON.stringify({
    id,
    type: "before_message_send",
    timestamp: new Date().toISOString(),
    data: { ...about, message: draft },
  });
  const target = { ...hook, tenantId: ctx.tenantId, webhookId: hook.id, timeoutMs: Math.min(hook.timeoutMs, leftMs) };
  const made = await attempt(ctx.env, target, id, body, 65_536);
  const answer = made.ok ? read(made.responseBody) : null;
  report(hook.id, answer !== null);
  const note = {
    action: answer?.action ?? "none",
    shadow: hook.shadow,
    ...(answer === null && { fell: hook.failOpen ? "open" : "closed" }),
  };
  ctx.waitUntil(logCall(ctx, hook, "before_message_send", "hook", made, answer !== null, note).catch(() => {}));
  return answer;
}

function read(body: string | null): Answer | null {
  try {
    return Answer.parse(JSON.parse(body ?? ""));
  } catch {
    return null;
  }
}

/** The attempt, and what it tells of the endpoint; behind whoever waited for it. */
export async function logCall(
  ctx: Context,
  hook: Hook,
  eventType: string,
  trigger: "hook" | "action",
  made: Attempt,
  ok: boolean,
  note: Record<string, unknown>,
) {
  const { env, tenantId } = ctx;
  const [, [heard]] = await asTenant(systemContext(env, tenantId, ctx.waitUntil), [
    db.insert(webhookAttempts).values({
      ...made,
      responseBody: made.responseBody?.slice(0, 16_384) ?? null,
      tenantId,
      webhookId: hook.id,
      eventType,
      trigger,
      note,
    }),
    db
      .select({ change: sql<Change["change"] | null>`hear_of_call(${hook.id}::uuid, ${ok})` })
      .from(sql`(values (1)) one`),
  ]);
  // Whoever fails closed goes on failing closed: health must not let through what nobody has checked.
  const mayEnd = hook.kind !== "before_message_send" || hook.failOpen;
  const ending = mayEnd ? endingOf(made) : null;
  const endpoint = { tenantId, webhookId: hook.id };
  if (ending !== null) await disable(env, endpoint, ending, ctx);
  else if (heard?.change && (mayEnd || heard.change !== "disabled"))
    await applyHealth(env, { ...endpoint, change: heard.change }, ctx);
}
