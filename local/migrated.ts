import { readFileSync, writeFileSync } from "node:fs";
import { migrate } from "./migrate.ts";
import { createPGlite, type Embedded, embeddedBackend } from "./pglite.ts";

/** Names the file with a migrated database where the run of all tests has made one for each of them. */
export const MIGRATED_ELSEWHERE = "PARLEY_MIGRATED_DATABASE";

/** An embedded database in memory, as the migrations leave it. */
export async function migratedBackend(): Promise<Embedded> {
  const elsewhere = process.env[MIGRATED_ELSEWHERE];
  if (elsewhere) return embeddedBackend(await createPGlite({ image: new Blob([readFileSync(elsewhere)]) }));
  const backend = await embeddedBackend(await createPGlite());
  await backend.exclusively((owner) => migrate(owner));
  return backend;
}

/** Migrating takes many times as long as copying its result. */
export async function writeMigrated(file: string): Promise<void> {
  const db = await createPGlite();
  const backend = await embeddedBackend(db);
  await backend.exclusively((owner) => migrate(owner));
  const image = await db.dumpDataDir("none");
  await backend.close();
  writeFileSync(file, Buffer.from(await image.arrayBuffer()));
}
