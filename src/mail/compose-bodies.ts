const encoder = new TextEncoder();
const EQUALS = 0x3d;
const CR = 0x0d;
const LF = 0x0a;
const LINE = 76;

const HEX = encoder.encode("0123456789ABCDEF");
const DIGITS = encoder.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

export type Encoded = { encoding: "7bit" | "quoted-printable" | "base64"; length: number; write: Write };
/** Puts the body into the mail at this place; what is large stands in memory once. */
export type Write = (out: Uint8Array, at: number) => void;

const copied = (bytes: Uint8Array): Pick<Encoded, "length" | "write"> => ({
  length: bytes.length,
  write: (out, at) => out.set(bytes, at),
});

/** Text as it is where every server lets that through, else in the shorter of the two encodings. */
export function encodeText(text: string): Encoded {
  const lines = `${text.replace(/\r\n?/g, "\n").replace(/\n$/, "")}\n`.replaceAll("\n", "\r\n");
  const bytes = encoder.encode(lines);
  if (isSevenBit(bytes)) return { encoding: "7bit", ...copied(bytes) };
  const quoted = quotedPrintable(bytes);
  if (quoted.length <= base64Length(bytes.length)) return { encoding: "quoted-printable", ...copied(quoted) };
  return encodeBase64(bytes);
}

/** Short lines of ASCII, none of which could be taken for a boundary or an mbox separator. */
export function isSevenBit(bytes: Uint8Array): boolean {
  let start = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === LF) {
      if (bytes[i - 1] !== CR || i - start > LINE + 2) return false;
      if (bytes[i - 2] === 0x20 || bytes[i - 2] === 0x09) return false;
      start = i + 1;
    } else if (byte === CR ? bytes[i + 1] !== LF : byte > 0x7e || (byte < 0x20 && byte !== 0x09)) return false;
    else if (i === start && (byte === 0x2d || byte === 0x2e || (byte === 0x46 && bytes[i + 1] === 0x72))) return false;
  }
  return bytes.length - start <= LINE;
}

/** RFC 2045, 6.7. Blanks at the end of a line are encoded, and a dot or `From` at its beginning, which old servers change. */
function quotedPrintable(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length * 4 + 8);
  let length = 0;
  let column = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === CR && bytes[i + 1] === LF) {
      out[length++] = CR;
      out[length++] = LF;
      column = 0;
      i++;
      continue;
    }
    const ends = i + 1 >= bytes.length || (bytes[i + 1] === CR && bytes[i + 2] === LF);
    const blank = byte === 0x20 || byte === 0x09;
    const literal = (byte > 0x20 && byte < 0x7f && byte !== EQUALS) || (blank && !ends);
    if (column + (literal ? 1 : 3) > LINE - (ends ? 0 : 1)) {
      out[length++] = EQUALS;
      out[length++] = CR;
      out[length++] = LF;
      column = 0;
    }
    const risky = column === 0 && (byte === 0x2e || byte === 0x2d || (byte === 0x46 && bytes[i + 1] === 0x72));
    if (literal && !risky) {
      out[length++] = byte;
      column++;
    } else {
      out[length++] = EQUALS;
      out[length++] = HEX[byte >> 4]!;
      out[length++] = HEX[byte & 15]!;
      column += 3;
    }
  }
  return out.subarray(0, length);
}

const base64Length = (length: number): number => {
  const digits = Math.ceil(length / 3) * 4;
  return digits + Math.ceil(digits / LINE) * 2;
};

export function encodeBase64(bytes: Uint8Array): Encoded {
  return {
    encoding: "base64",
    length: base64Length(bytes.length),
    write(out, start) {
      let at = start;
      for (let i = 0, column = 0; i < bytes.length; i += 3) {
        const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
        out[at++] = DIGITS[group >> 18]!;
        out[at++] = DIGITS[(group >> 12) & 63]!;
        out[at++] = i + 1 < bytes.length ? DIGITS[(group >> 6) & 63]! : EQUALS;
        out[at++] = i + 2 < bytes.length ? DIGITS[group & 63]! : EQUALS;
        column += 4;
        if (column === LINE || i + 3 >= bytes.length) {
          out[at++] = CR;
          out[at++] = LF;
          column = 0;
        }
      }
    },
  };
}

/** A mail within a mail must not be encoded. */
export const asItIs = (bytes: Uint8Array): Encoded => ({ encoding: "7bit", ...copied(bytes) });
