const encoder = new TextEncoder();

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text) as Uint8Array<ArrayBuffer>;

export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

export const toBase64 = (bytes: Uint8Array): string => {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
};

export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

export const toBase64Url = (bytes: Uint8Array): string =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

export const fromBase64Url = (text: string): Uint8Array<ArrayBuffer> =>
  fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));

export async function sha256(data: string | Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", typeof data === "string" ? utf8(data) : data));
}

export const sha256Hex = async (data: string | Uint8Array<ArrayBuffer>): Promise<string> => toHex(await sha256(data));

export async function hmac(key: Uint8Array<ArrayBuffer>, data: string | Uint8Array<ArrayBuffer>) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, typeof data === "string" ? utf8(data) : data));
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

export async function hkdf(secret: Uint8Array<ArrayBuffer>, salt: string, info: string, length = 32) {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const params = { name: "HKDF", hash: "SHA-256", salt: utf8(salt), info: utf8(info) };
  return new Uint8Array(await crypto.subtle.deriveBits(params, key, length * 8));
}

const aesKey = (key: Uint8Array<ArrayBuffer>) =>
  crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);

/** AES-256-GCM; the nonce leads. `bound` is what the bytes belong to: moved elsewhere, they do not open. */
export async function seal(key: Uint8Array<ArrayBuffer>, plain: Uint8Array<ArrayBuffer>, bound: string) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const params = { name: "AES-GCM", iv, additionalData: utf8(bound) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(params, await aesKey(key), plain));
  const out = new Uint8Array(iv.length + sealed.length);
  out.set(iv);
  out.set(sealed, iv.length);
  return out;
}

export async function unseal(key: Uint8Array<ArrayBuffer>, sealed: Uint8Array<ArrayBuffer>, bound: string) {
  const params = { name: "AES-GCM", iv: sealed.slice(0, 12), additionalData: utf8(bound) };
  return new Uint8Array(await crypto.subtle.decrypt(params, await aesKey(key), sealed.slice(12)));
}

/** The deployment's master secrets, newest last: `MASTER_SECRETS` is "1:base64 2:base64 …". */
export function masterSecrets(env: { MASTER_SECRETS: string }): Map<string, Uint8Array<ArrayBuffer>> {
  const secrets = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const entry of env.MASTER_SECRETS.trim().split(/\s+/)) {
    const colon = entry.indexOf(":");
    secrets.set(entry.slice(0, colon), fromBase64(entry.slice(colon + 1)));
  }
  return secrets;
}

export function newestMaster(env: { MASTER_SECRETS: string }): { version: string; secret: Uint8Array<ArrayBuffer> } {
  const [version, secret] = [...masterSecrets(env)].at(-1)!;
  return { version, secret };
}
