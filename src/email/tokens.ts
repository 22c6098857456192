import { equalBytes, hkdf, hmac, masterSecrets, newestMaster } from "../lib/crypto";

/** What an address of ours can stand for: a reply to a message, or a report about a delivery. */
export const TOKEN_KINDS = ["reply", "bounce"] as const;
export type TokenKind = (typeof TOKEN_KINDS)[number];

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const MAC_BYTES = 9;
const LOCAL_MOST = 64;
const MARKS: Record<TokenKind, string> = { reply: "r-", bounce: "b-" };

const bytesOf = (id: string) =>
  Uint8Array.from(id.replaceAll("-", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const idOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** In letters that survive whoever writes addresses in upper or lower case. 25 bytes make 40 of them. */
function lettersOf(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length * 8; at += 5) {
    let digit = 0;
    for (let bit = at; bit < at + 5; bit++) digit = digit * 2 + (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1);
    text += LETTERS[digit];
  }
  return text;
}

function bytesOfLetters(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array((text.length * 5) >> 3);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const digit = LETTERS.indexOf(text[Math.floor(bit / 5)]!);
    if ((digit >> (4 - (bit % 5))) & 1) bytes[bit >> 3]! |= 1 << (7 - (bit & 7));
  }
  return bytes;
}

async function mac(secret: Uint8Array<ArrayBuffer>, tenantId: string, kind: TokenKind, id: string) {
  return (await hmac(await hkdf(secret, tenantId, "address tokens"), `${kind} ${id}`)).slice(0, MAC_BYTES);
}

/** The address that brings an answer back to what it is about; null where its name would be too long for a mail server. */
export async function tokenAddress(
  env: Env,
  tenantId: string,
  address: string,
  kind: TokenKind,
  id: string,
): Promise<string | null> {
  const at = address.lastIndexOf("@");
  const signature = await mac(newestMaster(env).secret, tenantId, kind, id);
  const local = `${address.slice(0, at)}+${MARKS[kind]}${lettersOf(new Uint8Array([...bytesOf(id), ...signature]))}`;
  return local.length <= LOCAL_MOST ? local + address.slice(at) : null;
}

/** What the tag of an address stands for, if we made it. */
export async function readToken(
  env: Env,
  tenantId: string,
  tag: string | null,
): Promise<{ kind: TokenKind; id: string } | null> {
  const kind = TOKEN_KINDS.find((one) => tag?.toLowerCase().startsWith(MARKS[one]));
  const [, letters] = /^.-([a-z2-7]{40})$/.exec(tag?.toLowerCase() ?? "") ?? [];
  if (!kind || !letters) return null;
  const bytes = bytesOfLetters(letters);
  const id = idOf(bytes.slice(0, 16));
  for (const secret of masterSecrets(env).values()) {
    if (equalBytes(bytes.slice(16), await mac(secret, tenantId, kind, id))) return { kind, id };
  }
  return null;
}

/** The id by which a mail to a message's own address belongs to it; every message that has such an address has it as a reference. */
export const tokenReference = (messageId: string): string => `${messageId}@token.parley`;
