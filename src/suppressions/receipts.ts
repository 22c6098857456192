import { sql } from "drizzle-orm";
import { RECORDED } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { db } from "../lib/db";
import { newId } from "../lib/ids";
import { foldedAddress } from "./streams";

const TYPES = ["address.suppressed", "address.unsuppressed"];
export const hooksOf = (ctx: Context): string => JSON.stringify(candidatesByType(ctx.snapshot, TYPES));

/** Of RFC 5965 and after: who reports a mail as no spam, or a failed authentication, does not complain of it. */
const COMPLAINTS = ["abuse", "opt-out", "opt-out-list"];

/** What receipts did to a delivery. */
type Change = {
  was: { id: string; medium: string; recipient: string };
  entries: readonly { status: string; details: Record<string, unknown> }[];
};

type What = "hard" | "soft" | "reached" | "complained" | "unsubscribed" | "refused";

function whatOf({ status, details }: Change["entries"][number]): What | null {
  switch (status) {
    case "bounced":
      return details.hard === true ? "hard" : "soft";
    case "delivered":
    case "opened":
    case "clicked":
      return "reached";
    case "complained":
      return typeof details.type !== "string" || COMPLAINTS.includes(details.type) ? "complained" : null;
    case "unsubscribed":
      return "unsubscribed";
    case "suppressed":
      // A provider that was asked; what we did not ask for is suppressed already.
      return "provider" in details ? "refused" : null;
    default:
      return null;
  }
}

/**
 * Who is to be sent nothing more, and who may be again. An address that does not exist is suppressed in every stream.
 * A complaint and an opt-out are about the mail that they came by, so they hold for its stream: who has had enough of
 * the newsletter still gets a new password. A complaint of transactional mail stops that as well: the next one would
 * be reported too, and what mailbox providers then think of the sender falls on all others' mail.
 */
export function suppressBy(ctx: Context, changes: readonly Change[]) {
  const heard = changes.flatMap(({ was, entries }) =>
    was.medium !== "email"
      ? []
      : entries.flatMap((entry) => {
          const what = whatOf(entry);
          if (what === null) return [];
          const { details } = entry;
          return [{ id: newId(), deliveryId: was.id, address: foldedAddress(was.recipient), what, details }];
        }),
  );
  if (heard.length === 0) return [];
  return [db.select(RECORDED).from(sql`suppress_by_receipts(${JSON.stringify(heard)}::jsonb, ${hooksOf(ctx)}::jsonb)`)];
}
