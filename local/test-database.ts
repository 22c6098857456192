import { randomBytes } from "node:crypto";
import type { TestProject } from "vitest/node";
import { startBridge } from "./bridge.ts";
import { migrate } from "./migrate.ts";
import { migratedBackend } from "./migrated.ts";
import { readMigrationFiles } from "./migration-files.ts";
import { PGLITE_OWNER } from "./pglite.ts";
import { connect, postgresBackend, withLogin } from "./postgres.ts";
import type { Backend, Login } from "./session.ts";
import { simpleQuery } from "./wire.ts";
import "../test/setup/provided.ts";

type Database = { backend: Backend; app: Login; owner: Login; large: string | null; drop(): Promise<void> };

/** One database for the whole run, gone after it; and with the heavy tests one more, to be filled with rows of many. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = process.env.DATABASE_URL;
  const database = server ? await createOn(server) : await createEmbedded();
  const bridge = await startBridge(database.backend);
  const urlFor = (login: Login) => withLogin(bridge.url.replace("http:", "postgresql:"), login);
  project.provide("bridgeUrl", bridge.url);
  project.provide("appDatabaseUrl", urlFor(database.app));
  project.provide("ownerDatabaseUrl", urlFor(database.owner));
  project.provide("realPostgres", server !== undefined);
  project.provide("broadcastTargets", Number(process.env.BROADCAST_TARGETS ?? 10_000));
  project.provide("largeDatabase", database.large);
  project.provide("release", readMigrationFiles().release);
  return async () => {
    await bridge.close();
    await database.backend.close();
    await database.drop();
  };
}

async function createEmbedded(): Promise<Database> {
  const backend = await migratedBackend();
  const database = "postgres";
  return {
    backend,
    app: { user: "parley_app", password: "local", database },
    owner: { user: PGLITE_OWNER, password: "local", database },
    large: null,
    drop: async () => undefined,
  };
}

async function createOn(server: string): Promise<Database> {
  const suffix = `_test_${randomBytes(6).toString("hex")}`;
  const database = `parley${suffix}`;
  const url = new URL(server);
  const owner = {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database,
  };
  const app = { user: `parley_app${suffix}`, password: randomBytes(18).toString("base64url"), database };

  const large = process.env.HEAVY === "1" ? `${database}_large` : null;
  const databases = [database, ...(large ? [large] : [])];
  const drop = () =>
    runOn(server, [
      ...databases.map((name) => `drop database if exists "${name}" with (force)`),
      `drop role if exists "${app.user}"`,
      `drop role if exists "parley_door${suffix}"`,
    ]);
  await runOn(
    server,
    databases.map((name) => `create database "${name}"`),
  );
  try {
    for (const name of databases) {
      const session = await connect(withLogin(server, { ...owner, database: name }));
      await migrate(session, { appPassword: app.password, roleSuffix: suffix }).finally(() => session.end());
    }
  } catch (error) {
    await drop();
    throw error;
  }
  return { backend: postgresBackend(server), app, owner, large, drop };
}

async function runOn(url: string, statements: string[]): Promise<void> {
  const session = await connect(url);
  for (const statement of statements) {
    const { error } = await session.exchange(simpleQuery(statement), 1);
    if (error) throw new Error(`${error.M} (${error.C}) in: ${statement}`);
  }
  await session.end();
}
