import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { postgresProgram } from "./backup.ts";
import { plain, report } from "./fail.ts";
import { migrate, queryRows } from "./migrate.ts";
import { readMigrationFiles } from "./migration-files.ts";
import { readUrl } from "./open-database.ts";
import { connect } from "./postgres.ts";
import type { Session } from "./session.ts";
import { simpleQuery } from "./wire.ts";

/** Into an empty database: the owner may be another, and so may the server. */
async function restore(): Promise<void> {
  const url = process.env.DATABASE_URL;
  const file = process.argv[2];
  if (!url || !file) throw plain("Usage: DATABASE_URL=<the new owner's> npm run db:restore -- <file>");
  const owner = await connect(url).catch((error) => {
    throw plain(
      `The database at ${readUrl(url).where} (DATABASE_URL) cannot be reached: ${error.message || error.code}`,
    );
  });
  try {
    await requireEmpty(owner);
    // The dump speaks of the roles, the schema door and the extensions, which are the server's or their makers'.
    const { roles } = readMigrationFiles();
    await execute(owner, roles!.text);
    load(url, file);
    await requireKnown(owner);
    // Who owns the functions, who may do what, and the policy of the owner are made anew, for this owner.
    await execute(owner, "delete from parley_functions");
    await migrate(owner);
  } finally {
    await owner.end();
  }
  console.log(`${file} is in ${readUrl(url).where}. Next: npm run deploy -- --new-password`);
}

async function requireEmpty(owner: Session): Promise<void> {
  const [row] = await queryRows(
    owner,
    "select count(*) as tables from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind in ('r', 'p')",
  );
  if (row!.tables !== "0") throw plain(`The database has ${row!.tables} tables already: restore into an empty one.`);
}

const LEFT_OUT = / (?:POLICY public \S+ keeper|SCHEMA - \w+|EXTENSION - \w+|COMMENT - (?:EXTENSION|SCHEMA) \w+) /;

function load(url: string, file: string): void {
  const program = postgresProgram("pg_restore");
  const { stdout, stderr, status } = spawnSync(program, ["--list", file], { encoding: "utf8", maxBuffer: 64 << 20 });
  if (status !== 0) throw plain(`${file} cannot be read: ${stderr.trim()}`);
  const folder = mkdtempSync(`${tmpdir()}/parley-restore-`);
  try {
    writeFileSync(
      `${folder}/list`,
      stdout
        .split("\n")
        .filter((line) => !LEFT_OUT.test(line))
        .join("\n"),
    );
    // What the roles file has made already gives way to what the backup holds of it.
    const args = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"];
    const loaded = spawnSync(program, [...args, `--use-list=${folder}/list`, `--dbname=${url}`, file], {
      stdio: "inherit",
    });
    if (loaded.status !== 0) throw plain("pg_restore failed; the database holds no data of the backup.");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function requireKnown(owner: Session): Promise<void> {
  const [made] = await queryRows(owner, "select to_regclass('public.parley_migrations') is not null as found");
  if (made!.found !== "t") throw plain("The backup holds no Parley.");
  const known = readMigrationFiles().versioned.map(({ name }) => name);
  const applied = (await queryRows(owner, "select name from parley_migrations")).map(({ name }) => name!);
  const newer = applied.filter((name) => !known.includes(name));
  if (newer.length)
    throw plain(`The backup is of a newer release than this checkout, which lacks ${newer.join(", ")}.`);
}

async function execute(owner: Session, text: string): Promise<void> {
  const { error } = await owner.exchange(simpleQuery(text), 1);
  if (error) throw plain(`${error.M} (${error.C})`);
}

restore().catch((error) => {
  report(error);
  process.exitCode = 1;
});
