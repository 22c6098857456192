import { and, desc, eq, isNull, type SQL, sql } from "drizzle-orm";
import {
  type Opened,
  openAccount,
  type Stored,
  sandboxAccount,
  selectStored,
  useAccount,
} from "../integrations/accounts";
import type { Context } from "../lib/context";
import { toHex } from "../lib/crypto";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, own, shown } from "../lib/rows";
import { type Identity, ProviderError } from "../providers/provider";
import { audit, auditChange } from "../tenants/audit";
import { idempotencyKeys } from "../tenants/schema";
import { holds, type Judged, recordsFor, type Wanted } from "./dns";
import { domainIdentities, domainRecords, domains, inboxes } from "./schema";

export type DomainSettings = {
  fromName?: string | null | undefined;
  replyTo?: string | null | undefined;
  bounceAddress?: string | null | undefined;
  inboundTopic?: string | null | undefined;
  authServers?: string[] | undefined;
};
export type NewDomain = DomainSettings & { name: string; integrationId?: string | undefined };
export type DomainRecord = Wanted & Judged & { id: string };

const { deletedAt: _, ...columns } = shown(domains);

const live = isNull(domains.deletedAt);
export const ownDomain = (id: string, ...more: (SQL | undefined)[]): SQL => own(domains, id, live, ...more);
const mustBeThere = (id: string) =>
  refuseUnless(sql`exists (select 1 from ${domains} where ${ownDomain(id)})`, "not_found");

const records = sql<
  DomainRecord[]
>`coalesce((select jsonb_agg(jsonb_build_object('id', r.id, 'purpose', r.purpose, 'type', r.type, 'name', r.name,
    'expected', r.expected, 'priority', r.priority, 'found', r.found, 'ok', r.ok, 'todo', r.todo)
    order by array_position(array['proof', 'mx', 'spf', 'dkim', 'return_path', 'dmarc'], r.purpose), r.priority, r.name, r.expected)
  from domain_records r where r.tenant_id = domains.tenant_id and r.domain_id = domains.id), '[]')`;

const selectDomains = () => db.select({ domain: columns, records }).from(domains);
export const selectDomain = (id: string) => selectDomains().where(ownDomain(id));
export type DomainRow = Awaited<ReturnType<typeof selectDomain>>[number];

const VERIFIED = ["mx", "spf", "dkim", "dmarc"] as const;

/** With what is to stand in its DNS, and whether it did when it was looked at last. */
export function shownDomain({ domain, records }: DomainRow) {
  const verified = VERIFIED.map((one): [string, boolean] => [`${one}Verified`, holds(one, records)]);
  return {
    ...domain,
    ...(Object.fromEntries(verified) as Record<`${(typeof VERIFIED)[number]}Verified`, boolean>),
    records: records.map(({ id: _, ...record }) => record),
  };
}

/** Its provider makes it an identity first: the sandbox where no account is named. */
export async function createDomain(ctx: Context, { integrationId, ...input }: NewDomain) {
  const made = ctx.once?.answer ? null : await newIdentity(ctx, integrationId, input.name);
  const id = newId();
  const proof = toHex(crypto.getRandomValues(new Uint8Array(16)));
  const { tenantId } = ctx;
  const wanted = recordsFor(input.name, proof, ctx.env.MX_HOSTS, made?.identity ?? NO_IDENTITY);
  try {
    const batch = await asTenant(ctx, [
      db.insert(domains).values({ tenantId, id, ...changes(input), name: input.name }),
      db.insert(domainIdentities).values({
        tenantId,
        id: newId(),
        domainId: id,
        integrationId: integrationId ?? null,
        provider: made?.opened.provider.name ?? "",
        reference: made?.identity.reference ?? "",
      }),
      db.insert(domainRecords).values(wanted.map((record) => ({ tenantId, id: newId(), domainId: id, ...record }))),
      audit(ctx, "domain.created", { type: "domain", id }, input),
      selectDomain(id),
    ]);
    return shownDomain(found(batch[4]));
  } catch (error) {
    if (made && integrationId !== undefined && error instanceof ApiError && !PASSING.has(error.code))
      await forgetIdentity(ctx, integrationId, made).catch(() => {});
    throw error;
  }
}

const NO_IDENTITY: Identity = { reference: "", records: [] };
type Made = { opened: Opened; identity: Identity };

/** After these the domain may be there, or is about to be. */
const PASSING = new Set<string>(["unavailable", "idempotency_in_progress", "idempotency_key_reused"]);

async function newIdentity(ctx: Context, integrationId: string | undefined, domain: string): Promise<Made> {
  const opened = await openedFor(ctx, integrationId);
  return { opened, identity: await addIdentity(ctx, opened, domain) };
}

/** Unless a domain that is there lives by it. */
async function forgetIdentity(ctx: Context, integrationId: string, { opened, identity }: Made): Promise<void> {
  const [used] = await asTenant({ ...ctx, once: undefined }, [
    db
      .select({ id: domainIdentities.id })
      .from(domainIdentities)
      .where(
        and(
          eq(domainIdentities.tenantId, ctx.tenantId),
          eq(domainIdentities.integrationId, integrationId),
          eq(domainIdentities.reference, identity.reference),
        ),
      )
      .limit(1),
  ]);
  if (used.length === 0) await removeIdentity(ctx, opened, identity);
}

async function openedFor(ctx: Context, integrationId: string | undefined): Promise<Opened> {
  if (integrationId === undefined) return sandboxAccount(ctx.tenantId);
  const [stored, answered] = await asTenant({ ...ctx, once: undefined }, [
    selectStored(integrationId),
    db
      .select({ key: idempotencyKeys.key })
      .from(idempotencyKeys)
      .where(and(eq(idempotencyKeys.tenantId, ctx.tenantId), eq(idempotencyKeys.key, ctx.once?.key ?? ""))),
  ]);
  // The provider is not asked again for what this Idempotency-Key has made: this ends in the answer that is stored.
  if (answered.length > 0) await asTenant(ctx, [db.execute(sql`select 1`)]);
  const opened = stored[0] && (await openAccount(ctx.env, ctx.tenantId, stored[0]));
  if (opened?.provider.domains) return opened;
  const message = opened ? "Its provider knows no domains." : "It does not exist.";
  throw new ApiError("invalid_request", undefined, { errors: [{ path: "integrationId", message }] });
}

const PATIENCE_MS = 10_000;

async function addIdentity(ctx: Context, opened: Opened, domain: string): Promise<Identity> {
  return useAccount(
    ctx.env,
    opened,
    PATIENCE_MS,
    (provider, account, io) => provider.domains!.add(domain, account, io),
    ctx,
  ).catch(refuse);
}

async function removeIdentity(ctx: Context, opened: Opened, identity: Pick<Identity, "reference">): Promise<void> {
  await useAccount(
    ctx.env,
    opened,
    PATIENCE_MS,
    async (provider, account, io) => provider.domains?.remove(identity, account, io),
    ctx,
  ).catch(refuse);
}

function refuse(error: unknown): never {
  if (error instanceof ProviderError) throw new ApiError("unavailable", `The provider refused: ${error.message}`);
  throw error;
}

export async function listDomains(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    selectDomains()
      .where(and(eq(domains.tenantId, ctx.tenantId), live, after(page, [domains.id])))
      .orderBy(desc(domains.id))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, ({ domain }) => [domain.id]);
  return { data: data.map(shownDomain), nextCursor };
}

export async function getDomain(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectDomain(id)]);
  return shownDomain(found(rows));
}

export async function updateDomain(ctx: Context, id: string, patch: DomainSettings) {
  const set = { ...changes(patch), updatedAt: sql<string>`now()` };
  const batch = await asTenant(ctx, [
    mustBeThere(id),
    auditChange(ctx, "domain.updated", { type: "domain", id }, domains, changes(patch)),
    db.update(domains).set(set).where(ownDomain(id)),
    selectDomain(id),
  ]);
  return shownDomain(found(batch[3]));
}

/** Its identities go at their providers first: one that cannot be reached keeps the domain. */
export async function deleteDomain(ctx: Context, id: string): Promise<void> {
  const ofDomain = and(eq(domainIdentities.tenantId, ctx.tenantId), eq(domainIdentities.domainId, id));
  const empty = refuseUnless(
    sql`not exists (select 1 from ${inboxes} where ${inboxes.tenantId} = current_tenant() and ${inboxes.domainId} = ${id} and ${inboxes.deletedAt} is null)`,
    "domain_in_use",
  );
  const [, , identities] = await asTenant(ctx, [
    mustBeThere(id),
    empty,
    db
      .select({
        reference: domainIdentities.reference,
        stored: sql<Stored | null>`(select jsonb_build_object('id', i.id, 'provider', i.provider, 'config', i.config,
          'credentials', encode(i.credentials, 'hex'), 'dataKey', encode(i.data_key, 'hex'), 'masterVersion', i.master_version)
          from integrations i where i.tenant_id = current_tenant() and i.id = ${domainIdentities.integrationId})`,
      })
      .from(domainIdentities)
      .where(ofDomain),
  ]);
  for (const { reference, stored } of identities) {
    if (stored) await removeIdentity(ctx, await openAccount(ctx.env, ctx.tenantId, stored), { reference });
  }
  await asTenant(ctx, [
    // Whoever makes an inbox holds the row too: it is seen by what follows, or finds the domain gone.
    db.select({ id: domains.id }).from(domains).where(ownDomain(id)).for("update"),
    empty,
    audit(ctx, "domain.deleted", { type: "domain", id }),
    db.delete(domainIdentities).where(ofDomain),
    db.update(domains).set({ deletedAt: sql`now()` }).where(ownDomain(id)),
  ]);
}
