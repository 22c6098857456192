import { bytesOfBinary } from "./charsets";

const BASE64 = new Int8Array(256).fill(-1);
for (const [value, char] of [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].entries()) {
  BASE64[char.charCodeAt(0)] = value;
}
BASE64[0x2d] = 62;
BASE64[0x5f] = 63;

const EQUALS = 0x3d;

/** Straight into one buffer: no strings, no chunks. Padding ends a group wherever it stands; other bytes are skipped. */
export function decodeBase64(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.floor((bytes.length * 3) / 4) + 3);
  const table = BASE64;
  let length = 0;
  let held = 0;
  let digits = 0;
  for (let i = 0; i < bytes.length; i++) {
    // Whole groups, which is nearly all there is.
    while (digits === 0 && i + 3 < bytes.length) {
      const group =
        (table[bytes[i]!]! << 18) |
        (table[bytes[i + 1]!]! << 12) |
        (table[bytes[i + 2]!]! << 6) |
        table[bytes[i + 3]!]!;
      if (group < 0) break;
      out[length] = group >> 16;
      out[length + 1] = group >> 8;
      out[length + 2] = group;
      length += 3;
      i += 4;
    }
    if (i >= bytes.length) break;
    const byte = bytes[i]!;
    const value = table[byte]!;
    if (value >= 0) {
      held = (held << 6) | value;
      digits++;
    }
    if (digits < 4 && byte !== EQUALS) continue;
    length = put(out, length, held, digits);
    held = 0;
    digits = 0;
  }
  return out.subarray(0, put(out, length, held, digits));
}

/** A group of 2 to 4 digits holds 1 to 3 bytes. */
function put(out: Uint8Array, length: number, held: number, digits: number): number {
  const count = Math.max(0, digits - 1);
  const bits = held << (6 * (4 - digits));
  for (let i = 0; i < count; i++) out[length + i] = bits >> (16 - 8 * i);
  return length + count;
}

const hexOf = (byte: number | undefined): number => {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const upper = byte & 0xdf;
  return upper >= 0x41 && upper <= 0x46 ? upper - 0x37 : -1;
};

/** What is no escape stays as it is; a soft break may carry spaces, which gateways add. */
export function decodeQuotedPrintable(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte !== EQUALS) {
      out[length++] = byte;
      continue;
    }
    const [high, low] = [hexOf(bytes[i + 1]), hexOf(bytes[i + 2])];
    if (high >= 0 && low >= 0) {
      out[length++] = (high << 4) | low;
      i += 2;
      continue;
    }
    let end = i + 1;
    while (bytes[end] === 0x20 || bytes[end] === 0x09) end++;
    if (bytes[end] === 0x0d) end++;
    const breaks = end >= bytes.length || bytes[end] === 0x0a || bytes[end - 1] === 0x0d;
    if (!breaks) out[length++] = byte;
    else i = bytes[end] === 0x0a ? end : end - 1;
  }
  return out.subarray(0, length);
}

/** uuencode, as old gateways still write it. */
export function decodeUu(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let at = 0;
  while (at < bytes.length) {
    let end = bytes.indexOf(0x0a, at);
    if (end < 0) end = bytes.length;
    const count = (bytes[at]! - 32) & 63;
    const isData = !(bytes[at] === 0x62 && bytes[at + 1] === 0x65) && bytes[at]! >= 33 && bytes[at]! <= 95;
    if (isData) {
      const start = length;
      for (let i = at + 1; i + 3 < end + 3 && length - start < count; i += 4) {
        const [a, b, c, d] = [0, 1, 2, 3].map((j) => (i + j < end ? (bytes[i + j]! - 32) & 63 : 0)) as [
          number,
          number,
          number,
          number,
        ];
        out[length++] = (a << 2) | (b >> 4);
        out[length++] = (b << 4) | (c >> 2);
        out[length++] = (c << 6) | d;
      }
      length = Math.min(length, start + count);
    }
    at = end + 1;
  }
  return out.subarray(0, length);
}

/** RFC 2047's Q: underscores are spaces. */
export const decodeQ = (text: string): Uint8Array<ArrayBuffer> =>
  decodeQuotedPrintable(bytesOfBinary(text.replaceAll("_", " ")));
