import { sql } from "drizzle-orm";
import { SignJWT } from "jose";
import type { Context } from "../lib/context";
import { newestMaster, toHex } from "../lib/crypto";
import { asTenant, db, refuseUnless } from "../lib/db";
import { secretBytes } from "../lib/once";
import { found, mustExist, own, shown, withinLimit } from "../lib/rows";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { userTokenSecret } from "./credentials";
import { mustOutrank } from "./grants";
import { revokedTokens } from "./schema";
import { endingSockets, socketsOfToken, socketsOfUser } from "./sockets";

export type UserToken = { token: string; jti: string; expiresAt: string };

/** Signed with a secret of the tenant's own, which follows from the deployment's master secret. */
export async function signUserToken(
  ctx: Context,
  userId: string,
  seconds: number,
  issuedAt: number,
): Promise<UserToken> {
  const jti = toHex(await secretBytes(ctx, "token id", 16));
  const { version, secret } = newestMaster(ctx.env);
  const token = await new SignJWT({ jti })
    .setProtectedHeader({ alg: "HS256", kid: `user-${version}`, typ: "JWT" })
    .setIssuer(ctx.tenantId)
    .setAudience(ctx.env.DEPLOYMENT_URL)
    .setSubject(userId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(Math.floor(issuedAt) + seconds)
    .sign(await userTokenSecret(secret, ctx.tenantId));
  return { token, jti, expiresAt: new Date((Math.floor(issuedAt) + seconds) * 1000).toISOString() };
}

/** The database's clock, so that a repetition signs the same token. */
export const secondsNow = sql<number>`extract(epoch from now())::float8`.mapWith(Number);

export async function mintUserToken(ctx: Context, userId: string, seconds: number): Promise<UserToken> {
  const [, , rows] = await asTenant(ctx, [
    mustExist(users, userId),
    refuseUnless(
      sql`exists (select 1 from ${users} where ${own(users, userId)} and ${users.deactivatedAt} is null)`,
      "user_deactivated",
    ),
    db.select({ now: secondsNow, id: users.id }).from(users).where(own(users, userId)),
    audit(ctx, "token.minted", { type: "user", id: userId }, { seconds }),
    ...mustOutrank(ctx, own(users, userId)),
  ]);
  return signUserToken(ctx, userId, seconds, found(rows).now);
}

export async function revokeToken(ctx: Context, jti: string, expiresAt: string | undefined): Promise<void> {
  await endingSockets(ctx, { where: socketsOfToken(jti), code: "token_revoked" }, [
    audit(ctx, "token.revoked", { type: "token", id: jti }),
    db
      .insert(revokedTokens)
      .values({
        tenantId: ctx.tenantId,
        jti,
        expiresAt: expiresAt ?? sql<string>`now() + interval '24 hours 2 minutes'`,
      })
      .onConflictDoNothing(),
  ]);
}

/** Whatever was issued to the user until now. */
export async function revokeTokensOf(ctx: Context, userId: string): Promise<void> {
  await endingSockets(ctx, { where: socketsOfUser(userId), code: "token_revoked" }, [
    mustExist(users, userId),
    audit(ctx, "token.all_revoked", { type: "user", id: userId }),
    db.update(users).set({ tokensRevokedAt: sql<string>`now()` }).where(own(users, userId)),
    ...mustOutrank(ctx, own(users, userId)),
  ]);
}

const { tokensRevokedAt: _r, searchText: _s, ...guestColumns } = shown(users);

/** What a publishable key may do: make a guest, and a token for that guest. */
export async function createGuest(
  ctx: Context,
  guest: { id: string; type: "guest" | "anonymous"; displayName?: string | undefined },
  seconds: number,
) {
  const [rows, times] = await asTenant(ctx, [
    db
      .insert(users)
      .values({ tenantId: ctx.tenantId, ...guest })
      .returning(guestColumns),
    db.select({ now: secondsNow }).from(users).where(own(users, guest.id)),
    audit(ctx, "user.guest_created", { type: "user", id: guest.id }, guest),
    ...withinLimit("users", ctx.snapshot?.limits),
  ]);
  const user = { ...found(rows), teamIds: [] };
  return { user, ...(await signUserToken(ctx, user.id, seconds, found(times).now)) };
}
