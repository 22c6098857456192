import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { announce, type NewEvent, recordEvents, recordedIn } from "../events/service";
import type { Context } from "../lib/context";
import { askDoor, asTenant, db, refuseUnless } from "../lib/db";
import { DnsError } from "../lib/doh";
import { ApiError } from "../lib/errors";
import type { Job, Step } from "../lib/job";
import { logFault } from "../lib/log";
import { found } from "../lib/rows";
import { holds, judge, lookUpAll } from "./dns";
import { type DomainRecord, type DomainRow, ownDomain, selectDomain, shownDomain } from "./domains";
import { domains, RECORD_PURPOSES } from "./schema";

/** Looks at the DNS now: what is there, what is not, and whose the domain is. */
export async function verifyDomain(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectDomain(id)]);
  return check(ctx, found(rows)).catch((error) => {
    if (error instanceof DnsError) throw new ApiError("unavailable", error.message);
    throw error;
  });
}

async function check(ctx: Context, { domain, records }: DomainRow) {
  const answers = await lookUpAll(records, { resolverUrl: ctx.env.DOH_URL });
  const now = records.map((record) => ({ ...record, ...judge(record, answers) }));
  const status = statusOf(domain, now);
  const batch = await asTenant({ ...ctx, once: undefined }, [
    refuseUnless(
      sql`exists (select 1 from ${domains} where ${ownDomain(domain.id, sql`${domains.status} = ${domain.status}`)} for update)`,
      "conflict",
    ),
    db.execute(sql`update domain_records r set found = array(select jsonb_array_elements_text(j.found)), ok = j.ok, todo = j.todo
      from jsonb_to_recordset(${JSON.stringify(now)}::jsonb) j(id uuid, found jsonb, ok boolean, todo text)
      where r.tenant_id = current_tenant() and r.id = j.id`),
    db
      .update(domains)
      .set({
        ...{ status, checkedAt: sql`now()` },
        missingSince: holds("proof", now) ? null : sql`coalesce(${domains.missingSince}, now())`,
      })
      .where(ownDomain(domain.id)),
    recordEvents(ctx, eventsOf(ctx, domain, records, now, status)),
    selectDomain(domain.id),
  ]);
  announce(ctx, recordedIn(batch));
  return shownDomain(found(batch[4]));
}

const PATIENCE_MS = 86_400_000;

/**
 * A name server that once says there is nothing is often mistaken, and its word would turn mail away for good: lost is
 * what was not there for a day, or where the proof of somebody else stands.
 */
function statusOf({ status, missingSince }: DomainRow["domain"], now: DomainRecord[]): DomainRow["domain"]["status"] {
  if (holds("proof", now)) return "verified";
  if (status !== "verified") return status;
  const replaced = now.some(({ purpose, found }) => purpose === "proof" && found.length > 0);
  const missed = missingSince !== null && Date.parse(missingSince) < Date.now() - PATIENCE_MS;
  return replaced || missed ? "lost" : "verified";
}

function eventsOf(
  ctx: Context,
  row: DomainRow["domain"],
  before: DomainRecord[],
  now: DomainRecord[],
  status: string,
): NewEvent[] {
  const stream = { kind: "tenant" as const, id: ctx.tenantId };
  const about = { medium: "email" };
  const { id: domainId, name } = row;
  const lost = RECORD_PURPOSES.filter((purpose) =>
    purpose === "proof"
      ? status === "lost" && row.status === "verified"
      : holds(purpose, before) && !holds(purpose, now),
  );
  return [
    ...(status === "verified" && row.status !== "verified"
      ? [{ type: "domain.verified" as const, stream, about, data: { domainId, name } }]
      : []),
    ...(lost.length > 0
      ? [{ type: "domain.lost" as const, stream, about, data: { domainId, name, records: lost } }]
      : []),
  ];
}

const STEP_MOST = 20;

/** What was not looked at for some hours, of whatever tenant. Where DNS does not answer, all stays as it was. */
export async function checkDomains({ env, waitUntil }: Context, _job: Job): Promise<Step> {
  const row = await askDoor<{ due: { tenantId: string; id: string }[] }>(
    env,
    "select door.domains_to_check($1, $2) as due",
    [STEP_MOST, "6 hours"],
  );
  const due = row?.due ?? [];
  for (const { tenantId, id } of due) {
    await asSystem(env, tenantId, waitUntil, async (ctx) => {
      const [rows] = await asTenant(ctx, [selectDomain(id)]);
      if (rows[0]) await check(ctx, rows[0]);
    }).catch((error) => {
      if (!(error instanceof DnsError) && !(error instanceof ApiError)) logFault("domains.check", error);
    });
  }
  return { done: due.length < STEP_MOST };
}
