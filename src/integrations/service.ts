import { and, desc, eq, getTableColumns, inArray, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { deliveries } from "../deliveries/schema";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { logFault } from "../lib/log";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustExist, own, withinLimit } from "../lib/rows";
import type { Health, Medium } from "../providers/provider";
import { audit, auditChange } from "../tenants/audit";
import { openAccount, type Stored, selectStored, useAccount } from "./accounts";
import { type INTEGRATION_STATUSES, integrations } from "./schema";
import { sealCredentials } from "./vault";

export type IntegrationInput = {
  name: string;
  medium: Medium;
  provider: string;
  config: Record<string, unknown>;
  credentials: Record<string, unknown>;
};

const { tenantId: _t, credentials: _c, dataKey: _d, masterVersion: _m, ...columns } = getTableColumns(integrations);

export async function createIntegration(ctx: Context, { credentials, ...input }: IntegrationInput) {
  const owner = { tenantId: ctx.tenantId, id: newId() };
  const sealed = await sealCredentials(ctx.env, owner, credentials);
  const [rows] = await asTenant(ctx, [
    db
      .insert(integrations)
      .values({ ...owner, ...input, ...sealed })
      .returning(columns),
    ...withinLimit("integrations", ctx.snapshot?.limits),
    audit(ctx, "integration.created", { type: "integration", id: owner.id }, { ...input, credentials }),
  ]);
  return found(rows as Integration[]);
}

type Integration = Awaited<ReturnType<typeof getIntegration>>;
export type IntegrationStatus = (typeof INTEGRATION_STATUSES)[number];
export type IntegrationFilter = Page & {
  medium?: Medium | undefined;
  provider?: string | undefined;
  status?: IntegrationStatus | undefined;
};

export async function listIntegrations(ctx: Context, { medium, provider, status, ...page }: IntegrationFilter) {
  const wanted = and(
    eq(integrations.tenantId, ctx.tenantId),
    medium && eq(integrations.medium, medium),
    provider === undefined ? undefined : eq(integrations.provider, provider),
    status && eq(integrations.status, status),
    after(page, [integrations.id]),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(integrations)
      .where(wanted)
      .orderBy(desc(integrations.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getIntegration(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [db.select(columns).from(integrations).where(own(integrations, id))]);
  return found(rows);
}

export type IntegrationPatch = {
  name?: string | undefined;
  enabled?: boolean | undefined;
  /** Says by whose schema `config` and `credentials` were read; an integration never changes its provider. */
  provider?: string | undefined;
  config?: Record<string, unknown> | undefined;
  credentials?: Record<string, unknown> | undefined;
};

export async function updateIntegration(ctx: Context, id: string, patch: IntegrationPatch) {
  const { name, enabled, provider, config, credentials } = patch;
  const sealed = credentials && (await sealCredentials(ctx.env, { tenantId: ctx.tenantId, id }, credentials));
  const status = enabled === undefined ? undefined : enabled ? ("active" as const) : ("disabled" as const);
  const results = await asTenant(ctx, [
    mustExist(integrations, id),
    ...(provider === undefined ? [] : [mustBeOf(provider, id)]),
    auditChange(
      ctx,
      "integration.updated",
      { type: "integration", id },
      integrations,
      changes({ name, status, config, credentials }),
    ),
    db
      .update(integrations)
      .set({
        ...changes({ name, config }),
        ...sealed,
        ...(status && { status: switched(status) }),
        updatedAt: sql<string>`now()`,
      })
      .where(own(integrations, id)),
    ...(enabled ? [sendHeld(id)] : []),
    db.select(columns).from(integrations).where(own(integrations, id)),
  ]);
  return found(results.at(-1) as Integration[]);
}

const mustBeOf = (provider: string, id: string) =>
  refuseUnless(
    sql`exists (select 1 from ${integrations} where ${own(integrations, id, eq(integrations.provider, provider))})`,
    "invalid_request",
    { errors: [{ path: "provider", message: "The integration is of another provider." }] },
  );

/** Enabling what is not disabled leaves what is known of its health. */
const switched = (status: "active" | "disabled") =>
  status === "disabled"
    ? sql`'disabled'`
    : sql`case when ${integrations.status} = 'disabled' then 'active' else ${integrations.status} end`;

/** What waited for it to be enabled is due now. */
const sendHeld = (id: string) =>
  db
    .update(deliveries)
    .set({ nextAttemptAt: sql`now()`, error: null })
    .where(
      and(
        eq(deliveries.integrationId, id),
        eq(deliveries.status, "pending"),
        eq(deliveries.error, "integration_disabled"),
      ),
    );

/** Not while something waits to be sent by it: that would go out by another account, or not at all. */
export async function deleteIntegration(ctx: Context, id: string): Promise<void> {
  const waiting = and(
    eq(deliveries.tenantId, ctx.tenantId),
    eq(deliveries.integrationId, id),
    eq(deliveries.status, "pending"),
  );
  await asTenant(ctx, [
    mustExist(integrations, id),
    refuseUnless(sql`not exists (select 1 from ${deliveries} where ${waiting})`, "conflict"),
    audit(ctx, "integration.deleted", { type: "integration", id }),
    db.delete(integrations).where(own(integrations, id)),
  ]);
}

const CHECK_MS = 10_000;

/** Asks the provider whether the account works, and keeps what it said. */
export async function checkIntegration(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectStored(id)]);
  const health = await askHealth(ctx, found(rows));
  const noted = noteHealth(
    ctx,
    health.ok ? { works: [id], fails: [] } : { works: [], fails: [{ id, error: health.detail ?? "" }] },
  );
  const work: BatchItem<"pg">[] = noted.concat(
    db.update(integrations).set({ checkedAt: sql<string>`now()` }).where(own(integrations, id)).returning(columns),
  );
  const results = await asTenant(ctx, work as [BatchItem<"pg">]);
  return found(results.at(-1) as unknown as Integration[]);
}

async function askHealth(ctx: Context, stored: Stored): Promise<Health> {
  try {
    const opened = await openAccount(ctx.env, ctx.tenantId, stored);
    return await useAccount(ctx.env, opened, CHECK_MS, (provider, account, io) => provider.check(account, io), ctx);
  } catch (error) {
    logFault(ctx.requestId, error);
    return { ok: false, detail: "The check could not be made." };
  }
}

type Noted = { works: string[]; fails: { id: string; error: string }[] };

/** What sends and checks tell of accounts. What its owner disabled stays disabled. */
export function noteHealth(ctx: Context, { works, fails }: Noted): BatchItem<"pg">[] {
  const known = (status: IntegrationStatus, ids: string[]) =>
    and(eq(integrations.tenantId, ctx.tenantId), inArray(integrations.id, ids), eq(integrations.status, status));
  return [
    ...(works.length
      ? [db.update(integrations).set({ status: "active", error: null }).where(known("failing", works))]
      : []),
    ...fails.map(({ id, error }) =>
      db
        .update(integrations)
        .set({ status: "failing", error: error.slice(0, 500) })
        .where(
          and(
            eq(integrations.tenantId, ctx.tenantId),
            eq(integrations.id, id),
            inArray(integrations.status, ["active", "failing"]),
          ),
        ),
    ),
  ];
}
