import { NeonDbError, neon, neonConfig } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { databaseCalls } from "./setup/owner";

neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
const app = neon(inject("appDatabaseUrl"));
const owner = neon(inject("ownerDatabaseUrl"));
const appRole = decodeURIComponent(new URL(inject("appDatabaseUrl")).username);

/** The protocol without the driver: its own headers over those that the driver always sends. */
async function post(body: string, headers: Record<string, string | undefined> = {}) {
  const all = { "Neon-Connection-String": inject("appDatabaseUrl"), ...headers };
  const given = Object.entries(all).filter((header): header is [string, string] => header[1] !== undefined);
  const response = await fetch(`${inject("bridgeUrl")}/sql`, { method: "POST", body, headers: given });
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
}

const single = (query: string, params: unknown[] = [], headers: Record<string, string> = {}) =>
  post(JSON.stringify({ query, params }), headers);

const valueFrom = async (query: string, params: unknown[] = []) =>
  Object.values((await app.query(query, params))[0]!)[0];

async function failureOf(work: PromiseLike<unknown>): Promise<NeonDbError> {
  const outcome = await Promise.resolve(work).catch((error) => error);
  expect(outcome).toBeInstanceOf(NeonDbError);
  return outcome as NeonDbError;
}

beforeAll(async () => {
  await owner.transaction([
    owner.query("create schema bridge"),
    owner.query("create table bridge.rows (id int constraint rows_pk primary key, note text check (note <> 'bad'))"),
    owner.query(`grant usage on schema bridge to "${appRole}"`),
    owner.query(`grant select, insert, update, delete on bridge.rows to "${appRole}"`),
  ]);
});

afterAll(async () => {
  await owner.query("drop schema bridge cascade");
});

describe("parameters and values", () => {
  const cases: [type: string, sent: unknown, received: unknown][] = [
    ["text", "plain", "plain"],
    ["text", "", ""],
    ["text", "NULL", "NULL"],
    ["text", "ünïcödé 🦜 漢字 \u202e \\ ' \" \n\t", "ünïcödé 🦜 漢字 \u202e \\ ' \" \n\t"],
    ["text", null, null],
    ["int", 42, 42],
    ["int", null, null],
    ["int8", "9223372036854775807", "9223372036854775807"],
    ["int8", -1, "-1"],
    ["numeric", "12345678901234567890.123456789", "12345678901234567890.123456789"],
    ["float8", 0.1, 0.1],
    ["float8", "NaN", Number.NaN],
    ["bool", true, true],
    ["bool", false, false],
    ["uuid", "0193e7a2-0000-7000-8000-00000000000a", "0193e7a2-0000-7000-8000-00000000000a"],
    ["timestamptz", new Date("2026-02-28T12:34:56.789Z"), new Date("2026-02-28T12:34:56.789Z")],
    ["jsonb", { b: [1, null, "x"], a: { ключ: "🦜" } }, { b: [1, null, "x"], a: { ключ: "🦜" } }],
    ["jsonb", JSON.stringify("a string"), "a string"],
    ["jsonb", "null", null],
    ["int[]", [1, null, 3], [1, null, 3]],
    ["int[]", [], []],
    [
      "text[]",
      ["a,b", 'say "hi"', "back\\slash", "NULL", "", "{}", null],
      ["a,b", 'say "hi"', "back\\slash", "NULL", "", "{}", null],
    ],
    [
      "int[]",
      [
        [1, 2],
        [3, 4],
      ],
      [
        [1, 2],
        [3, 4],
      ],
    ],
    [
      "text[]",
      [
        ["a", null],
        ["🦜", "d e"],
      ],
      [
        ["a", null],
        ["🦜", "d e"],
      ],
    ],
    ["bool[]", [true, false, null], [true, false, null]],
  ];
  for (const [type, sent, received] of cases) {
    it(`${type} ${JSON.stringify(sent)} comes back as it went in`, async () => {
      const value = await valueFrom(`select $1::${type} as value`, [sent]);

      // Drizzle, where it is loaded, has the driver leave times as text.
      expect(received instanceof Date ? new Date(value as string) : value).toEqual(received);
    });
  }

  it("bytea keeps every byte, both ways", async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

    const [row] = await app.query("select $1::bytea as value, encode($1::bytea, 'hex') as hex", [bytes]);

    expect(row!.hex).toBe(bytes.toString("hex"));
    expect(Buffer.from(row!.value as Uint8Array).equals(bytes)).toBe(true);
  });

  it("values are what PostgreSQL itself prints", async () => {
    const query = `select 1.50::numeric, true, '{"a": 1}'::jsonb, '[0:1]={a,b}'::text[], '\\x00ff'::bytea, null,
      '2026-01-02 03:04:05.6+00'::timestamptz, interval '1 day 2 hours', 'infinity'::float8, 1e20::float8`;
    const { body } = await single(query, [], { "Neon-Raw-Text-Output": "true", "Neon-Array-Mode": "true" });

    const [row] = body.rows;
    expect(row.slice(0, 6)).toEqual(["1.50", "t", '{"a": 1}', "[0:1]={a,b}", "\\x00ff", null]);
    expect(new Date(row[6]).toISOString()).toBe("2026-01-02T03:04:05.600Z");
    expect(row.slice(7)).toEqual(["1 day 02:00:00", "Infinity", "1e+20"]);
  });

  it("a number past a double's precision keeps its digits", async () => {
    const { body } = await post(
      '{"query":"select $1::int8 as a, $2::int8[] as b","params":[9007199254740993,[9007199254740995]]}',
    );
    expect(body.rows).toEqual([{ a: "9007199254740993", b: ["9007199254740995"] }]);
  });

  it("objects inside an array are its JSON elements", async () => {
    expect(await valueFrom("select $1::jsonb[] as value", [[{ a: 'x"y' }, null]])).toEqual([{ a: 'x"y' }, null]);
  });

  it("a thousand parameters and a megabyte of text arrive whole", async () => {
    const numbers = Array.from({ length: 1000 }, (_, n) => n);
    const sum = numbers.map((n) => `$${n + 1}::int`).join("+");
    expect(await valueFrom(`select ${sum} as value`, numbers)).toBe(499_500);
    expect(await valueFrom("select length($1) as value", ["é".repeat(1 << 20)])).toBe(1 << 20);
  });
});

describe("result", () => {
  it("names the fields, the command and its count", async () => {
    await owner.query("delete from bridge.rows");
    const select = await single("select id, note as remark from bridge.rows");
    expect(select.body).toMatchObject({ command: "SELECT", rowCount: 0, rows: [], rowAsArray: false });
    expect(select.body.fields[0]).toMatchObject({
      name: "id",
      dataTypeID: 23,
      columnID: 1,
      dataTypeSize: 4,
      dataTypeModifier: -1,
      format: "text",
    });
    expect(select.body.fields[0].tableID).toBeGreaterThan(16_383);
    expect(select.body.fields[1].name).toBe("remark");

    const insert = await single("insert into bridge.rows select n, 'x' from generate_series(1, 3) n");
    expect(insert.body).toMatchObject({ command: "INSERT", rowCount: 3, fields: [], rows: [] });
    expect((await single("delete from bridge.rows")).body).toMatchObject({ command: "DELETE", rowCount: 3 });
    expect((await single("set local work_mem = '5MB'")).body).toMatchObject({ command: "SET", rowCount: null });
    expect((await single("")).body).toMatchObject({ command: "", rowCount: null, rows: [] });
  });

  it("without raw text is JSON by type, as rows of objects", async () => {
    const query = `select true as b, 7::int2 as i, 9::int8 as big, 1.5::float8 as f, 'NaN'::float8 as nan, 2.50::numeric as n,
      '{"k": [1, 2]}'::jsonb as j, array[[1, null]] as a, array['a "b"', '{', null, 'NULL'] as t, array[true] as bs,
      null::int as nothing, '[5:6]={x,y}'::text[] as bounds, '{}'::int[] as empty, array['{"z": 1}'::jsonb] as js`;
    const { body } = await single(query);
    expect(body.rows).toEqual([
      {
        b: true,
        i: 7,
        big: "9",
        f: 1.5,
        nan: "NaN",
        n: "2.50",
        j: { k: [1, 2] },
        a: [[1, null]],
        t: ['a "b"', "{", null, "NULL"],
        bs: [true],
        nothing: null,
        bounds: ["x", "y"],
        empty: [],
        js: [{ z: 1 }],
      },
    ]);
  });

  it("arrays of the database's own types are arrays too", async () => {
    await owner.query("create type bridge.mood as enum ('calm', 'wild one')");
    const { body } = await post(JSON.stringify({ query: "select '{calm,\"wild one\"}'::bridge.mood[] as moods" }), {
      "Neon-Connection-String": inject("ownerDatabaseUrl"),
    });
    expect(body.rows).toEqual([{ moods: ["calm", "wild one"] }]);
  });

  it("array mode is taken from the header and, before it, from the query", async () => {
    const asArrays = { "Neon-Array-Mode": "true" };
    expect((await single("select 1 as a", [], asArrays)).body).toMatchObject({ rows: [[1]], rowAsArray: true });
    const body = JSON.stringify({ query: "select 1 as a", arrayMode: false });
    expect((await post(body, asArrays)).body).toMatchObject({ rows: [{ a: 1 }], rowAsArray: false });
    expect(await app.query("select 1 as a, 2 as a", [], { arrayMode: true })).toEqual([[1, 2]]);
    const raw = { "Neon-Raw-Text-Output": "true" };
    expect((await single("select 1 as a", [], raw)).body.rows).toEqual([{ a: "1" }]);
  });

  it("the driver's full results carry the count", async () => {
    const result = await app.query("select generate_series(1, 3) as n", [], { fullResults: true });
    expect(result).toMatchObject({ command: "SELECT", rowCount: 3, rows: [{ n: 1 }, { n: 2 }, { n: 3 }] });
  });
});

describe("batch", () => {
  it("runs in one transaction, in order", async () => {
    const results = await app.transaction([
      app`insert into bridge.rows values (1, 'one')`,
      app`update bridge.rows set note = 'uno' where id = 1`,
      app`select note, pg_current_xact_id()::text as xact from bridge.rows`,
      app`select pg_current_xact_id()::text as xact`,
    ]);
    expect(results[2]![0]!.note).toBe("uno");
    expect(results[2]![0]!.xact).toBe(results[3]![0]!.xact);
    expect(await app`delete from bridge.rows returning id`).toEqual([{ id: 1 }]);
  });

  it("leaves nothing behind when one statement fails, and runs none after it", async () => {
    const error = await failureOf(
      app.transaction([
        app`insert into bridge.rows values (1, 'kept?')`,
        app`select 1 / 0`,
        app`insert into bridge.rows values (2, 'run?')`,
      ]),
    );
    expect(error.code).toBe("22012");
    expect(await app`select * from bridge.rows`).toEqual([]);
  });

  it("fails as a whole on what only the commit can see", async () => {
    await owner.query("create table bridge.deferred (id int unique deferrable initially deferred)");
    const put = () => owner.query("insert into bridge.deferred values (1)");
    expect((await failureOf(owner.transaction([put(), put()]))).code).toBe("23505");
    expect(await owner.query("select * from bridge.deferred")).toEqual([]);
  });

  it("of no statements has no results", async () => {
    expect(await app.transaction([])).toEqual([]);
  });

  it("honours isolation level, read-only and deferrable, and repeats them", async () => {
    const settings = () =>
      app.query(`select current_setting('transaction_isolation') as level,
        current_setting('transaction_read_only') as readonly, current_setting('transaction_deferrable') as deferrable`);
    const of = async (options: object) => (await app.transaction([settings()], options))[0]![0];

    expect(await of({})).toEqual({ level: "read committed", readonly: "off", deferrable: "off" });
    expect(await of({ isolationLevel: "ReadUncommitted" })).toMatchObject({ level: "read uncommitted" });
    expect(await of({ isolationLevel: "RepeatableRead" })).toMatchObject({ level: "repeatable read" });
    expect(await of({ isolationLevel: "Serializable", readOnly: true, deferrable: true })).toEqual({
      level: "serializable",
      readonly: "on",
      deferrable: "on",
    });

    const { headers } = await post('{"queries":[]}', {
      "Neon-Batch-Isolation-Level": "Serializable",
      "Neon-Batch-Read-Only": "true",
    });
    expect(headers.get("neon-batch-isolation-level")).toBe("Serializable");
    expect(headers.get("neon-batch-read-only")).toBe("true");
    expect(headers.get("neon-batch-deferrable")).toBeNull();
  });

  it("that is read-only refuses to write", async () => {
    const error = await failureOf(app.transaction([app`insert into bridge.rows values (1, 'x')`], { readOnly: true }));
    expect(error.code).toBe("25006");
  });
});

describe("errors", () => {
  it("carry every field that PostgreSQL gives", async () => {
    await app`insert into bridge.rows values (7, 'seven')`;
    const duplicate = await failureOf(app`insert into bridge.rows values (7, 'again')`);
    expect(duplicate).toMatchObject({
      message: 'duplicate key value violates unique constraint "rows_pk"',
      severity: "ERROR",
      code: "23505",
      detail: "Key (id)=(7) already exists.",
      schema: "bridge",
      table: "rows",
      constraint: "rows_pk",
      routine: "_bt_check_unique",
    });
    expect(duplicate.file).toMatch(/\.c$/);
    expect(duplicate.line).toMatch(/^\d+$/);
    await app`delete from bridge.rows`;

    const unknown = await failureOf(app.query("select no_such_column from bridge.rows"));
    expect(unknown).toMatchObject({ code: "42703", position: "8" });

    const raised = await failureOf(
      app.query(`do $$ begin raise exception 'stop' using errcode = 'PA400', detail = '{"code":"x"}', hint = 'try',
        column = 'c', datatype = 'd'; end $$`),
    );
    expect(raised).toMatchObject({
      message: "stop",
      code: "PA400",
      detail: '{"code":"x"}',
      hint: "try",
      column: "c",
      dataType: "d",
    });
    expect(raised.where).toContain("inline_code_block line 1");

    const inner = await failureOf(app.query("do $$ begin execute 'select nonsense'; end $$"));
    expect(inner).toMatchObject({ code: "42703", internalPosition: "8", internalQuery: "select nonsense" });
    expect(inner.position).toBeUndefined();
  });

  it("are the same from a batch", async () => {
    const error = await failureOf(app.transaction([app`select 1`, app`insert into bridge.rows values (1, 'bad')`]));
    expect(error).toMatchObject({ code: "23514", table: "rows", constraint: "rows_note_check" });
  });

  it("refuse a second statement in one query", async () => {
    expect((await failureOf(app.query("select 1; select 2"))).code).toBe("42601");
    expect((await failureOf(app.transaction([app.query("select 1; select 2")]))).code).toBe("42601");
  });

  it("refuse COPY, which has no place in the protocol", async () => {
    expect((await failureOf(app.query("/* in */ copy bridge.rows from stdin"))).code).toBe("0A000");
    expect((await failureOf(app.query("copy bridge.rows to stdout"))).code).toBe("0A000");
    expect(await app`select 1 as n`).toEqual([{ n: 1 }]);
  });
});

describe("between calls", () => {
  const roles = "select session_user::text as session, current_user::text as current";

  it("the role is the one of the connection string, whoever called before", async () => {
    const mine = { session: appRole, current: appRole };
    const [before] = await owner.query(roles);
    expect(before!.session).not.toBe(appRole);
    for (let i = 0; i < 5; i++) {
      expect(await app.query(roles)).toEqual([mine]);
      expect(await app.transaction([app.query(roles)])).toEqual([[mine]]);
      await failureOf(app.query("select 1 / 0"));
      await failureOf(app.transaction([app.query("select 1 / 0")]));
      expect(await owner.query(roles)).toEqual([before]);
    }
    expect((await failureOf(app.query("create table public.mine (id int)"))).code).toBe("42501");
  });

  // Calls in a row may meet different sessions of a pool, so each is tried more often than there are sessions.
  const tries = Array.from({ length: 25 }, (_, n) => n);

  it("no setting survives, from a call that succeeded or one that failed", async () => {
    const leak = () =>
      app.query("select set_config('app.tenant_id', 'leaked', false), set_config('search_path', 'bridge', false)");
    for (const n of tries) {
      if (n % 3 === 0) await leak();
      else if (n % 3 === 1) await app.transaction([leak()]);
      else await failureOf(app.transaction([leak(), app`select 1 / 0`]));
    }
    const query =
      "select coalesce(current_setting('app.tenant_id', true), '') as tenant, current_setting('search_path') as path";
    for (const _ of tries) {
      const [row] = await app.query(query);
      expect(row!.tenant).toBe("");
      expect(row!.path).not.toBe("bridge");
    }
  });

  it("no open transaction, cursor, prepared statement, temporary table or advisory lock survives", async () => {
    for (const _ of tries) await app.query("begin");
    for (const _ of tries) await app.query("prepare leaked as select 1");
    for (const _ of tries) await app.query("select pg_advisory_lock(4711)");
    await owner.query("create temp table leaked (id int)");
    await owner.query("declare leaked cursor with hold for select 1");
    const query = `select
      (select count(*)::int from pg_locks where locktype = 'advisory' and objid = 4711) as locks,
      (select count(*)::int from pg_class where relname = 'leaked') as tables,
      (select count(*)::int from pg_prepared_statements) as statements,
      (select count(*)::int from pg_cursors where name = 'leaked') as cursors`;
    // A session is cleaned once its caller has the answer, so that another may see the leavings for a moment.
    const clean = [{ locks: 0, tables: 0, statements: 0, cursors: 0 }];
    await vi.waitFor(async () => expect(await owner.query(query)).toEqual(clean), { timeout: 10_000 });
  });

  it("a transaction that a single call opened is rolled back", async () => {
    await app.query("begin");
    await app`insert into bridge.rows values (5, 'outside it')`;
    expect(await owner.query("delete from bridge.rows returning id")).toEqual([{ id: 5 }]);
  });
});

describe("requests", () => {
  it("that are no query are answered 400 with a message", async () => {
    const bad = [
      "",
      "{",
      "[]",
      "null",
      '"select 1"',
      "{}",
      '{"query":1}',
      '{"query":"select 1","params":{}}',
      '{"queries":[{}]}',
      '{"query":"select $1","params":["\\ud800"]}',
      '{"query":"select 1\\u0000"}',
    ];
    for (const body of bad) {
      const answer = await post(body);
      expect(answer.status, body).toBe(400);
      expect(answer.body.message, body).toEqual(expect.any(String));
      expect(answer.body.code, body).toBeNull();
    }
  });

  it("need a connection string with user, host and database", async () => {
    for (const url of [
      undefined,
      "nonsense",
      "http://a:b@c/d",
      "postgres://c/d",
      "postgres://a:b@c",
      "postgres://a:b@c/",
    ]) {
      expect((await post('{"query":"select 1"}', { "Neon-Connection-String": url })).status, url).toBe(400);
    }
    const nobody = inject("appDatabaseUrl").replace(appRole, "no_such_role");
    const refused = await post('{"query":"select 1"}', { "Neon-Connection-String": nobody });
    expect(refused.status).toBe(400);
    expect(refused.body.code).toMatch(/^28/);
  });

  it("with an unknown isolation level are answered 400", async () => {
    expect((await post('{"queries":[]}', { "Neon-Batch-Isolation-Level": "Chaos" })).status).toBe(400);
  });

  it("over ten mebibytes are answered 413", async () => {
    expect((await single("select length($1)", ["x".repeat(10 << 20)])).status).toBe(413);
    expect(await app`select 1 as n`).toEqual([{ n: 1 }]);
  });

  it("whose answer is over ten mebibytes are answered 507, and a batch leaves nothing behind", async () => {
    expect((await single("select repeat('x', 11 << 20)")).status).toBe(507);
    const queries = [
      { query: "insert into bridge.rows values (9, 'x')" },
      { query: "select repeat('x', 1 << 20) from generate_series(1, 11)" },
    ];
    expect((await post(JSON.stringify({ queries }))).status).toBe(507);
    expect(await app`select * from bridge.rows`).toEqual([]);
  });

  it("with a NUL in a parameter get PostgreSQL's own error", async () => {
    expect((await failureOf(app.query("select $1::text", ["a\0b"]))).code).toBe("22021");
  });

  it("from a browser are answered before and after", async () => {
    const preflight = await fetch(`${inject("bridgeUrl")}/sql`, { method: "OPTIONS" });
    expect(preflight.ok).toBe(true);
    expect(preflight.headers.get("access-control-allow-headers")).toContain("Neon-Connection-String");
    expect((await single("select 1")).headers.get("access-control-allow-origin")).toBe("*");
  });

  it("are counted, a batch as one", async () => {
    const before = await databaseCalls();
    await app.transaction([app`select 1`, app`select 2`, app`select 3`]);
    await app`select 4`;
    expect(await databaseCalls()).toBeGreaterThanOrEqual(before + 2);
  });

  it("at once are all answered, each with its own", async () => {
    const numbers = Array.from({ length: 60 }, (_, n) => n);
    const answers = await Promise.all(
      numbers.map((n) => app.transaction([app`select ${n}::int as n`, app`select pg_sleep(0.002)`])),
    );
    expect(answers.map((answer) => answer[0]![0]!.n)).toEqual(numbers);
  });
});
