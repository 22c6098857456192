import { and, eq, gte, lt, type SQL, sql } from "drizzle-orm";
import { channels } from "../channels/schema";
import { deliveries, deliveryEvents } from "../deliveries/schema";
import { inboxes } from "../inboxes/schema";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { emails } from "./schema";

export const GROUPINGS = ["none", "day", "domain", "inbox", "stream", "tag"] as const;
type Grouping = (typeof GROUPINGS)[number];

const DAY_MS = 86_400_000;
/** Before it, times are written in another way. */
const FIRST_MS = Date.parse("0001-01-01T00:00:00Z");
const DAYS_MOST = 366;
const DAYS = 30;
const ROWS_MOST = 1000;

export type StatisticsQuery = {
  from?: string | undefined;
  to?: string | undefined;
  by: Grouping;
  timezone: string;
  domainId?: string | undefined;
  inboxId?: string | undefined;
  stream?: string | undefined;
  tag?: string | undefined;
};

const { status } = deliveries;
const among = (...statuses: (typeof deliveries.$inferSelect)["status"][]): SQL =>
  sql`${status} in (${sql.join(
    statuses.map((one) => sql`${one}`),
    sql`, `,
  )})`;
const isHard = sql`exists (select 1 from ${deliveryEvents} e where e.tenant_id = ${deliveries.tenantId} and e.delivery_id = ${deliveries.id}
  and e.status = 'bounced' and e.taken_back_at is null and e.details ->> 'hard' = 'true')`;

const streamOf = sql`coalesce(${deliveries.content} ->> 'stream', 'transactional')`;

const COUNTED: Record<string, SQL> = {
  recipients: sql`true`,
  sent: among("sent", "deferred", "delivered", "opened", "clicked", "bounced"),
  deferred: among("deferred"),
  delivered: among("delivered", "opened", "clicked"),
  opened: among("opened", "clicked"),
  clicked: among("clicked"),
  hardBounced: sql`${status} = 'bounced' and ${isHard}`,
  bounced: among("bounced"),
  complained: sql`${deliveries.complained}`,
  unsubscribed: sql`${deliveries.unsubscribed}`,
  suppressed: among("suppressed"),
  failed: among("failed"),
  cancelled: among("cancelled"),
};
export const COUNTS = [...Object.keys(COUNTED).filter((name) => name !== "bounced"), "softBounced"];

/**
 * What became of the mails that were accepted in a span of time, as far as is known now: what is heard later is counted
 * where its mail is, so that shares are always of the same mails. Counted from the deliveries themselves, as a count of
 * its own would either be one row for all sends to wait for, or wrong after a bounce is taken back.
 */
export async function emailStatistics(ctx: Context, query: StatisticsQuery) {
  const to = query.to ?? new Date().toISOString();
  const from = query.from ?? new Date(Math.max(Date.parse(to) - DAYS * DAY_MS, FIRST_MS)).toISOString();
  if (Date.parse(to) - Date.parse(from) > DAYS_MOST * DAY_MS || to < from)
    throw new ApiError("invalid_request", undefined, {
      errors: [{ path: "query.from", message: `It lies before to, ${DAYS_MOST} days at most.` }],
    });
  const { by, domainId, inboxId, stream, tag } = query;
  // A message that is deleted takes its tags along; inbox and stream are its conversation's and the delivery's own.
  const ofMail = by === "tag" || tag !== undefined;
  const ofInbox = by === "domain" || by === "inbox" || domainId !== undefined || inboxId !== undefined;
  const key = keyOf(query);
  const counts = Object.entries(COUNTED).map(
    ([name, which]) => sql`count(*) filter (where ${which})::int as ${sql.identifier(name)}`,
  );
  const where = and(
    eq(deliveries.tenantId, ctx.tenantId),
    eq(deliveries.medium, "email"),
    gte(deliveries.createdAt, from),
    lt(deliveries.createdAt, to),
    domainId === undefined ? undefined : eq(inboxes.domainId, domainId),
    inboxId === undefined ? undefined : eq(inboxes.id, inboxId),
    stream === undefined ? undefined : eq(streamOf, stream),
    tag === undefined ? undefined : sql`${tag} = any (${emails.tags})`,
  );
  const [found] = await asTenant(ctx, [
    db
      .select({
        rows: sql<
          Record<string, unknown>[]
        >`coalesce(jsonb_agg(to_jsonb(x) - 'bounced' || jsonb_build_object('softBounced', x.bounced - x."hardBounced")), '[]')`,
      })
      .from(sql`(
      select ${key} as "key", ${sql.join(counts, sql`, `)} from ${deliveries}
      ${ofMail ? sql`join ${emails} on ${emails.tenantId} = ${deliveries.tenantId} and ${emails.messageId} = ${deliveries.messageId}` : sql``}
      ${
        ofInbox
          ? sql`join ${channels} on ${channels.tenantId} = ${deliveries.tenantId} and ${channels.id} = ${deliveries.channelId}
        join ${inboxes} on ${inboxes.tenantId} = ${channels.tenantId} and ${inboxes.id} = ${channels.inboxId}`
          : sql``
      }
      ${by === "tag" ? sql`cross join lateral unnest(${emails.tags}) t(tag)` : sql``}
      where ${where} group by 1 order by ${by === "day" ? sql`1` : sql`2 desc, 1`} limit ${ROWS_MOST}) x`),
  ]);
  return { from, to, data: found[0]!.rows };
}

function keyOf({ by, timezone }: StatisticsQuery): SQL {
  switch (by) {
    case "day":
      return sql`to_char(${deliveries.createdAt} at time zone ${timezone}, 'YYYY-MM-DD')`;
    case "domain":
      return sql`${inboxes.domainId}`;
    case "inbox":
      return sql`${inboxes.id}`;
    case "stream":
      return streamOf;
    case "tag":
      return sql`t.tag`;
    default:
      return sql`null::text`;
  }
}
