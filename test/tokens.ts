import { exportJWK, exportSPKI, generateKeyPair, type JWTHeaderParameters, type JWTPayload, SignJWT } from "jose";
import { expect } from "vitest";
import type { Any, Client, Tenant } from "./helpers";

export const AUDIENCE = "http://parley.test";
export const ALGORITHMS = ["ES256", "ES384", "RS256", "EdDSA"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export const newPair = (algorithm: Algorithm) => generateKeyPair(algorithm, { extractable: true });
export type Pair = Awaited<ReturnType<typeof newPair>>;

export const secondsNow = () => Math.floor(Date.now() / 1000);

/** A token as a tenant's own server signs it; a claim or header member of `undefined` is left out. */
export async function sign(
  key: CryptoKey | Uint8Array,
  header: Partial<JWTHeaderParameters>,
  claims: JWTPayload,
): Promise<string> {
  const now = secondsNow();
  const payload = { aud: AUDIENCE, iat: now, exp: now + 600, ...claims };
  const given = (value: object) => Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
  return new SignJWT(given(payload))
    .setProtectedHeader(given({ alg: "ES256", ...header }) as JWTHeaderParameters)
    .sign(key, { crit: { tenant: true } });
}

/** Parts as they are, with a signature of our own making or none. */
export const unsigned = (header: object, claims: object, signature = ""): string => {
  const encode = (value: object) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${encode(header)}.${encode(claims)}.${signature}`;
};

export async function registerKey(tenant: Client, input: Record<string, unknown>): Promise<Any> {
  const made = await tenant.post("/v1/auth-keys", { name: "Signer", scopes: ["tenant:read", "users:read"], ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

export type Signer = Pair & { kid: string; token(claims?: JWTPayload, header?: object): Promise<string> };

/** A key pair whose public half the tenant has registered. */
export async function newSigner(
  tenant: Tenant,
  algorithm: Algorithm = "ES256",
  input: Record<string, unknown> = {},
): Promise<Signer> {
  const pair = await newPair(algorithm);
  const { id } = await registerKey(tenant, { algorithm, publicKeyPem: await exportSPKI(pair.publicKey), ...input });
  const own = { iss: tenant.id, scope: "users:read" };
  return {
    ...pair,
    kid: id,
    token: (claims = {}, header = {}) =>
      sign(pair.privateKey, { alg: algorithm, kid: id, ...header }, { ...own, ...claims }),
  };
}

export const publicJwk = ({ publicKey }: Pair) => exportJWK(publicKey);
