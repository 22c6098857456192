import { and, eq, inArray, sql } from "drizzle-orm";
import { change, changeDeliveries, type Known, newEntries, type Saying } from "../deliveries/receipts";
import { deliveries, deliveryEvents } from "../deliveries/schema";
import { ledgerId } from "../deliveries/service";
import type { Context } from "../lib/context";
import { isFormal, originalOf } from "../mail/bounce-reports";
import { isDaemon } from "../mail/bounce-texts";
import { bouncesOf, complaintOf } from "../mail/bounces";
import type { Mail } from "../mail/mail";
import type { ClaimedRaw } from "./consumer";
import { type Clues, fingerprintOf } from "./recording";

type Told = { recipient: string | null } & Pick<Saying, "status" | "details">;

/** What a mail reports of others that we sent: each recipient that was not reached, or complained. */
function toldBy(mail: Mail): Told[] {
  const complaint = complaintOf(mail);
  return [
    ...bouncesOf(mail).map(
      ({ recipient, action, ...details }): Told => ({
        recipient,
        status: action === "failed" ? "bounced" : "deferred",
        details,
      }),
    ),
    ...(complaint?.recipients ?? []).map(
      (recipient): Told => ({
        recipient: recipient.toLowerCase(),
        status: "complained",
        details: { type: complaint!.type },
      }),
    ),
    ...(complaint && complaint.recipients.length === 0
      ? [{ recipient: null, status: "complained" as const, details: { type: complaint.type } }]
      : []),
  ];
}

/**
 * Which deliveries are meant: that of the signed address it came to, which nobody else could name; else those of the mail
 * it gives back, and then only of a machine's report, for whoever got that mail could have written any other. Reports
 * become receipts, as if a provider had called back; heard again, by whatever way, they change nothing.
 */
export async function hearReports(
  ctx: Context,
  raw: ClaimedRaw,
  mail: Mail,
  { token }: Pick<Clues, "token">,
): Promise<void> {
  const told = toldBy(mail);
  if (told.length === 0) return;
  const isSigned = token?.kind === "bounce";
  const returned = originalOf(mail)?.messageId;
  const which = isSigned
    ? eq(deliveries.id, token.id)
    : isMachines(raw, mail) && returned && inArray(deliveries.messageId, sentAs(returned));
  if (!which) return;
  const fingerprint = await fingerprintOf(mail);
  const eventIds = told.map((_, i) => `report ${fingerprint} ${i}`);
  const ledger = await Promise.all(eventIds.map((id) => ledgerId("report", id)));
  const ofEmail = and(which, eq(deliveries.medium, "email"))!;
  await changeDeliveries(ctx, ofEmail, inArray(deliveryEvents.id, ledger), (rows, heard) =>
    Promise.all(
      rows.map(async (row) => {
        const about = told.map((one) => isAbout(row, one, rows));
        // Where its mail was forwarded, the report names another than we wrote to.
        const all = isSigned && !about.includes(true);
        const said = told.flatMap(({ status, details }, i) =>
          all || about[i] ? [{ eventId: eventIds[i]!, status, details }] : [],
        );
        return change(row, await newEntries("report", said, heard));
      }),
    ),
  );
}

const isMachines = (raw: ClaimedRaw, mail: Mail): boolean =>
  complaintOf(mail) ? isFormal(mail) : raw.envelopeFrom === "" || (isDaemon(mail) && isFormal(mail));

/** Whatever inbox sent it: bounces and complaints may come to another. Each is looked up by itself, in the index of its ids. */
const sentAs = (id: string) =>
  sql`(select x.message_id from inboxes i cross join lateral (
    select f.message_id from message_references f where f.tenant_id = i.tenant_id and f.inbox_id = i.id
      and f.referenced_id = ${id} and f.kind in ('own', 'provider', 'token') offset 0) x where i.tenant_id = current_tenant())`;

/** A report that names nobody is about the one recipient there was. */
const isAbout = (row: Known, { recipient }: Told, rows: readonly Known[]): boolean =>
  recipient === row.recipient.toLowerCase() || (rows.length === 1 && recipient === null);
