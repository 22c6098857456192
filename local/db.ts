import { parseArgs } from "node:util";
import { plain, report } from "./fail.ts";
import { migrate, queryRows } from "./migrate.ts";
import { openEmbedded, readUrl } from "./open-database.ts";
import { type Place, takePlace } from "./place.ts";
import { connect } from "./postgres.ts";
import { seed } from "./seed.ts";
import type { Session } from "./session.ts";
import { simpleQuery } from "./wire.ts";

const { values, positionals } = readOptions();
const url = process.env.DATABASE_URL;

function readOptions() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { force: { type: "boolean", default: false }, folder: { type: "string" } },
    });
  } catch (error) {
    report(plain(`${(error as Error).message.split(".")[0]}. There are --force and --folder <path>.`));
    process.exit(1);
  }
}

/** On the database of DATABASE_URL as its owner, or on the embedded one while nothing else runs it. */
async function withOwner(reset: boolean, work: (owner: Session, place: Place) => Promise<void>): Promise<void> {
  const place = takePlace({ folder: values.folder, reset: reset && !url, shared: url !== undefined });
  try {
    if (!url) {
      const database = await openEmbedded(place);
      await database.asOwner((owner) => work(owner, place)).finally(database.close);
    } else {
      const { where } = readUrl(url);
      const owner = await connect(url).catch((error) => {
        throw plain(`The database at ${where} (DATABASE_URL) cannot be reached: ${error.message || error.code}`);
      });
      await work(owner, place).finally(owner.end);
    }
  } finally {
    place.release();
  }
}

async function applyMigrations(owner: Session): Promise<void> {
  const applied = await migrate(owner, { log: console.log });
  console.log(applied.length ? `${applied.length} files applied.` : "The database is up to date.");
}

async function plantSeed(owner: Session, place: Place): Promise<void> {
  const keys = await seed(owner, place.secrets);
  Object.assign(place.secrets, keys);
  place.saveSecrets();
  console.log(`demo key   ${keys.demoKey}\nadmin key  ${keys.adminKey}`);
}

async function reset(owner: Session, place: Place): Promise<void> {
  const schemas = await queryRows(
    owner,
    "select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'",
  );
  const drops = schemas.map(({ name }) => `drop schema "${name}" cascade;`).join("");
  const { error } = await owner.exchange(simpleQuery(`${drops} create schema public`), 1);
  if (error) throw plain(`The database could not be emptied: ${error.M}`);
  await applyMigrations(owner);
  await plantSeed(owner, place);
}

function mayReset(): true {
  if (url && !readUrl(url).isLocal && !values.force)
    throw plain(
      `DATABASE_URL is ${readUrl(url).where}, which is not on this machine: --force empties it all the same.`,
    );
  return true;
}

async function main(): Promise<void> {
  const [command] = positionals;
  if (command === "migrate") return withOwner(false, applyMigrations);
  if (command === "seed") return withOwner(false, plantSeed);
  if (command === "reset" && mayReset()) return withOwner(true, reset);
  throw plain("Say migrate, seed or reset.");
}

main().catch((error) => {
  report(error);
  process.exitCode = 1;
});
