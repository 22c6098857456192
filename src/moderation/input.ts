import { Instant, text, z } from "../lib/validate";
import { MOST_DELETED } from "./bans";

export const NewBan = z.strictObject({
  shadow: z
    .boolean()
    .optional()
    .openapi({ description: "What they write is there for themselves alone, and they do not notice" }),
  reason: text(1_000, 1).nullable().optional(),
  expiresAt: Instant.refine((value) => Date.parse(value) > Date.now(), "It lies in the past.")
    .nullable()
    .optional(),
  deleteMessagesSince: Instant.optional().openapi({
    format: "date-time",
    description: `What they wrote since then is deleted, the newest ${MOST_DELETED} messages`,
  }),
});
