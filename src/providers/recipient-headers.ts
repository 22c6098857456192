import { bytesOfBinary } from "../mail/charsets";
import { readHeaders } from "../mail/headers";

type Recipients = { to: readonly string[]; cc: readonly string[]; bcc: readonly string[] };

const REPLACED = /^(to|cc|bcc)$/i;

/** The same mail, whose headers name these recipients and no others: for servers that take the envelope out of them. */
export function withRecipients(mail: Uint8Array, { to, cc, bcc }: Recipients): Uint8Array<ArrayBuffer> {
  const { headers, bodyStart } = readHeaders(mail, 0, mail.length);
  const kept = headers.filter(({ name }) => !REPLACED.test(name)).map(({ name, raw }) => `${name}: ${raw}\r\n`);
  const named = Object.entries({ To: to, Cc: cc, Bcc: bcc }).flatMap(([name, addresses]) =>
    addresses.length > 0 ? [`${name}: ${addresses.join(",\r\n ")}\r\n`] : [],
  );
  const head = new Uint8Array([...bytesOfBinary(kept.join("")), ...new TextEncoder().encode(`${named.join("")}\r\n`)]);
  const whole = new Uint8Array(head.length + mail.length - bodyStart);
  whole.set(head);
  whole.set(mail.subarray(bodyStart), head.length);
  return whole;
}
