const DIGITS = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const EQUALS = 0x3d;

/** A text with bytes in base64 in its middle. Straight into one buffer: of a large mail there is no room for several. */
export function withBase64(before: string, bytes: Uint8Array, after: string): Uint8Array<ArrayBuffer> {
  const [head, tail] = [new TextEncoder().encode(before), new TextEncoder().encode(after)];
  const out = new Uint8Array(head.length + 4 * Math.ceil(bytes.length / 3) + tail.length);
  out.set(head);
  let at = head.length;
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i]!, bytes[i + 1], bytes[i + 2]];
    out[at++] = DIGITS[a >> 2]!;
    out[at++] = DIGITS[((a & 3) << 4) | ((b ?? 0) >> 4)]!;
    out[at++] = b === undefined ? EQUALS : DIGITS[((b & 15) << 2) | ((c ?? 0) >> 6)]!;
    out[at++] = c === undefined ? EQUALS : DIGITS[c & 63]!;
  }
  out.set(tail, at);
  return out;
}
