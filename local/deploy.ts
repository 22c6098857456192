import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline/promises";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { buildDocs } from "./build-docs.ts";
import { ensureBucket, ensureQueue, requireLogin, secretsOf, upload } from "./deploy-cloudflare.ts";
import { ensureAdminKey, isInUse, rememberedUrl, rememberUrl, usesOfAppRole } from "./deploy-database.ts";
import { hand, nextSteps, planOf, requireWritable, step } from "./deploy-report.ts";
import { readTarget, type Target } from "./deploy-target.ts";
import { plain, report } from "./fail.ts";
import { migrate, pendingMigrations } from "./migrate.ts";
import { readMigrationFiles } from "./migration-files.ts";
import { readUrl } from "./open-database.ts";
import { ROOT } from "./place.ts";
import { connect, withLogin } from "./postgres.ts";
import type { Session } from "./session.ts";

const USAGE = `npm run deploy -- [options]        DATABASE_URL is the URL of the database's owner
  --env <name>        a second deployment beside the first, e.g. staging, with names of its own
  --domain <host>     answer there, at a domain of this Cloudflare account
  --url <origin>      the address this deployment is known by, where it is not the domain's
  --new-password      give parley_app a new password, after a restore or a leak
  --keys-file <path>  write new keys there instead of showing them
  --dry-run           say what would be done
  --yes               do not ask`;

const { values: options } = parseArgs({
  options: {
    env: { type: "string" },
    domain: { type: "string" },
    url: { type: "string" },
    "new-password": { type: "boolean", default: false },
    "keys-file": { type: "string" },
    "dry-run": { type: "boolean", default: false },
    yes: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const { release } = readMigrationFiles();

async function deploy(): Promise<void> {
  const target = readTarget(options.env);
  const version = versionOf();
  const databaseUrl = process.env.DATABASE_URL;
  const owner = databaseUrl ? await connectAsOwner(databaseUrl) : null;
  try {
    const pending = owner && (await pendingMigrations(owner));
    console.log(planOf({ target, version, release, pending, newPassword: options["new-password"] }));
    if (options["dry-run"]) return;
    if (!owner) throw plain("Set DATABASE_URL to the URL of the database's owner.");
    requireReachableByWorker(databaseUrl!);
    await confirm();
    await run(target, version, owner, databaseUrl!);
  } finally {
    await owner?.end();
  }
}

async function confirm(): Promise<void> {
  if (options.yes) return;
  if (!process.stdin.isTTY) throw plain("Nobody can answer here: add --yes.");
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question("Go ahead? [y/N] ");
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw plain("Nothing was done.");
}

async function run(target: Target, version: string, owner: Session, databaseUrl: string): Promise<void> {
  const keysFile = options["keys-file"];
  if (keysFile) requireWritable(keysFile);
  await step("login", requireLogin);
  const set = await step(
    "secrets the Worker has",
    () => secretsOf(target),
    (names) => [...names].join(", ") || "none",
  );
  const secrets: Record<string, string> = {};
  if (!set.has("APP_DATABASE_URL") && !options["new-password"]) await requireOwnRole(owner);
  if (!set.has("MASTER_SECRETS")) {
    secrets.MASTER_SECRETS = await masterSecrets(owner);
    if (!process.env.MASTER_SECRETS) hand("MASTER_SECRETS", secrets.MASTER_SECRETS, keysFile);
  }
  const appPassword =
    options["new-password"] || !set.has("APP_DATABASE_URL") ? randomBytes(24).toString("base64url") : null;
  for (const name of target.queues) await step(`queue ${name}`, () => ensureQueue(name));
  for (const name of target.buckets) await step(`bucket ${name}`, () => ensureBucket(name));

  // First the database, which the Worker that runs now goes on understanding; a failure here ends it all.
  const applied = await step(
    "migrations",
    () => migrate(owner, appPassword ? { appPassword } : {}),
    (files) => files.join(", ") || "none to apply",
  );
  if (applied.length === 0 && appPassword) console.log("  parley_app has a new password");
  if (appPassword) {
    const { database } = readUrl(databaseUrl).owner;
    secrets.APP_DATABASE_URL = withLogin(databaseUrl, { user: "parley_app", password: appPassword, database });
  }
  buildDocs();
  const known =
    options.url ??
    process.env.DEPLOYMENT_URL ??
    (options.domain && `https://${options.domain}`) ??
    (await rememberedUrl(owner));
  const url = await putWorker(target, { version, secrets, known });
  await rememberUrl(owner, url);
  const adminKey = await step(
    "admin key",
    () => ensureAdminKey(owner),
    (key) => (key ? "made" : "there"),
  );
  if (adminKey) hand("admin key", adminKey, keysFile);
  await step("readiness", () => untilReady(url, version));
  console.log(nextSteps(target, url));
}

type Putting = { version: string; secrets: Record<string, string>; known: string | undefined };

/** The Worker is told where it answers; the first time only Cloudflare knows, so that it is uploaded once more. */
async function putWorker(target: Target, { version, secrets, known }: Putting): Promise<string> {
  const origin = known && originOf(known);
  const endpoint = process.env.DATABASE_ENDPOINT;
  const vars = { VERSION: version, RELEASE: release, ...(endpoint && { DATABASE_ENDPOINT: endpoint }) };
  const put = (url: string | undefined, given: Record<string, string>) =>
    upload(target, { vars: { ...vars, ...(url && { DEPLOYMENT_URL: url }) }, secrets: given, domain: options.domain });
  const addresses = await step(
    "Worker",
    () => put(origin, secrets),
    (list) => list.join(", ") || "uploaded",
  );
  if (origin) return origin;
  if (!addresses[0]) throw plain("Cloudflare named no address for this Worker: say --domain or --url.");
  const url = originOf(addresses[0]);
  await step(
    "Worker, knowing its address",
    () => put(url, {}),
    () => url,
  );
  return url;
}

function originOf(url: string): string {
  if (!URL.canParse(url)) throw plain(`${url} is no address: say it as https://api.example.com.`);
  return new URL(url).origin;
}

/** A role belongs to the whole server: with a new password, whoever else logs in as parley_app no longer can. */
async function requireOwnRole(owner: Session): Promise<void> {
  const [use] = await usesOfAppRole(owner);
  if (use === undefined) return;
  throw plain(
    `parley_app is used by ${use} already, and this Worker has no APP_DATABASE_URL: give this deployment a database server of its own, or say --new-password, which locks the other one out until it is deployed with --new-password too.`,
  );
}

async function masterSecrets(owner: Session): Promise<string> {
  const given = process.env.MASTER_SECRETS;
  if (given) return given;
  if (await isInUse(owner))
    throw plain(
      "The database is in use, but this Worker has no MASTER_SECRETS. Set the environment variable MASTER_SECRETS to what its data was sealed with.",
    );
  return `1:${randomBytes(32).toString("base64")}`;
}

/** Uploading returns before every place has the new version. */
async function untilReady(url: string, version: string): Promise<string> {
  let said = "";
  for (const until = Date.now() + 60_000; Date.now() < until; await delay(1_000)) {
    const health = await fetch(`${url}/health`).catch(() => null);
    if (!health?.ok) continue;
    if (((await health.json()) as { version: string }).version !== version) continue;
    const ready = await fetch(`${url}/ready`);
    said = await ready.text();
    if (ready.ok) return "ready";
  }
  if (said) throw plain(`The Worker runs, but is not ready: ${said}`);
  return `${url} does not answer with this version yet; look at ${url}/ready later`;
}

/** Outside Neon something of yours has to speak its protocol to the Worker. */
function requireReachableByWorker(url: string): void {
  if (readUrl(url).isNeon || process.env.DATABASE_ENDPOINT) return;
  throw plain(
    "The Worker speaks Neon's HTTP protocol: DATABASE_URL must be a Neon database's, or DATABASE_ENDPOINT the URL of a proxy that speaks it.",
  );
}

function connectAsOwner(url: string) {
  return connect(url).catch((error) => {
    throw plain(
      `The database at ${readUrl(url).where} (DATABASE_URL) cannot be reached: ${error.message || error.code}`,
    );
  });
}

/** The commit, marked where files differ from it. */
function versionOf(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain") ? "-changed" : "");
  } catch {
    return "unknown";
  }
}

if (options.help) console.log(USAGE);
else
  deploy().catch((error) => {
    report(error);
    process.exitCode = 1;
  });
