import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export type SqlFile = { name: string; text: string; hash: string };

export type MigrationFiles = {
  /** Applied first, before any table exists. */
  roles: SqlFile | null;
  /** Versioned, in the journal's order, each applied once. */
  versioned: SqlFile[];
  /** In the order of their names: applied when changed, or, where the name says always, when anything changed. */
  functions: SqlFile[];
  /** What /ready compares: the newest migration and the hash of all functions. */
  release: string;
};

export const MIGRATIONS_FOLDER = fileURLToPath(new URL("../drizzle", import.meta.url));

const ROLES = "00-roles.sql";

export const runsAlways = ({ name }: SqlFile): boolean => name === ROLES || name.endsWith(".always.sql");

export function readMigrationFiles(folder = MIGRATIONS_FOLDER): MigrationFiles {
  const read = (path: string, name: string): SqlFile => {
    const text = readFileSync(`${folder}/${path}`, "utf8");
    return { name, text, hash: createHash("sha256").update(text).digest("hex") };
  };
  const journal = `${folder}/meta/_journal.json`;
  const entries: { tag: string }[] = existsSync(journal) ? JSON.parse(readFileSync(journal, "utf8")).entries : [];
  const versioned = entries.map(({ tag }) => read(`${tag}.sql`, `${tag}.sql`));
  const names = existsSync(`${folder}/functions`) ? readdirSync(`${folder}/functions`).sort() : [];
  const files = names.filter((name) => name.endsWith(".sql")).map((name) => read(`functions/${name}`, name));
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file.name}\0${file.hash}\0`);
  return {
    roles: files.find(({ name }) => name === ROLES) ?? null,
    versioned,
    functions: files.filter(({ name }) => name !== ROLES),
    release: `${entries.at(-1)?.tag ?? "none"}+${hash.digest("hex").slice(0, 12)}`,
  };
}
