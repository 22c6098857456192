import { neon, neonConfig } from "@neondatabase/serverless";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { busiest, fillManifold } from "../bulk";
import { type Any, type Client, newTenant, newUser, type Tenant, userClient } from "../helpers";
import { prepareCall, send } from "../prepared";
import { tenantTables } from "../rows";
import { asOwner } from "../setup/owner";
import { type Call, type Operation, positionsOf, readOperations } from "../spec";

/** What lists are mostly asked for; any other table has fewer rows, so that a run has time for tables to come. */
const LARGEST = ["users", "channels", "streams", "messages", "events", "audit_logs", "webhook_deliveries", "files"];
const ROWS = { largest: 200_000, others: 20_000, settings: 100 };
/** One tenant has most of them, so that no plan is right for it by being right for the average. */
const SHARES = [0.75, 0.25];
/** A page of 50 with what belongs to each row. */
const MOST_BUFFERS = 700;
/** Where more is meant: members are counted, the queue shows its messages, and a search walks the newest 2,000 messages before it asks the index. */
const MORE_BUFFERS: Record<string, number> = {
  listChannels: 1_500,
  listModerationQueue: 2_000,
  searchMessages: 15_000,
};
/** A table with fewer rows may well be read from end to end. */
const SMALL_TABLE = 10_000;

const UNFILTERED = "unfiltered";

/** What no index serves: filters that are rarely used, or on things of which a tenant has few; and sums over all there is. */
const WITHOUT_INDEX: Record<string, string[]> = {
  getStorageUse: [UNFILTERED, "by"],
  listAuditLogs: ["targetType"],
  listChannels: ["metadata", "hidden", "archived"],
  listFiles: ["type", "minSize", "since"],
  listIntegrations: ["provider"],
  listModerationQueue: ["kind", "source", "reason"],
  listSuppressions: ["expired"],
  listWebhookAttempts: ["status", "type", "eventId", "channelId"],
  listWebhookDeliveries: ["type", "channelId"],
};

type Node = { "Node Type": string; "Relation Name"?: string; Plans?: Node[]; [fact: string]: unknown };
type Query = { query: string; params: unknown[] };

const largeDatabase = inject("largeDatabase");
let tenant: Tenant;
const refused: string[] = [];
/** By table: the one that half of all else belongs to. */
const busy = new Map<string, string>();
const smallTables = new Set<string>();
let batches: Query[][] = [];

const operations = await readOperations();
const lists = operations.filter(
  ({ method, scope, parameters }) =>
    method === "GET" && scope !== "deployment:admin" && parameters.some(({ name }) => name === "cursor"),
);

/** In this file Worker and owner alike work in the large database; what is asked of it is written down. */
function useLargeDatabase(): void {
  neonConfig.fetchFunction = (url: string, init: RequestInit) => {
    const body = JSON.parse(String(init.body));
    if (body.queries) batches.push(body.queries);
    const headers = new Headers(init.headers);
    const target = new URL(headers.get("Neon-Connection-String")!);
    target.pathname = `/${largeDatabase}`;
    headers.set("Neon-Connection-String", target.href);
    return fetch(url, { ...init, headers });
  };
}

/** What every isolate holds in its memory as a whole is not made to be many; of block lists only those that are active are held. */
async function settingsTables(): Promise<Set<string>> {
  const found = await asOwner<{ name: string }>(
    "select distinct tgrelid::regclass::text as name from pg_trigger where not tgisinternal and tgfoid::regproc::text ~ '_changed$'",
  );
  return new Set(found.map(({ name }) => name));
}

/** Without what each row would be checked against and entered into; returns the statements that bring it back. */
async function dropRules(): Promise<string[]> {
  const rules = await asOwner<{ drop: string; restore: string }>(`
    select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
      format('alter table %s add constraint %I %s not valid', conrelid::regclass, conname, pg_get_constraintdef(oid)) as restore
      from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace
    union all select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
      from pg_index join pg_class c on c.oid = indexrelid
     where not indisunique and c.relnamespace = 'public'::regnamespace
    union all select distinct format('alter table %s disable trigger user', tgrelid::regclass),
      format('alter table %s enable trigger user', tgrelid::regclass)
      from pg_trigger join pg_class c on c.oid = tgrelid where not tgisinternal and c.relnamespace = 'public'::regnamespace`);
  for (const { drop } of rules) await asOwner(drop);
  return rules.map(({ restore }) => restore);
}

beforeAll(async () => {
  if (!largeDatabase) return;
  useLargeDatabase();
  const tables = await tenantTables();
  const settings = await settingsTables();
  const rowsOf = (table: string) =>
    ROWS[
      LARGEST.includes(table)
        ? "largest"
        : settings.has(table) && table !== "block_list_entries"
          ? "settings"
          : "others"
    ];
  expect(LARGEST.filter((name) => !tables.some((table) => table.name === name))).toEqual([]);
  const restore = await dropRules();
  for (const share of SHARES) {
    const made = await newTenant();
    const countOf = (table: string) => share * rowsOf(table);
    refused.push(...(await fillManifold({ tables, tenantId: made.id, countOf })));
    tenant ??= made;
  }
  for (const statement of restore) await asOwner(statement);
  await asOwner("vacuum analyze");
  const small = await asOwner<{ name: string }>(
    `select relname::text as name from pg_class where relkind = 'r' and reltuples < ${SMALL_TABLE}`,
  );
  for (const { name } of small) smallTables.add(name);
  for (const table of tables) {
    const id = await busiest(table, tenant.id);
    if (id) busy.set(table.name, id);
  }
}, 600_000);

/** The busiest of a kind that is called after its table. */
function busiestOf(resource: string): string | undefined {
  const name = resource.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return busy.get(`${name}s`) ?? busy.get(name.replace(/y$/, "ies"));
}

/** What is read of the busiest, or where that is in no state to be read, of one made for it. */
async function callOf(operation: Operation, filter: string): Promise<Call> {
  const positions = positionsOf(operation);
  const at = positions.find((position) => position.at[0] === filter);
  const position = { where: "query" as const, at: [filter], resource: at?.resource ?? "" };
  const id = busiestOf(position.resource);
  const call = await prepareCall(
    operations,
    tenant,
    operation,
    position,
    id ? new Map([[position.resource, id]]) : undefined,
  );
  const places = new Map(positions.map(({ at: [name], resource }) => [name, busiestOf(resource)]));
  const [path = "", query] = call.path.split("?");
  const own = path.split("/");
  const steps = operation.path.split("/").map((step, i) => places.get(/^\{(\w+)\}$/.exec(step)?.[1]) ?? own[i]);
  const busyCall = { ...call, path: [steps.join("/"), ...(query ? [query] : [])].join("?") };
  return (await send(tenant, busyCall)).status === 200 ? busyCall : call;
}

/** What the Worker asks of the database to answer this call. */
async function queriesOf(call: Call, as: Client = tenant): Promise<Query[]> {
  batches = [];
  const { status, body } = await send(as, call);
  expect(status, `${call.path} → ${JSON.stringify(body)}`).toBe(200);
  // Not what the Worker writes down of its own accord meanwhile.
  return batches.findLast(([enter]) => !String(enter?.params[0]).includes('"kind":"system"'))!;
}

/** The same twice more, and the second time, when the session knows tables and functions, with plans and counted scans. */
async function explained([enter, ...work]: Query[], counted: string[]) {
  neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
  const sql = neon(inject("appDatabaseUrl"), { fullResults: true });
  const scanned = `select ${counted.map((name) => `pg_stat_get_xact_numscans('${name}'::regclass)::int as "${name}"`)}`;
  const results = await sql.transaction([
    sql.query(enter!.query, enter!.params),
    ...work.map(({ query, params }) => sql.query(query, params)),
    sql.query(scanned),
    ...work.map(({ query, params }) => sql.query(`explain (analyze, buffers, format json) ${query}`, params)),
    sql.query(scanned),
  ]);
  const plans = results.slice(work.length + 2, -1).map(({ rows }) => (rows[0] as Any)["QUERY PLAN"][0].Plan as Node);
  const [before, after] = [work.length + 1, -1].map((at) => results.at(at)!.rows[0] as Record<string, number>);
  return { plans, scans: Object.fromEntries(counted.map((name) => [name, after![name]! - before![name]!])) };
}

const nodes = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodes)];
const buffers = (node: Node): number => Number(node["Shared Hit Blocks"]) + Number(node["Shared Read Blocks"]);
const isReadWhole = (node: Node): boolean =>
  node["Node Type"].includes("Seq Scan") && !smallTables.has(node["Relation Name"] ?? "");
const isSlow = (node: Node, most: number): boolean => buffers(node) > most || nodes(node).some(isReadWhole);

/** Why the answer costs too much, as the plans' nodes with what they read; nothing where it does not. */
async function costs(call: Call, as: Client = tenant, most = MOST_BUFFERS): Promise<string | undefined> {
  const { plans } = await explained(await queriesOf(call, as), ["users"]);
  const slow = plans.filter((plan) => isSlow(plan, most));
  if (slow.length === 0) return undefined;
  const told = slow
    .flatMap(nodes)
    .map(
      (node) =>
        `${node["Node Type"]} ${node["Index Name"] ?? node["Relation Name"] ?? ""} ${node["Actual Rows"]} rows ${buffers(node)} buffers`,
    );
  return `${call.path}\n  ${told.join("\n  ")}`;
}

describe.runIf(largeDatabase)("with 200,000 rows of what lists are made of", () => {
  it("every table takes its rows", () => {
    expect(refused).toEqual([]);
  });

  it.each(lists)(
    "$id reads no table from end to end, whatever it is filtered by",
    { timeout: 120_000 },
    async (operation) => {
      const filters = operation.parameters.filter(
        ({ in: where, name }) => where === "query" && !["cursor", "limit"].includes(name),
      );
      const costly = new Map<string, string>();
      for (const name of ["", ...filters.map((filter) => filter.name)]) {
        const plan = await costs(await callOf(operation, name), tenant, MORE_BUFFERS[operation.id]);
        if (plan) costly.set(name || UNFILTERED, plan);
      }
      const unexpected = [...costly].filter(([name]) => !WITHOUT_INDEX[operation.id]?.includes(name));
      expect(
        unexpected.map(([name]) => name),
        unexpected.map(([, plan]) => plan).join("\n"),
      ).toEqual([]);
    },
  );

  it.each(["", "?hidden=true", "?archived=true", "?limit=1"])(
    "a user's own channels cost what there are of them, and not of others: %s",
    async (query) => {
      const user = await userClient(tenant, busiestOf("user")!);

      expect(await costs({ method: "GET", path: `/v1/channels${query}` }, user)).toBeUndefined();
    },
  );

  it("a search through its door uses its index, however much it finds", async () => {
    const rare = await newUser(tenant, { displayName: "Quetzalcoatl" });
    const search = (text: string) => ({ method: "GET", path: `/v1/users?search=${text}` });

    const { plans, scans } = await explained(await queriesOf(search("etzalco")), ["users", "users_by_text"]);
    const frequent = await explained(await queriesOf(search("example.org")), ["users"]);

    expect((await send(tenant, search("etzalco"))).body.data.map((user: Any) => user.id)).toEqual([rare.id]);
    expect(scans.users).toBe(0);
    expect(scans.users_by_text).toBeGreaterThan(0);
    expect(buffers(plans[0]!)).toBeLessThan(200);
    expect(frequent.scans.users).toBe(0);
  });

  it("a user is found by e-mail address in the index of addresses", async () => {
    const { email } = await newUser(tenant, { email: "Montezuma@Example.org" });

    const found = { method: "GET", path: "/v1/users?email=montezuma@example.org" };
    const { plans, scans } = await explained(await queriesOf(found), ["users", "users_by_email"]);

    expect((await send(tenant, found)).body.data[0].email).toBe(email);
    expect(scans.users).toBe(0);
    expect(scans.users_by_email).toBeGreaterThan(0);
    expect(buffers(plans[0]!)).toBeLessThan(50);
  });
});
