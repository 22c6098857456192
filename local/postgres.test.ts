import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Bridge, startBridge } from "./bridge.ts";
import { migrate, queryRows } from "./migrate.ts";
import { connect, postgresBackend } from "./postgres.ts";
import { createDatabase, findPostgres, type ScratchPostgres, startScratchPostgres } from "./scratch-postgres.ts";
import type { Backend } from "./session.ts";

const skip = findPostgres() ? false : "PostgreSQL's server is not installed here";

async function ask(bridge: Bridge, connection: string, body: object) {
  const response = await fetch(`${bridge.url}/sql`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Neon-Connection-String": connection },
  });
  return { status: response.status, body: await response.json() };
}

test("a bridge in front of nothing answers 500", async () => {
  const bridge = await startBridge(postgresBackend("postgres://a:b@127.0.0.1:1/x"));
  const { status, body } = await ask(bridge, "postgres://a:b@127.0.0.1/x", { query: "select 1" });
  assert.equal(status, 500);
  assert.match(body.message, /ECONNREFUSED/);
  await bridge.close();
});

describe("in front of a real server", { skip }, () => {
  const database = "bridged";
  let postgres: ScratchPostgres;
  let url: string;
  let backend: Backend;
  let bridge: Bridge;

  const runOn = async (on: string, query: string) => {
    const session = await connect(on);
    return queryRows(session, query).finally(session.end);
  };

  before(async () => {
    postgres = await startScratchPostgres();
    url = await createDatabase((await postgres.createOwner("bridge_owner")).url, database);
    backend = postgresBackend(url, { connections: 3 });
    bridge = await startBridge(backend);
  });

  after(async () => {
    await bridge?.close();
    await backend?.close();
    await postgres?.stop();
  });

  test("a wrong password is the server's own refusal", async () => {
    const wrong = new URL(url);
    wrong.password = "wrong";
    const { status, body } = await ask(bridge, wrong.href, { query: "select 1" });
    assert.equal(status, 400);
    assert.match(body.code, /^28/);
  });

  test("calls beyond the connections wait for their turn", async () => {
    const calls = Array.from({ length: 20 }, (_, n) =>
      ask(bridge, url, { query: "select $1::int as n, pg_sleep(0.01)", params: [n] }),
    );
    assert.deepEqual(
      (await Promise.all(calls)).map(({ body }) => body.rows[0].n),
      Array.from({ length: 20 }, (_, n) => n),
    );
    const [row] = await runOn(
      url,
      `select count(*) as n from pg_stat_activity where datname = '${database}' and pid <> pg_backend_pid()`,
    );
    assert.ok(Number(row!.n) <= 3);
  });

  test("a session that the server ends fails its call alone", async () => {
    const { body, status } = await ask(bridge, url, { query: "select pg_terminate_backend(pg_backend_pid())" });
    assert.equal(status, 500);
    assert.match(body.message, /terminating connection/);
    for (let i = 0; i < 6; i++) assert.equal((await ask(bridge, url, { query: "select 1 as n" })).status, 200);

    await runOn(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and pid <> pg_backend_pid()`,
    );
    let tries = 0;
    while ((await ask(bridge, url, { query: "select 1 as n" })).status !== 200) assert.ok(++tries < 6);
  });

  test("a batch whose answer is too large leaves nothing behind, and one that fits is kept", async () => {
    const batch = (bytes: number) => ({
      queries: [{ query: "insert into kept values (1)" }, { query: "select repeat('x', $1::int)", params: [bytes] }],
    });
    const tight = await startBridge(backend, { maxResponseBytes: 64_000 });
    await runOn(url, "create table kept (id int)");
    assert.equal((await ask(tight, url, batch(100_000))).status, 507);
    assert.deepEqual(await runOn(url, "select * from kept"), []);
    for (let i = 0; i < 3; i++) assert.equal((await ask(tight, url, batch(1_000))).status, 200);
    assert.equal((await runOn(url, "select * from kept")).length, 3);
    await tight.close();
  });

  test("two migrations at once: one does the work, the other finds it done", async () => {
    const sessions = await Promise.all([connect(url), connect(url)]);
    const applied = await Promise.all(sessions.map((session) => migrate(session)));
    await Promise.all(sessions.map((session) => session.end()));
    assert.deepEqual(applied.map((names) => names.length > 0).sort(), [false, true]);
  });
});
