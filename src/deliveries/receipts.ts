import { and, eq, inArray, or, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { folded } from "../contacts/service";
import { announce, type NewEvent, recordEvents, recordedIn } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import type { Medium } from "../providers/provider";
import { suppressBy } from "../suppressions/receipts";
import { advance, type DeliveryState, type ReceiptStatus } from "./advance";
import { deliveries, deliveryEvents } from "./schema";
import { ledgerId } from "./service";

/** A delivery as far as receipts go. */
export type Known = DeliveryState & {
  id: string;
  channelId: string;
  messageId: string;
  medium: Medium;
  recipient: string;
  integrationId: string | null;
  providerMessageId: string | null;
  claimedUntil: string | null;
};

/** What somebody says of a delivery, named by our id or else by the one its provider gave. */
export type Saying = {
  eventId: string;
  status: ReceiptStatus;
  details: Record<string, unknown>;
  deliveryId?: string | undefined;
  providerMessageId?: string | undefined;
  /** The one that is meant of several that share the provider's id. */
  recipient?: string | undefined;
};

/** What the one who sent it adds. `claim` is the time it was claimed until: of somebody else's claim nothing is changed. */
export type Attempted = {
  claim: string | null;
  error: string | null;
  providerMessageId?: string;
  againInSeconds?: number;
};

type Entry = { id: string; status: ReceiptStatus; details: Record<string, unknown> };
export type Change = { was: Known; now: DeliveryState; entries: Entry[]; attempted?: Attempted };

const shownToReceipts = {
  id: deliveries.id,
  channelId: deliveries.channelId,
  messageId: deliveries.messageId,
  medium: sql<Medium>`${deliveries.medium}`,
  recipient: deliveries.recipient,
  integrationId: deliveries.integrationId,
  providerMessageId: deliveries.providerMessageId,
  claimedUntil: deliveries.claimedUntil,
  status: deliveries.status,
  complained: deliveries.complained,
  unsubscribed: deliveries.unsubscribed,
};

/** Where an event tells of it: a new attempt at a pending delivery is no news. */
const isNews = ({ status }: Entry) => status !== "pending";

export function change(was: Known, entries: Entry[], attempted?: Attempted): Change {
  const now = entries.reduce((state: DeliveryState, entry) => advance(state, entry.status), was);
  return { was, now, entries, ...(attempted && { attempted }) };
}

function eventsOf({ was, entries }: Change): NewEvent[] {
  let state: DeliveryState = was;
  const { id: deliveryId, channelId, messageId, medium } = was;
  // What is claimed has the address as it was written: all events tell of one recipient by one name.
  const recipient = medium === "email" ? folded(was.recipient) : was.recipient;
  // A large channel would get an event for each device of each of its members.
  if (medium === "push") return [];
  return entries.filter(isNews).map(({ status: receipt, details }) => {
    state = advance(state, receipt);
    const data = { channelId, deliveryId, messageId, medium, recipient, status: state.status, receipt, details };
    return { type: "delivery.updated", stream: { kind: "channel", id: channelId }, data };
  });
}

const stateOf = ({ status, complained, unsubscribed }: DeliveryState) => ({ status, complained, unsubscribed });

/**
 * Refused as a conflict where a delivery is no longer as it was, or an entry is in the ledger already. Whatever is said
 * of a delivery comes through here, so that who must be sent nothing more is suppressed in the same transaction.
 */
export function recordChanges(ctx: Context, changes: readonly Change[]): BatchItem<"pg">[] {
  const asked = changes.map(({ was, now, entries, attempted }) => ({
    id: was.id,
    was: stateOf(was),
    ...stateOf(now),
    entries,
    ...attempted,
  }));
  return [
    db.execute(sql`select record_receipts(${JSON.stringify(asked)}::jsonb)`),
    recordEvents(ctx, changes.flatMap(eventsOf)),
    ...suppressBy(ctx, changes),
  ];
}

const TRIES = 8;

type Decide = (rows: Known[], heard: Set<string>) => Promise<Change[]>;

/** Reads, decides, writes; and once more if somebody was faster. `heard` says which ledger entries `decide` needs to know. */
export async function changeDeliveries(ctx: Context, which: SQL, heard: SQL, decide: Decide): Promise<Known[]> {
  for (let tries = 1; ; tries++) {
    const [rows, old] = await asTenant(ctx, [
      db
        .select(shownToReceipts)
        .from(deliveries)
        .where(and(eq(deliveries.tenantId, ctx.tenantId), which)),
      db
        .select({ id: deliveryEvents.id })
        .from(deliveryEvents)
        .where(and(eq(deliveryEvents.tenantId, ctx.tenantId), heard)),
    ]);
    const changes = (await decide(rows, new Set(old.map(({ id }) => id)))).filter(({ entries }) => entries.length > 0);
    if (changes.length === 0) return rows;
    try {
      const done: unknown[] = await asTenant(ctx, recordChanges(ctx, changes) as [BatchItem<"pg">]);
      announce(ctx, recordedIn(done));
      return rows;
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "conflict") || tries === TRIES) throw error;
    }
  }
}

/** What was not heard before, as the ledger keeps it. */
export async function newEntries(
  account: string | null,
  said: readonly Saying[],
  heard: Set<string>,
): Promise<Entry[]> {
  const entries = new Map<string, Entry>();
  for (const { eventId, status, details } of said) {
    const id = await ledgerId(account, eventId);
    if (!heard.has(id)) entries.set(id, { id, status, details });
  }
  return [...entries.values()];
}

/**
 * Moves deliveries on by what was said of them, and tells of it. What is said again changes nothing. Returns the
 * deliveries that were meant; what is said of unknown ones changes nothing either.
 */
export async function recordReceipts(
  ctx: Context,
  account: string | null,
  said: readonly Saying[],
  { within, also = [] }: Narrower = {},
): Promise<Known[]> {
  if (said.length + also.length === 0) return [];
  const ids = await Promise.all(said.map(({ eventId }) => ledgerId(account, eventId)));
  const ofAccount = account === null ? undefined : eq(deliveries.integrationId, account);
  return changeDeliveries(
    ctx,
    and(meantBy(said, also), ofAccount, within)!,
    inArray(deliveryEvents.id, ids),
    (rows, heard) =>
      Promise.all(
        rows.map(async (row) =>
          change(
            row,
            await newEntries(
              account,
              said.filter((one) => isMeant(row, one)),
              heard,
            ),
          ),
        ),
      ),
  );
}

/** `also` are ids of the provider's that nothing was said of, to be found with the others. */
type Narrower = { within?: SQL | undefined; also?: readonly string[] };

export const isMeant = (
  row: Known,
  { deliveryId, providerMessageId, recipient }: Pick<Saying, "deliveryId" | "providerMessageId" | "recipient">,
) => {
  if (deliveryId !== undefined) return deliveryId === row.id;
  const isOfRecipient = recipient === undefined || recipient.toLowerCase() === row.recipient.toLowerCase();
  return isOfRecipient && providerMessageId === row.providerMessageId;
};

function meantBy(said: readonly Saying[], also: readonly string[]): SQL {
  const ids = said.flatMap(({ deliveryId }) => (deliveryId === undefined ? [] : [deliveryId]));
  const theirs = said.flatMap(({ deliveryId, providerMessageId }) =>
    deliveryId === undefined && providerMessageId !== undefined ? [providerMessageId] : [],
  );
  return or(inArray(deliveries.id, ids), inArray(deliveries.providerMessageId, [...theirs, ...also]))!;
}
