import type { Context } from "../lib/context";
import { ApiError } from "../lib/errors";
import type { Job, Step } from "../lib/job";
import { comeTo } from "./callbacks";
import { CALLBACK_ATTEMPTS, findCallback, getCallback, noteCallback } from "./kept-callbacks";

/** As if the provider had called once more. */
export async function replayCallback(ctx: Context, id: string) {
  const { integrationId, heard } = await getCallback(ctx, id);
  return noteCallback(ctx, id, await comeTo(ctx, integrationId, heard));
}

/** What came before its message was recorded, or when something was out of order here. */
export async function replayInTime(ctx: Context, { payload, attempt }: Job): Promise<Step> {
  const kept = await findCallback(ctx, String(payload.integrationId), String(payload.digest));
  if (!kept) return { done: true };
  const came = await comeTo(ctx, kept.integrationId, kept.heard);
  const last = attempt >= CALLBACK_ATTEMPTS;
  await noteCallback(ctx, kept.id, last && came.status === "waiting" ? { ...came, status: "unknown" } : came);
  if (came.status === "heard" || last) return { done: true };
  throw new ApiError("not_found", "It tells of a message that is not known yet.");
}
