import type { OUTCOMES, RECEIPTS } from "./schema";

export type Outcome = (typeof OUTCOMES)[number];
export type ReceiptStatus = (typeof RECEIPTS)[number];
export type DeliveryState = { status: Outcome; complained: boolean; unsubscribed: boolean };

/**
 * Later beats earlier. What ends a delivery before it is sent gives way to news that it was sent after all; a bounce
 * takes back "delivered", but nobody opens what has not arrived.
 */
export const ORDER: readonly Outcome[] = [
  "pending",
  "failed",
  "suppressed",
  "cancelled",
  "sent",
  "deferred",
  "delivered",
  "bounced",
  "opened",
  "clicked",
];

/** The same in every order and however often it is told: the highest of all that was heard. */
export function advance(old: DeliveryState, said: ReceiptStatus): DeliveryState {
  if (said === "complained" || said === "unsubscribed") return { ...old, [said]: true };
  return ORDER.indexOf(said) > ORDER.indexOf(old.status) ? { ...old, status: said } : old;
}
