import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { plain } from "./fail.ts";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DEFAULT_FOLDER = `${ROOT}/.parley`;

export type Secrets = {
  masterSecrets: string;
  /** One password for each database server, by host and database. */
  appPasswords: Record<string, string>;
  adminKey?: string;
  demoKey?: string;
};

/** The folder of one local stack: its data, its secrets and what its Worker keeps. */
export type Place = {
  folder: string;
  database: string;
  workerState: string;
  workerEnv: string;
  secrets: Secrets;
  saveSecrets(): void;
  release(): unknown;
};

export type PlaceOptions = { folder?: string | undefined; reset?: boolean; shared?: boolean };

/** Only one process may use a folder at a time, unless it leaves the embedded database alone: two would break it. */
export function takePlace({ folder: wanted = DEFAULT_FOLDER, reset = false, shared = false }: PlaceOptions): Place {
  const folder = resolve(wanted);
  const shown = folder === DEFAULT_FOLDER ? ".parley" : folder;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw plain(`${shown} cannot be used as a folder for data: ${(error as Error).message}`);
  }
  const pidFile = `${folder}/running.pid`;
  const other = existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0;
  if (!shared && other && other !== process.pid && isAlive(other))
    throw plain(`Parley is already running on ${shown} (process ${other}). Stop it first.`);
  const secretsFile = `${folder}/secrets.json`;
  if (reset)
    for (const part of ["database", "worker", "secrets.json"])
      rmSync(`${folder}/${part}`, { recursive: true, force: true });
  if (!shared) write(pidFile, String(process.pid), shown);
  const secrets = existsSync(secretsFile) ? readSecrets(secretsFile, shown) : newSecrets();
  const saveSecrets = () => write(secretsFile, `${JSON.stringify(secrets, null, 2)}\n`, shown);
  saveSecrets();
  return {
    folder,
    database: `${folder}/database`,
    workerState: `${folder}/worker/state`,
    workerEnv: `${folder}/worker.env`,
    secrets,
    saveSecrets,
    release: () => !shared && rmSync(pidFile, { force: true }),
  };
}

const newSecrets = (): Secrets => ({ masterSecrets: `1:${randomBytes(32).toString("base64")}`, appPasswords: {} });

function readSecrets(file: string, shown: string): Secrets {
  try {
    const secrets = JSON.parse(readFileSync(file, "utf8")) as Partial<Secrets>;
    if (typeof secrets.masterSecrets === "string")
      return { appPasswords: {}, ...secrets, masterSecrets: secrets.masterSecrets };
  } catch {}
  throw plain(`${shown}/secrets.json is broken. Mend it, or start with --reset to begin anew without the data.`);
}

function write(file: string, text: string, shown: string) {
  try {
    writeFileSync(file, text, { mode: 0o600 });
  } catch (error) {
    throw plain(`${shown} cannot be written: ${(error as Error).message}`);
  }
}

/** A number that a crash left behind may be another program's by now. */
function isAlive(pid: number): boolean {
  try {
    return /\blocal\/\w+\.ts\b/.test(execFileSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }));
  } catch {
    return false;
  }
}
