import { inArray } from "drizzle-orm";
import type { Context } from "../lib/context";
import type { Receipt } from "../providers/provider";
import { playBack, sandboxId } from "../providers/sandbox";
import { change, changeDeliveries, newEntries, type Saying } from "./receipts";
import { hearReplies } from "./replies";
import { deliveries, deliveryEvents } from "./schema";

export const saying = ({ details = {}, rfcId: _, ...receipt }: Receipt): Saying => ({ ...receipt, details });

/** The sandbox's recipients do what their names say. */
export async function playBackTo(ctx: Context, ids: string[]): Promise<void> {
  const rows = await changeDeliveries(
    ctx,
    inArray(deliveries.id, ids),
    inArray(deliveryEvents.deliveryId, ids),
    (known, heard) =>
      Promise.all(
        known.map(async (row) =>
          change(row, await newEntries(row.integrationId, playBack(row).receipts.map(saying), heard)),
        ),
      ),
  );
  const sent = rows.map((row) => ({ ...row, providerMessageId: sandboxId(row.id) }));
  await hearReplies(
    ctx,
    sent,
    sent.flatMap((row) => playBack(row).replies),
  );
}
