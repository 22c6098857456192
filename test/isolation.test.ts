import { neon, neonConfig } from "@neondatabase/serverless";
import { beforeAll, expect, inject, it } from "vitest";
import { newTenant } from "./helpers";
import { fillTables, insertion, newRow, type Row, snapshot, type Table, tenantTables } from "./rows";
import { asOwner } from "./setup/owner";

type Statement = [query: string, params?: unknown[]];

/** What the Worker's own database role gets to see and do, without the Worker's care. */
async function asApp(...statements: Statement[]) {
  neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
  const sql = neon(inject("appDatabaseUrl"), { fullResults: true });
  return sql.transaction(
    statements.map(([query, params]) => sql.query(query, params)),
    { fullResults: true },
  );
}

const enter = (tenant: string): Statement => [
  "select door.enter($1::jsonb)",
  [JSON.stringify({ kind: "system", tenant })],
];

const outcome = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: { code?: string }) => error.code,
  );

let tables: Table[];
let mine: { id: string; rows: Map<string, Row> };
let theirs: { id: string; rows: Map<string, Row> };

async function tenantWithRows(label: string) {
  const { id } = await newTenant();
  return { id, rows: await fillTables(tables, id, label) };
}

beforeAll(async () => {
  tables = await tenantTables();
  mine = await tenantWithRows("mine");
  theirs = await tenantWithRows("foreign");
});

const seen = ({ name }: { name: string }): Statement => [`select tenant_id from "${name}"`];

it("without any condition every table shows the tenant that was entered", async () => {
  const [, ...results] = await asApp(enter(mine.id), ...tables.map(seen));

  const shown = results.map(({ rows }) => [...new Set(rows.map((row) => row!.tenant_id))]);
  expect(shown).toEqual(tables.map(() => [mine.id]));
});

it("a batch that has not entered sees nothing at all", async () => {
  const results = await asApp(
    ...tables.map(seen),
    ["select id as tenant_id from tenants"],
    ["select id as tenant_id from plans"],
  );

  expect(results.flatMap(({ rows }) => rows)).toEqual([]);
});

it("a batch that has not entered writes nothing at all", async () => {
  for (const table of tables) {
    const row = newRow(table, mine.id, "mine", mine.rows);
    expect(await outcome(asApp(insertion(table, row))), table.name).toBe("42501");
  }
});

it("nothing of one batch's entering is left for the next", async () => {
  await asApp(enter(mine.id));

  const results = await asApp(...Array.from({ length: 5 }, () => seen({ name: "users" })));

  expect(results.flatMap(({ rows }) => rows)).toEqual([]);
});

it("an update without conditions reaches the tenant's own rows alone", async () => {
  const before = await snapshot(tables, theirs.id);
  for (const { name } of tables) {
    const own = await asOwner(`select 1 from "${name}" where tenant_id = $1`, [mine.id]);
    const work = asApp(enter(mine.id), [`update "${name}" set tenant_id = tenant_id`]);
    if (name === "audit_logs") expect(await outcome(work)).toBe("42501");
    else expect((await work)[1]!.rowCount, name).toBe(own.length);
  }
  expect(await snapshot(tables, theirs.id)).toEqual(before);
});

it("no row can be moved or written to another tenant", async () => {
  const before = await snapshot(tables, theirs.id);
  for (const table of tables) {
    const moved = asApp(enter(mine.id), [`update "${table.name}" set tenant_id = $1`, [theirs.id]]);
    expect(await outcome(moved), table.name).toBe("42501");
    const row = newRow(table, theirs.id, "mine", theirs.rows);
    expect(await outcome(asApp(enter(mine.id), insertion(table, row))), table.name).toBe("42501");
  }
  expect(await snapshot(tables, theirs.id)).toEqual(before);
});

it("no row can refer to another tenant's", async () => {
  const fresh = { id: (await newTenant()).id, rows: new Map<string, Row>() };
  for (const table of tables) {
    for (const { own, table: parent, theirs: columns } of table.references) {
      const row = newRow(table, fresh.id, "mine", fresh.rows);
      for (const [i, column] of own.entries()) {
        if (column !== "tenant_id") row[column] = theirs.rows.get(parent)![columns[i]!];
      }
      expect(await outcome(asApp(enter(fresh.id), insertion(table, row))), `${table.name} (${own})`).toBe("23503");
    }
    const row = newRow(table, fresh.id, "mine", fresh.rows);
    await asOwner(...insertion(table, row));
    fresh.rows.set(table.name, row);
  }
});

it("a tenant neither changes itself away nor sees, changes or makes another", async () => {
  const before = await snapshot(tables, theirs.id);

  const [, tenants, changed] = await asApp(
    enter(mine.id),
    ["select id from tenants"],
    ["update tenants set name = 'mine'"],
  );

  expect(tenants!.rows).toEqual([{ id: mine.id }]);
  expect(changed!.rowCount).toBe(1);
  const moved = asApp(enter(mine.id), ["update tenants set id = gen_random_uuid()"]);
  expect(await outcome(moved)).toBe("42501");
  expect(await outcome(asApp(enter(mine.id), ["insert into tenants (id, name) values (gen_random_uuid(), 'x')"]))).toBe(
    "42501",
  );
  expect(await outcome(asApp(enter(mine.id), ["delete from tenants"]))).toBe("42501");
  expect(
    await outcome(asApp(enter(mine.id), ["insert into plans (id, name, tier) values (gen_random_uuid(), 'x', 'x')"])),
  ).toBe("42501");
  const [, plans] = await asApp(enter(mine.id), ["update plans set name = name"]);
  expect(plans!.rowCount).toBe(0);
  expect(await snapshot(tables, theirs.id)).toEqual(before);
});

it("a search through its door finds the tenant's own rows, and nothing for a batch that has not entered", async () => {
  const search: Statement = ["select door.find_users($1, null, 10) as id", ["users"]];

  const [, entered] = await asApp(enter(mine.id), search);
  const [outside] = await asApp(search);

  expect(entered!.rows).toEqual([{ id: mine.rows.get("users")!.id }]);
  expect(outside!.rows).toEqual([]);
});

it("only the Worker's role may enter, and what the migrations keep stays shut", async () => {
  const refused = asOwner("select door.enter($1::jsonb)", [JSON.stringify({ kind: "system", tenant: mine.id })]);

  expect(await outcome(refused)).toBe("PA500");
  expect(await outcome(asApp(["select * from parley_migrations"]))).toBe("42501");
});

it("a delete without conditions reaches the tenant's own rows alone", async () => {
  const before = await snapshot(tables, theirs.id);
  for (const { name } of tables.toReversed()) {
    const work = asApp(enter(mine.id), [`delete from "${name}"`]);
    expect(await outcome(work), name).toBe(name === "audit_logs" ? "42501" : "done");
    const left = await asOwner(`select 1 from "${name}" where tenant_id = $1`, [mine.id]);
    if (name !== "audit_logs") expect(left, name).toEqual([]);
  }
  expect(await snapshot(tables, theirs.id)).toEqual(before);
});
