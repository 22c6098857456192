import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { type Bridge, startBridge } from "./bridge.ts";
import { buildWorker, builtWorker } from "./built-worker.ts";
import { readTarget } from "./deploy-target.ts";
import { migrate, queryRows } from "./migrate.ts";
import { ROOT } from "./place.ts";
import { connect, postgresBackend } from "./postgres.ts";
import { createDatabase, findPostgres, type ScratchPostgres, startScratchPostgres } from "./scratch-postgres.ts";
import { startTestCloud, type TestCloud } from "./test-cloud.ts";

const skip = findPostgres() ? false : "PostgreSQL's server is not installed here";
const folder = mkdtempSync(`${tmpdir()}/parley-deploy-test-`);

let built: string;
let postgres: ScratchPostgres;
let ownerUrl: string;
let cloud: TestCloud;
let backend: ReturnType<typeof postgresBackend>;
let bridge: Bridge;

before(async () => {
  if (skip) return;
  built = await builtWorker(`${folder}/built`);
  postgres = await startScratchPostgres();
  ownerUrl = (await postgres.createOwner("parley_owner")).url;
  backend = postgresBackend(ownerUrl);
  bridge = await startBridge(backend);
});

after(async () => {
  await cloud?.stop();
  await bridge?.close();
  await backend?.close();
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** At these words a deployment is killed. */
let until: RegExp | null = null;

type Run = { code: number | null; output: string };

/** A deployment in a process of its own, as in CI: no terminal, this cloud's wrangler first in PATH. */
function deploy(given: string | Record<string, string>, ...args: string[]): Promise<Run> {
  const { DATABASE_URL: _, MASTER_SECRETS: __, DEPLOYMENT_URL: ___, ...env } = process.env;
  const own = typeof given === "string" ? { DATABASE_URL: given } : given;
  const child = spawn(process.execPath, [`${ROOT}/local/deploy.ts`, ...args], {
    env: {
      ...env,
      PATH: `${cloud?.path ?? folder}:${process.env.PATH}`,
      ...(own.DATABASE_URL && { DATABASE_ENDPOINT: `${bridge.url}/sql` }),
      ...own,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      output += chunk;
      if (until?.test(output)) child.kill();
    });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}

let databases = 0;

/** A role belongs to the whole server: databases of tests before would stand in the way. */
async function freshStart(): Promise<string> {
  await cloud?.stop();
  cloud = await startTestCloud(built);
  await bridge.close();
  await backend.close();
  for (let n = 1; n <= databases; n++) await asOwner(ownerUrl, `drop database if exists parley_${n}`);
  backend = postgresBackend(ownerUrl);
  bridge = await startBridge(backend);
  return createDatabase(ownerUrl, `parley_${++databases}`);
}

async function asOwner(url: string, query: string) {
  const session = await connect(url);
  return queryRows(session, query).finally(() => session.end());
}

async function call(path: string, key: string, body?: unknown) {
  const response = await fetch(`${cloud.url}${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}

test("the plan needs neither an account nor a database, and names what wrangler.toml names", async () => {
  const { code, output } = await deploy({}, "--dry-run", "--env", "staging");

  assert.equal(code, 0, output);
  for (const name of readTarget().queues) assert.match(output, new RegExp(`create queue ${name}-staging `));
  assert.match(output, /upload Worker parley-staging/);
});

let deployed: string;

test("a first deployment makes all it needs, and what it made works", { skip }, async () => {
  deployed = await freshStart();
  const target = readTarget();

  const { code, output } = await deploy(deployed, "--yes");

  assert.equal(code, 0, output);
  assert.deepEqual([...cloud.queues].sort(), [...target.queues].sort());
  assert.deepEqual([...cloud.buckets].sort(), [...target.buckets].sort());
  const { vars, secrets } = cloud.workers.get("parley")!;
  assert.equal(new URL(secrets.APP_DATABASE_URL!).username, "parley_app");
  assert.equal(new URL(secrets.APP_DATABASE_URL!).host, new URL(deployed).host);
  assert.equal(vars.DEPLOYMENT_URL, cloud.url);
  assert.equal((await call("/ready", "none")).status, 200);
  const adminKey = /admin key +(parley_admin_\w+)/.exec(output)![1]!;
  const made = await call("/v1/tenants", adminKey, { name: "Acme" });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.ok(output.includes(secrets.MASTER_SECRETS!), "the master secret is shown");
});

test("a second run makes nothing anew, shows no secret and uploads once", { skip }, async () => {
  const secrets = cloud.workers.get("parley")!.secrets;
  cloud.calls.length = 0;

  const { code, output } = await deploy(deployed, "--yes");

  assert.equal(code, 0, output);
  assert.deepEqual(cloud.workers.get("parley")!.secrets, secrets);
  assert.equal(cloud.calls.filter((args) => args.includes("create")).length, 0);
  assert.equal(cloud.calls.filter((args) => args.startsWith("deploy")).length, 1);
  assert.doesNotMatch(output, /parley_admin_|MASTER_SECRETS {2}/);
  assert.equal(cloud.workers.get("parley")!.vars.DEPLOYMENT_URL, cloud.url, "the address is remembered");
});

test("a new password reaches the Worker, and the old one no longer works", { skip }, async () => {
  const old = cloud.workers.get("parley")!.secrets;

  const { code, output } = await deploy(deployed, "--yes", "--new-password");

  assert.equal(code, 0, output);
  const { APP_DATABASE_URL, MASTER_SECRETS } = cloud.workers.get("parley")!.secrets;
  assert.notEqual(APP_DATABASE_URL, old.APP_DATABASE_URL);
  assert.equal(MASTER_SECRETS, old.MASTER_SECRETS);
  await assert.rejects(connect(old.APP_DATABASE_URL!), /password authentication failed/);
});

test("a migration that fails stops before anything is uploaded, and says which statement", { skip }, async () => {
  const database = await freshStart();
  await asOwner(database, "create table teams (id int)");

  const { code, output } = await deploy(database, "--yes");

  assert.equal(code, 1);
  assert.match(output, /0000_\w+\.sql, statement \d+: relation "teams" already exists/);
  assert.equal(cloud.workers.size, 0);
  const tables = await asOwner(
    database,
    "select relname from pg_class where relname in ('tenants', 'parley_migrations')",
  );
  assert.deepEqual(tables, [], "the database is as it was");
});

test("an environment has a Worker, queues and buckets of its own, and its keys can go to a file", {
  skip,
}, async () => {
  const database = await freshStart();

  const { code, output } = await deploy(database, "--yes", "--env", "staging", "--keys-file", `${folder}/keys`);

  assert.equal(code, 0, output);
  assert.deepEqual([...cloud.workers.keys()], ["parley-staging"]);
  assert.ok([...cloud.queues, ...cloud.buckets].every((name) => name.endsWith("-staging")));
  assert.doesNotMatch(output, /parley_admin_/);
  assert.match(readFileSync(`${folder}/keys`, "utf8"), /^MASTER_SECRETS +1:\S+\nadmin key +parley_admin_\w+\n$/);
  assert.equal(statSync(`${folder}/keys`).mode & 0o777, 0o600);
});

test("a second environment on the same server does not lock the first one out", { skip }, async () => {
  const first = await freshStart();
  assert.equal((await deploy(first, "--yes")).code, 0);
  const { APP_DATABASE_URL } = cloud.workers.get("parley")!.secrets;
  const second = await createDatabase(ownerUrl, `parley_${++databases}`);

  const { code, output } = await deploy(second, "--yes", "--env", "staging");

  assert.equal(code, 1);
  assert.match(output, /parley_app is used by the database parley_\d+ already, .* --new-password/);
  assert.ok(!cloud.workers.has("parley-staging"));
  await (await connect(APP_DATABASE_URL!)).end();
});

test("another Worker on a deployed database needs the word of its owner", { skip }, async () => {
  const database = await freshStart();
  assert.equal((await deploy(database, "--yes")).code, 0);

  const { code, output } = await deploy(database, "--yes", "--env", "staging");

  assert.equal(code, 1);
  assert.match(output, /parley_app is used by the Worker at http/);
});

test("keys are kept although the upload fails, and the next run goes on", { skip }, async () => {
  const database = await freshStart();
  const file = `${folder}/kept-keys`;
  cloud.takesUploads = false;

  const failed = await deploy(database, "--yes", "--keys-file", file);
  const kept = readFileSync(file, "utf8");
  cloud.takesUploads = true;
  const { code, output } = await deploy(database, "--yes", "--keys-file", file);

  assert.equal(failed.code, 1);
  assert.match(failed.output, /wrangler deploy .*failed:\nThe upload timed out/);
  assert.match(kept, /^MASTER_SECRETS +1:\S+\n$/);
  assert.equal(code, 0, output);
  const { secrets } = cloud.workers.get("parley")!;
  const lines = readFileSync(file, "utf8").trim().split("\n");
  assert.equal(lines.findLast((line) => line.startsWith("MASTER_SECRETS"))!.split(/ +/)[1], secrets.MASTER_SECRETS);
  assert.match(lines.at(-1)!, /^admin key +parley_admin_/);
});

test("the admin key is shown before the Worker is waited for", { skip }, async () => {
  const database = await freshStart();

  until = /readiness … /;
  const { output } = await deploy({ DATABASE_URL: database, DATABASE_ENDPOINT: "http://127.0.0.1:1/sql" }, "--yes");
  until = null;

  assert.match(output, /admin key +parley_admin_\w+\n[\s\S]*readiness … $/);
});

test("a file that cannot be written is told before anything is done", { skip }, async () => {
  const database = await freshStart();

  const { code, output } = await deploy(database, "--yes", "--keys-file", `${folder}/no/such/folder/keys`);

  assert.equal(code, 1);
  assert.match(output, /--keys-file cannot be written: /);
  assert.deepEqual(cloud.calls, []);
});

test("a master secret is not made anew for a database in use, but taken from the environment", { skip }, async () => {
  const database = await freshStart();
  const owner = await connect(database);
  await migrate(owner);
  await queryRows(owner, "insert into tenants (id, name) values (gen_random_uuid(), 'Acme')");
  await owner.end();
  const masterSecrets = `1:${Buffer.alloc(32, 1).toString("base64")}`;

  const without = await deploy(database, "--yes");
  const uploads = cloud.workers.size;
  const given = await deploy({ DATABASE_URL: database, MASTER_SECRETS: masterSecrets }, "--yes");

  assert.equal(without.code, 1);
  assert.match(without.output, /The database is in use, but this Worker has no MASTER_SECRETS/);
  assert.equal(uploads, 0);
  assert.equal(given.code, 0, given.output);
  assert.equal(cloud.workers.get("parley")!.secrets.MASTER_SECRETS, masterSecrets);
  assert.ok(!given.output.includes(masterSecrets), "what the environment gave is not shown");
});

test("without a login, a database or anybody to ask, one line says what is missing", { skip }, async () => {
  const database = await freshStart();
  cloud.loggedIn = false;

  const [noLogin, nobody, noDatabase] = await Promise.all([
    deploy(database, "--yes"),
    deploy(database),
    deploy({}, "--yes"),
  ]);

  assert.match(noLogin.output, /Nobody is logged in to Cloudflare/);
  assert.match(nobody.output, /Nobody can answer here: add --yes\.\n$/);
  assert.match(noDatabase.output, /Set DATABASE_URL to the URL of the database's owner\.\n$/);
  assert.deepEqual([noLogin.code, nobody.code, noDatabase.code], [1, 1, 1]);
});

test("wrangler itself takes the configuration made for an environment", async () => {
  const { config, queues } = readTarget("staging");

  const output = await buildWorker(ROOT, `${folder}/staging`, config);

  for (const name of queues.filter((queue) => !queue.includes("dead"))) assert.match(output, new RegExp(name));
});
