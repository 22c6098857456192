import { and, eq, inArray, sql } from "drizzle-orm";
import { change, changeDeliveries, type Known, newEntries, type Saying } from "../deliveries/receipts";
import { deliveries, deliveryEvents } from "../deliveries/schema";
import { ledgerId } from "../deliveries/service";
import type { Context } from "../lib/context";
import { bouncesOf, complaintOf } from "../mail/bounces";
import type { Mail } from "../mail/mail";
import type { ClaimedRaw } from "./consumer";
import type { Clues } from "./recording";

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

/** Which deliveries are meant: that of the signed address it came to, else those of the mail it gives back. Reports become receipts, as if a provider had called back; read again they change nothing. */
export async function hearReports(
  ctx: Context,
  raw: ClaimedRaw,
  mail: Mail,
  { token, references }: Pick<Clues, "token" | "references">,
): Promise<void> {
  const told = toldBy(mail);
  if (told.length === 0) return;
  const ids = references.filter(({ kind }) => kind !== "own").map(({ id }) => id);
  const which =
    token?.kind === "bounce"
      ? eq(deliveries.id, token.id)
      : ids.length > 0 &&
        inArray(
          deliveries.messageId,
          sql`(select f.message_id from message_references f where f.tenant_id = current_tenant() and f.inbox_id = ${raw.inboxId}::uuid
            and f.kind in ('own', 'provider', 'token') and f.referenced_id in (${sql.join(
              ids.map((id) => sql`${id}`),
              sql`, `,
            )}))`,
        );
  if (!which) return;
  const eventIds = told.map((_, i) => `report ${raw.sha256} ${i}`);
  const ledger = await Promise.all(eventIds.map((id) => ledgerId("report", id)));
  const ofEmail = and(which, eq(deliveries.medium, "email"))!;
  await changeDeliveries(ctx, ofEmail, inArray(deliveryEvents.id, ledger), (rows, heard) =>
    Promise.all(
      rows.map(async (row) => {
        const said = told.flatMap((one, i) =>
          isAbout(row, one, rows) ? [{ eventId: eventIds[i]!, status: one.status, details: one.details }] : [],
        );
        return change(row, await newEntries("report", said, heard));
      }),
    ),
  );
}

/** A report that names nobody is about the one recipient there was. */
const isAbout = (row: Known, { recipient }: Told, rows: readonly Known[]): boolean =>
  recipient === row.recipient.toLowerCase() || (rows.length === 1 && recipient === null);
