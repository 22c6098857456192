const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;

/**
 * A mail as it goes after DATA: its lines end with CRLF, a dot that begins one is doubled, a dot alone ends it. A bare CR
 * or LF becomes a line end as well, so that no server can see an end of the mail where we saw none.
 */
export function dotStuffed(mail: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(mail.length + extra(mail) + 5);
  let at = 0;
  let begins = true;
  for (let i = 0; i < mail.length; i++) {
    const byte = mail[i]!;
    if (byte === CR || byte === LF) {
      if (byte === CR && mail[i + 1] === LF) i++;
      out[at++] = CR;
      out[at++] = LF;
      begins = true;
      continue;
    }
    if (begins && byte === DOT) out[at++] = DOT;
    out[at++] = byte;
    begins = false;
  }
  if (!begins) {
    out[at++] = CR;
    out[at++] = LF;
  }
  out[at++] = DOT;
  out[at++] = CR;
  out[at++] = LF;
  return out.subarray(0, at);
}

/** At most one more for each bare line end and for each dot that begins a line. */
function extra(mail: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < mail.length; i++) {
    const byte = mail[i];
    const afterEnd = i === 0 || mail[i - 1] === LF || mail[i - 1] === CR;
    if ((byte === DOT && afterEnd) || byte === CR || byte === LF) count++;
  }
  return count;
}
