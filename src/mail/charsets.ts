/** Labels that mail uses and the Encoding Standard does not list. */
const ALIASES: Record<string, string> = {
  cp932: "shift_jis",
  "x-ms-cp932": "shift_jis",
  "cp-850": "windows-1252",
  "iso-2022-jp-1": "iso-2022-jp",
  "iso-2022-jp-2": "iso-2022-jp",
  "iso-2022-jp-ms": "iso-2022-jp",
  cp50220: "iso-2022-jp",
  cp50221: "iso-2022-jp",
  "cp-936": "gbk",
  cp936: "gbk",
  ms936: "gbk",
  cp949: "euc-kr",
  ms949: "euc-kr",
  uhc: "euc-kr",
  cp950: "big5",
  "x-euc": "euc-jp",
  "ansi-1251": "windows-1251",
  win1251: "windows-1251",
  "x-win1251": "windows-1251",
  "iso-8859-8-e": "iso-8859-8",
  latin: "windows-1252",
  "8bit": "windows-1252",
};

/** What people declare out of habit while they write UTF-8. */
const CARELESS = new Set(["windows-1252", "us-ascii"]);

const decoders = new Map<string, TextDecoder | null>();

function decoderOf(label: string): TextDecoder | null {
  const known = decoders.get(label);
  if (known !== undefined) return known;
  let decoder: TextDecoder | null = null;
  try {
    decoder = new TextDecoder(label, { fatal: false, ignoreBOM: false });
  } catch {
    // Whoever calls goes on with a guess.
  }
  // A mail may make up as many labels as it likes.
  if (decoders.size < 200) decoders.set(label, decoder);
  return decoder;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const looseUtf8 = new TextDecoder("utf-8");
const windows1252 = new TextDecoder("windows-1252");

export const isUtf8 = (bytes: Uint8Array): boolean => asUtf8(bytes) !== null;

function asUtf8(bytes: Uint8Array): string | null {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return null;
  }
}

export const isAscii = (bytes: Uint8Array): boolean => {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > 0x7f) return false;
  return true;
};

/** By the declared label where that can be; else UTF-8 where it is valid; else what a western machine meant. */
export function decodeText(bytes: Uint8Array, declared: string | null | undefined): string {
  const text = decode(bytes, declared);
  return text.includes("\0") ? text.replaceAll("\0", "") : text;
}

function decode(bytes: Uint8Array, declared: string | null | undefined): string {
  const label = (declared ?? "")
    .trim()
    .toLowerCase()
    .replace(/^["']|["']$/g, "")
    .replace(/\*.*$/, "");
  if (/^(x-)?(unicode-1-1-)?utf-?7$/.test(label)) return decodeUtf7(windows1252.decode(bytes));
  const decoder =
    label === "" ? null : (decoderOf(label) ?? decoderOf(ALIASES[label] ?? label.replace(/^x-|[_\s]/g, "")));
  if (!decoder) return asUtf8(bytes) ?? windows1252.decode(bytes);
  if (decoder.encoding === "utf-8") return asUtf8(bytes) ?? brokenUtf8(bytes);
  if (CARELESS.has(decoder.encoding)) return asUtf8(bytes) ?? decoder.decode(bytes);
  return decoder.decode(bytes);
}

/** Cut or mixed UTF-8 stays UTF-8; what has not one good sequence never was. */
function brokenUtf8(bytes: Uint8Array): string {
  const text = looseUtf8.decode(bytes);
  return /[\u0080-\ufffc]|[\u{10000}-\u{10ffff}]/u.test(text) ? text : windows1252.decode(bytes);
}

/** RFC 2152. */
export function decodeUtf7(text: string): string {
  return text.replace(/\+([A-Za-z0-9+/]*)-?/g, (whole, base64: string) => {
    if (base64 === "") return whole === "+-" ? "+" : whole;
    let out = "";
    let bits = 0;
    let held = 0;
    for (const char of base64) {
      held = ((held << 6) | DIGITS.indexOf(char)) & 0xffffff;
      bits += 6;
      if (bits < 16) continue;
      bits -= 16;
      out += String.fromCharCode((held >> bits) & 0xffff);
    }
    return out.toWellFormed();
  });
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** One character for each byte, whatever they mean. */
export function binaryString(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 8192) out += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return out;
}

export function bytesOfBinary(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
