import { sql } from "drizzle-orm";
import { jwtVerify, SignJWT } from "jose";
import { socketTickets } from "../auth/schema";
import { snapshotOf } from "../auth/snapshots";
import type { Actor, Context } from "../lib/context";
import { hkdf, masterSecrets, newestMaster, sha256, sha256Hex } from "../lib/crypto";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";

const SECONDS = 30;

const secretOf = (master: Uint8Array<ArrayBuffer>, tenantId: string) => hkdf(master, tenantId, "socket tickets");

/** Stands in a URL instead of a credential: for one socket, for 30 seconds, and worth no more than what it was bought with. */
export async function buyTicket(ctx: Context) {
  const { tenantId, actor } = ctx;
  const { version, secret } = newestMaster(ctx.env);
  const expiresAt = new Date(Date.now() + SECONDS * 1000);
  const ticket = await new SignJWT({ actor })
    .setProtectedHeader({ alg: "HS256", kid: version })
    .setIssuer(tenantId)
    .setJti(crypto.randomUUID())
    .setExpirationTime(expiresAt)
    .sign(await secretOf(secret, tenantId));
  const hash = await sha256(ticket);
  await asTenant(ctx, [
    refuseUnless(sql`current_user_id() is not null`, "not_allowed"),
    db.insert(socketTickets).values({
      tenantId,
      hash,
      userId: sql<string>`current_user_id()`,
      credential: {},
      expiresAt: expiresAt.toISOString(),
    }),
    db.execute(
      sql`delete from ${socketTickets} where ${socketTickets.tenantId} = current_tenant() and ${socketTickets.userId} = current_user_id() and ${socketTickets.expiresAt} < now()`,
    ),
  ]);
  return { ticket, expiresAt: expiresAt.toISOString() };
}

/** Who bought it. That it is used once is seen to where the socket is let in, by its hash. */
export async function readTicket(
  env: Env,
  text: string,
  requestId: string,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<{ ctx: Context; ticket: string }> {
  const refused = () => new ApiError("unknown_credential", "The ticket is unknown, used or expired.");
  const [head = "", body = ""] = text.split(".");
  const tenantId = read<{ iss?: string }>(body)?.iss ?? "";
  const master = masterSecrets(env).get(read<{ kid?: string }>(head)?.kid ?? "");
  if (!master || !/^[0-9a-f-]{36}$/.test(tenantId)) throw refused();
  const verified = await jwtVerify<{ actor: Actor }>(text, await secretOf(master, tenantId), {
    algorithms: ["HS256"],
    issuer: tenantId,
    clockTolerance: 5,
  }).catch(() => {
    throw refused();
  });
  const snapshot = await snapshotOf(env, tenantId, waitUntil);
  const ctx: Context = {
    env,
    tenantId,
    actor: verified.payload.actor,
    snapshot,
    scope: "channels:read",
    reads: true,
    requestId,
    ip: null,
    userAgent: null,
    waitUntil,
  };
  return { ctx, ticket: await sha256Hex(text) };
}

function read<T>(part: string): T | null {
  try {
    return JSON.parse(atob(part.replaceAll("-", "+").replaceAll("_", "/"))) as T;
  } catch {
    return null;
  }
}
