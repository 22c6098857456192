import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { startBridge } from "./bridge.ts";
import { type BuiltWorker, buildWorker, builtWorker, startBuiltWorker } from "./built-worker.ts";
import { ensureAdminKey } from "./deploy-database.ts";
import { migrate } from "./migrate.ts";
import { readMigrationFiles } from "./migration-files.ts";
import { createPGlite, embeddedBackend } from "./pglite.ts";
import { ROOT } from "./place.ts";

const folder = mkdtempSync(`${tmpdir()}/parley-upgrade-test-`);
const previous = findPrevious();
// Where no history was left out there is no earlier schema, which nobody can help; else CI is to bring the history.
const mayBeMissing = !process.env.CI || git("rev-parse", "--is-shallow-repository") === "false";

after(() => rmSync(folder, { recursive: true, force: true }));

function git(...args: string[]): string | null {
  const { status, stdout } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

/** Newest first, the commits before this checkout's schema: one of them runs while its migrations are applied. */
function findPrevious(): { commits: string[] } | { missing: string } {
  const listFrom = (commit: string) => ({ commits: git("log", "-40", "--format=%H", commit)!.split("\n") });
  if (git("rev-parse", "HEAD") === null) return { missing: "this is no clone of the repository" };
  if (git("status", "--porcelain", "--", "drizzle")) return listFrom("HEAD");
  const changing = git("log", "-1", "--format=%H", "--", "drizzle");
  const before = changing && git("rev-parse", "--verify", "--quiet", `${changing}^`);
  if (!before) return { missing: "the clone holds no commit with an earlier schema" };
  return git("cat-file", "-e", `${before}:drizzle/meta/_journal.json`) === null
    ? { missing: "the commit before this schema had none" }
    : listFrom(before);
}

/** A commit that cannot be built was never a release. */
async function buildPrevious(commits: string[], say: (line: string) => void): Promise<string> {
  for (const commit of commits) {
    const root = checkOut(commit);
    const failure = await buildWorker(root, `${folder}/built-previous`).then(() => null, String);
    if (failure === null) return root;
    say(`${commit.slice(0, 12)} cannot be built, the one before it is taken`);
  }
  throw new Error(`None of these commits can be built: ${commits.join(", ")}`);
}

/** As it was, with the libraries it named: those installed here where they are the same. */
function checkOut(commit: string): string {
  const root = `${folder}/${commit}`;
  mkdirSync(root);
  const archive = execFileSync("git", ["archive", commit], { cwd: ROOT, maxBuffer: 256 << 20 });
  execFileSync("tar", ["-x", "-C", root], { input: archive });
  if (JSON.stringify(librariesOf(root)) === JSON.stringify(librariesOf(ROOT)))
    symlinkSync(`${ROOT}/node_modules`, `${root}/node_modules`);
  else execFileSync("npm", ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: root });
  return root;
}

function librariesOf(root: string): [string, string | undefined][] {
  const { packages } = JSON.parse(readFileSync(`${root}/package-lock.json`, "utf8")) as {
    packages: Record<string, { version?: string; dev?: boolean; devOptional?: boolean }>;
  };
  const used = Object.entries(packages).filter(([path, { dev, devOptional }]) => path && !dev && !devOptional);
  return used.map(([path, { version }]): [string, string | undefined] => [path, version]).sort();
}

/** Whether a database of the one can be brought to the other: nothing that was applied has been rewritten since. */
function isContinued(before: string): boolean {
  const now = readMigrationFiles().versioned;
  return readMigrationFiles(before).versioned.every(
    ({ name, hash }, i) => now[i]?.name === name && now[i].hash === hash,
  );
}

type Body = { id?: string; tenantId?: string; apiKey?: { secret: string }; data?: { externalId: string }[] };

async function call(worker: BuiltWorker, path: string, key: string, body?: unknown): Promise<Body> {
  const response = await fetch(new URL(path, worker.url), {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Body;
}

async function newTenant(worker: BuiltWorker, adminKey: string, name: string): Promise<string> {
  await call(worker, "/health", "none");
  return (await call(worker, "/v1/tenants", adminKey, { name })).apiKey!.secret;
}

/** What every release must be able to do on the schema of the next. */
async function useTenant(worker: BuiltWorker, key: string, externalId: string): Promise<string[]> {
  await call(worker, "/v1/whoami", key);
  await call(worker, "/v1/users", key, { externalId });
  return (await call(worker, "/v1/users", key)).data!.map((user) => user.externalId).sort();
}

test("the previous release goes on working while and after this one's migrations are applied", {
  skip: "missing" in previous && mayBeMissing && previous.missing,
}, async (t) => {
  if ("missing" in previous) throw new Error(`Clone all of the history: ${previous.missing}.`);
  const old = await buildPrevious(previous.commits, (line) => t.diagnostic(line));
  const built = await builtWorker(`${folder}/built`);
  const backend = await embeddedBackend(await createPGlite());
  const bridge = await startBridge(backend);
  const start = (root: string, built: string) =>
    startBuiltWorker({
      root,
      built,
      vars: { DATABASE_ENDPOINT: `${bridge.url}/sql` },
      secrets: {
        APP_DATABASE_URL: `${bridge.url.replace("http:", "postgresql:").replace("//", "//parley_app:local@")}/postgres`,
      },
    });
  const oldWorker = await start(old, `${folder}/built-previous`);
  let worker: BuiltWorker | null = null;
  try {
    const continued = isContinued(`${old}/drizzle`);
    if (continued) await backend.exclusively((owner) => migrate(owner, { folder: `${old}/drizzle` }));
    else t.diagnostic("applied migrations were rewritten since: tried on a new database only");
    if (!continued) await backend.exclusively((owner) => migrate(owner));
    const adminKey = (await backend.exclusively(ensureAdminKey))!;
    const early = await newTenant(oldWorker, adminKey, "Before");
    assert.deepEqual(await useTenant(oldWorker, early, "a"), ["a"]);

    await backend.exclusively((owner) => migrate(owner));

    assert.deepEqual(await useTenant(oldWorker, early, "b"), ["a", "b"]);
    const late = await newTenant(oldWorker, adminKey, "After");
    assert.deepEqual(await useTenant(oldWorker, late, "a"), ["a"]);
    worker = await start(ROOT, built);
    assert.deepEqual(await useTenant(worker, early, "c"), ["a", "b", "c"]);
    assert.deepEqual(await useTenant(oldWorker, late, "b"), ["a", "b"]);
  } finally {
    await worker?.stop();
    await oldWorker.stop();
    await bridge.close();
    await backend.close();
  }
});
