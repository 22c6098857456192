import { and, desc, eq, isNull, ne, sql } from "drizzle-orm";
import { newKey } from "../auth/keys";
import { endAllSockets, tellEnded } from "../auth/sockets";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mergedJson, newJson } from "../lib/rows";
import { TENANT_SCOPES } from "../lib/scopes";
import { audit, auditChange } from "./audit";
import { type TenantSettings, tenants } from "./schema";

export const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";

const { id, name, planId, settings, metadata, suspendedAt, createdAt, updatedAt } = tenants;
const shownTenant = { id, name, planId, settings, metadata, suspendedAt, createdAt, updatedAt };

const real = (tenantId: string) => and(eq(tenants.id, tenantId), ne(tenants.id, DEPLOYMENT), isNull(tenants.deletedAt));
const mustBeReal = (tenantId: string) =>
  refuseUnless(sql`exists (select 1 from ${tenants} where ${real(tenantId)})`, "not_found");

/** The queries between run as this tenant, which only the deployment may ask for. */
export const actAs = (tenantId: string) => db.execute(sql`select set_config('app.tenant_id', ${tenantId}, true)`);

export type TenantInput = {
  name: string;
  planId?: string | null | undefined;
  settings?: TenantSettings | undefined;
  metadata?: Record<string, unknown> | undefined;
};

export async function createTenant(ctx: Context, input: TenantInput) {
  const tenantId = newId();
  const key = { name: "First key", kind: "live" as const, scopes: TENANT_SCOPES };
  const { id: keyId, secret, queries } = await newKey(ctx, tenantId, key);
  const [rows] = await asTenant(ctx, [
    db
      .insert(tenants)
      .values({ id: tenantId, ...input, metadata: newJson(input.metadata) })
      .returning({ ...shownTenant, keyId: sql<string>`${keyId}::uuid` }),
    audit(ctx, "tenant.created", { type: "tenant", id: tenantId }, input),
    actAs(tenantId),
    ...queries,
    audit(ctx, "tenant.created", { type: "tenant", id: tenantId }, input),
    actAs(DEPLOYMENT),
  ]);
  const { keyId: keptId, ...tenant } = found(rows as (ShownTenant & { keyId: string })[]);
  return { ...tenant, apiKey: { id: keptId, name: key.name, secret } };
}

export async function listTenants(
  ctx: Context,
  page: Page & { planId?: string | undefined; suspended?: boolean | undefined },
) {
  const { planId: plan, suspended } = page;
  const [rows] = await asTenant(ctx, [
    db
      .select(shownTenant)
      .from(tenants)
      .where(
        and(
          ne(tenants.id, DEPLOYMENT),
          isNull(tenants.deletedAt),
          after(page, [tenants.id]),
          plan === undefined ? undefined : eq(tenants.planId, plan),
          suspended === undefined ? undefined : sql`(${tenants.suspendedAt} is not null) = ${suspended}`,
        ),
      )
      .orderBy(desc(tenants.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getTenant(ctx: Context, tenantId: string) {
  const [rows] = await asTenant(ctx, [db.select(shownTenant).from(tenants).where(real(tenantId))]);
  return found(rows);
}

export type TenantPatch = Partial<TenantInput>;

export async function updateTenant(ctx: Context, tenantId: string, patch: TenantPatch) {
  const { settings: newSettings, metadata: newMetadata, ...rest } = patch;
  const set = {
    ...changes(rest),
    updatedAt: sql<string>`now()`,
    ...(newSettings && { settings: mergedJson(tenants.settings, newSettings) }),
    ...(newMetadata && { metadata: mergedJson(tenants.metadata, newMetadata) }),
  };
  const [, , rows] = await asTenant(ctx, [
    mustBeReal(tenantId),
    auditChange(ctx, "tenant.updated", { type: "tenant", id: tenantId }, tenants, changes(patch)),
    db.update(tenants).set(set).where(real(tenantId)).returning(shownTenant),
  ]);
  return found(rows);
}

export async function setSuspended(ctx: Context, tenantId: string, suspended: boolean) {
  const [, , rows, ...ending] = await asTenant(ctx, [
    mustBeReal(tenantId),
    audit(ctx, suspended ? "tenant.suspended" : "tenant.resumed", { type: "tenant", id: tenantId }),
    db
      .update(tenants)
      .set({ suspendedAt: suspended ? sql<string>`coalesce(${tenants.suspendedAt}, now())` : null })
      .where(real(tenantId))
      .returning(shownTenant),
    ...(suspended ? [actAs(tenantId), ...endAllSockets()] : []),
  ]);
  tellEnded(ctx, tenantId, (ending[2] ?? []) as never, "tenant_suspended");
  return found(rows);
}

type ShownTenant = Awaited<ReturnType<typeof getTenant>>;
