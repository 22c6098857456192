import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { migrate, pendingMigrations, queryRows } from "./migrate.ts";
import { createPGlite, type Embedded, embeddedBackend } from "./pglite.ts";
import type { Session } from "./session.ts";

const ROLES = `
do $$ begin create role parley_door nologin; exception when duplicate_object then null; end $$;
do $$ begin create role parley_app login; exception when duplicate_object then null; end $$;
grant usage on schema public to parley_app;`;

let backend: Embedded;
let folder: string;

const asOwner = <T>(work: (owner: Session) => Promise<T>) => backend.exclusively(work);
const rows = (query: string) => asOwner((owner) => queryRows(owner, query));
const run = (options = {}) => asOwner((owner) => migrate(owner, { folder, ...options }));

/** Files of a migrations folder: versioned ones are journalled in the order given. */
function write(versioned: Record<string, string>, functions: Record<string, string> = {}) {
  const entries = Object.keys(versioned).map((tag, idx) => ({ idx, tag }));
  writeFileSync(`${folder}/meta/_journal.json`, JSON.stringify({ entries }));
  for (const [tag, text] of Object.entries(versioned)) writeFileSync(`${folder}/${tag}.sql`, text);
  for (const [name, text] of Object.entries(functions)) writeFileSync(`${folder}/functions/${name}`, text);
}

before(async () => {
  backend = await embeddedBackend(await createPGlite());
});

after(() => backend.close());

afterEach(() => rmSync(folder, { recursive: true }));

beforeEach(async () => {
  folder = mkdtempSync(`${tmpdir()}/parley-migrate-`);
  mkdirSync(`${folder}/meta`);
  mkdirSync(`${folder}/functions`);
  writeFileSync(`${folder}/functions/00-roles.sql`, ROLES);
  await asOwner((owner) => queryRows(owner, "drop schema public cascade"));
  await asOwner((owner) => queryRows(owner, "create schema public"));
});

describe("migrate", () => {
  const TABLE = "create table a (id int);--> statement-breakpoint\ncreate index a_id on a (id);";
  const one = "create or replace function one() returns int language sql as $$ select 1 $$;";
  const count = "create table if not exists runs (at int); insert into runs select count(*) from runs;";

  test("applies roles, then versions, then functions, and nothing twice", async () => {
    write(
      { "0000_a": TABLE, "0001_b": "alter table a add b text;" },
      { "10-one.sql": one, "05-a.sql": "select 1 from a" },
    );
    const pending = await asOwner((owner) => pendingMigrations(owner, folder));
    assert.deepEqual(pending.migrations, ["0000_a.sql", "0001_b.sql"]);
    assert.deepEqual(await run(), ["00-roles.sql", "0000_a.sql", "0001_b.sql", "05-a.sql", "10-one.sql"]);
    assert.deepEqual(await run(), []);
    assert.deepEqual(await asOwner((owner) => pendingMigrations(owner, folder)), { migrations: [], functions: [] });
  });

  test("applies a changed function again, and with it what runs always, in the order of names", async () => {
    write(
      { "0000_a": TABLE },
      { "10-one.sql": one, "20-count.always.sql": count, "30-two.sql": one.replaceAll("one", "two") },
    );
    await run();
    await run();
    assert.equal((await rows("select * from runs")).length, 1);

    write({ "0000_a": TABLE }, { "30-two.sql": one.replaceAll("one", "two").replace("select 1", "select 2") });
    assert.deepEqual(await run(), ["00-roles.sql", "20-count.always.sql", "30-two.sql"]);
    assert.equal((await rows("select two() as two"))[0]!.two, "2");

    write({ "0000_a": TABLE, "0001_b": "alter table a add b text;" });
    assert.deepEqual(await run(), ["00-roles.sql", "0001_b.sql", "20-count.always.sql"]);
    assert.equal((await rows("select * from runs")).length, 3);
  });

  test("that fails leaves the database as it was and says which statement, and why", async () => {
    write({ "0000_a": TABLE });
    await run();
    const before = await rows("select relname from pg_class order by 1");

    write({
      "0000_a": TABLE,
      "0001_b": "alter table a add b text;",
      "0002_c":
        "create table c (id int);--> statement-breakpoint\nalter table a add constraint b_set check (nope > 0);",
    });
    await assert.rejects(run({ appPassword: "x" }), (error: Error) => {
      assert.match(error.message, /^0002_c\.sql, statement 2: column "nope" does not exist \(42703\)/);
      assert.match(error.message, /\nalter table a add constraint b_set check \(nope > 0\)$/);
      return true;
    });

    assert.deepEqual(await rows("select relname from pg_class order by 1"), before);
    assert.deepEqual(await rows("select name from parley_migrations"), [{ name: "0000_a.sql" }]);
    assert.equal((await asOwner((owner) => pendingMigrations(owner, folder))).migrations.length, 2);
    write({ "0000_a": TABLE, "0001_b": "alter table a add b text;" });
    assert.deepEqual(await run(), ["00-roles.sql", "0001_b.sql"]);
  });

  test("finds the failing statement in a file of several, semicolons in quotes or not", async () => {
    const fine =
      "create function f() returns text language plpgsql as $body$ begin return 'a;b'; end $body$; -- one; two\n";
    const cases: [string, RegExp][] = [
      [
        `${fine} /* ; */ select ';'; do $$ begin raise exception 'stop; here'; end $$; select 1;`,
        /10-x\.sql, statement 3: stop; here \(P0001\)/,
      ],
      [`${fine} selec 1; select 2`, /10-x\.sql, statement 2: syntax error at or near "selec"/],
      [
        `${fine} select "é;" from (values ('ü')) v("é;"); select no_such_column`,
        /10-x\.sql, statement 3: column "no_such_column"/,
      ],
    ];
    for (const [text, message] of cases) {
      write({}, { "10-x.sql": text });
      await assert.rejects(run(), message);
    }
  });

  test("gives the application's role its password, and to test databases roles of their own", async () => {
    write(
      {},
      { "10-grant.sql": "create table a (id int); grant select on a to parley_app; -- not parley_application" },
    );
    await run({ roleSuffix: "_t1", appPassword: "it's" });
    const [role] = await rows(
      "select rolpassword like 'SCRAM-SHA-256$%' as set from pg_authid where rolname = 'parley_app_t1'",
    );
    assert.equal(role!.set, "t");
    const allowed =
      "select has_table_privilege('parley_app_t1', 'a', 'select') as a, has_table_privilege('parley_app_t1', 'parley_release', 'select') as release";
    assert.deepEqual(await rows(allowed), [{ a: "t", release: "t" }]);
  });

  test("notes the release that a Worker compares itself with, which any change alters", async () => {
    const release = async () => (await rows("select version from parley_release")).map(({ version }) => version!);
    write({ "0000_a": TABLE }, { "10-one.sql": one });
    await run();
    const [first, ...more] = await release();
    assert.match(first!, /^0000_a\+[0-9a-f]{12}$/);
    assert.equal(more.length, 0);
    write({ "0000_a": TABLE }, { "10-one.sql": `${one}\n` });
    await run();
    assert.notEqual((await release())[0], first);
  });
});
