import { sendableAddress } from "../lib/mailboxes";
import { z } from "../lib/validate";

/** What somebody asked for or has to know: resets, receipts, answers. */
export const TRANSACTIONAL = "transactional";
export const EVERY_STREAM = "*";

/**
 * A stream is a kind of mail that one may have enough of: `transactional`, `marketing`, or a name of the tenant's own,
 * which is there with its first use.
 */
export const StreamName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    "A stream is transactional, marketing or a name of your own: lower-case letters, digits, . _ and -, 63 at most.",
  );

/** One form of an address, so that it is the same however it is written: that in which mail is sent to it. */
export function foldedAddress(address: string): string {
  const folded = address.trim().toLowerCase();
  return sendableAddress(folded) ?? folded;
}
