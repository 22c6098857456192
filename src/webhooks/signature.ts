import { fromBase64, fromBase64Url, toBase64, toBase64Url, utf8 } from "../lib/crypto";

/**
 * Standard Webhooks signatures. A key says by its prefix what it is: `whsec_` a shared secret (v1, HMAC-SHA256),
 * `whsk_` a private and `whpk_` a public Ed25519 key (v1a).
 */

const TOLERANCE_SECONDS = 300;
const MOST_SIGNATURES = 32;
const MOST_CACHED_KEYS = 1000;

// What stands before the 32 bytes of an Ed25519 seed in PKCS #8.
const PKCS8_HEAD = fromBase64("MC4CAQAwBQYDK2VwBCIEIA==");

type Bytes = Uint8Array<ArrayBuffer>;

export function newSecret(randomness: Uint8Array): string {
  if (randomness.length < 24 || randomness.length > 64) throw new RangeError("A secret has 24 to 64 random bytes.");
  return `whsec_${toBase64(randomness)}`;
}

/** The private key is the seed followed by the public key, as most Ed25519 libraries keep it. */
export async function newKeyPair(seed: Uint8Array): Promise<{ privateKey: string; publicKey: string }> {
  const key = await crypto.subtle.importKey("pkcs8", joined(PKCS8_HEAD, seed), "Ed25519", true, ["sign"]);
  const { x = "" } = (await crypto.subtle.exportKey("jwk", key)) as JsonWebKey;
  const publicBytes = fromBase64Url(x);
  return { privateKey: `whsk_${toBase64(joined(seed, publicBytes))}`, publicKey: `whpk_${toBase64(publicBytes)}` };
}

/** As a key of a JWKS. */
export const asJwk = (publicKey: string) => ({
  kty: "OKP" as const,
  crv: "Ed25519" as const,
  x: toBase64Url(fromBase64(publicKey.slice("whpk_".length))),
});

/** One signature for each live key, so that a receiver holding the old or the new one accepts the delivery. */
export async function sign(
  keys: string[],
  id: string,
  timestampSeconds: number,
  body: string | Bytes,
): Promise<string> {
  // A dot in the id would let a part of it be taken for the time.
  if (id === "" || id.includes(".")) throw new RangeError("A webhook id is not empty and holds no dot.");
  if (!Number.isSafeInteger(timestampSeconds)) throw new RangeError("A webhook timestamp is in whole seconds.");
  const content = signedContent(id, String(timestampSeconds), body);
  const signatures = keys.map(async (text) => {
    const { version, algorithm, key } = await importKey(text);
    return `${version},${toBase64(new Uint8Array(await crypto.subtle.sign(algorithm, key, content)))}`;
  });
  return (await Promise.all(signatures)).join(" ");
}

export async function webhookHeaders(keys: string[], id: string, timestampSeconds: number, body: string | Bytes) {
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestampSeconds),
    "webhook-signature": await sign(keys, id, timestampSeconds, body),
  };
}

/** True when one of the keys made one of the signatures within five minutes of now; takes `whsec_` and `whpk_` keys. */
export async function verify(
  keys: string[],
  headers: Headers,
  body: string | Bytes,
  nowSeconds = Math.floor(Date.now() / 1000),
): Promise<boolean> {
  const id = headers.get("webhook-id") ?? "";
  const timestamp = headers.get("webhook-timestamp") ?? "";
  if (id === "" || id.includes(".") || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const signatures = (headers.get("webhook-signature") ?? "").split(" ").slice(0, MOST_SIGNATURES);
  const content = signedContent(id, timestamp, body);
  for (const text of keys) {
    const { version, algorithm, key } = await importKey(text);
    for (const signature of signatures) {
      if (!signature.startsWith(`${version},`)) continue;
      const bytes = decode(signature.slice(version.length + 1));
      // The platform compares in constant time.
      if (bytes && (await crypto.subtle.verify(algorithm, key, bytes, content))) return true;
    }
  }
  return false;
}

function signedContent(id: string, timestamp: string, body: string | Bytes): Bytes {
  return joined(utf8(`${id}.${timestamp}.`), typeof body === "string" ? utf8(body) : body);
}

function joined(head: Uint8Array, tail: Uint8Array): Bytes {
  const bytes = new Uint8Array(head.length + tail.length);
  bytes.set(head);
  bytes.set(tail, head.length);
  return bytes;
}

function decode(text: string): Bytes | null {
  try {
    return fromBase64(text);
  } catch {
    return null;
  }
}

type Key = { version: "v1" | "v1a"; algorithm: string; key: CryptoKey };

const imported = new Map<string, Key>();

async function importKey(text: string): Promise<Key> {
  const known = imported.get(text);
  if (known) return known;
  const key = await readKey(text);
  if (imported.size >= MOST_CACHED_KEYS) imported.delete(imported.keys().next().value!);
  imported.set(text, key);
  return key;
}

async function readKey(text: string): Promise<Key> {
  const [, prefix, encoded] = /^(whsec_|whsk_|whpk_)(.+)$/.exec(text) ?? [];
  const bytes = encoded === undefined ? null : decode(encoded);
  if (!bytes) throw new TypeError("A webhook key is whsec_, whsk_ or whpk_ and base64.");
  if (prefix === "whsec_") {
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", bytes, hmac, false, ["sign", "verify"]);
    return { version: "v1", algorithm: "HMAC", key };
  }
  const key = await (prefix === "whsk_"
    ? crypto.subtle.importKey("pkcs8", joined(PKCS8_HEAD, bytes.slice(0, 32)), "Ed25519", false, ["sign"])
    : crypto.subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]));
  return { version: "v1a", algorithm: "Ed25519", key };
}
