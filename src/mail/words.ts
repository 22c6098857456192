import { bytesOfBinary, decodeText, isUtf8 } from "./charsets";
import { decodeBase64, decodeQ } from "./encodings";
import { unfold } from "./headers";

/** Loose where mailers are: spaces inside of Q, `?` inside of a word, an encoding in either case. */
const WORD = /=\?([^?\s]{1,60})\?([QqBb])\?((?:[^?\r\n]|\?(?!=)){0,4000})\?=/g;

/** `base64` is what a word of B ended with: many mailers cut the digits, not the text. */
// What is longer was not written to be read.
const LONGEST = 64 * 1024;

type Piece = { charset: string; bytes: Uint8Array; base64: string } | string;

/** RFC 2047, with what it loses in the wild: 8-bit bytes, characters cut between two words, labels nobody lists. */
export function decodeHeader(raw: string, fallback: string | null = null): string {
  const line = unfold(raw.slice(0, LONGEST)).replace(/[\r\n]+[ \t]*/g, " ");
  if (!line.includes("=?")) return plain(line, fallback);
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of line.matchAll(WORD)) {
    const between = line.slice(at, match.index);
    const joins = pieces.length > 0 && typeof pieces.at(-1) !== "string" && /^\s*$/.test(between);
    if (!joins && between !== "") pieces.push(plain(between, fallback));
    addWord(pieces, match[1]!.toLowerCase().replace(/\*.*/, ""), match[2]!.toLowerCase(), match[3]!);
    at = match.index + match[0].length;
  }
  if (at < line.length) pieces.push(plain(line.slice(at), fallback));
  return pieces.map((piece) => (typeof piece === "string" ? piece : decodeText(piece.bytes, piece.charset))).join("");
}

/** Neighbours of one charset are decoded together: many mailers cut within a character. */
function addWord(pieces: Piece[], charset: string, encoding: string, text: string): void {
  const last = pieces.at(-1);
  const joins = last && typeof last !== "string" && last.charset === charset && last.bytes.length < 4000 ? last : null;
  if (encoding === "q") {
    addBytes(pieces, joins, charset, decodeQ(text.replace(/=\s+(?=[0-9a-f])/gi, "=")), "");
    return;
  }
  const digits = (joins?.base64 ?? "") + text.replace(/[^\w+/=-]/g, "");
  const whole = digits.includes("=") ? digits.length : digits.length - (digits.length % 4);
  const carried = Math.floor(((joins?.base64.length ?? 0) * 3) / 4);
  if (joins && carried > 0) joins.bytes = joins.bytes.subarray(0, joins.bytes.length - carried);
  addBytes(pieces, joins, charset, decodeBase64(bytesOfBinary(digits)), digits.slice(whole));
}

function addBytes(
  pieces: Piece[],
  last: Exclude<Piece, string> | null,
  charset: string,
  bytes: Uint8Array,
  base64: string,
) {
  if (!last) {
    pieces.push({ charset, bytes, base64 });
    return;
  }
  const joined = new Uint8Array(last.bytes.length + bytes.length);
  joined.set(last.bytes);
  joined.set(bytes, last.bytes.length);
  Object.assign(last, { bytes: joined, base64 });
}

/** Text outside of words: ASCII, or bytes that nobody declared. */
function plain(binary: string, fallback: string | null): string {
  if (/^[\x20-\x7e\t]*$/.test(binary)) return binary;
  const bytes = bytesOfBinary(binary);
  const text = decodeText(bytes, null);
  // The fallback is for what is no UTF-8; a charset of escapes (ISO-2022-JP) is 7-bit and seen by those.
  if (binary.includes("\x1b$")) return decodeText(bytes, "iso-2022-jp");
  const guessed = fallback !== null && !isUtf8(bytes) ? decodeText(bytes, fallback) : text;
  return guessed.replace(/[\p{Cc}]/gu, (c) => (c === "\t" ? c : ""));
}
