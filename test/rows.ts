import { asOwner } from "./setup/owner";

export type Column = { name: string; type: string; required: boolean; defaulted: boolean; choices: string[] };
export type Reference = { own: string[]; table: string; theirs: string[] };
export type Table = { name: string; columns: Column[]; references: Reference[] };
export type Row = Record<string, unknown>;

/** Every table of tenants, those that others refer to first. */
export async function tenantTables(): Promise<Table[]> {
  const found = await asOwner<Table>(`select c.relname::text as name,
      (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, null), 'required', a.attnotnull,
          'defaulted', a.atthasdef, 'choices', coalesce((select jsonb_agg(m[1]) from pg_constraint k, regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''', 'g') m
            where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]), '[]')) order by a.attnum)
         from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
      coalesce((select jsonb_agg(jsonb_build_object('table', f.confrelid::regclass::text,
          'own', (select jsonb_agg(a.attname order by n) from unnest(f.conkey) with ordinality u(k, n) join pg_attribute a on a.attrelid = c.oid and a.attnum = u.k),
          'theirs', (select jsonb_agg(a.attname order by n) from unnest(f.confkey) with ordinality u(k, n)
            join pg_attribute a on a.attrelid = f.confrelid and a.attnum = u.k)))
         from pg_constraint f where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> 'tenants'::regclass), '[]') as "references"
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') order by 1`);
  const sorted: Table[] = [];
  while (sorted.length < found.length) {
    const known = (table: string, own: string) => table === own || sorted.some(({ name }) => name === table);
    const next = found.filter((t) => !sorted.includes(t) && t.references.every(({ table }) => known(table, t.name)));
    if (next.length === 0) throw new Error("The tables refer to each other in a circle.");
    sorted.push(...next);
  }
  return sorted;
}

/** Nothing made here is ever due, or the sweeps of other tests would take it for work. */
const DUE = /^(next|run|due|send|scheduled|starts?)_.*at$|_until$|^(until|expires_at|checked_at)$/;

/** Text that is read again as something else. */
export const WRITTEN: Record<string, string> = {
  "events.payload": '{"timestamp":"2026-01-01T00:00:00.000Z","data":{}}',
};

/** Values for a new row of the tenant; `parents` are rows of the tables it refers to. */
export function newRow(
  { name, columns, references }: Table,
  tenantId: string,
  label: string,
  parents: Map<string, Row>,
): Row {
  const row: Row = {};
  for (const column of columns) {
    const reference = references.find(({ own }) => own.includes(column.name));
    const known = WRITTEN[`${name}.${column.name}`];
    if (column.name === "tenant_id") row.tenant_id = tenantId;
    else if (known) row[column.name] = known;
    else if (reference)
      row[column.name] = parents.get(reference.table)?.[reference.theirs[reference.own.indexOf(column.name)]!] ?? null;
    else if (column.choices.length > 0) row[column.name] = column.choices[0];
    else if (DUE.test(column.name)) row[column.name] = "2999-01-01T00:00:00Z";
    else if (column.type === "text") row[column.name] = `${label} ${name} ${crypto.randomUUID()}`;
    else if (column.required && !column.defaulted) row[column.name] = plainValue(column.type);
  }
  return row;
}

function plainValue(type: string): unknown {
  switch (type) {
    case "uuid":
      return crypto.randomUUID();
    case "timestamp with time zone":
      return new Date().toISOString();
    case "bytea":
      return `\\x${crypto.randomUUID().replaceAll("-", "")}`;
    case "jsonb":
      return "{}";
    case "boolean":
      return true;
    case "cidr":
    case "inet":
      return "198.51.100.0";
    default:
      return 1;
  }
}

export function insertion({ name }: Table, row: Row): [query: string, params: unknown[]] {
  const names = Object.keys(row);
  const places = names.map((_, i) => `$${i + 1}`);
  return [`insert into "${name}" ("${names.join('", "')}") values (${places.join(", ")})`, Object.values(row)];
}

/** A row in every table, whatever tables there are, so that each has something to lose. */
export async function fillTables(tables: Table[], tenantId: string, label: string): Promise<Map<string, Row>> {
  const rows = new Map<string, Row>();
  for (const table of tables) {
    const row = newRow(table, tenantId, label, rows);
    await asOwner(...insertion(table, row));
    rows.set(table.name, row);
  }
  return rows;
}

/** Written a while after the requests of the tenant's own that they count. */
const LATER = ["api_key_uses", "usage_metrics"];

/** All that the tenant has, as text, for comparing before and after. */
export async function snapshot(tables: Table[], tenantId: string): Promise<string[]> {
  const kept = tables.filter(({ name }) => !LATER.includes(name));
  const parts = kept.map(
    ({ name }) => `select '${name}' || to_jsonb(t)::text as row from "${name}" t where tenant_id = $1`,
  );
  const own = "select 'tenants' || to_jsonb(t)::text from tenants t where id = $1";
  const plan = "select 'plans' || to_jsonb(p)::text from plans p join tenants t on t.plan_id = p.id where t.id = $1";
  const rows = await asOwner<{ row: string }>(`${[...parts, own, plan].join(" union all ")} order by 1`, [tenantId]);
  return rows.map(({ row }) => row);
}
