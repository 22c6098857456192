import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { plain, report } from "./fail.ts";
import { queryRows } from "./migrate.ts";
import { readUrl } from "./open-database.ts";
import { connect } from "./postgres.ts";
import { findPostgres } from "./scratch-postgres.ts";

/** PostgreSQL's own programs: those of PATH, else the newest installed. */
export function postgresProgram(name: string): string {
  const folder = findPostgres();
  const inPath = spawnSync(name, ["--version"]).status === 0;
  if (!inPath && !folder) throw plain(`${name} is not installed (Debian: apt-get install postgresql-client).`);
  return inPath ? name : `${folder}/${name}`;
}

// What row-level security hides from a role, pg_dump leaves out without a word.
const HIDDEN = `
select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relrowsecurity
   and not (select rolbypassrls or rolsuper from pg_roles where rolname = current_user)
   and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'keeper' and p.polpermissive
                      and (select oid from pg_roles where rolname = current_user) = any (p.polroles))`;

async function backUp(): Promise<void> {
  const url = process.env.DATABASE_URL;
  const file = process.argv[2];
  if (!url || !file) throw plain("Usage: DATABASE_URL=<the owner's> npm run db:backup -- <file>");
  if (existsSync(file)) throw plain(`${file} is there already.`);
  const owner = await connect(url).catch((error) => {
    throw plain(
      `The database at ${readUrl(url).where} (DATABASE_URL) cannot be reached: ${error.message || error.code}`,
    );
  });
  const [made] = await queryRows(owner, "select to_regclass('public.parley_migrations') is not null as found");
  const hidden = await queryRows(owner, HIDDEN).finally(() => owner.end());
  if (made!.found !== "t") throw plain(`${readUrl(url).where} holds no Parley.`);
  if (hidden.length)
    throw plain(
      `This role does not see the rows of ${hidden.map(({ name }) => name).join(", ")}: DATABASE_URL must be the owner's.`,
    );
  const args = ["--format=custom", "--enable-row-security", `--file=${file}`, url];
  const { status } = spawnSync(postgresProgram("pg_dump"), args, { stdio: "inherit" });
  if (status !== 0) throw plain("pg_dump failed.");
  console.log(`${readUrl(url).where} is in ${file}.`);
}

if (import.meta.main)
  backUp().catch((error) => {
    report(error);
    process.exitCode = 1;
  });
