import type { Context, Once } from "./context";
import { hkdf, masterSecrets, newestMaster, sha256Hex, toHex } from "./crypto";
import { ApiError } from "./errors";

/**
 * The first call's seed travels to every repetition, and with it the secrets that were derived from it. A repetition
 * runs the handler on the rows that the first call got back: whatever else it makes up, such as an id, is another one.
 */
export async function beginOnce(env: Env, caller: string, key: string, request: string[]): Promise<Once> {
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new ApiError("malformed_header", "Idempotency-Key is 1 to 255 visible ASCII characters.");
  }
  const seed = `${newestMaster(env).version}.${toHex(crypto.getRandomValues(new Uint8Array(32)))}`;
  return { key: `${caller} ${key}`, fingerprint: await sha256Hex(request.join("\n")), seed };
}

/**
 * Random bytes for a secret that is shown once. Under an Idempotency-Key they follow from the seed and the
 * master secret, so a repetition shows the same secret although none is stored.
 */
export async function secretBytes(ctx: Context, purpose: string, length: number): Promise<Uint8Array<ArrayBuffer>> {
  if (!ctx.once) return crypto.getRandomValues(new Uint8Array(length));
  const [version = "", seed = ""] = ctx.once.seed.split(".");
  const master = masterSecrets(ctx.env).get(version);
  if (!master) throw new ApiError("internal");
  return hkdf(master, ctx.tenantId, `once ${seed} ${purpose}`, length);
}
