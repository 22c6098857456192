import { emailOf } from "../providers/email";
import { type Outgoing, ProviderError } from "../providers/provider";

type Bytes = Uint8Array<ArrayBuffer>;
type Place = { mail(): Promise<Bytes>; bytes: number };
type Recipient = Omit<Outgoing, "mail">;

/** Of mails in memory at a time; one that is larger is there alone. Their providers hold them once more, encoded. */
const ROOM_BYTES = 12_000_000;

/**
 * The mails that a claim sends. Each is read when the first of its recipients needs it, and is let go of when the last
 * one is done with: `recipients` must be gone through mail by mail, or some would wait for room that others hold.
 */
export function newMails(bucket: R2Bucket, recipients: readonly Recipient[]) {
  const users = new Map<string, number>();
  for (const one of recipients) users.set(one.messageId, (users.get(one.messageId) ?? 0) + 1);
  const held = new Map<string, Place>();
  const waiting: (() => void)[] = [];
  let used = 0;

  async function room(bytes: number): Promise<void> {
    while (used > 0 && used + bytes > ROOM_BYTES) await new Promise<void>((resolve) => waiting.push(resolve));
    used += bytes;
  }

  function hold(messageId: string, key: string) {
    const place: Place = { mail: lost, bytes: 0 };
    const reading = (async () => {
      const { size } = (await bucket.head(key)) ?? lost();
      await room(size);
      if (held.get(messageId) !== place) return free(size);
      place.bytes = size;
      return ((await bucket.get(key)) ?? lost()).bytes() as Promise<Bytes>;
    })();
    place.mail = async () => (await reading) ?? lost();
    held.set(messageId, place);
    return place;
  }

  function free(bytes: number): void {
    used -= bytes;
    for (const wake of waiting.splice(0)) wake();
  }

  return {
    async of(recipient: Recipient): Promise<Bytes> {
      const { rawKey, headers } = emailOf(recipient);
      const { mail } = held.get(recipient.messageId) ?? hold(recipient.messageId, rawKey);
      return withHeaders(headers, await mail());
    },
    done({ messageId }: Recipient): void {
      const left = users.get(messageId)! - 1;
      users.set(messageId, left);
      if (left > 0) return;
      const bytes = held.get(messageId)?.bytes ?? 0;
      held.delete(messageId);
      free(bytes);
    },
  };
}

function lost(): never {
  throw new ProviderError("giveUp", "The mail is no longer in the bucket.");
}

/** A recipient's own headers go before the mail's. */
export function withHeaders(headers: Record<string, string>, mail: Bytes): Bytes {
  const own = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  if (own.length === 0) return mail;
  const head = new TextEncoder().encode(own.join(""));
  const whole = new Uint8Array(head.length + mail.length);
  whole.set(head);
  whole.set(mail, head.length);
  return whole;
}
