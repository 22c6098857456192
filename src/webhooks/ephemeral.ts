import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import type { EphemeralType, EventData } from "../events/catalogue";
import { subscribers } from "../events/subscribers";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { logFault } from "../lib/log";
import { attempt, endingOf } from "./attempt";
import { disable } from "./health";
import type { SealedSecret } from "./secrets";

export type EphemeralEvent = {
  [T in EphemeralType]: { type: T; channelId: string; data: EventData<T> };
}[EphemeralType];

/** To each endpoint that asks for it: now, at most once, and without a row. Who fails or rests has missed it. */
export async function tellEphemeral(
  env: Env,
  tenantId: string,
  { type, channelId, data }: EphemeralEvent,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  const stream = { kind: "channel" as const, id: channelId };
  await asSystem(env, tenantId, waitUntil, async (ctx) => {
    const wanted = subscribers(ctx.snapshot, { type, stream, data });
    if (wanted.length === 0) return;
    const [ready] = await asTenant(ctx, [
      db
        .select({ id: sql<string>`id`, secrets: sql<SealedSecret[]>`secrets` })
        .from(sql`endpoints_to_call(${JSON.stringify(wanted)}::jsonb, ${channelId}::uuid)`),
    ]);
    const id = newId();
    const body = JSON.stringify({ id, type, timestamp: new Date().toISOString(), stream, data });
    await Promise.all(
      ready.map(async ({ id: webhookId, secrets }) => {
        const hook = ctx.snapshot!.webhooks.find((one) => one.id === webhookId)!;
        const ending = endingOf(await attempt(env, { ...hook, tenantId, webhookId, secrets }, id, body));
        if (ending === null) return;
        await disable(env, { tenantId, webhookId }, ending, ctx).catch((error) => logFault("webhooks", error));
      }),
    );
  });
}
