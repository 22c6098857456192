import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { queryRows } from "./migrate.ts";
import { ROOT } from "./place.ts";
import { connect } from "./postgres.ts";
import { createDatabase, findPostgres, type ScratchPostgres, startScratchPostgres } from "./scratch-postgres.ts";

const skip = findPostgres() ? false : "PostgreSQL's server is not installed here";
const top = mkdtempSync(`${tmpdir()}/parley-db-`);
let postgres: ScratchPostgres;
let ownerUrl: string;

before(async () => {
  if (skip) return;
  postgres = await startScratchPostgres();
  ownerUrl = (await postgres.createOwner("parley_owner")).url;
});

after(async () => {
  await postgres?.stop();
  rmSync(top, { recursive: true, force: true });
});

async function run(args: string[], url?: string, folder = "data") {
  const { DATABASE_URL: _, ...env } = process.env;
  const child = spawn(process.execPath, [`${ROOT}/local/db.ts`, ...args, "--folder", `${top}/${folder}`], {
    env: { ...env, ...(url && { DATABASE_URL: url }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const [code] = await once(child, "close");
  return { code, out, err };
}

test("only a database of this machine is emptied without being forced, whatever the URL's end says", async () => {
  const foreign = "postgres://owner:secret@db.example.com/parley";
  const hidden = "postgres://owner:secret@localhost/parley?host=db.example.com";
  const elsewhere = "postgres://owner:secret@localhost/parley?hostaddr=203.0.113.7";

  const [refused, byHost, byAddress, forcedByHost] = [
    await run(["reset"], foreign),
    await run(["reset"], hidden),
    await run(["reset"], elsewhere),
    await run(["reset", "--force"], hidden),
  ];

  assert.equal(
    refused.err,
    "DATABASE_URL is db.example.com/parley, which is not on this machine: --force empties it all the same.\n",
  );
  assert.equal(byHost.err, "DATABASE_URL may not hold ?host=: write it before the question mark.\n");
  assert.equal(byAddress.err, "DATABASE_URL may not hold ?hostaddr=: write it before the question mark.\n");
  assert.equal(forcedByHost.err, byHost.err);
  assert.deepEqual(
    [refused, byHost, byAddress, forcedByHost].map(({ code }) => code),
    [1, 1, 1, 1],
  );
});

test("forced, a database elsewhere is tried", async () => {
  const { code, err } = await run(["reset", "--force"], "postgres://owner:secret@parley.invalid/parley");

  assert.equal(code, 1);
  assert.match(err, /^The database at parley\.invalid\/parley \(DATABASE_URL\) cannot be reached: .*\n$/);
});

test("a flag or a command that is none is told in one line", async () => {
  const flag = await run(["reset", "--forec"]);
  const command = await run(["rest"]);

  assert.match(flag.err, /^Unknown option '--forec'\. There are --force and --folder <path>\.\n$/);
  assert.equal(command.err, "Say migrate, seed or reset.\n");
  assert.deepEqual([flag.code, command.code], [1, 1]);
});

test("a wrong password is told in one line, without the password", { skip }, async () => {
  const url = new URL(ownerUrl);
  url.password = "wr0ng";

  const { code, err } = await run(["migrate"], url.href);

  assert.equal(code, 1);
  assert.match(err, /^The database at \S+ \(DATABASE_URL\) cannot be reached: password authentication failed .*\n$/);
  assert.doesNotMatch(err, /wr0ng/);
});

test("a folder is taken while Parley runs on it, and not by another program that has its old number", async () => {
  const folder = `${top}/left`;
  mkdirSync(folder);
  const other = spawn("sleep", ["60"]);
  writeFileSync(`${folder}/running.pid`, String(other.pid));

  const stale = await run(["migrate"], undefined, "left");
  other.kill();
  const holder = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)", "local/start.ts"]);
  writeFileSync(`${folder}/running.pid`, String(holder.pid));
  const taken = await run(["migrate"], undefined, "left");
  holder.kill();

  assert.equal(stale.code, 0, stale.err);
  assert.equal(taken.code, 1);
  assert.match(taken.err, /^Parley is already running on \S+ \(process \d+\)\. Stop it first\.\n$/);
});

const keysIn = (out: string) => /parley_live_\w+/.exec(out)?.[0];

test("the embedded database is emptied, migrated and seeded anew", async () => {
  const first = await run(["reset"], undefined, "embedded");
  const again = await run(["seed"], undefined, "embedded");
  const second = await run(["reset"], undefined, "embedded");

  assert.deepEqual([first.code, again.code, second.code], [0, 0, 0], first.err + again.err + second.err);
  assert.equal(keysIn(again.out), keysIn(first.out));
  assert.notEqual(keysIn(second.out), keysIn(first.out));
});

test("so is a server's, and nothing of what was there is left", { skip }, async () => {
  const url = await createDatabase(ownerUrl, "parley_reset");
  const asOwner = async (query: string) => {
    const session = await connect(url);
    return queryRows(session, query).finally(() => session.end());
  };
  await asOwner("create table mine (id int)");

  const { code, out, err } = await run(["reset"], url, "server");

  assert.equal(code, 0, err);
  assert.ok(keysIn(out));
  assert.deepEqual(await asOwner("select to_regclass('mine') as mine, count(*) > 1 as seeded from tenants"), [
    { mine: null, seeded: "t" },
  ]);
});
