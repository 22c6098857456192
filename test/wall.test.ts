import { neonConfig } from "@neondatabase/serverless";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { app } from "../src/app";
import { TENANT_SCOPES } from "../src/lib/scopes";
import { admin, type Client, client, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import known from "./known-operations.json";
import { prepareCall, send } from "./prepared";
import { fillTables, snapshot, type Table, tenantTables } from "./rows";
import { clientWith, FACTORIES, OF_THE_DEPLOYMENT } from "./samples";
import { asOwner } from "./setup/owner";
import {
  type Call,
  faultsOf,
  type Operation,
  type Position,
  positionsOf,
  readOperations,
  sampleCall,
  unmarkedIds,
} from "./spec";

const operations = await readOperations();

const PUBLIC = [
  ...[
    "getHealth",
    "getReadiness",
    "watchChannel",
    "connectUser",
    "receiveCallback",
    "receiveFromSes",
    "listPublicKeys",
  ],
];
const UNDOCUMENTED = [
  "OPTIONS /*",
  // Pages for people, opened by a signed link.
  "GET /unsubscribe/:token",
  "POST /unsubscribe/:token",
  "POST /unsubscribe/:token/undo",
  "GET /portal/:token",
  "GET /portal/:token/deliveries/:id{[0-9a-f-]{36}}",
  "POST /portal/:token/deliveries/:id{[0-9a-f-]{36}}/redeliver",
  "GET /portal/:token/settings",
  "POST /portal/:token/settings",
  "POST /portal/:token/secret",
  "GET /openapi.json",
];

/** Names that callers choose themselves, and ids of what there is no table for yet. */
const NO_RESOURCE = [
  ...["clientId", "mentions.0"].map((at) => `addNote body.${at}`),
  ...["upsertUser", "upsertUsers", "updateUser"].map(
    (id) => `${id} body${id === "upsertUsers" ? ".users.0" : ""}.externalId`,
  ),
  "listUsers query.externalId",
  "putDevice path.deviceId",
  "deleteDevice path.deviceId",
  "listAuditLogs query.targetId",
  "exportAuditLogs query.targetId",
  "connectUser query.deviceId",
  "endSessions query.sessionId",
  "watchChannel query.deviceId",
  "sendMessage body.clientId",
  // What the HTML of the mail calls it.
  ...["sendEmail", "sendMessage"].map((id) => `${id} body.attachments.0.contentId`),
  // Whoever is no user of the tenant is not mentioned.
  "sendMessage body.mentions.0",
  ...["editMessage", "scheduleMessage", "changeScheduledMessage", "putDraft"].map((id) => `${id} body.mentions.0`),
  "putDraft query.deviceId",
  "deleteDraft query.deviceId",
];

it(`these operations are open to everybody, and no others: ${PUBLIC.join(", ")}`, () => {
  expect(operations.filter(({ scope }) => scope === "public").map(({ id }) => id)).toEqual(PUBLIC);
});

it("every route is in the document, under a name of its own", async () => {
  const documented = operations.map(({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`);
  const { routes } = await app.whole();
  const served = routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} ${path}`);

  expect([...new Set(served)].filter((route) => !documented.includes(route))).toEqual(UNDOCUMENTED);
  expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length);
});

it("an operation may be added, to known-operations.json too, and none that stands there goes, moves or is renamed", () => {
  const served = Object.fromEntries(operations.map(({ id, method, path }) => [id, `${method} ${path}`]));

  expect(served).toMatchObject(known);
});

it("every place that takes an id says of what, and the tests can make one", () => {
  const unmarked = operations.flatMap((op) => unmarkedIds(op).map((place) => `${op.id} ${place}`));
  const kinds = new Set(operations.flatMap((op) => positionsOf(op).map(({ resource }) => resource)));

  expect(unmarked.sort()).toEqual(NO_RESOURCE.sort());
  expect([...kinds].filter((kind) => !(kind in FACTORIES))).toEqual([]);
});

const FOREIGN = "Foreign";
let tables: Table[];
let mine: Tenant;
let theirs: Tenant;
let before: string[];
const foreign = new Map<string, string>();

beforeAll(async () => {
  tables = await tenantTables();
  const planId = await FACTORIES.plan!(mine, FOREIGN);
  mine = await newTenant({ name: "Mine" });
  theirs = await newTenant({ name: FOREIGN, planId });
  await fillTables(tables, theirs.id, FOREIGN);
  for (const [kind, make] of Object.entries(FACTORIES)) foreign.set(kind, await make(theirs, FOREIGN));
  foreign.set("tenant", theirs.id).set("plan", planId);
  // Or the job that looks at whatever domain waits for it, which another test runs meanwhile, changes theirs.
  await asOwner("update domains set checked_at = '2999-01-01' where tenant_id = $1", [theirs.id]);
  before = await snapshot(tables, theirs.id);
});

const prepare = (operation: Operation, position?: Position, stranger = false) =>
  prepareCall(operations, mine, operation, position, stranger ? foreign : undefined);

const TENANT_CONDITION =
  /(?:"?\w+"?\.)?"?tenant_id"?\s*=\s*(\$\d+|nullif\(current_setting\('app\.tenant_id', true\), ''\)::uuid|current_tenant\(\)|(?:"?\w+"?\.)?"?tenant_id"?)/g;
let takenOut = 0;

/** The same, with every condition on tenant_id taken out of what the Worker asks its database: the wall alone holds. */
async function sendUnconditioned(as: Client, call: Call) {
  const always = (_: string, right: string) => {
    takenOut++;
    return right.startsWith("$") ? `(${right}::uuid is not null)` : "true";
  };
  neonConfig.fetchFunction = (url: string, init: RequestInit) => {
    const body = JSON.parse(String(init.body));
    for (const one of body.queries ?? [body]) one.query = one.query.replace(TENANT_CONDITION, always);
    return fetch(url, { ...init, body: JSON.stringify(body) });
  };
  try {
    return await send(as, call);
  } finally {
    neonConfig.fetchFunction = undefined;
  }
}

/** The wall alone must hold; that queries name their tenant too, and which operation it was that changed something, is shown where time matters less. */
const WAYS = inject("realPostgres") ? [send, sendUnconditioned] : [sendUnconditioned];

const callers = new Map<string, ReturnType<typeof clientWith>>();

/** One key for each set of scopes, not one for each operation. */
function callerWith(scopes: Parameters<typeof clientWith>[1]) {
  const known = callers.get(scopes.join()) ?? clientWith(mine, scopes);
  callers.set(scopes.join(), known);
  return known;
}

const anything = (operation: Operation) => sampleCall(operation, () => crypto.randomUUID());

describe.each(operations.filter(({ scope }) => scope !== "public"))("$method $path", (operation) => {
  const { scope } = operation;
  const positions = positionsOf(operation);

  it("asks for a credential", async () => {
    expectProblem(await send(client(null), anything(operation)), 401, "missing_credential");
  });

  it.skipIf(scope === "any")(`asks for ${scope}`, async () => {
    const others = TENANT_SCOPES.filter((one) => one !== scope);

    const answer = await send(await callerWith(others), anything(operation));

    expectProblem(answer, 403, "missing_scope");
    expect(answer.body.scope).toBe(scope);
  });

  it.each([
    ["", send],
    [", conditions taken out", sendUnconditioned],
  ])(`works with ${scope === "any" ? "any" : "that"} scope on the caller's own%s`, async (_, ask) => {
    const call = await prepare(operation);
    const least = scope === "any" ? "users:read" : scope;

    const answer = await ask(scope === "deployment:admin" ? await admin() : await callerWith([least]), call);

    expect(answer.status, told(call, answer)).toBeLessThan(300);
    expect(faultsOf(operation, answer)).toEqual([]);
    if (scope !== "deployment:admin") expect(JSON.stringify(answer.body)).not.toContain(FOREIGN);
  });

  it.each(positions)("lets nobody name another tenant's $resource in $where $at", async (position) => {
    const control = await prepare(operation, position);
    const accepted = await send(scope === "deployment:admin" ? await admin() : mine, control);
    expect(accepted.status, told(control, accepted)).toBeLessThan(300);
    const call = await prepare(operation, position, true);

    for (const ask of WAYS) {
      const answer = await ask(mine, call);

      if (OF_THE_DEPLOYMENT.includes(position.resource)) expectProblem(answer, 403, "missing_scope");
      else if (answer.status === 200 && position.where === "query")
        expect(answer.body.data ?? answer.body).toHaveLength(0);
      else expect([404, 422], told(call, answer)).toContain(answer.status);
      expect(JSON.stringify(answer.body)).not.toContain(FOREIGN);
    }
  });

  it.skipIf(operation.method === "GET" || !inject("realPostgres"))(
    "has changed nothing of another tenant's",
    async () => {
      expect(await snapshot(tables, theirs.id)).toEqual(before);
    },
  );
});

describe.each(operations.filter((one) => one.scope === "public" && positionsOf(one).length > 0))(
  "$method $path",
  (operation) => {
    it.each(positionsOf(operation))(
      "open to everybody, shows nothing of another tenant's $resource in $where $at",
      async (position) => {
        const user = await newUser(mine);
        const call = await prepare(operation, position, true);
        const headers = { ...call.headers, "Parley-User": user.id, Upgrade: "websocket" };

        for (const ask of WAYS) {
          const answer = await ask(mine, { ...call, headers });

          if (answer.status === 200) expect(Object.values(answer.body).flat(), told(call, answer)).toEqual([]);
          else expect([400, 401, 404, 422], told(call, answer)).toContain(answer.status);
          expect(JSON.stringify(answer.body)).not.toContain(FOREIGN);
        }
        expect(await snapshot(tables, theirs.id)).toEqual(before);
      },
    );
  },
);

const told = (call: Call, answer: { status: number; body: unknown }) =>
  `${JSON.stringify(call)} → ${answer.status} ${JSON.stringify(answer.body)}`;

it("no credential acts for another tenant's user", async () => {
  const user = foreign.get("user")!;
  const [row] = await asOwner<{ external_id: string }>(
    "select external_id from users where tenant_id = $1 and external_id is not null",
    [theirs.id],
  );

  for (const as of [user, `external:${encodeURIComponent(row!.external_id)}`]) {
    expectProblem(await mine.get("/v1/whoami", { as }), 401, "unknown_user");
  }
  expectProblem(await mine.get("/v1/whoami", { as: theirs.id }), 401, "unknown_user");
});

it("nothing of another tenant's has changed by all that", async () => {
  expect(await snapshot(tables, theirs.id)).toEqual(before);
});

it("conditions on tenant_id were there, and were taken out", () => {
  expect(takenOut).toBeGreaterThan(2 * operations.length);
});
