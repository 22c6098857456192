import { and, desc, eq, getTableColumns, isNull, sql } from "drizzle-orm";
import { exportJWK, importJWK, importSPKI, type JWK } from "jose";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { checkUrl, UnsafeUrl, urlRules } from "../lib/guard";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, mustExist, own } from "../lib/rows";
import type { Scope } from "../lib/scopes";
import { audit } from "../tenants/audit";
import { mustHold, mustStayWithin } from "./grants";
import { publicJwk } from "./jwks";
import { type ALGORITHMS, authKeyScopes, authKeys } from "./schema";
import { endingSockets, socketsOfKey } from "./sockets";

type Algorithm = (typeof ALGORITHMS)[number];
export type AuthKeyInput = {
  name: string;
  algorithm: Algorithm;
  scopes: Scope[];
  publicKeyPem?: string | undefined;
  jwk?: Record<string, unknown> | undefined;
  jwksUrl?: string | undefined;
};

const { tenantId: _t, ...columns } = getTableColumns(authKeys);
const scopes = sql<string[]>`array(select s.scope from auth_key_scopes s
  where s.tenant_id = auth_keys.tenant_id and s.key_id = auth_keys.id order by 1)`.mapWith(
  (value: unknown) => value as string[],
);
const selectAuthKeys = () => db.select({ ...columns, scopes }).from(authKeys);

const CURVES: Record<Algorithm, string | undefined> = {
  ES256: "P-256",
  ES384: "P-384",
  EdDSA: "Ed25519",
  RS256: undefined,
};

/** The public half as a JWK, checked against the algorithm it is pinned to. */
async function publicKey(input: AuthKeyInput): Promise<JWK | null> {
  if (input.jwksUrl) return null;
  const refused = (path: string, message: string) =>
    new ApiError("invalid_request", undefined, { errors: [{ path, message }] });
  if (input.publicKeyPem?.includes("PRIVATE KEY"))
    throw refused("publicKeyPem", "This is a private key. Register the public one, and replace this pair.");
  if (input.jwk && !publicJwk(input.jwk as JWK))
    throw refused("jwk", "This key is private or symmetric. Register a public one.");
  const path = input.jwk ? "jwk" : "publicKeyPem";
  try {
    const key = input.jwk
      ? await importJWK(input.jwk as JWK, input.algorithm, { extractable: true })
      : await importSPKI(input.publicKeyPem ?? "", input.algorithm, { extractable: true });
    const { kty, crv, x, y, n, e } = await exportJWK(key);
    if (CURVES[input.algorithm] !== crv) throw new TypeError();
    if (kty === "RSA" && !(n!.length >= 342 && n!.length <= 1366))
      throw refused(path, "An RSA key has 2,048 to 8,192 bits.");
    return JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })) as JWK;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw refused(path, `This is not a public key for ${input.algorithm}.`);
  }
}

export async function createAuthKey(ctx: Context, input: AuthKeyInput) {
  mustHold(ctx, input.scopes);
  mustStayWithin(ctx, {});
  if (input.jwksUrl) refuseUnsafe(ctx, input.jwksUrl);
  const id = newId();
  const { name, algorithm, publicKeyPem, jwksUrl } = input;
  const row = { tenantId: ctx.tenantId, id, name, algorithm, publicKeyPem, jwksUrl, jwk: await publicKey(input) };
  const [, , , rows] = await asTenant(ctx, [
    audit(ctx, "auth_key.created", { type: "auth_key", id }, { name, algorithm, jwksUrl, scopes: input.scopes }),
    db.insert(authKeys).values(row),
    db
      .insert(authKeyScopes)
      .values([...new Set(input.scopes)].map((scope) => ({ tenantId: ctx.tenantId, keyId: id, scope }))),
    selectAuthKeys().where(own(authKeys, id)),
  ]);
  return found(rows);
}

function refuseUnsafe(ctx: Context, url: string): void {
  try {
    checkUrl(url, urlRules(ctx.env));
  } catch (error) {
    if (error instanceof UnsafeUrl)
      throw new ApiError("invalid_request", undefined, { errors: [{ path: "jwksUrl", message: error.message }] });
    throw error;
  }
}

export async function listAuthKeys(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    selectAuthKeys()
      .where(and(eq(authKeys.tenantId, ctx.tenantId), after(page, [authKeys.id])))
      .orderBy(desc(authKeys.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getAuthKey(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectAuthKeys().where(own(authKeys, id))]);
  return found(rows);
}

/** Tokens signed by it are refused from the next request on. */
export async function revokeAuthKey(ctx: Context, id: string): Promise<void> {
  await endingSockets(ctx, { where: socketsOfKey(id), code: "key_revoked" }, [
    mustExist(authKeys, id),
    audit(ctx, "auth_key.revoked", { type: "auth_key", id }),
    db
      .update(authKeys)
      .set({ revokedAt: sql<string>`now()` })
      .where(own(authKeys, id, isNull(authKeys.revokedAt))),
  ]);
}
