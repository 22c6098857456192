import { decodeJwt, decodeProtectedHeader, errors, importJWK, type JWTPayload, jwtVerify } from "jose";
import type { Actor, KeyFacts, Snapshot } from "../lib/context";
import { hkdf, masterSecrets, sha256Hex } from "../lib/crypto";
import { askDoor } from "../lib/db";
import { ApiError } from "../lib/errors";
import { apiKeyKind } from "../lib/ids";
import { RESOURCE_KINDS } from "../lib/scopes";
import { isStorable } from "../lib/validate";
import { jwksKey } from "./jwks";
import { KNOWN_MOST, keep, knownSnapshot, loadSnapshot } from "./snapshots";

export type Identified = { actor: Actor; snapshot: Snapshot };
type WaitUntil = (work: Promise<unknown>) => void;

/** What is known of a key holds for the version of the tenant's settings that it was read with, and no other. */
const keys = new Map<string, { key: KeyFacts; tenantId: string; version: number }>();

/** Whose credential this is; what the database alone knows is checked by `door.enter`. */
export async function identify(env: Env, headers: Headers, waitUntil: WaitUntil): Promise<Identified> {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.get("Authorization") ?? "")?.[1];
  if (!bearer) throw new ApiError("missing_credential");
  const user = headers.get("Parley-User");
  if (bearer.startsWith("parley_")) {
    const acting = user === null ? {} : { user: actingUser(user) };
    const { key, snapshot } = await identifyKey(env, bearer, waitUntil);
    return { actor: { kind: "key", key, ...acting }, snapshot };
  }
  if (user !== null) {
    throw new ApiError("malformed_header", "Parley-User goes with an API key only; a token names its user in sub.");
  }
  return identifyToken(env, bearer, waitUntil);
}

async function identifyKey(env: Env, text: string, waitUntil: WaitUntil) {
  if (!apiKeyKind(text)) throw new ApiError("unknown_credential");
  const hash = await sha256Hex(text);
  const known = keys.get(hash);
  const snapshot = known && knownSnapshot(env, known.tenantId, waitUntil);
  if (known && known.version === snapshot?.version) return { key: known.key, snapshot };
  type Found = KeyFacts & { tenant: Snapshot | null };
  const row = await askDoor<{ k: Found | null }>(env, "select door.find_key(decode($1, 'hex')) as k", [hash]);
  if (!row?.k?.tenant) throw new ApiError("unknown_credential");
  const { tenant, ...key } = row.k;
  keep(tenant);
  if (keys.size >= KNOWN_MOST) keys.clear();
  keys.set(hash, { key, tenantId: tenant.tenantId, version: tenant.version });
  return { key, snapshot: tenant };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

function actingUser(header: string) {
  const external = /^external:([\x20-\x7e]{1,1000})$/.exec(header);
  if (external) return { externalId: decodeExternalId(external[1]!) };
  if (UUID.test(header)) return { id: header.toLowerCase() };
  throw new ApiError(
    "malformed_header",
    "Parley-User is a user's id, or external: and an external id (percent-encoded where not ASCII).",
  );
}

function decodeExternalId(value: string): string {
  try {
    const externalId = decodeURIComponent(value);
    if (isStorable(externalId) && externalId.length <= 255) return externalId;
  } catch {}
  throw new ApiError("malformed_header", "The external id in Parley-User is not percent-encoded correctly.");
}

export const userTokenSecret = (master: Uint8Array<ArrayBuffer>, tenantId: string) =>
  hkdf(master, tenantId, "user tokens");

const USER_TOKEN_KID = /^user-(\w+)$/;
const MOST_SECONDS = { signed: 3600, user: 86_400 };
const FOREIGN_KEY_HEADERS = ["jku", "x5u", "jwk", "x5c", "crit"];

async function identifyToken(env: Env, token: string, waitUntil: WaitUntil): Promise<Identified> {
  const { header, claims } = readToken(token);
  const { kid } = header;
  if (typeof kid !== "string") throw new ApiError("token_invalid", "The token's header lacks kid.");
  const foreign = FOREIGN_KEY_HEADERS.find((name) => name in header);
  if (foreign) throw new ApiError("token_invalid", `The token's header may not hold ${foreign}.`);
  if (typeof claims.iss !== "string" || !UUID.test(claims.iss)) {
    throw new ApiError("token_invalid", "iss is not a tenant id.");
  }
  const [, version] = USER_TOKEN_KID.exec(kid) ?? [];
  return version === undefined
    ? identifySigned(env, token, kid, claims.iss, waitUntil)
    : identifyUser(env, token, version, claims.iss, waitUntil);
}

function readToken(token: string) {
  try {
    return { header: decodeProtectedHeader(token), claims: decodeJwt(token) };
  } catch {
    throw new ApiError("unknown_credential");
  }
}

/** A token that Parley minted. */
async function identifyUser(env: Env, token: string, version: string, issuer: string, waitUntil: WaitUntil) {
  const master = masterSecrets(env).get(version);
  if (!master) throw new ApiError("unknown_credential", "kid names no master secret that is in use.");
  const snapshot = knownSnapshot(env, issuer, waitUntil) ?? (await loadSnapshot(env, issuer));
  const secret = await userTokenSecret(master, snapshot.tenantId);
  const claims = await verified(env, token, secret, "HS256", snapshot.tenantId, MOST_SECONDS.user);
  const { sub, jti, iat, exp } = claims;
  if (!sub || !jti) throw new ApiError("token_invalid", "sub and jti are missing.");
  return { actor: { kind: "user" as const, user: { id: sub }, jti, issuedAt: iat!, expiresAt: exp! }, snapshot };
}

/** A token that the tenant signed with a key of its own. */
async function identifySigned(env: Env, token: string, kid: string, issuer: string, waitUntil: WaitUntil) {
  const known = knownSnapshot(env, issuer, waitUntil);
  let snapshot = known ?? (await loadSnapshot(env, issuer));
  let key = await signingKey(env, snapshot, kid);
  if (!key && known) {
    // It may have been registered since.
    snapshot = await loadSnapshot(env, issuer);
    key = await signingKey(env, snapshot, kid);
  }
  if (!key?.jwk) throw new ApiError("unknown_credential", "kid names no key of this tenant.");
  const publicKey = await importJWK(key.jwk, key.algorithm).catch(() => {
    throw new ApiError("token_invalid", `The key that kid names is not one for ${key.algorithm}.`);
  });
  const claims = await verified(env, token, publicKey, key.algorithm, snapshot.tenantId, MOST_SECONDS.signed);
  const { sub, jti, iat, exp, scope } = claims;
  const scopes = typeof scope === "string" ? scope.split(" ").filter(Boolean) : [];
  if (scopes.length === 0) throw new ApiError("token_invalid", "scope is missing.");
  const above = scopes.find((one) => !key.scopes.includes(one));
  if (above) throw new ApiError("token_invalid", `scope ${above} is above the key's.`);
  if (sub !== undefined && !UUID.test(sub)) throw new ApiError("token_invalid", "sub is not a user id.");
  const user = sub === undefined ? {} : { user: { id: sub.toLowerCase() } };
  const named = jti === undefined ? {} : { jti };
  const times = { issuedAt: iat!, expiresAt: exp! };
  const bound = claims.resources === undefined ? {} : { resources: boundBy(claims.resources) };
  return {
    actor: { kind: "token" as const, authKeyId: key.id, scopes, ...times, ...named, ...user, ...bound },
    snapshot,
  };
}

/** `{ "inbox": ["<id>"] }`: of these kinds the token touches nothing else, as a key that is bound. */
function boundBy(claim: unknown): Record<string, string[]> {
  const kinds = new Set<string | undefined>(Object.values(RESOURCE_KINDS));
  const entries = typeof claim === "object" && claim !== null ? Object.entries(claim) : [];
  const sound = entries.every(
    ([kind, ids]) =>
      kinds.has(kind) &&
      Array.isArray(ids) &&
      ids.length > 0 &&
      ids.every((id) => typeof id === "string" && UUID.test(id)),
  );
  if (entries.length === 0 || !sound)
    throw new ApiError("token_invalid", "resources names kinds of resources, each with a list of ids.");
  return Object.fromEntries(entries.map(([kind, ids]) => [kind, (ids as string[]).map((id) => id.toLowerCase())]));
}

const signingKey = async (env: Env, { authKeys }: Snapshot, kid: string) =>
  authKeys.find((key) => key.id === kid && key.jwk) ?? (await jwksKey(env, authKeys, kid));

/** The algorithm is the key's, whatever the token says. */
async function verified(
  env: Env,
  token: string,
  key: Parameters<typeof jwtVerify>[1],
  algorithm: string,
  issuer: string,
  mostSeconds: number,
): Promise<JWTPayload> {
  const demands = {
    algorithms: [algorithm],
    issuer,
    audience: env.DEPLOYMENT_URL,
    clockTolerance: 60,
    requiredClaims: ["exp", "iat"],
  };
  const { payload } = await jwtVerify(token, key, demands).catch((error) => {
    throw tokenRefusal(error);
  });
  const { exp, iat, jti } = payload;
  if (iat! > Date.now() / 1000 + 60) throw new ApiError("token_invalid", "iat lies in the future.");
  if (exp! - iat! > mostSeconds) throw new ApiError("token_invalid", `exp is more than ${mostSeconds} s after iat.`);
  if (jti !== undefined && !(typeof jti === "string" && jti.length <= 255 && isStorable(jti))) {
    throw new ApiError("token_invalid", "jti is no text of up to 255 characters.");
  }
  return payload;
}

function tokenRefusal(error: unknown): ApiError {
  if (error instanceof errors.JWTExpired) return new ApiError("token_expired");
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new ApiError("token_invalid", `${error.claim}: ${error.message}`);
  }
  return new ApiError("token_invalid", "The signature does not hold for the key that kid names.");
}
