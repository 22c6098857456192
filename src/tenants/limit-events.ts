import { asSystem } from "../auth/system";
import { announce, recordEvents } from "../events/service";
import type { Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { asTenant } from "../lib/db";
import { ApiError } from "../lib/errors";

type Facts = { metric: string; limit: number; use: number; reset: string | null };

/** Told once a day for each metric: the event's id follows from both, so a second one is refused as a double. */
export async function tellLimitReached(ctx: Context, { metric, limit, use, reset }: Facts): Promise<void> {
  const { env, tenantId, waitUntil } = ctx;
  const hash = await sha256Hex(`limit reached ${tenantId} ${metric} ${new Date().toISOString().slice(0, 10)}`);
  const id = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const event = {
    id,
    type: "usage.limit_reached" as const,
    stream: { kind: "tenant" as const, id: tenantId },
    data: { metric, limit, use, reset },
  };
  try {
    await asSystem(env, tenantId, waitUntil, async (system) =>
      announce(system, (await asTenant(system, [recordEvents(system, [event])]))[0]),
    );
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "conflict")) throw error;
  }
}
