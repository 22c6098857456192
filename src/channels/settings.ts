import { idOf, z } from "../lib/validate";

/** What channels of a type may do, and what a channel may have otherwise. */
export const Settings = z.strictObject({
  reactions: z.boolean().optional(),
  threads: z.boolean().optional(),
  typing: z.boolean().optional(),
  reads: z.boolean().optional(),
  uploads: z.boolean().optional(),
  push: z.boolean().optional(),
  public: z.boolean().optional(),
  oneReaction: z.boolean().optional(),
  maxLength: z.int().min(1).max(20_000).optional(),
  pendingMinutes: z.int().min(1).max(43_200).optional().openapi({
    description: "How long a message waits for a verdict before it counts as rejected: a week, if not set",
  }),
});

/** What only a type has: the block lists that hold in its channels beside those for all. */
export const TypeSettings = Settings.extend({
  blockLists: z.array(idOf("blockList")).max(20).optional(),
});
