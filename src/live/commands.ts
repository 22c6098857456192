import { forget, snapshotOf } from "../auth/snapshots";
import type { Context } from "../lib/context";
import { StaleSnapshot } from "../lib/db";
import { ApiError } from "../lib/errors";
import type { NewMessage } from "../messages/input";
import { type SendAnswer, type SendAsk, sendMessage } from "../messages/send";
import type { Judge } from "../webhooks/before-send";
import { type Admitted, Command, type ServerFrame } from "./protocol";

const idOf = (value: unknown): string | number | null => {
  const id = (value as { id?: unknown } | null)?.id;
  return (typeof id === "string" && id.length <= 100) || Number.isSafeInteger(id) ? (id as string | number) : null;
};

/** Every command gets its answer: an ack once it is done, or a nack that says why not. */
export async function runCommand(text: string, obey: (command: Command) => Promise<unknown>): Promise<ServerFrame> {
  let id: string | number | null = null;
  try {
    const value = parse(text);
    id = idOf(value);
    const { success, data, error } = Command.safeParse(value);
    if (!success) {
      const [issue] = error.issues;
      const isUnknown = issue?.code === "invalid_union" && issue.path[0] === "op";
      return {
        type: "nack",
        id,
        code: isUnknown ? "unknown_command" : "invalid_request",
        detail: `${issue?.path.join(".")}: ${issue?.message}`,
      };
    }
    return { type: "ack", id: data.id, result: await obey(data) };
  } catch (thrown) {
    if (!(thrown instanceof ApiError))
      console.error(JSON.stringify({ level: "error", message: "a command failed", error: String(thrown) }));
    const error = thrown instanceof ApiError ? thrown : new ApiError("internal");
    const { reset } = error.facts as { reset?: number };
    const retryAfter = reset ?? (error.code === "unavailable" ? 1 : undefined);
    return {
      type: "nack",
      id,
      code: error.code,
      detail: error.message,
      ...(retryAfter !== undefined && { retryAfter }),
    };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError("malformed_json");
  }
}

type Within = {
  waitUntil(work: Promise<unknown>): void;
  deliver(ask: SendAsk): Promise<SendAnswer>;
  judge: Judge;
};

/** A send over a socket is judged as one over HTTP. */
export async function sendFromSocket(
  env: Env,
  tenantId: string,
  channelId: string,
  { actor, ip }: Pick<Admitted, "actor" | "ip">,
  input: NewMessage,
  { waitUntil, deliver, judge }: Within,
) {
  const scope = "channels:write";
  const scopes = actor.kind === "key" ? actor.key.scopes : actor.kind === "token" ? actor.scopes : null;
  if (scopes && !scopes.includes(scope))
    throw new ApiError("missing_scope", `The scope ${scope} is needed.`, { scope });
  for (let tries = 1; ; tries++) {
    const snapshot = await snapshotOf(env, tenantId, waitUntil);
    const ctx: Context = {
      env,
      tenantId,
      actor,
      snapshot,
      scope,
      requestId: crypto.randomUUID(),
      ip,
      userAgent: null,
      waitUntil,
    };
    try {
      return (await sendMessage(ctx, channelId, input, deliver, judge)).message;
    } catch (error) {
      if (!(error instanceof StaleSnapshot) || tries === 3) throw error;
      forget(tenantId);
    }
  }
}
