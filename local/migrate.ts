import { storeEventTypes } from "./event-types.ts";
import { type MigrationFiles, readMigrationFiles, runsAlways, type SqlFile } from "./migration-files.ts";
import type { Session } from "./session.ts";
import { splitSql } from "./split-sql.ts";
import { type ErrorFields, extendedQuery, SYNC, simpleQuery } from "./wire.ts";

export type MigrateOptions = {
  /** Set for parley_app when given. */
  appPassword?: string;
  /** Roles belong to the whole server: test databases give theirs names of their own. */
  roleSuffix?: string;
  folder?: string;
  log?: (line: string) => void;
};

export type Pending = { migrations: string[]; functions: string[] };

const LOCK = "select pg_advisory_xact_lock(hashtextextended('parley_migrations', 0))";

const LEDGER = `
create table if not exists parley_migrations (name text primary key, applied_at timestamptz not null default now());
create table if not exists parley_functions (name text primary key, hash text not null, applied_at timestamptz not null default now());
create table if not exists parley_release (version text not null)`;

/** Brings the database to this checkout's state in one transaction, as its owner. Returns the names of what it applied. */
export async function migrate(owner: Session, options: MigrateOptions = {}): Promise<string[]> {
  const { appPassword, roleSuffix = "", folder, log = () => {} } = options;
  const files = readMigrationFiles(folder);
  await run(owner, "begin");
  try {
    await run(owner, LOCK);
    await run(owner, LEDGER);
    const todo = await readTodo(owner, files);
    for (const file of todo) {
      log(`applying ${file.name}`);
      await apply(owner, file, roleSuffix);
    }
    for (const { name } of todo.filter((file) => files.versioned.includes(file)))
      await queryRows(owner, "insert into parley_migrations (name) values ($1)", [name]);
    for (const { name, hash } of todo.filter((file) => !files.versioned.includes(file)))
      await queryRows(owner, RECORD_FUNCTION, [name, hash]);
    if (folder === undefined) await storeEventTypes(owner);
    if (files.roles) await run(owner, `grant select on parley_release to parley_app${roleSuffix}`);
    await run(owner, "delete from parley_release");
    await queryRows(owner, "insert into parley_release (version) values ($1)", [files.release]);
    if (appPassword !== undefined)
      await run(owner, `alter role parley_app${roleSuffix} password '${appPassword.replaceAll("'", "''")}'`);
    await run(owner, "commit");
    return todo.map(({ name }) => name);
  } catch (error) {
    await owner.exchange(simpleQuery("rollback"), 1);
    throw error;
  }
}

const RECORD_FUNCTION = `
insert into parley_functions (name, hash) values ($1, $2)
on conflict (name) do update set hash = excluded.hash, applied_at = now()`;

/** What a migrate would apply now. */
export async function pendingMigrations(owner: Session, folder?: string): Promise<Pending> {
  const files = readMigrationFiles(folder);
  const [ledger] = await queryRows(owner, "select to_regclass('parley_functions') is not null as made", []);
  const todo = ledger!.made === "t" ? await readTodo(owner, files) : everything(files);
  const isVersioned = (file: SqlFile) => files.versioned.includes(file);
  return {
    migrations: todo.filter(isVersioned).map(({ name }) => name),
    functions: todo.filter((file) => !isVersioned(file)).map(({ name }) => name),
  };
}

const everything = ({ roles, versioned, functions }: MigrationFiles) => [
  ...(roles ? [roles] : []),
  ...versioned,
  ...functions,
];

/** In the order of application; the roles and what runs always come along with any change. */
async function readTodo(owner: Session, files: MigrationFiles): Promise<SqlFile[]> {
  const applied = new Set((await queryRows(owner, "select name from parley_migrations", [])).map(({ name }) => name));
  const recorded = await queryRows(owner, "select name, hash from parley_functions", []);
  const hashes = new Map(recorded.map(({ name, hash }) => [name, hash]));
  const changed = (file: SqlFile) => hashes.get(file.name) !== file.hash;

  const isTodo = (file: SqlFile) => (files.versioned.includes(file) ? !applied.has(file.name) : changed(file));
  const all = everything(files);
  return all.some(isTodo) ? all.filter((file) => isTodo(file) || runsAlways(file)) : [];
}

async function apply(owner: Session, file: SqlFile, roleSuffix: string): Promise<void> {
  const text = file.text.replace(/\bparley_(app|door)\b/g, `parley_$1${roleSuffix}`);
  let before = 0;
  for (const part of text.split("--> statement-breakpoint")) {
    const { results, error } = await owner.exchange(simpleQuery(part), 1);
    const statements = splitSql(part);
    if (error) {
      const index = failedStatement(statements, part, error, results.length);
      throw new Error(describeFailure(file.name, before + index + 1, error, part, statements[index]));
    }
    before += statements.length;
  }
}

/** The server names a position for some errors; for the others the statements that succeeded are counted. */
function failedStatement(statements: { to: number }[], text: string, { P }: ErrorFields, succeeded: number): number {
  if (!P) return succeeded;
  const offset = [...text].slice(0, Number(P) - 1).join("").length;
  const index = statements.findIndex(({ to }) => offset <= to);
  return index < 0 ? succeeded : index;
}

type Span = { from: number; to: number };

function describeFailure(name: string, nth: number, error: ErrorFields, text: string, span: Span | undefined): string {
  const statement = span ? text.slice(span.from, span.to).trim() : "";
  const excerpt = statement.length > 300 ? `${statement.slice(0, 300)} …` : statement;
  const reason = [`${error.M} (${error.C})`, error.D, error.H].filter(Boolean).join(" ");
  return `${name}, statement ${nth}: ${reason}\n${excerpt}`;
}

async function run(session: Session, text: string): Promise<void> {
  const { error } = await session.exchange(simpleQuery(text), 1);
  if (error) throw new Error(`${error.M} (${error.C}) in: ${text.trim()}`);
}

/** Rows as objects of PostgreSQL's text output. */
export async function queryRows(
  session: Session,
  query: string,
  params: (string | null)[] = [],
): Promise<Record<string, string | null>[]> {
  const message = Buffer.concat([extendedQuery({ query, params }), SYNC]);
  const { results, error } = await session.exchange(message, 1);
  if (error) throw new Error(`${error.M} (${error.C})${error.D ? ` ${error.D}` : ""} in: ${query}`);
  const { fields, rows } = results[0]!;
  return rows.map((row) => Object.fromEntries(fields.map(({ name }, i) => [name, row[i] ?? null])));
}
