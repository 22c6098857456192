import { emailOf } from "../providers/email";
import { providerNamed } from "../providers/registry";
import type { Claimed } from "./sending";

/**
 * Who goes out in one call: each alone, save where the provider takes all recipients of a mail at once. They come mail
 * by mail, so that the next one is not begun while there are recipients of the last; and always in the same order, as a
 * call is known to the provider by its first.
 */
export function groupsOf(claimed: readonly Claimed[]): Claimed[][] {
  const inOrder = claimed.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const byMail = [...Map.groupBy(inOrder, ({ messageId }) => messageId).values()];
  return byMail.flatMap((own) => [...Map.groupBy(own, callOf).values()].flatMap(unlessHidden));
}

function callOf(one: Claimed): string {
  if (!isTogether(one)) return one.id;
  // Those who were tried another number of times were in another call.
  return JSON.stringify([one.tenantId, one.account!.id, one.attempt, Object.entries(emailOf(one).headers).sort()]);
}

const isTogether = ({ medium, account }: Claimed): boolean =>
  medium === "email" && account !== null && providerNamed(account.provider).together === true;

/** Blind copies need somebody to be copies for: by themselves each is a call, or they would see each other. */
function unlessHidden(group: Claimed[]): Claimed[][] {
  if (group.length === 1 || group.some((one) => emailOf(one).kind !== "bcc")) return [group];
  return group.map((one) => [one]);
}
