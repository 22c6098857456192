import { store } from "../files/store";
import { systemContext } from "../lib/context";
import { askDoor, asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import type { RAW_SOURCES } from "./schema";
import { inboundRaw } from "./schema";

/** The largest mail that is taken. */
export const MAIL_BYTES = 26_214_400;

export type Envelope = { from: string; to: string };
export type FoundInbox = {
  tenantId: string;
  id: string;
  address: string;
  route: "exact" | "base" | "catch-all";
  tag: string | null;
  topic: string | null;
};

/** Whose mail for this address is, of whatever tenant. */
export async function findInbox(env: Env, address: string): Promise<FoundInbox | null> {
  if (address.length > 320) return null;
  const row = await askDoor<{ inbox: FoundInbox | null }>(env, "select door.find_inbox($1) as inbox", [address]);
  return row?.inbox ?? null;
}

export const rawKey = (tenantId: string, rawId: string): string => `${tenantId}/raw/${rawId}`;

export type InboundMessage = { tenantId: string; rawId: string };
type Arrived = { source: (typeof RAW_SOURCES)[number]; envelope: Envelope; inbox: FoundInbox };

/**
 * Keeps a mail, byte for byte, before anybody is told that we have it: first the bytes, then the row. What it says is
 * read afterwards. An error means that the sender has to try again.
 */
export async function takeIn(
  env: Env,
  { source, envelope, inbox }: Arrived,
  body: ReadableStream<Uint8Array> | null,
  size: number,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<{ id: string; inboxId: string }> {
  const { tenantId, route, tag } = inbox;
  const id = newId();
  const key = rawKey(tenantId, id);
  const { sha256 } = await store(body, size, (bytes) =>
    env.FILES.put(key, bytes, { httpMetadata: { contentType: "message/rfc822" } }),
  );
  const row = {
    ...{ tenantId, id, inboxId: inbox.id, source, route, tag, size, sha256 },
    envelopeFrom: envelope.from.replace(/^<\s*>$/, "").slice(0, 320),
    envelopeTo: envelope.to,
  };
  try {
    await asTenant(systemContext(env, tenantId, waitUntil), [db.insert(inboundRaw).values(row)]);
  } catch (error) {
    waitUntil(env.FILES.delete(key));
    throw error;
  }
  // What gets lost here, the sweep finds within a minute.
  waitUntil(env.INBOUND.send({ tenantId, rawId: id } satisfies InboundMessage).catch(() => {}));
  return { id, inboxId: inbox.id };
}

export function refuseTooLarge(size: number): void {
  if (size > MAIL_BYTES) {
    throw new ApiError("payload_too_large", `A mail may take ${MAIL_BYTES} bytes.`, { limit: MAIL_BYTES, use: size });
  }
}
