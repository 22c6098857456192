import { and, eq, getTableColumns, type SQL, sql } from "drizzle-orm";
import type { AnyPgColumn, PgTable } from "drizzle-orm/pg-core";
import { currentTenant } from "./columns";
import { db, refuseUnless } from "./db";
import { ApiError } from "./errors";

type TenantTable = PgTable & { tenantId: AnyPgColumn; id: AnyPgColumn };

/** All columns but the tenant's: what the API shows of a row. */
export function shown<T extends TenantTable>(table: T) {
  const { tenantId: _, ...columns } = getTableColumns(table) as T["_"]["columns"] & { tenantId: AnyPgColumn };
  return columns as Omit<T["_"]["columns"], "tenantId">;
}

/** The row of this tenant with this id. */
export const own = (table: TenantTable, id: string, ...more: (SQL | undefined)[]): SQL =>
  and(eq(table.tenantId, currentTenant), eq(table.id, id), ...more)!;

/** Ends the batch with 404 before anything is written. */
export const mustExist = (table: TenantTable, id: string) =>
  refuseUnless(sql`exists (select 1 from ${table} where ${own(table, id)})`, "not_found");

/** Ends the batch with 422 and the place of each id that names no row of this tenant. */
export const mustAllExist = (table: TenantTable, named: { id: string; path: string }[]) =>
  db.execute(sql`select refuse('invalid_request', jsonb_build_object('errors', jsonb_agg(
      jsonb_build_object('path', n.path, 'message', 'It does not exist.') order by n.path)))
    from jsonb_to_recordset(${JSON.stringify(named)}::jsonb) as n(id uuid, path text)
    where not exists (select 1 from ${table} where ${table.tenantId} = ${currentTenant} and ${table.id} = n.id)
    having count(*) > 0`);

/** A user acts for themselves only; a key without a user acts for all of its tenant. */
export const mustBeSelf = (userId: string) =>
  refuseUnless(sql`current_user_id() is null or current_user_id() = ${userId}`, "not_allowed");

export function found<T>(rows: readonly T[]): T {
  const [row] = rows;
  if (row === undefined) throw new ApiError("not_found");
  return row;
}

/** What the caller named: undefined members are left as they are. */
export function changes<T extends Record<string, unknown>>(patch: T): Partial<T> {
  return Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Merges member by member; null takes a member out. */
export const mergedJson = (old: AnyPgColumn | SQL, patch: Record<string, unknown>): SQL =>
  sql`merged_json(${old}, ${JSON.stringify(patch)}::jsonb)`;

/** A new row's metadata: as if merged into nothing. */
export const newJson = (given: Record<string, unknown> | undefined): SQL =>
  given === undefined ? sql`'{}'::jsonb` : mergedJson(sql`'{}'::jsonb`, given);

/** Within the plan: stands after the rows are written, while the count is locked. */
export const withinLimit = (metric: string, limits: Record<string, number> | undefined) =>
  limits?.[metric] === undefined ? [] : [db.execute(sql`select refuse_over_limit(${metric}, ${limits[metric]})`)];
