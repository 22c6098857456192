import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { ROOT } from "./place.ts";
import { createDatabase, findPostgres, type ScratchPostgres, startScratchPostgres } from "./scratch-postgres.ts";

const top = mkdtempSync(`${tmpdir()}/parley-start-`);
const folder = `${top}/data`;
const started: ChildProcess[] = [];

type Ended = { code: number | null; out: string; err: string };
type Run = { child: ChildProcess; out(): string; ended: Promise<Ended> };

/** As a terminal runs it: in a process group of its own, which Ctrl-C reaches as a whole. */
function run(args: string[], env: Record<string, string> = {}): Run {
  const { DATABASE_URL: _, ...rest } = process.env;
  const child = spawn("node", ["local/run.js", "local/start.ts", ...args], {
    cwd: ROOT,
    detached: true,
    env: { ...rest, ...env },
  });
  started.push(child);
  let out = "";
  let err = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  child.stderr.on("data", (text) => {
    err += text;
  });
  return { child, out: () => out, ended: once(child, "close").then(([code]) => ({ code, out, err })) };
}

async function until<T>(look: () => T | undefined | null | false, run: Run): Promise<T> {
  for (;;) {
    const seen = look();
    if (seen) return seen;
    const ended = await Promise.race([run.ended, new Promise<null>((resolve) => setTimeout(resolve, 50, null))]);
    if (ended) throw new Error(`It ended: ${ended.out}${ended.err}`);
  }
}

/** What the README's commands of this name print. */
function readmeSays(name: string, env: Record<string, string>): string {
  const commands = new RegExp(`\`\`\`sh ${name}\\n([\\s\\S]*?)\`\`\``).exec(
    readFileSync(`${ROOT}/README.md`, "utf8"),
  )![1]!;
  return execFileSync("bash", ["-c", commands], {
    encoding: "utf8",
    env: { ...process.env, ...env },
    timeout: 180_000,
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The process and all that came of it. */
function familyOf(pid: number): number[] {
  const rows = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number));
  const family = [pid];
  for (const member of family) family.push(...pairs.filter(([, parent]) => parent === member).map(([child]) => child!));
  return family;
}

/** Whoever has ended but still stands in the table, as init has not looked yet, does not count. */
function alive(family: number[]): string[] {
  const rows = execFileSync("ps", ["-eo", "pid=,stat=,args="], { encoding: "utf8" }).trim().split("\n");
  return rows.filter((row) => {
    const [pid, stat] = row.trim().split(/\s+/);
    return family.includes(Number(pid)) && !stat!.startsWith("Z");
  });
}

/** Runs the pasted command as a shell would. */
const paste = (out: string) =>
  JSON.parse(execFileSync("sh", ["-c", `${/^ +(curl .*)$/m.exec(out)![1]} -s`], { encoding: "utf8" }));

after(() => {
  for (const child of started) if (child.exitCode === null) process.kill(-child.pid!, "SIGTERM");
  rmSync(top, { recursive: true, force: true });
});

describe("npm start", () => {
  let port: number;
  let key: string;
  let userIds: string[];

  const untilReady = async (args: string[]) => {
    const it = run(["--folder", folder, "--port", String(port), ...args]);
    await until(() => it.out().includes("Ctrl-C stops everything"), it);
    return it;
  };
  const jobTypes = async (adminKey: string) => {
    const headers = { authorization: `Bearer ${adminKey}` };
    const response = await fetch(`http://localhost:${port}/v1/jobs`, { headers });
    const { data } = (await response.json()) as { data: { type: string }[] };
    return data.map(({ type }) => type);
  };
  const interrupt = async (it: Run) => {
    const family = familyOf(it.child.pid!);
    process.kill(-it.child.pid!, "SIGINT");
    const { code, err } = await it.ended;
    assert.equal(code, 0, err);
    return family;
  };
  const keyIn = (out: string) => /demo key +(parley_live_\w{36})/.exec(out)![1]!;

  before(async () => {
    port = await freePort();
  });

  test("in a fresh folder prints a key, and a curl that works, and fires the cron; Ctrl-C leaves no process behind", async () => {
    const it = await untilReady([]);
    key = keyIn(it.out());
    const { data } = paste(it.out());
    userIds = data.map(({ id }: { id: string }) => id);
    assert.equal(userIds.length, 2);
    const [, docs] = /docs +(http\S+)/.exec(it.out())!;
    for (const url of [docs!, `${docs}/redoc.js`]) assert.equal((await fetch(url)).status, 200, url);
    assert.equal((await fetch(`http://localhost:${port}/ready`)).status, 200);
    assert.equal(statSync(`${folder}/secrets.json`).mode & 0o077, 0);
    const said = readmeSays("email", { API: `http://localhost:${port}`, KEY: key });
    for (const expected of ["Opening hours", "From nine to five", "bounced@example.org", "delivery.updated"])
      assert.match(said, new RegExp(expected));
    // The cron makes the recurring jobs.
    const [, adminKey] = /admin key +(\S+)/.exec(it.out())!;
    for (const end = Date.now() + 60_000; !(await jobTypes(adminKey!)).includes("retention"); await delay(100))
      assert.ok(Date.now() < end, "the cron was not fired");

    const second = await run(["--folder", folder, "--port", String(await freePort())]).ended;
    assert.equal(second.code, 1);
    assert.match(second.err, /^Parley is already running on .* \(process \d+\)\. Stop it first\.\n$/);

    const family = await interrupt(it);
    assert.ok(family.length >= 4, "the Worker's processes are among them");
    assert.deepEqual(alive(family), []);
    await assert.rejects(fetch(`http://127.0.0.1:${port}/health`));
  });

  test("again keeps the data and prints the same key", async () => {
    const it = await untilReady([]);
    assert.equal(keyIn(it.out()), key);
    assert.deepEqual(
      paste(it.out()).data.map(({ id }: { id: string }) => id),
      userIds,
    );
    await interrupt(it);
  });

  test("with --reset begins anew", async () => {
    const it = await untilReady(["--reset"]);
    assert.notEqual(keyIn(it.out()), key);
    assert.equal(paste(it.out()).data.length, 2);
    await interrupt(it);
  });

  const refusal = async (args: string[], env: Record<string, string> = {}) => {
    const { code, err } = await run(args, env).ended;
    assert.equal(code, 1);
    assert.equal(err.trim().split("\n").length, 1, err);
    return err.trim();
  };

  test("on a taken port says so in one line", async () => {
    for (const host of ["127.0.0.1", "0.0.0.0", "::1"]) {
      const server = createServer().listen(port, host);
      await once(server, "listening");
      assert.match(
        await refusal(["--folder", folder, "--port", String(port)]),
        new RegExp(`^Port ${port} is taken\\.`),
      );
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("with a broken data folder says so in one line, however it is broken", async () => {
    const breakIt: [name: string, how: (data: string) => void][] = [
      ["no catalogue", (data) => rmSync(`${data}/database/global`, { recursive: true })],
      ["no control file", (data) => rmSync(`${data}/database/global/pg_control`)],
      [
        "garbage for tables",
        (data) => {
          for (const file of readdirSync(`${data}/database/base/5`))
            writeFileSync(`${data}/database/base/5/${file}`, "garbage");
        },
      ],
      [
        "half of a start",
        (data) => {
          rmSync(`${data}/database`, { recursive: true });
          mkdirSync(`${data}/database`);
          writeFileSync(`${data}/database/PG_VERSION`, "18");
        },
      ],
    ];
    for (const [name, how] of breakIt) {
      const broken = `${top}/broken`;
      cpSync(folder, broken, { recursive: true });
      how(broken);
      assert.match(
        await refusal(["--folder", broken, "--port", String(port)]),
        /cannot be opened .* Start with --reset/,
        name,
      );
      rmSync(broken, { recursive: true });
    }
  });

  test("with a file for a folder or broken secrets says so in one line", async () => {
    writeFileSync(`${top}/file`, "");
    assert.match(await refusal(["--folder", `${top}/file`, "--port", String(port)]), /cannot be used as a folder/);
    mkdirSync(`${top}/secrets`);
    writeFileSync(`${top}/secrets/secrets.json`, "{");
    assert.match(await refusal(["--folder", `${top}/secrets`, "--port", String(port)]), /secrets\.json is broken/);
  });

  test("with a DATABASE_URL that nobody answers, or that is none, says so in one line", async () => {
    const nobody = await refusal(["--folder", folder, "--port", String(port)], {
      DATABASE_URL: "postgres://a:s3cret@127.0.0.1:1/x",
    });
    assert.match(nobody, /^The database at 127\.0\.0\.1:1\/x \(DATABASE_URL\) cannot be reached: .*ECONNREFUSED/);
    assert.doesNotMatch(nobody, /s3cret/);
    assert.match(
      await refusal(["--folder", folder, "--port", String(port)], { DATABASE_URL: "postgres://a:b@parley.invalid/x" }),
      /^The database at parley\.invalid\/x \(DATABASE_URL\) cannot be reached: /,
    );
    assert.match(
      await refusal(["--folder", folder, "--port", String(port)], { DATABASE_URL: "mysql://a/b" }),
      /^DATABASE_URL is no URL/,
    );
  });

  test("with arguments it does not know says so in one line", async () => {
    assert.match(await refusal(["--prot", "1"]), /^Unknown option '--prot'/);
    assert.match(await refusal(["--port", "http"]), /^--port http is no port/);
  });
});

const skip = findPostgres() ? false : "PostgreSQL's server is not installed here";

describe("npm start with DATABASE_URL", { skip }, () => {
  let postgres: ScratchPostgres;
  let url: string;

  before(async () => {
    postgres = await startScratchPostgres();
    url = await createDatabase((await postgres.createOwner("start_owner")).url, "started");
  });
  after(() => postgres?.stop());

  test("uses that server, and keeps the password that it gave to parley_app", async () => {
    const args = ["--folder", `${top}/server`, "--port", String(await freePort())];
    for (const time of ["first", "second"]) {
      const it = run(args, { DATABASE_URL: url });
      await until(() => it.out().includes("Ctrl-C stops everything"), it);
      assert.equal(paste(it.out()).data.length, 2, time);
      process.kill(-it.child.pid!, "SIGINT");
      assert.equal((await it.ended).code, 0);
    }
  });

  test("does not take the password from whoever has it", async () => {
    const args = ["--folder", `${top}/other`, "--port", String(await freePort())];
    const { code, err } = await run(args, { DATABASE_URL: url }).ended;
    assert.equal(code, 1);
    assert.match(err, /^The role parley_app exists on .* already, .* --new-password/);
  });
});
