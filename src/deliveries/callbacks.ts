import { asSystem } from "../auth/system";
import { openAccount, selectStored, useAccount } from "../integrations/accounts";
import type { Context } from "../lib/context";
import { asTenant } from "../lib/db";
import { ApiError } from "../lib/errors";
import { logFault } from "../lib/log";
import { found } from "../lib/rows";
import { BadCallback, BadSignature, type Heard, ProviderError } from "../providers/provider";
import { type CameTo, isForged, keepCallback, storable } from "./kept-callbacks";
import { recordLearned } from "./learned";
import { saying } from "./playback";
import { isMeant, recordReceipts } from "./receipts";
import { hearReplies } from "./replies";

const PATIENCE_MS = 10_000;

/** A provider tells of what it was given, and is believed by its own signature alone. What it tells is kept. */
export async function hearCallback(
  env: Env,
  tenantId: string,
  integrationId: string,
  request: Request,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  const { url, headers } = request;
  // As bytes in memory: it may be read again, and so be tried again with newer settings.
  const body = new Uint8Array(await request.arrayBuffer());
  await asSystem(env, tenantId, waitUntil, async (ctx) => {
    const heard = storable(await heardIn(ctx, integrationId, new Request(url, { method: "POST", headers, body })));
    const called = { integrationId, headers, body, heard };
    if (await isForged(ctx, called)) refuse(new BadSignature());
    await keepCallback(ctx, called, await comeTo(ctx, integrationId, heard));
  }).catch((error) => {
    if (error instanceof ApiError && error.code === "unknown_credential") throw new ApiError("not_found");
    throw error;
  });
}

/** What a request says, if it comes from the account's provider. */
async function heardIn(ctx: Context, integrationId: string, request: Request): Promise<Heard> {
  const [rows] = await asTenant(ctx, [selectStored(integrationId)]);
  const opened = await openAccount(ctx.env, ctx.tenantId, found(rows));
  return useAccount(
    ctx.env,
    opened,
    PATIENCE_MS,
    (provider, account, io) => provider.readCallback(request, account, io),
    ctx,
  ).catch(refuse);
}

/** What becomes of it, so that it can be told and tried again. */
export async function comeTo(ctx: Context, integrationId: string, heard: Heard): Promise<CameTo> {
  try {
    return { status: (await recordHeard(ctx, integrationId, heard)) ? "heard" : "waiting", error: null };
  } catch (error) {
    // Whoever called tries again, with the tenant's settings as they are by then.
    if (error instanceof ApiError && error.code === "unavailable") throw error;
    logFault(ctx.requestId, error);
    return { status: "failed", error: error instanceof ApiError ? error.code : "internal" };
  }
}

/** Heard again, nothing of it changes anything. False where it tells of a message that is not recorded, at least not yet. */
export async function recordHeard(ctx: Context, integrationId: string, heard: Heard): Promise<boolean> {
  const said = heard.receipts.map(saying);
  const also = heard.replies.map(({ providerMessageId }) => providerMessageId);
  const known = await recordReceipts(ctx, integrationId, said, { also });
  await recordLearned(
    ctx,
    heard.receipts.flatMap(({ rfcId, ...receipt }) => {
      const row = rfcId === undefined ? undefined : known.find((one) => isMeant(one, receipt));
      return row ? [{ messageId: row.messageId, rfcId: rfcId! }] : [];
    }),
  );
  await hearReplies(ctx, known, heard.replies);
  const about = [...said, ...also.map((providerMessageId) => ({ providerMessageId }))];
  return about.every((one) => known.some((row) => isMeant(row, one)));
}

function refuse(error: unknown): never {
  if (error instanceof BadSignature) throw new ApiError("not_allowed", "The provider's signature does not hold.");
  if (error instanceof BadCallback) throw new ApiError("invalid_request", error.message);
  if (error instanceof ProviderError) throw new ApiError("unavailable", error.message);
  throw error;
}
