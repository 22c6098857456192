import type { Context } from "../lib/context";
import type { Medium, Reply } from "../providers/provider";
import type { Known } from "./receipts";

/** Makes a reply a message. It may be called again with the same `eventId`. */
export type ReplyReader = (ctx: Context, repliedTo: Known, reply: Reply) => Promise<void>;

const readers = new Map<Medium, ReplyReader>();

/** Each medium's own feature says at start how its replies are read; those of a medium without one go nowhere. */
export function readRepliesWith(medium: Medium, reader: ReplyReader): void {
  readers.set(medium, reader);
}

export async function hearReplies(ctx: Context, known: readonly Known[], replies: readonly Reply[]): Promise<void> {
  for (const reply of replies) {
    const repliedTo = known.find(({ providerMessageId }) => providerMessageId === reply.providerMessageId);
    if (repliedTo) await readers.get(repliedTo.medium)?.(ctx, repliedTo, reply);
  }
}
