import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "./postgres.ts";
import type { Session } from "./session.ts";
import { simpleQuery } from "./wire.ts";

export type ScratchPostgres = {
  /** Where pg_dump and the others lie. */
  programs: string;
  /** A role as the least of hosts would give: no superuser, no BYPASSRLS, may create roles and databases. */
  createOwner(name: string): Promise<{ url: string }>;
  stop(): Promise<void>;
};

const SETTINGS = ["unix_socket_directories=", "max_connections=200", "listen_addresses=127.0.0.1"];

// However this process ends, its end of the pipe closes, and the server goes with it, and its folder.
const GUARD =
  '"$0" "$@" </dev/null & server=$!; trap "" INT TERM HUP; read line; kill -INT $server; wait $server; rm -rf "$SCRATCH"';

/** The newest PostgreSQL installed here, as Debian lays them out. */
export function findPostgres(): string | null {
  const version = (path: string) => Number(/(\d+)\/bin$/.exec(path)?.[1] ?? 0);
  const found = globSync("/usr/lib/postgresql/*/bin").filter((path) => existsSync(`${path}/initdb`));
  return found.sort((a, b) => version(b) - version(a))[0] ?? null;
}

/** A server of its own on a free port, with everything in one folder that goes with it. */
export async function startScratchPostgres({ isDurable = false } = {}): Promise<ScratchPostgres> {
  const programs = findPostgres();
  if (!programs) throw new Error("PostgreSQL's server is not installed here (Debian: apt-get install postgresql).");
  const folder = mkdtempSync(`${tmpdir()}/parley-postgres-`);
  const password = randomBytes(16).toString("hex");
  const user = plainUser();
  writeFileSync(`${folder}/password`, password);
  if (user.uid !== undefined) for (const path of [folder, `${folder}/password`]) chownSync(path, user.uid, user.gid!);
  const made = spawnSync(
    `${programs}/initdb`,
    ["-D", `${folder}/data`, "-U", "super", "-A", "scram-sha-256", "--pwfile", `${folder}/password`],
    { encoding: "utf8", cwd: "/", ...user },
  );
  if (made.status !== 0) throw new Error(`initdb failed:\n${made.stdout}${made.stderr}${made.error ?? ""}`);
  const port = await freePort();
  const args = [
    "-D",
    `${folder}/data`,
    "-p",
    String(port),
    ...[...SETTINGS, `fsync=${isDurable ? "on" : "off"}`].flatMap((setting) => ["-c", setting]),
  ];
  const server = spawn("sh", ["-c", GUARD, `${programs}/postgres`, ...args], {
    cwd: "/",
    stdio: "pipe",
    env: { ...process.env, SCRATCH: folder },
    ...user,
  });
  const superUrl = `postgresql://super:${password}@127.0.0.1:${port}/postgres`;
  const stop = () => end(server, folder);
  const superuser = await untilReady(server, superUrl).catch(async (error) => {
    await stop();
    throw error;
  });
  return {
    programs,
    async createOwner(name) {
      const secret = randomBytes(16).toString("hex");
      await execute(
        superuser,
        `create role "${name}" login createrole createdb nosuperuser nobypassrls password '${secret}'`,
      );
      return { url: `postgresql://${name}:${secret}@127.0.0.1:${port}/postgres` };
    },
    async stop() {
      await superuser.end();
      await stop();
    },
  };
}

/** As the owner of `url`, which is returned for the new database. */
export async function createDatabase(url: string, name: string): Promise<string> {
  const session = await connect(url);
  await execute(session, `create database "${name}"`).finally(() => session.end());
  const made = new URL(url);
  made.pathname = `/${name}`;
  return made.href;
}

export async function execute(session: Session, statement: string): Promise<void> {
  const { error } = await session.exchange(simpleQuery(statement), 1);
  if (error) throw new Error(`${error.M} (${error.C}) in: ${statement}`);
}

/** The server refuses to run as root. */
function plainUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const idOf = (option: string, name: string) => spawnSync("id", [option, name], { encoding: "utf8" });
  const name = ["postgres", "nobody"].find((known) => idOf("-u", known).status === 0);
  if (!name) throw new Error("There is no account but root's, and PostgreSQL refuses to run as root.");
  return { uid: Number(idOf("-u", name).stdout), gid: Number(idOf("-g", name).stdout) };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function untilReady(server: ChildProcess, url: string) {
  let log = "";
  server.stderr!.on("data", (chunk) => {
    log = `${log}${chunk}`.slice(-10_000);
  });
  for (let tries = 0; tries < 100; tries++) {
    if (server.exitCode !== null) break;
    const session = await connect(url).catch(() => null);
    if (session) return session;
    await delay(100);
  }
  throw new Error(`PostgreSQL did not start:\n${log}`);
}

async function end(server: ChildProcess, folder: string): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) {
    const gone = new Promise((resolve) => server.once("exit", resolve));
    server.stdin!.end();
    await gone;
  }
  rmSync(folder, { recursive: true, force: true });
}

/** `node local/scratch-postgres.ts npm test` runs a command with such a server in DATABASE_URL. */
async function runWithServer(command: string[]): Promise<number> {
  const scratch = await startScratchPostgres();
  try {
    const url = await createDatabase((await scratch.createOwner("parley_owner")).url, "parley");
    const child = spawn(command[0]!, command.slice(1), {
      stdio: "inherit",
      env: { ...process.env, DATABASE_URL: url },
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => resolve(code ?? 1));
    });
  } finally {
    await scratch.stop();
  }
}

if (import.meta.main) process.exitCode = await runWithServer(process.argv.slice(2));
