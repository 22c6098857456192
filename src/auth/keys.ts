import { and, desc, eq, getTableColumns, isNull, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { sha256, sha256Hex } from "../lib/crypto";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newApiKey, newId } from "../lib/ids";
import { secretBytes } from "../lib/once";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustExist, own } from "../lib/rows";
import type { Scope } from "../lib/scopes";
import { audit, auditChange } from "../tenants/audit";
import { mustBeThere, mustHold, mustHoldAllOf, mustStayWithin, type Resources } from "./grants";
import { apiKeyAddresses, apiKeyResources, apiKeyScopes, apiKeys, apiKeyUses } from "./schema";
import { endingSockets, socketsOfKey } from "./sockets";

export type KeyInput = {
  name: string;
  kind: "live" | "pub" | "admin";
  scopes: Scope[];
  expiresAt?: string | undefined;
  requestsPerMinute?: number | undefined;
  addresses?: string[] | undefined;
  resources?: Resources | undefined;
};

const { tenantId: _t, hash: _h, ...columns } = getTableColumns(apiKeys);

const jsonList = <T>(from: ReturnType<typeof sql>) => sql<T>`coalesce((select ${from}), '[]'::jsonb)`;
type BelongingTable = typeof apiKeyScopes | typeof apiKeyAddresses | typeof apiKeyResources;
const ofKey = (table: BelongingTable) =>
  sql`from ${table} where ${table.tenantId} = ${apiKeys.tenantId} and ${table.keyId} = ${apiKeys.id}`;

const belongingsOfKey = {
  scopes: jsonList<string[]>(
    sql`jsonb_agg(${apiKeyScopes.scope} order by ${apiKeyScopes.scope}) ${ofKey(apiKeyScopes)}`,
  ),
  addresses: jsonList<string[]>(
    sql`jsonb_agg(${apiKeyAddresses.range}::text order by ${apiKeyAddresses.range}) ${ofKey(apiKeyAddresses)}`,
  ),
  resources: jsonList<{ kind: string; id: string }[]>(
    sql`jsonb_agg(jsonb_build_object('kind', ${apiKeyResources.kind}, 'id', ${apiKeyResources.resourceId})
      order by ${apiKeyResources.kind}, ${apiKeyResources.resourceId}) ${ofKey(apiKeyResources)}`,
  ),
};
const shownKey = {
  ...columns,
  ...belongingsOfKey,
  lastUsedAt: apiKeyUses.lastUsedAt,
  requests: sql<number>`coalesce(${apiKeyUses.requests}, 0)`.mapWith(Number),
};

const selectKeys = () =>
  db
    .select(shownKey)
    .from(apiKeys)
    .leftJoin(apiKeyUses, and(eq(apiKeyUses.tenantId, apiKeys.tenantId), eq(apiKeyUses.keyId, apiKeys.id)));

/** The rows of a new key, and its text, which is shown this once. */
export async function newKey(ctx: Context, tenantId: string, input: KeyInput, purpose = "api key") {
  const secret = newApiKey(input.kind, await secretBytes(ctx, purpose, 64));
  const id = newId();
  const { name, kind, expiresAt, requestsPerMinute } = input;
  const row = {
    tenantId,
    id,
    name,
    kind,
    hash: await sha256(secret),
    hint: secret.slice(-4),
    expiresAt,
    requestsPerMinute,
  };
  return { id, secret, queries: [db.insert(apiKeys).values(row), ...belongings(tenantId, id, input)] };
}

function belongings(
  tenantId: string,
  keyId: string,
  { scopes = [], addresses = [], resources = {} }: Partial<KeyInput>,
) {
  const key = { tenantId, keyId };
  const bound = Object.entries(resources).flatMap(([kind, ids = []]) =>
    ids.map((resourceId) => ({ ...key, kind, resourceId })),
  );
  const values = [
    [apiKeyScopes, scopes.map((scope) => ({ ...key, scope }))],
    [apiKeyAddresses, addresses.map((range) => ({ ...key, range }))],
    [apiKeyResources, bound],
  ] as const;
  return values
    .filter(([, rows]) => rows.length > 0)
    .map(([table, rows]) =>
      db
        .insert(table)
        .values(rows as never)
        .onConflictDoNothing(),
    );
}

export async function createKey(ctx: Context, input: KeyInput) {
  mustHold(ctx, input.scopes);
  mustStayWithin(ctx, input.resources ?? {});
  const { id, secret, queries } = await newKey(ctx, ctx.tenantId, input);
  const results = await asTenant(ctx, [
    audit(ctx, "api_key.created", { type: "api_key", id }, input),
    ...mustBeThere(input.resources ?? {}),
    ...queries,
    selectKeys().where(own(apiKeys, id)),
  ]);
  return { ...found(results.at(-1) as ShownKey[]), secret };
}

type ShownKey = Awaited<ReturnType<typeof selectKeys>>[number];

export async function listKeys(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    selectKeys()
      .where(and(eq(apiKeys.tenantId, ctx.tenantId), after(page, [apiKeys.id])))
      .orderBy(desc(apiKeys.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getKey(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectKeys().where(own(apiKeys, id))]);
  return found(rows);
}

export type KeyPatch = Partial<Pick<KeyInput, "name" | "scopes" | "addresses" | "resources">> & {
  enabled?: boolean | undefined;
  expiresAt?: string | null | undefined;
  requestsPerMinute?: number | null | undefined;
};

export async function updateKey(ctx: Context, id: string, patch: KeyPatch) {
  mustHold(ctx, patch.scopes ?? []);
  if (patch.resources) mustStayWithin(ctx, patch.resources);
  const { scopes, addresses, resources, ...rest } = patch;
  const replaced = [
    ...(scopes ? [deleteOf(ctx, apiKeyScopes, id)] : []),
    ...(addresses ? [deleteOf(ctx, apiKeyAddresses, id)] : []),
    ...(resources ? [deleteOf(ctx, apiKeyResources, id)] : []),
  ];
  const results = await endingSockets(ctx, { where: socketsOfKey(id), code: "key_changed" }, [
    mustExist(apiKeys, id),
    ...mustBeThere(resources ?? {}),
    ...(scopes?.some((scope) => !PUBLISHABLE.includes(scope)) ? [mustBeLive(id)] : []),
    auditChange(ctx, "api_key.updated", { type: "api_key", id }, apiKeys, changes(patch), belongingsOfKey),
    db
      .update(apiKeys)
      .set({ ...changes(rest), updatedAt: sql<string>`now()` })
      .where(own(apiKeys, id)),
    ...replaced,
    ...belongings(ctx.tenantId, id, { scopes, addresses, resources }),
    selectKeys().where(own(apiKeys, id)),
  ]);
  return found(results.at(-1) as ShownKey[]);
}

const deleteOf = (ctx: Context, table: BelongingTable, keyId: string) =>
  db.delete(table).where(and(eq(table.tenantId, ctx.tenantId), eq(table.keyId, keyId)));

/** All that a key may do that stands in public pages. */
export const PUBLISHABLE: readonly Scope[] = ["users:guest"];

const mustBeLive = (id: string) =>
  refuseUnless(
    sql`exists (select 1 from ${apiKeys} where ${own(apiKeys, id)} and ${apiKeys.kind} <> 'pub')`,
    "invalid_request",
    {
      errors: [{ path: "scopes", message: "A publishable key may have users:guest only." }],
    },
  );

/** At once, also in the middle of an overlap. */
export async function revokeKey(ctx: Context, id: string): Promise<void> {
  await endingSockets(ctx, { where: socketsOfKey(id), code: "key_revoked" }, [
    mustExist(apiKeys, id),
    audit(ctx, "api_key.revoked", { type: "api_key", id }),
    db
      .update(apiKeys)
      .set({ revokedAt: sql<string>`least(${apiKeys.revokedAt}, now())` })
      .where(own(apiKeys, id)),
  ]);
}

const COPIED = { api_key_scopes: "scope", api_key_resources: "kind, resource_id", api_key_addresses: "range" };

/** A new key with all that the old one may do; the old one works on for the overlap. */
export async function rerollKey(ctx: Context, id: string, overlapSeconds: number) {
  const next = newId();
  const randomness = await secretBytes(ctx, "api key", 64);
  const texts = {
    live: newApiKey("live", randomness),
    pub: newApiKey("pub", randomness),
    admin: newApiKey("admin", randomness),
  };
  const cases = await Promise.all(
    Object.entries(texts).map(async ([kind, text]) => sql`when ${kind} then decode(${await sha256Hex(text)}, 'hex')`),
  );
  const hints = sql`case kind ${sql.join(
    Object.entries(texts).map(([kind, text]) => sql`when ${kind} then ${text.slice(-4)}`),
    sql` `,
  )} end`;
  const results = await endingSockets(ctx, { where: socketsOfKey(id), code: "key_changed" }, [
    mustExist(apiKeys, id),
    refuseUnless(
      sql`exists (select 1 from ${apiKeys} where ${own(apiKeys, id, isNull(apiKeys.revokedAt), isNull(apiKeys.replacedBy))})`,
      "conflict",
      { errors: [{ path: "path.id", message: "The key was revoked or replaced." }] },
    ),
    ...mustHoldAllOf(ctx, id),
    audit(ctx, "api_key.rerolled", { type: "api_key", id }, { replacedBy: next, overlapSeconds }),
    db.execute(sql`insert into api_keys (tenant_id, id, name, kind, hash, hint, enabled, requests_per_minute, expires_at)
      select tenant_id, ${next}::uuid, name, kind, case kind ${sql.join(cases, sql` `)} end, ${hints},
        enabled, requests_per_minute, expires_at from api_keys where tenant_id = ${ctx.tenantId} and id = ${id}`),
    ...Object.entries(COPIED).map(([table, columns]) =>
      db.execute(sql`insert into ${sql.identifier(table)} (tenant_id, key_id, ${sql.raw(columns)})
        select tenant_id, ${next}::uuid, ${sql.raw(columns)} from ${sql.identifier(table)}
         where tenant_id = ${ctx.tenantId} and key_id = ${id}`),
    ),
    db
      .update(apiKeys)
      .set({ replacedBy: next, revokedAt: inSeconds(overlapSeconds) })
      .where(own(apiKeys, id)),
    selectKeys().where(own(apiKeys, next)),
  ]);
  const key = found(results.at(-1) as ShownKey[]);
  return { ...key, secret: texts[key.kind] };
}

const inSeconds = (seconds: number) => sql<string>`now() + make_interval(secs => ${seconds})`;
