import type { JWK } from "jose";
import type { Snapshot } from "../lib/context";
import { guardedFetch } from "../lib/guard";

type AuthKey = Snapshot["authKeys"][number];

const FRESH_MS = 600_000;
const RETRY_MS = 30_000;
const sets = new Map<string, { keys: JWK[]; at: number }>();

/** The key of a tenant's published key set that `kid` names; the set is fetched again when it does not know the kid. */
export async function jwksKey(env: Env, authKeys: AuthKey[], kid: string): Promise<AuthKey | undefined> {
  for (const authKey of authKeys) {
    if (!authKey.jwksUrl) continue;
    const jwk = (await keySet(env, authKey.jwksUrl, kid)).find((candidate) => candidate.kid === kid);
    if (jwk && publicJwk(jwk)) return { ...authKey, jwk };
  }
  return undefined;
}

async function keySet(env: Env, url: string, kid: string): Promise<JWK[]> {
  const known = sets.get(url);
  const age = known ? Date.now() - known.at : Number.POSITIVE_INFINITY;
  if (known && age < FRESH_MS && (known.keys.some((key) => key.kid === kid) || age < RETRY_MS)) return known.keys;
  const keys = await fetchSet(env, url).catch(() => known?.keys ?? []);
  if (sets.size > 1000) sets.clear();
  sets.set(url, { keys, at: Date.now() });
  return keys;
}

async function fetchSet(env: Env, url: string): Promise<JWK[]> {
  const answer = await guardedFetch(
    env,
    url,
    { headers: { Accept: "application/json" } },
    { timeoutMs: 3000, maxBytes: 65_536 },
  );
  if (answer.status !== 200) throw new Error(`The key set answered ${answer.status}.`);
  const set = JSON.parse(new TextDecoder().decode(answer.body)) as { keys?: JWK[] };
  return Array.isArray(set.keys) ? set.keys.filter((key) => typeof key === "object" && key !== null) : [];
}

/** Symmetric and private keys are not public ones. */
export const publicJwk = (jwk: JWK): boolean =>
  jwk.kty !== "oct" && !["d", "p", "q", "dp", "dq", "qi", "k"].some((part) => part in jwk);
