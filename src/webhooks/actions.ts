import { sql } from "drizzle-orm";
import { channelMembers, channels } from "../channels/schema";
import type { Context } from "../lib/context";
import { asTenant, refuseUnless } from "../lib/db";
import { ApiError, SnapshotError } from "../lib/errors";
import { newId } from "../lib/ids";
import { attempt } from "./attempt";
import { logCall } from "./before-send";
import { isOpen, report } from "./breaker";

const ANSWER_MOST = 65_536;

/** Members ask; a key without a user asks for everybody. */
const mustBeMember = (channelId: string) =>
  refuseUnless(
    sql`exists (select 1 from ${channels} c where c.tenant_id = current_tenant() and c.id = ${channelId}
      and (current_user_id() is null or exists (select 1 from ${channelMembers} m where m.tenant_id = c.tenant_id
        and m.channel_id = c.id and m.user_id = current_user_id())))`,
    "not_found",
  );

/** Asks the tenant's own server, signed, once, and passes its JSON on to whoever asked. */
export async function runAction(ctx: Context, name: string, input: { channelId: string; data?: unknown }) {
  const hook = ctx.snapshot?.webhooks.find(({ kind, action }) => kind === "custom_action" && action === name);
  if (!hook) throw new SnapshotError("not_found", "No webhook of kind custom_action has this name.");
  await asTenant(ctx, [mustBeMember(input.channelId)]);
  if (isOpen(hook.id))
    throw new ApiError("action_failed", "The endpoint of this action is failing; it is given a rest.");
  const id = newId();
  const user = ctx.actor.kind !== "system" && ctx.actor.user ? ctx.actor.user : null;
  const body = JSON.stringify({
    id,
    type: `action.${name}`,
    timestamp: new Date().toISOString(),
    data: { channelId: input.channelId, user, input: input.data ?? null },
  });
  const made = await attempt(
    ctx.env,
    { ...hook, tenantId: ctx.tenantId, webhookId: hook.id },
    id,
    body,
    ANSWER_MOST + 1,
  );
  const answer = made.ok ? parsed(made.responseBody) : undefined;
  report(hook.id, answer !== undefined);
  ctx.waitUntil(logCall(ctx, hook, `action.${name}`, "action", made, answer !== undefined, {}).catch(() => {}));
  if (answer === undefined) {
    throw new ApiError(
      "action_failed",
      made.status === null
        ? `The endpoint gave no answer (${made.error}).`
        : `The endpoint answered ${made.status}, or no JSON of at most 64 KiB.`,
    );
  }
  return answer;
}

function parsed(body: string | null): unknown {
  try {
    return body !== null && body.length <= ANSWER_MOST ? JSON.parse(body) : undefined;
  } catch {
    return undefined;
  }
}
