import { appendFileSync, chmodSync, existsSync, rmSync } from "node:fs";
import type { Target } from "./deploy-target.ts";
import { plain } from "./fail.ts";
import type { Pending } from "./migrate.ts";

type Plan = { target: Target; version: string; release: string; pending: Pending | null; newPassword: boolean };

export function planOf({ target, version, release, pending, newPassword }: Plan): string {
  const files = pending && [...pending.migrations, ...pending.functions];
  const lines = [
    "check the login with Cloudflare",
    ...target.queues.map((name) => `create queue ${name} where it is missing`),
    ...target.buckets.map((name) => `create bucket ${name} where it is missing`),
    files?.length === 0
      ? "apply no migration: the database is up to date"
      : `apply migrations as the database's owner${files ? `: ${files.join(", ")}` : ""}`,
    newPassword
      ? "give parley_app a new password"
      : "give parley_app a password where the Worker has none (APP_DATABASE_URL)",
    "make a master secret where the Worker has none (MASTER_SECRETS)",
    `upload Worker ${target.worker}, version ${version}, release ${release}`,
    "make the first admin key where there is none",
    "wait until the Worker says that it is ready",
  ];
  return [`Deploying ${target.worker}:`, ...lines.map((line, i) => `  ${i + 1}. ${line}`), ""].join("\n");
}

/** Says what is being done, and how it went. */
export async function step<T>(
  what: string,
  work: () => Promise<T>,
  said: (result: T) => unknown = (result) => result,
): Promise<T> {
  process.stdout.write(`  ${what} … `);
  try {
    const result = await work();
    console.log(said(result));
    return result;
  } catch (error) {
    console.log("failed");
    throw error;
  }
}

/** Looked at before anything is done: a key that cannot be kept is not to be made. */
export function requireWritable(file: string): void {
  const isNew = !existsSync(file);
  try {
    appendFileSync(file, "", { mode: 0o600 });
    chmodSync(file, 0o600);
    if (isNew) rmSync(file);
  } catch (error) {
    throw plain(`--keys-file cannot be written: ${(error as Error).message}`);
  }
}

/** As soon as it is made, whatever fails afterwards: shown once, or added where only this account can read it. */
export function hand(name: string, key: string, file: string | undefined): void {
  if (file) appendFileSync(file, `${name.padEnd(15)} ${key}\n`, { mode: 0o600 });
  console.log(
    file
      ? `  ${name} is in ${file}: keep it safe, it is not shown again.`
      : `\n  ${name.padEnd(15)} ${key}\n  Keep it safe; it is not shown again.\n`,
  );
}

export const nextSteps = ({ worker }: Target, url: string) => `
${worker} runs at ${url}.

Next steps:
  - create a tenant:  curl ${url}/v1/tenants -H 'Authorization: Bearer <admin key>' -H 'Content-Type: application/json' -d '{"name":"Acme"}'
  - a domain of your own:  npm run deploy -- --domain api.example.com
  - receive e-mail:  in Cloudflare's dashboard turn on Email Routing for the domain, and route its addresses to the Worker ${worker}
  - the reference:  ${url}/docs`;
