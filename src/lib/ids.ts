import { v7 } from "uuid";

/** Ids are made in code, so that a batch can name its rows before it runs. */
export const newId = (): string => v7();

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) crc = CRC_TABLE[(crc ^ text.charCodeAt(i)) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function checksum(text: string): string {
  let left = crc32(text);
  let digits = "";
  for (let i = 0; i < 6; i++) {
    digits = DIGITS[left % 62]! + digits;
    left = Math.floor(left / 62);
  }
  return digits;
}

export const KEY_KINDS = ["live", "pub", "admin"] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

const KEY_FORM = /^parley_(live|pub|admin)_([0-9A-Za-z]{30})([0-9A-Za-z]{6})$/;

/** 64 random bytes in; those above 247 are dropped, so that every digit is equally likely. */
export function newApiKey(kind: KeyKind, randomness: Uint8Array): string {
  const digits = Array.from(
    randomness.filter((byte) => byte < 248),
    (byte) => DIGITS[byte % 62],
  );
  const body = `parley_${kind}_${digits.slice(0, 30).join("")}`;
  return body + checksum(body);
}

/** Refuses typos and random guesses without a look at the database. */
export function apiKeyKind(key: string): KeyKind | null {
  const parts = KEY_FORM.exec(key);
  if (!parts || checksum(`parley_${parts[1]}_${parts[2]}`) !== parts[3]) return null;
  return parts[1] as KeyKind;
}
