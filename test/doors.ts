import { asOwner } from "./setup/owner";

type Privilege = "SELECT" | "INSERT" | "UPDATE" | "DELETE";
type Function = { schema: string; name: string; body: string };
/** `SELECT users`, `UPDATE files` … */
type Use = `${Privilege} ${string}`;

/** What each function of this schema does to tables, read from its body and from the plain functions it calls. */
export async function usesOfDoors(schema = "door"): Promise<Record<string, Use[]>> {
  const [functions, tables] = await Promise.all([
    asOwner<Function>(
      `select n.nspname as schema, p.proname as name, string_agg(p.prosrc, ';') as body from pg_proc p
         join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
        where n.nspname in ('public', $1) and l.lanname in ('sql', 'plpgsql') group by 1, 2 order by 2`,
      [schema],
    ),
    asOwner<{ name: string }>(
      "select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
    ),
  ]);
  const names = tables.map(({ name }) => name);
  const helpers = new Map(functions.filter((f) => f.schema === "public").map((f) => [f.name, f]));
  return Object.fromEntries(
    functions.filter((f) => f.schema === schema).map((f) => [f.name, [...usesOf(f, names, helpers, new Set())].sort()]),
  );
}

function usesOf(
  { name, body }: Function,
  tables: string[],
  helpers: Map<string, Function>,
  seen: Set<string>,
): Set<Use> {
  if (seen.has(name)) return new Set();
  seen.add(name);
  const code = body
    .replace(/--[^\n]*/g, "")
    .replace(/'(?:[^']|'')*'/g, "''")
    .toLowerCase();
  if (/\bexecute\b/.test(code)) throw new Error(`${name} runs SQL made at run time, which nobody can read beforehand.`);
  const own = code.split(";").flatMap((statement) => tables.flatMap((table) => usesIn(statement, table)));
  const called = [...helpers.values()].filter((helper) =>
    new RegExp(`(?<!door\\.)\\b${helper.name}\\s*\\(`).test(code),
  );
  return new Set([...own, ...called.flatMap((helper) => [...usesOf(helper, tables, helpers, seen)])]);
}

function usesIn(statement: string, table: string): Use[] {
  const name = `(?:only\\s+)?(?:public\\.)?${table}\\b`;
  const has = (before: string) => new RegExp(`${before}\\s+${name}`).test(statement);
  // One statement may hold several insertions, each with a conflict clause of its own.
  const insertions = statement
    .split(/\b(?=insert\s+into\b)/)
    .filter((part) => new RegExp(`^insert\\s+into\\s+${name}`).test(part));
  const inserts = insertions.length > 0;
  const onConflict = (clause: RegExp) => insertions.some((insertion) => clause.test(insertion));
  const updates = has("(?<!\\bfor |\\bkey |\\bdo )\\bupdate") || onConflict(/\bdo\s+update\b/);
  const deletes = has("\\bdelete\\s+from");
  const reads =
    has("(?<!\\bdelete\\s+)\\b(?:from|join|using)") || updates || deletes || onConflict(/\bon\s+conflict\s*\(/);
  return [
    ...(reads ? [`SELECT ${table}` as const] : []),
    ...(inserts ? [`INSERT ${table}` as const] : []),
    ...(updates || locks(statement, table) ? [`UPDATE ${table}` as const] : []),
    ...(deletes ? [`DELETE ${table}` as const] : []),
  ];
}

/** A row lock wants the privilege to update, on the tables named after OF or on all that the statement reads. */
function locks(statement: string, table: string): boolean {
  const lock =
    /\bfor\s+(?:no\s+key\s+update|update|key\s+share|share)\b(?:\s+of\s+([\w\s,]+?))?(?:\s+(?:skip|nowait)\b|\s*\)|\s*$)/.exec(
      statement,
    );
  if (!lock) return false;
  const read = new RegExp(`\\b(?:from|join)\\s+(?:public\\.)?${table}\\b(?:\\s+as)?(?:\\s+(\\w+))?`).exec(statement);
  if (!read) return false;
  return lock[1] === undefined || lock[1].split(",").some((alias) => [read[1], table].includes(alias.trim()));
}

/** What the doors' owner may do by its grants, and to what its policies open the rows of all tenants. */
export async function rightsOfDoors(role: string): Promise<{ grants: Use[]; policies: Use[] }> {
  const grants = await asOwner<{ use: Use }>(
    `select distinct privilege_type || ' ' || c.relname as use from pg_class c, aclexplode(c.relacl) g
      where g.grantee = $1::regrole and c.relkind in ('r', 'p')
     union select privilege_type || ' ' || c.relname from pg_attribute a join pg_class c on c.oid = a.attrelid, aclexplode(a.attacl) g
      where g.grantee = $1::regrole order by 1`,
    [role],
  );
  const policies = await asOwner<{ use: Use }>(
    `select distinct command || ' ' || tablename as use from pg_policies,
        unnest(case cmd when 'ALL' then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array[cmd] end) command
      where $1 = any (roles::text[]) and policyname !~ '^removal(_|$)' order by 1`,
    [role],
  );
  return { grants: grants.map(({ use }) => use), policies: policies.map(({ use }) => use) };
}
