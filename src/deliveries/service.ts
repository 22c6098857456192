import type { Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { db } from "../lib/db";
import { newId } from "../lib/ids";
import type { Medium } from "../providers/provider";
import { deliveries, deliveryEvents } from "./schema";

export type NewDelivery = {
  id: string;
  channelId: string;
  messageId: string;
  medium: Medium;
  recipient: string;
  content: Record<string, unknown>;
  /** Null or absent: the tenant's first working account of the medium. */
  integrationId?: string | null | undefined;
  /** Ended before the provider sees it. */
  status?: "suppressed" | "cancelled" | undefined;
  error?: string | undefined;
};

/** For the batch of the message itself, after its channel. Announce the same ones after the commit. */
export function recordDeliveries(ctx: Context, news: readonly NewDelivery[]) {
  const { tenantId } = ctx;
  const ended = news.flatMap(({ id, status, error }) =>
    status ? [{ tenantId, id: newId(), deliveryId: id, status, details: error === undefined ? {} : { error } }] : [],
  );
  return [
    ...(news.length ? [db.insert(deliveries).values(news.map((one) => ({ tenantId, ...one })))] : []),
    ...(ended.length ? [db.insert(deliveryEvents).values(ended)] : []),
  ];
}

/**
 * On the queue go ids alone. `playBack`: the sandbox's recipients answer. `due`: whatever waits, of any tenant.
 * `messageIds`: who is to be notified of these is yet to be found.
 */
export type OutboundMessage =
  | { tenantId: string; deliveryIds: string[]; playBack?: true }
  | { tenantId: string; messageIds: string[] }
  | { due: true };

const PER_MESSAGE = 50;

export async function enqueueOutbound(
  env: Env,
  bodies: { body: OutboundMessage; delaySeconds?: number }[],
): Promise<void> {
  for (let i = 0; i < bodies.length; i += 100) await env.OUTBOUND.sendBatch(bodies.slice(i, i + 100));
}

export function outboundBodies(
  tenantId: string,
  ids: readonly string[],
  more: { playBack?: true } = {},
): OutboundMessage[] {
  const bodies: OutboundMessage[] = [];
  for (let i = 0; i < ids.length; i += PER_MESSAGE)
    bodies.push({ tenantId, deliveryIds: ids.slice(i, i + PER_MESSAGE), ...more });
  return bodies;
}

/** After the commit. A mere speed-up: what is lost here, the sweep finds within a minute. */
export function announceDeliveries(ctx: Context, news: readonly Pick<NewDelivery, "id" | "status">[]): void {
  const ids = news.filter(({ status }) => status === undefined).map(({ id }) => id);
  const bodies = outboundBodies(ctx.tenantId, ids).map((body) => ({ body }));
  if (bodies.length > 0) ctx.waitUntil(enqueueOutbound(ctx.env, bodies).catch(() => {}));
}

/** What was heard twice gets the same id twice, so that the ledger takes it once. */
export async function ledgerId(account: string | null, eventId: string): Promise<string> {
  const hex = await sha256Hex(`${account ?? "sandbox"} ${eventId}`);
  const variant = "89ab"[Number.parseInt(hex[16]!, 16) % 4];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
