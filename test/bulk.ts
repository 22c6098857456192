import { type Column, type Reference, type Table, WRITTEN } from "./rows";
import { asOwner } from "./setup/owner";

/** Where rows of many are to be found by what they say, or must say something in particular; `n` counts the rows. */
const SAID: Record<string, string> = {
  ...Object.fromEntries(Object.entries(WRITTEN).map(([column, text]) => [column, `'${text}'`])),
  "users.email": "'user' || n || '@example.org'",
  // Or what is done to make things to ask for would be told to endpoints that are none.
  "webhooks.enabled": "false",
  // Of those that are active there are 20 at most.
  "block_lists.active": "false",
  "streams.kind": "'channel'",
  "events.stream_kind": "'channel'",
  "audit_logs.action": "'action.' || n % 20",
};

/** What belongs to a channel without a key that says so: each to its own, or half of all to the busiest. */
const OF_A_CHANNEL: Record<string, "own" | "busiest"> = { "streams.id": "own", "events.stream_id": "busiest" };

/** Where what they belong to has but a few of them, none is the busiest: a message has 100 mentions at most, and one place in the queue. */
const FEW_TO_EACH = ["message_attachments", "message_mentions", "moderation_queue"];

type Filling = { tables: Table[]; tenantId: string; countOf(table: string): number };

/** The id of the one that half of what belongs to any belongs to, where it has an id. */
export async function busiest(table: Table, tenantId: string): Promise<string | undefined> {
  const hasId = table.columns.some(({ name, type }) => name === "id" && type === "uuid");
  if (!hasId) return undefined;
  const [row] = await asOwner<{ id: string }>(`select ${uuidOf(`${tenantId}${table.name}.id`, "0")}::text as id`);
  return row!.id;
}

/**
 * Rows of many in every table, in a database where nobody else works. Nothing is looked up: each value follows from the
 * row's number, and so does the id of what it belongs to. So neither keys nor indexes need to be kept while they come.
 * Returns the tables that would not have it.
 */
export async function fillManifold(filling: Filling): Promise<string[]> {
  const refused: string[] = [];
  for (const table of filling.tables) {
    const fill = (plain: boolean) => asOwner(insertion(filling, table, plain));
    // Some combination of choices and moments may be one that the table's CHECKs rule out.
    await fill(false)
      .catch(() => fill(true))
      .catch((error) => refused.push(`${table.name}: ${error.message}`));
  }
  return refused;
}

function insertion(filling: Filling, table: Table, plain: boolean): string {
  const columns = table.columns.flatMap((column) => {
    const value = columnValue(filling, table, column, "n", plain);
    return value === undefined ? [] : [[column.name, value]];
  });
  return `insert into "${table.name}" (${columns.map(([name]) => `"${name}"`)})
    select ${columns.map(([, value]) => value).join(", ")}
      from generate_series(0, ${filling.countOf(table.name) - 1}) n on conflict do nothing`;
}

function columnValue(filling: Filling, table: Table, column: Column, n: string, plain: boolean): string | undefined {
  const { name, type, choices, required, defaulted } = column;
  const place = `${table.name}.${name}`;
  if (name === "tenant_id") return `'${filling.tenantId}'::uuid`;
  if (SAID[place]) return SAID[place].replaceAll(/\bn\b/g, n);
  const whose = OF_A_CHANNEL[place];
  if (whose) {
    const channels = filling.tables.find((one) => one.name === "channels")!;
    const id = channels.columns.find((one) => one.name === "id")!;
    return columnValue(
      filling,
      channels,
      id,
      whose === "own" ? n : toTheBusiest(n, filling.countOf("channels")),
      plain,
    );
  }
  const reference = table.references.find(({ own }) => own.includes(name));
  if (reference) return parentOf(filling, table, column, reference, n);
  if (choices.length > 0)
    return plain ? `'${choices[0]}'` : `(array['${choices.join("','")}'])[1 + ${n} % ${choices.length}]`;
  switch (type) {
    case "uuid":
      return required ? uuidOf(filling.tenantId + place, n) : undefined;
    case "text":
      return required && !defaulted ? `md5('${filling.tenantId}${place}' || ${n})` : undefined;
    case "timestamp with time zone":
      if (required) return `now() - ${n} * interval '1 second'`;
      return plain ? undefined : `case when ${n} % 1000 = 999 then now() - ${n} * interval '1 second' end`;
    case "bytea":
      return required && !defaulted ? `sha256(('${filling.tenantId}${place}' || ${n})::bytea)` : undefined;
    case "bigint":
    case "integer":
      return required && !defaulted ? `1 + ${n}` : undefined;
    default:
      return required && !defaulted ? `'${PLAIN[type]}'` : undefined;
  }
}

const PLAIN: Record<string, string> = {
  jsonb: "{}",
  boolean: "true",
  cidr: "198.51.100.0/24",
  inet: "198.51.100.0",
  date: "2026-01-01",
  "text[]": "{}",
};

/** Of version 7: in the order in which they were made. */
function uuidOf(salt: string, n: string): string {
  const hash = `md5('${salt}' || ${n})`;
  return `(lpad(to_hex(${n}), 8, '0') || substr(${hash}, 1, 4) || '7' || substr(${hash}, 5, 3) || '8' || substr(${hash}, 8, 15))::uuid`;
}

const toTheBusiest = (n: string, count: number): string => `(case when ${n} % 2 = 0 then 0 else ${n} % ${count} end)`;

/** Half of all belong to the first, the others to each in turn; but to what else they belong, each to its own. */
function parentOf(filling: Filling, table: Table, column: Column, reference: Reference, n: string): string | undefined {
  if (reference.table === table.name) return undefined;
  const parent = filling.tables.find(({ name }) => name === reference.table)!;
  const theirs = parent.columns.find(({ name }) => name === reference.theirs[reference.own.indexOf(column.name)])!;
  const count = filling.countOf(parent.name);
  const isFirst = reference === table.references[0] && !FEW_TO_EACH.includes(table.name);
  const nth = isFirst ? toTheBusiest(n, count) : `(${n} % ${count})`;
  return columnValue(filling, parent, theirs, nth, false);
}
