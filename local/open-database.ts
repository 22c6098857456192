import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { plain } from "./fail.ts";
import { queryRows } from "./migrate.ts";
import { createPGlite, embeddedBackend } from "./pglite.ts";
import type { Place } from "./place.ts";
import { connect, postgresBackend, withLogin } from "./postgres.ts";
import type { Backend, Login, Session } from "./session.ts";

export type Database = {
  name: string;
  /** Answers for the Worker behind the bridge; a Neon database needs none. */
  backend: Backend | null;
  app: Login;
  appUrl: string | null;
  asOwner<T>(work: (owner: Session) => Promise<T>): Promise<T>;
  /** The password to give to parley_app, where this stack is the one to choose it. */
  appPassword: string | undefined;
  close(): Promise<void>;
};

export async function openEmbedded(place: Place): Promise<Database> {
  const isNew = !existsSync(place.database);
  const backend = await keepingAlive(() => createPGlite({ folder: place.database }).then(embeddedBackend)).catch(
    (error) => {
      if (isNew) throw plain(`The embedded PostgreSQL cannot be created in ${place.database}: ${error.message}`);
      throw plain(
        `The data in ${place.database} cannot be opened (${firstLine(error)}). Start with --reset to begin anew without it.`,
      );
    },
  );
  return {
    name: "embedded PostgreSQL",
    backend,
    app: { user: "parley_app", password: "local", database: "postgres" },
    appUrl: null,
    asOwner: backend.exclusively,
    appPassword: undefined,
    close: backend.close,
  };
}

const firstLine = (error: unknown) => String((error as Error).message ?? error).split("\n")[0];

/** PGlite meets some broken folders with an error that nobody can catch, thrown as its WebAssembly exits. */
function keepingAlive<T>(work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onUncaught = (error: unknown) => reject(error);
    process.on("uncaughtException", onUncaught);
    process.on("unhandledRejection", onUncaught);
    work()
      .then(resolve, reject)
      .finally(() => {
        process.off("uncaughtException", onUncaught);
        process.off("unhandledRejection", onUncaught);
      });
  });
}

export type ServerOptions = { appUrl?: string | undefined; newPassword?: boolean };

/** `url` is the owner's. The password of parley_app is made here once, and kept in the folder. */
export async function openServer(
  url: string,
  place: Place,
  { appUrl, newPassword = false }: ServerOptions,
): Promise<Database> {
  const { where, owner, isNeon } = readUrl(url);
  const session = await connect(url).catch((error) => {
    throw plain(`The database at ${where} (DATABASE_URL) cannot be reached: ${error.message || error.code}`);
  });
  const asOwner = <T>(work: (owner: Session) => Promise<T>) => work(session);
  const known = place.secrets.appPasswords[where];
  const app: Login = appUrl
    ? readUrl(appUrl).owner
    : { user: "parley_app", password: known ?? randomBytes(24).toString("base64url"), database: owner.database };
  if (!appUrl && !known && !newPassword && (await hasAppRole(session))) {
    await session.end();
    throw plain(
      `The role parley_app exists on ${where} already, and its password is not in this folder: set APP_DATABASE_URL, or add --new-password to change it.`,
    );
  }
  if (!appUrl && !known) {
    place.secrets.appPasswords[where] = app.password;
    place.saveSecrets();
  }
  const backend = isNeon ? null : postgresBackend(url);
  return {
    name: where,
    backend,
    app,
    appUrl: isNeon ? withLogin(url, app) : null,
    asOwner,
    appPassword: appUrl ? undefined : app.password,
    close: async () => {
      await backend?.close();
      await session.end();
    },
  };
}

export function readUrl(url: string) {
  const parsed = URL.parse(url);
  if (!parsed || !/^postgres(ql)?:$/.test(parsed.protocol))
    throw plain("DATABASE_URL is no URL that begins with postgres://.");
  const [user, password, database] = [parsed.username, parsed.password, parsed.pathname.slice(1)].map(
    decodeURIComponent,
  );
  if (!user || !database) throw plain("DATABASE_URL lacks a user or a database.");
  // They would win over what is looked at here.
  const elsewhere = ["host", "hostaddr", "port", "user", "password", "dbname", "service"].find((name) =>
    parsed.searchParams.has(name),
  );
  if (elsewhere) throw plain(`DATABASE_URL may not hold ?${elsewhere}=: write it before the question mark.`);
  return {
    where: `${parsed.host}/${database}`,
    owner: { user, password: password ?? "", database },
    isNeon: parsed.hostname.endsWith(".neon.tech"),
    isLocal: ["", "localhost", "127.0.0.1", "[::1]"].includes(parsed.hostname),
  };
}

/** Roles belong to the whole server: another database of it may have a Parley that uses this one. */
async function hasAppRole(owner: Session): Promise<boolean> {
  return (await queryRows(owner, "select from pg_roles where rolname = 'parley_app'")).length > 0;
}
