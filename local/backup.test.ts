import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { startBridge } from "./bridge.ts";
import { type BuiltWorker, builtWorker, startBuiltWorker } from "./built-worker.ts";
import { ensureAdminKey } from "./deploy-database.ts";
import { migrate, queryRows } from "./migrate.ts";
import { ROOT } from "./place.ts";
import { connect, postgresBackend, withLogin } from "./postgres.ts";
import { createDatabase, findPostgres, type ScratchPostgres, startScratchPostgres } from "./scratch-postgres.ts";

const skip = findPostgres() ? false : "PostgreSQL's server is not installed here";
const folder = mkdtempSync(`${tmpdir()}/parley-backup-test-`);
const password = randomBytes(12).toString("hex");

let built: string;
let postgres: ScratchPostgres;
let original: string;

before(async () => {
  if (skip) return;
  built = await builtWorker(`${folder}/built`);
  postgres = await startScratchPostgres();
  original = await createDatabase((await postgres.createOwner("first_owner")).url, "original");
});

after(async () => {
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function run(script: string, url: string, ...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url };
  const { status, stdout, stderr } = spawnSync(process.execPath, [`${ROOT}/local/${script}`, ...args], {
    env,
    encoding: "utf8",
  });
  return { code: status, output: stdout + stderr };
}

/** A Worker on this database, in the role it has in production. */
async function withWorker<T>(url: string, work: (worker: BuiltWorker) => Promise<T>): Promise<T> {
  const backend = postgresBackend(url);
  const bridge = await startBridge(backend);
  const app = withLogin(url, { user: "parley_app", password, database: new URL(url).pathname.slice(1) });
  const worker = await startBuiltWorker({
    root: ROOT,
    built,
    vars: { DATABASE_ENDPOINT: `${bridge.url}/sql` },
    secrets: { APP_DATABASE_URL: app },
  });
  try {
    return await work(worker);
  } finally {
    await worker.stop();
    await bridge.close();
    await backend.close();
  }
}

type Body = { secret?: string; apiKey?: { secret: string }; data?: { externalId: string }[] };

async function call(worker: BuiltWorker, path: string, key: string, body?: unknown) {
  const response = await fetch(new URL(path, worker.url), {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as Body;
  assert.ok(response.ok, JSON.stringify(answer));
  return answer;
}

async function asOwner<T>(url: string, work: (owner: Awaited<ReturnType<typeof connect>>) => Promise<T>): Promise<T> {
  const session = await connect(url);
  return work(session).finally(() => session.end());
}

const usersOf = async (worker: BuiltWorker, key: string) =>
  (await call(worker, "/v1/users", key)).data!.map(({ externalId }) => externalId);

/** Owners, grants, policies and triggers, in which only the owner's name may differ. */
const RIGHTS = `
select 'table ' || c.oid::regclass as thing, c.relowner::regrole::text as owner, c.relacl::text as grants, c.relforcerowsecurity::text as forced
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'S')
union all select 'function ' || p.oid::regprocedure, p.proowner::regrole::text, p.proacl::text, p.prosecdef::text
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname in ('public', 'door') and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
union all select 'policy ' || p.polname || ' on ' || p.polrelid::regclass, p.polroles::regrole[]::text, p.polcmd::text,
  concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) from pg_policy p
union all select 'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass, null, pg_get_triggerdef(t.oid), t.tgenabled::text
  from pg_trigger t where not t.tgisinternal
union all select 'constraint ' || c.conname || ' on ' || c.conrelid::regclass, null, pg_get_constraintdef(c.oid), c.convalidated::text
  from pg_constraint c join pg_namespace n on n.oid = c.connamespace where n.nspname = 'public'
union all select 'index ' || i.indexrelid::regclass, null, pg_get_indexdef(i.indexrelid), i.indisvalid::text
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public'
order by 1, 2, 3`;

test("a backup restored for another owner serves the same rows through the Worker's role, behind the same wall", {
  skip,
}, async () => {
  const adminKey = await asOwner(original, async (owner) => {
    await migrate(owner, { appPassword: password });
    return (await ensureAdminKey(owner))!;
  });
  const keys = await withWorker(original, async (worker) => {
    const made = [];
    for (const name of ["Acme", "Globex"]) {
      const tenant = await call(worker, "/v1/tenants", adminKey, { name });
      const key = tenant.apiKey!.secret;
      await call(worker, "/v1/users", key, { externalId: `ada of ${name}`, email: "ada@example.com" });
      made.push(key);
    }
    return made;
  });

  const dumped = run("backup.ts", original, `${folder}/parley.dump`);
  assert.equal(dumped.code, 0, dumped.output);
  const copy = await createDatabase((await postgres.createOwner("second_owner")).url, "copy");
  const restored = run("restore.ts", copy, `${folder}/parley.dump`);
  assert.equal(restored.code, 0, restored.output);

  await withWorker(copy, async (worker) => {
    assert.equal((await fetch(new URL("/ready", worker.url))).status, 200);
    assert.deepEqual(await usersOf(worker, keys[0]!), ["ada of Acme"]);
    assert.deepEqual(await usersOf(worker, keys[1]!), ["ada of Globex"]);
    await call(worker, "/v1/users", keys[0]!, { externalId: "written after the restore" });
  });
  const [before, behind] = await Promise.all(
    [original, copy].map((url) => asOwner(url, (owner) => queryRows(owner, RIGHTS))),
  );
  const same = JSON.parse(JSON.stringify(behind).replaceAll("second_owner", "first_owner"));
  assert.ok(before!.length > 100);
  assert.deepEqual(same, before);
});

test("a role that does not see every row makes no backup", { skip }, async () => {
  const app = withLogin(original, { user: "parley_app", password, database: "original" });

  const { code, output } = run("backup.ts", app, `${folder}/partial.dump`);

  assert.equal(code, 1);
  assert.match(output, /does not see the rows of .*users.*: DATABASE_URL must be the owner's/);
});

test("a backup is not restored over tables that are there", { skip }, async () => {
  const { code, output } = run("restore.ts", original, `${folder}/parley.dump`);

  assert.equal(code, 1);
  assert.match(output, /has \d+ tables already: restore into an empty one/);
});
