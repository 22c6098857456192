import fc from "fast-check";
import { expect, it } from "vitest";
import { type Any, admin, type Client, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { prepareCall, send } from "./prepared";
import { FACTORIES, OF_THE_DEPLOYMENT } from "./samples";
import { asOwner } from "./setup/owner";
import { readOperations } from "./spec";

/** A list, how its rows come and go, and what names a row in it. */
type List = {
  path(tenant: Tenant): Promise<string>;
  add(tenant: Tenant, path: string): Promise<string>;
  remove?(tenant: Tenant, path: string, id: string): Promise<unknown>;
  idOf?(row: Any): string;
};

const LISTS: Record<string, List> = {
  users: {
    path: async () => "/v1/users",
    add: async (tenant) => (await newUser(tenant)).id,
    remove: (tenant, _, id) => tenant.delete(`/v1/users/${id}?mode=hard`),
  },
  teams: {
    path: async () => "/v1/teams",
    add: async (tenant) => (await tenant.post("/v1/teams", { name: "Team" })).body.id,
    remove: (tenant, path, id) => tenant.delete(`${path}/${id}`),
  },
  "members of a team": {
    path: async (tenant) => `/v1/teams/${(await tenant.post("/v1/teams", { name: "Team" })).body.id}/members`,
    add: async (tenant, path) => {
      const { id } = await newUser(tenant);
      await tenant.put(`${path}/${id}`);
      return id;
    },
    remove: (tenant, path, id) => tenant.delete(`${path}/${id}`),
    idOf: (row) => row.userId,
  },
  devices: {
    path: async (tenant) => `/v1/users/${(await newUser(tenant)).id}/devices`,
    add: async (tenant, path) => (await tenant.put(`${path}/${crypto.randomUUID()}`, {})).body.deviceId,
    remove: (tenant, path, id) => tenant.delete(`${path}/${id}`),
    idOf: (row) => row.deviceId,
  },
  "API keys": {
    path: async () => "/v1/api-keys",
    add: async (tenant, path) => (await tenant.post(path, { name: "Key" })).body.id,
  },
  "the audit log": {
    path: async () => "/v1/audit-logs",
    add: async (tenant, path) => {
      await tenant.patch("/v1/tenant", { name: "Acme" });
      return (await tenant.get(`${path}?limit=1`)).body.data[0].id;
    },
  },
};

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("turn" as const), limit: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("add" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), which: fc.nat(7) }) },
);

it.each(Object.keys(LISTS))(
  "%s: whoever turns the pages meets each row that stays just once, whatever comes and goes meanwhile",
  async (name) => {
    const { path: pathOf, add, remove, idOf = (row: Any) => row.id } = LISTS[name]!;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 10 }), async (steps) => {
        const tenant = await newTenant();
        const path = await pathOf(tenant);
        const there: string[] = [];
        for (let i = 0; i < 7; i++) there.push(await add(tenant, path));
        const gone = new Set<string>();
        const seen: string[] = [];
        let cursor: string | null | undefined;
        const turn = async (limit: number) => {
          if (cursor === null) return;
          const page = await tenant.get(`${path}?limit=${limit}${cursor ? `&cursor=${cursor}` : ""}`);
          expect(page.status).toBe(200);
          expect(page.body.data.length).toBeLessThanOrEqual(limit);
          seen.push(...page.body.data.map(idOf));
          cursor = page.body.nextCursor;
        };

        for (const one of steps) {
          if (one.kind === "turn") await turn(one.limit);
          else if (one.kind === "add") await add(tenant, path);
          else if (remove && !gone.has(there[one.which % 7]!)) {
            gone.add(there[one.which % 7]!);
            await remove(tenant, path, there[one.which % 7]!);
          }
        }
        while (cursor !== null) await turn(3);

        expect(new Set(seen).size, "nothing twice").toBe(seen.length);
        for (const id of there) if (!gone.has(id)) expect(seen).toContain(id);
      }),
      { numRuns: 6 },
    );
  },
);

it("rows of one and the same moment are told apart by their ids", async () => {
  const tenant = await newTenant();
  await asOwner(
    `insert into audit_logs (tenant_id, id, actor_kind, action, target_type, request_id, created_at)
     select $1, gen_random_uuid(), 'system', 'test', 'tenant', 'r', timestamptz '2026-01-01 00:00:00.123456+00' + (n / 4) * interval '1 microsecond'
       from generate_series(0, 11) n`,
    [tenant.id],
  );
  const seen: string[] = [];
  let cursor = "";
  do {
    const { body } = await tenant.get(`/v1/audit-logs?action=test&limit=5${cursor && `&cursor=${cursor}`}`);
    seen.push(...body.data.map((row: Any) => row.id));
    cursor = body.nextCursor ?? "";
  } while (cursor);

  expect(seen).toHaveLength(12);
  expect(new Set(seen).size).toBe(12);
});

it("a page holds 50 rows when nothing is said, 100 at most, and no cursor where nothing follows", async () => {
  const tenant = await newTenant();
  await tenant.post("/v1/users/bulk", { users: Array.from({ length: 100 }, () => ({})) });
  const list = async (query: string) => (await tenant.get(`/v1/users${query}`)).body;

  expect((await list("")).data).toHaveLength(50);
  expect(await list("?limit=100")).toMatchObject({ nextCursor: null });
  const half = await list("?limit=50");
  expect(await list(`?limit=50&cursor=${half.nextCursor}`)).toMatchObject({ nextCursor: null });
  for (const limit of ["0", "101", "-1", "1.5", "many", ""]) {
    expectProblem(await tenant.get(`/v1/users?limit=${limit}`), 422, "invalid_request", "query.limit");
  }
});

it("a cursor that no list gave out is 400, never a fault", async () => {
  const tenant: Client = await newTenant();
  const encode = (place: unknown) =>
    btoa(JSON.stringify(place)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const id = crypto.randomUUID();
  const FORGED: [path: string, cursors: string[]][] = [
    [
      "/v1/users",
      [
        "x",
        "%F0%9F%A6%9C",
        "a.b",
        encode([]),
        encode({}),
        encode(null),
        encode(["ann"]),
        encode([7]),
        encode([[id]]),
        encode([id, id]),
        encode([`${id}' or true --`]),
      ],
    ],
    [
      "/v1/audit-logs",
      [
        "2020",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "+012345-01-01T00:00:00Z",
        "infinity",
        "now",
        7,
        null,
      ]
        .map((moment) => encode([moment, id]))
        .concat(encode(["2026-01-01T00:00:00Z"]), encode(["2026-01-01T00:00:00Z", "x"])),
    ],
  ];
  for (const [path, cursors] of FORGED) {
    for (const cursor of cursors) expectProblem(await tenant.get(`${path}?cursor=${cursor}`), 400, "invalid_cursor");
  }
  expect((await tenant.get(`/v1/users?cursor=${encode([id])}`)).status).toBe(200);
  expectProblem(await tenant.get(`/v1/users?cursor=${"x".repeat(1001)}`), 422, "invalid_request", "query.cursor");
});

const LISTED = (await readOperations()).filter(({ parameters }) => parameters.some(({ name }) => name === "cursor"));

it("every list there is, turned a row at a time, is the same as at once", async () => {
  const tenant = await newTenant();
  for (const kind of Object.keys(FACTORIES).filter((one) => !OF_THE_DEPLOYMENT.includes(one)))
    for (let n = 0; n < 2; n++) await FACTORIES[kind]!(tenant, "Row");
  for (const kind of OF_THE_DEPLOYMENT)
    for (let n = 0; n < 2; n++) await FACTORIES[kind]!((await admin()) as Tenant, crypto.randomUUID());
  const many: string[] = [];
  for (const operation of LISTED) {
    const as = operation.scope === "deployment:admin" ? await admin() : tenant;
    const call = await prepareCall(LISTED, tenant, operation);
    const at = (more: string) => ({ ...call, path: `${call.path}${call.path.includes("?") ? "&" : "?"}${more}` });

    const whole = await send(as, at("limit=6"));
    const turned: Any[] = [];
    for (let cursor: string | null | undefined; cursor !== null && turned.length < 6; ) {
      const page = await send(as, at(`limit=1${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`));
      expect(page.status, `${operation.id} ${JSON.stringify(page.body)}`).toBe(200);
      turned.push(...page.body.data);
      cursor = page.body.nextCursor;
    }

    // What a request leaves behind itself stands in these.
    if (!GROWING.includes(operation.id)) expect(turned, operation.id).toEqual(whole.body.data);
    expectProblem(await send(as, at("limit=0")), 422, "invalid_request", "query.limit");
    expectProblem(await send(as, at("limit=101")), 422, "invalid_request", "query.limit");
    if (turned.length > 1) many.push(operation.id);
  }
  expect(many.length).toBeGreaterThan(LISTED.length / 2);
});

const GROWING: string[] = [];
