import { and, asc, eq, gt, isNotNull, isNull, or, sql } from "drizzle-orm";
import { type Context, systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { secretBytes } from "../lib/once";
import { found, mustExist } from "../lib/rows";
import { audit } from "../tenants/audit";
import { webhookSecrets, webhooks } from "./schema";
import { sealSecret } from "./secrets";
import { asJwk, newKeyPair, newSecret } from "./signature";

type Key = { secret: string; publicKey: string | null };

/** Until the overlap is over, deliveries are signed with the old keys of its kind too. */
async function replaceKey(ctx: Context, webhookId: string, { secret, publicKey }: Key, overlapSeconds: number) {
  const { tenantId } = ctx;
  const until = sql<string>`now() + make_interval(secs => ${overlapSeconds})`;
  const old = and(
    eq(webhookSecrets.tenantId, tenantId),
    eq(webhookSecrets.webhookId, webhookId),
    publicKey === null ? isNull(webhookSecrets.publicKey) : isNotNull(webhookSecrets.publicKey),
    or(isNull(webhookSecrets.expiresAt), gt(webhookSecrets.expiresAt, until)),
  );
  const action = publicKey === null ? "webhook.secret_rotated" : "webhook.signing_key_made";
  const [, , , rows] = await asTenant(ctx, [
    mustExist(webhooks, webhookId),
    audit(ctx, action, { type: "webhook", id: webhookId }, { overlapSeconds }),
    db.update(webhookSecrets).set({ expiresAt: until }).where(old),
    db
      .insert(webhookSecrets)
      .values({
        tenantId,
        id: newId(),
        webhookId,
        publicKey,
        createdAt: sql<string>`clock_timestamp()`,
        ...(await sealSecret(ctx.env, tenantId, webhookId, secret)),
      })
      .returning({ id: webhookSecrets.id, createdAt: webhookSecrets.createdAt }),
  ]);
  return found(rows);
}

export async function rotateSecret(ctx: Context, webhookId: string, overlapSeconds: number) {
  const secret = newSecret(await secretBytes(ctx, "webhook secret", 32));
  return { ...(await replaceKey(ctx, webhookId, { secret, publicKey: null }, overlapSeconds)), secret };
}

/** From now on deliveries carry a v1a signature as well, which anybody can check who knows the public key. */
export async function makeSigningKey(ctx: Context, webhookId: string, overlapSeconds: number) {
  const { privateKey, publicKey } = await newKeyPair(await secretBytes(ctx, "webhook signing key", 32));
  const made = await replaceKey(ctx, webhookId, { secret: privateKey, publicKey }, overlapSeconds);
  return { ...made, publicKey, keysUrl: `${ctx.env.DEPLOYMENT_URL}${keysPath(ctx.tenantId, webhookId)}` };
}

const keysPath = (tenantId: string, webhookId: string) => `/.well-known/webhooks/${tenantId}/${webhookId}`;

/** The public keys that deliveries to an endpoint may be signed with now, as a JWKS. */
export async function publicKeys(env: Env, tenantId: string, webhookId: string) {
  const live = or(isNull(webhookSecrets.expiresAt), gt(webhookSecrets.expiresAt, sql`now()`));
  const [, rows] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [
      mustExist(webhooks, webhookId),
      db
        .select({ id: webhookSecrets.id, publicKey: webhookSecrets.publicKey })
        .from(webhookSecrets)
        .where(
          and(
            eq(webhookSecrets.tenantId, tenantId),
            eq(webhookSecrets.webhookId, webhookId),
            isNotNull(webhookSecrets.publicKey),
            live,
          ),
        )
        .orderBy(asc(webhookSecrets.createdAt)),
    ],
  ).catch((error: unknown) => {
    // Nobody is told which tenants there are.
    throw error instanceof ApiError && error.code === "unknown_credential" ? new ApiError("not_found") : error;
  });
  return rows.map(({ id, publicKey }) => ({
    ...asJwk(publicKey!),
    kid: id,
    alg: "EdDSA" as const,
    use: "sig" as const,
    publicKey: publicKey!,
  }));
}
