import { getTableName, type SQL, sql } from "drizzle-orm";
import { type AnyPgColumn, check, customType, foreignKey, type PgColumn, uuid } from "drizzle-orm/pg-core";

/** A moment as the API shows it: ISO 8601 in UTC, in code as on the wire. */
export const instant = customType<{ data: string; driverData: string }>({
  dataType: () => "timestamptz",
  fromDriver: isoOf,
});

/** Of PostgreSQL's text ("2026-11-28 03:18:28.1234+00") or JSON; what is ISO in UTC already stays as it is. */
export function isoOf(text: string): string {
  if (text.endsWith("Z")) return text;
  if (!text.endsWith("+00") || text[10] !== " ")
    return Number.isNaN(Date.parse(text)) ? text : new Date(text).toISOString();
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, -3).slice(0, 3).padEnd(3, "0")}Z`;
}

export const bytea = customType<{ data: Uint8Array<ArrayBuffer>; driverData: string | Uint8Array<ArrayBuffer> }>({
  dataType: () => "bytea",
  toDriver: (bytes) => `\\x${Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("")}`,
  fromDriver: (value) =>
    typeof value === "string"
      ? Uint8Array.from(value.slice(2).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
      : value,
});

/** Money with two decimals, as text, so that no cent is lost in a float. */
export const money = customType<{ data: string; driverData: string | number }>({
  dataType: () => "numeric(10,2)",
  fromDriver: (value) => Number(value).toFixed(2),
});

export const tsvector = customType<{ data: string }>({ dataType: () => "tsvector" });

export const tenantId = () => uuid("tenant_id").notNull();
export const id = () => uuid("id").notNull();
export const createdAt = () => instant("created_at").notNull().default(sql`now()`);
export const updatedAt = () =>
  instant("updated_at")
    .notNull()
    .default(sql`now()`)
    .$onUpdate(() => new Date().toISOString());

/** A foreign key that cannot cross tenants: (tenant_id, column) → (tenant_id, id). */
export function references<Tenant extends AnyPgColumn, Column extends AnyPgColumn>(
  own: [tenant: Tenant, column: Column],
  table: { tenantId: PgColumn; id: PgColumn },
) {
  const name = `${getTableName(own[1].table)}_${own[1].name}_fk`;
  // biome-ignore lint/suspicious/noExplicitAny: drizzle wants the table names of both sides in the types, which callers do not know
  return foreignKey({ name, columns: own as any, foreignColumns: [table.tenantId, table.id] as any });
}

export const oneOf = (name: string, column: AnyPgColumn, values: readonly string[]) =>
  check(name, sql`${column} in (${sql.raw(values.map((value) => `'${value}'`).join(", "))})`);

/** The tenant and the user that `door.enter` has set for this batch. */
export const currentTenant: SQL<string> = sql`nullif(current_setting('app.tenant_id', true), '')::uuid`;
export const currentUser: SQL<string> = sql`nullif(current_setting('app.user_id', true), '')::uuid`;
