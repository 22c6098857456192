import type { Context } from "../lib/context";
import { equalBytes, fromBase64Url, hkdf, hmac, masterSecrets, newestMaster, toBase64Url, utf8 } from "../lib/crypto";
import { foldedAddress, TRANSACTIONAL } from "./streams";

/** Whoever has the link may take this address out of this stream, and put it back. */
export type Unsubscription = { tenantId: string; deliveryId: string; address: string; stream: string };

const MAC_BYTES = 16;
const UUID_BYTES = 16;

const bytesOf = (id: string) =>
  Uint8Array.from(id.replaceAll("-", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const idOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

const sign = async (master: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>) =>
  (await hmac(await hkdf(master, "", "unsubscribe links"), body)).slice(0, MAC_BYTES);

/**
 * RFC 8058: the headers of one recipient's mail by which a mail program offers to unsubscribe. Of transactional mail,
 * which nobody can opt out of, there are none.
 */
export async function unsubscribeHeaders(
  { env, tenantId }: Pick<Context, "env" | "tenantId">,
  about: Omit<Unsubscription, "tenantId">,
): Promise<Record<string, string>> {
  if (about.stream === TRANSACTIONAL) return {};
  return {
    "List-Unsubscribe": `<${await unsubscribeUrl(env, { tenantId, ...about })}>`,
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
  };
}

/** It never expires: a mail may lie for years before somebody has enough of it. */
export async function unsubscribeUrl(env: Env, about: Unsubscription): Promise<string> {
  const { tenantId, deliveryId, address, stream } = about;
  const rest = utf8(`${stream} ${foldedAddress(address)}`);
  const body = new Uint8Array([...bytesOf(tenantId), ...bytesOf(deliveryId), ...rest]);
  const signature = await sign(newestMaster(env).secret, body);
  return `${env.DEPLOYMENT_URL}/unsubscribe/${toBase64Url(new Uint8Array([...signature, ...body]))}`;
}

export async function readUnsubscription(env: Env, token: string): Promise<Unsubscription | null> {
  const bytes = /^[\w-]{80,1000}$/.test(token) ? fromBase64Url(token) : new Uint8Array();
  const [signature, body] = [bytes.slice(0, MAC_BYTES), bytes.slice(MAC_BYTES)];
  for (const secret of masterSecrets(env).values()) {
    if (!equalBytes(signature, await sign(secret, body))) continue;
    const [stream = "", address = ""] = new TextDecoder().decode(body.slice(2 * UUID_BYTES)).split(/ (.*)/s);
    return {
      tenantId: idOf(body.slice(0, UUID_BYTES)),
      deliveryId: idOf(body.slice(UUID_BYTES, 2 * UUID_BYTES)),
      address,
      stream,
    };
  }
  return null;
}
