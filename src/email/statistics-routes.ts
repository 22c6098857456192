import { feature, op } from "../lib/route";
import { Instant, idOf, Moment, text, z } from "../lib/validate";
import { StreamName } from "../suppressions/streams";
import { COUNTS, emailStatistics, GROUPINGS } from "./statistics";

export const statisticsRoutes = feature();

const Timezone = z
  .string()
  .regex(/^[A-Z][A-Za-z0-9_+/-]{1,40}$/, "This is no time zone, such as Europe/Paris.")
  .refine(isTimezone, "There is no such time zone.");

function isTimezone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone }) !== null;
  } catch {
    return false;
  }
}

const Row = z
  .object({
    key: z.string().nullable().openapi({ description: "The day, stream or tag, or the id of the domain or inbox" }),
    ...Object.fromEntries(COUNTS.map((name) => [name, z.int()])),
  })
  .openapi("EmailStatistics");

statisticsRoutes.openapi(
  op({
    id: "getEmailStatistics",
    method: "get",
    path: "/email-statistics",
    tag: "E-mail",
    scope: "inboxes:read",
    summary: "Count what became of the mails that were sent",
    description:
      "One recipient of one mail is counted at the time the mail was accepted, by what is known of it now, however late it was heard. `sent` are those a provider took, `deferred` those it still tries; `delivered` holds `opened`, which holds `clicked`. What bounced counts as bounced and not as delivered; who opened a mail that was said to have bounced has it. The last 30 days unless said otherwise; groups with the most recipients first, 1,000 of them, days in their order.",
    query: z.strictObject({
      from: Instant.optional(),
      to: Instant.optional().openapi({ description: "Not itself counted" }),
      by: z.enum(GROUPINGS).default("none"),
      timezone: Timezone.default("UTC").openapi({ description: "In which days begin" }),
      domainId: idOf("domain").optional(),
      inboxId: idOf("inbox").optional(),
      stream: StreamName.optional(),
      tag: text(300, 1).optional(),
    }),
    returns: z.object({ from: Moment, to: Moment, data: z.array(Row) }),
  }),
  async (c) => c.json((await emailStatistics(c.var.ctx, c.req.valid("query"))) as never, 200),
);
