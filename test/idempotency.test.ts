import { describe, expect, it } from "vitest";
import { type Any, admin, type Client, client, expectProblem, newTenant, newUser, userClient } from "./helpers";
import { asOwner } from "./setup/owner";
import { newPair, publicJwk } from "./tokens";

const newKey = () => ({ headers: { "Idempotency-Key": crypto.randomUUID() } });
type Call = { by: Client; path: string; body?: object };

/** One call of each operation that takes an Idempotency-Key and writes. */
const CALLS: Record<string, () => Promise<Call>> = {
  createTenant: async () => ({ by: await admin(), path: "/v1/tenants", body: { name: "Acme", metadata: { a: 1 } } }),
  createPlan: async () => ({
    by: await admin(),
    path: "/v1/plans",
    body: { name: crypto.randomUUID(), tier: "pro", monthlyPrice: "9.90" },
  }),
  suspendTenant: async () => ({ by: await admin(), path: `/v1/tenants/${(await newTenant()).id}/suspend` }),
  resumeTenant: async () => ({ by: await admin(), path: `/v1/tenants/${(await newTenant()).id}/resume` }),
  createApiKey: async () => ({
    by: await newTenant(),
    path: "/v1/api-keys",
    body: { name: "Key", addresses: ["192.0.2.0/24"] },
  }),
  rerollApiKey: async () => {
    const by = await newTenant();
    return { by, path: `/v1/api-keys/${(await by.post("/v1/api-keys", { name: "Key" })).body.id}/reroll`, body: {} };
  },
  createAuthKey: async () => {
    const jwk = await publicJwk(await newPair("ES256"));
    return {
      by: await newTenant(),
      path: "/v1/auth-keys",
      body: { name: "Signer", algorithm: "ES256", scopes: ["users:read"], jwk },
    };
  },
  revokeToken: async () => ({ by: await newTenant(), path: "/v1/tokens/revoke", body: { jti: "a" } }),
  upsertUser: async () => ({
    by: await newTenant(),
    path: "/v1/users",
    body: { displayName: "Ann", metadata: { a: [1, { b: "ä" }] } },
  }),
  upsertUsers: async () => ({
    by: await newTenant(),
    path: "/v1/users/bulk",
    body: { users: [{ displayName: "Ann" }, { externalId: "b" }, {}] },
  }),
  deactivateUser: async () => userCall("deactivate"),
  reactivateUser: async () => userCall("reactivate"),
  mintUserToken: async () => userCall("tokens", {}),
  createGuest: async () => {
    const tenant = await newTenant();
    const { secret } = (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] })).body;
    return { by: client(secret), path: "/v1/guests", body: { displayName: "Visitor" } };
  },
  createTeam: async () => ({ by: await newTenant(), path: "/v1/teams", body: { name: "Team" } }),
};

async function userCall(verb: string, body?: object): Promise<Call> {
  const by = await newTenant();
  return { by, path: `/v1/users/${(await newUser(by)).id}/${verb}`, ...(body && { body }) };
}

describe("the same Idempotency-Key", () => {
  it.each(Object.keys(CALLS))(
    "%s: a repetition gets the very answer whose first copy was lost, and does nothing again",
    async (name) => {
      const { by, path, body } = await CALLS[name]!();
      const key = newKey();
      const changesBy = async ({ headers }: { headers: Headers }) =>
        asOwner("select 1 from audit_logs where request_id = $1", [headers.get("Parley-Request-Id")]);

      const first = await by.post(path, body, key);
      const [second, third] = [await by.post(path, body, key), await by.post(path, body, key)];

      expect(first.status, JSON.stringify(first.body)).toBeLessThan(300);
      expect(first.headers.get("Idempotency-Replayed")).toBeNull();
      for (const repeated of [second, third]) {
        expect({ status: repeated.status, body: repeated.body }).toEqual({ status: first.status, body: first.body });
        expect(repeated.headers.get("Idempotency-Replayed")).toBe("true");
        expect(await changesBy(repeated)).toEqual([]);
      }
      expect(await changesBy(first)).not.toEqual([]);
      const secret = first.body?.secret ?? first.body?.token ?? first.body?.apiKey?.secret;
      const from = { headers: { "CF-Connecting-IP": "192.0.2.1" } };
      if (secret) expect((await client(secret).get("/v1/whoami", from)).status).toBe(200);
    },
  );

  it("every operation that takes one and belongs to the platform is tried above", async () => {
    const { paths } = (await client(null).get("/openapi.json")).body;
    const operations = Object.values<Any>(paths).flatMap((methods) => Object.values<Any>(methods));
    const mine = ["Deployment", "Tenant", "Credentials", "Users", "Teams"];

    const taken = operations.filter((one) => one["x-once"] && mine.includes(one.tags[0])).map((one) => one.operationId);

    expect(taken.filter((id) => !(id in CALLS))).toEqual([]);
  });

  it("makes one row, not two", async () => {
    const tenant = await newTenant();
    const key = newKey();
    for (let n = 0; n < 3; n++) await tenant.post("/v1/users", { displayName: "Ann" }, key);

    expect((await tenant.get("/v1/users")).body.data).toHaveLength(1);
    expect((await tenant.get("/v1/audit-logs?action=user.created")).body.data).toHaveLength(1);
  });

  it("with another body, path, query or acting user is 422, and changes nothing", async () => {
    const tenant = await newTenant();
    const [ann, ben] = [await newUser(tenant), await newUser(tenant)];
    const key = newKey();
    await tenant.post("/v1/teams", { name: "Team" }, key);

    const refused = [
      await tenant.post("/v1/teams", { name: "Other" }, key),
      await tenant.post("/v1/teams", '{"name": "Team"}', key),
      await tenant.post("/v1/users", { name: "Team" }, key),
      await tenant.post("/v1/teams", { name: "Team" }, { ...key, as: ann.id }),
    ];
    for (const answer of refused.filter((_, n) => n !== 2)) expectProblem(answer, 422, "idempotency_key_reused");
    expect(refused[2]!.status).toBe(422);
    const one = newKey();
    expect((await tenant.post("/v1/teams", { name: "As Ann" }, { ...one, as: ann.id })).status).toBe(201);
    expectProblem(
      await tenant.post("/v1/teams", { name: "As Ann" }, { ...one, as: ben.id }),
      422,
      "idempotency_key_reused",
    );
    expect((await tenant.get("/v1/teams")).body.data).toHaveLength(2);
  });

  it("chosen by another caller is another key, so that nobody is shown what another one was given", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const second = client((await tenant.post("/v1/api-keys", { name: "Second" })).body.secret);
    const [ann, ben] = [await newUser(tenant, { role: "admin" }), await newUser(tenant, { role: "admin" })];
    const callers = [tenant, second, await userClient(tenant, ann.id), await userClient(tenant, ben.id), other];
    const key = newKey();

    const secrets = [];
    for (const caller of callers) secrets.push((await caller.post("/v1/api-keys", { name: "Key" }, key)).body.secret);

    expect(secrets.every((secret) => typeof secret === "string")).toBe(true);
    expect(new Set(secrets).size).toBe(callers.length);
  });

  it("after a failure does the work: nothing of a failure is kept", async () => {
    const tenant = await newTenant();
    const holder = await newUser(tenant, { email: "ann@example.org" });
    const key = newKey();
    const create = () => tenant.post("/v1/users", { email: "ann@example.org" }, key);

    expectProblem(await create(), 409, "conflict", "email");
    expectProblem(await create(), 409, "conflict", "email");
    expect(await asOwner("select 1 from idempotency_keys where tenant_id = $1", [tenant.id])).toEqual([]);
    await tenant.patch(`/v1/users/${holder.id}`, { email: null });
    expect((await create()).status).toBe(201);
    expect((await create()).headers.get("Idempotency-Replayed")).toBe("true");
  });

  it("brings nothing back to a credential that was revoked meanwhile", async () => {
    const tenant = await newTenant();
    const { id, secret } = (await tenant.post("/v1/api-keys", { name: "Second" })).body;
    const key = newKey();
    await client(secret).post("/v1/api-keys", { name: "Third" }, key);

    await tenant.delete(`/v1/api-keys/${id}`);

    expectProblem(await client(secret).post("/v1/api-keys", { name: "Third" }, key), 401, "key_revoked");
  });

  it("survives a change of the tenant's settings between the calls", async () => {
    const tenant = await newTenant();
    const key = newKey();
    const first = await tenant.post("/v1/api-keys", { name: "Key" }, key);

    await asOwner("update tenants set config_version = config_version + 1 where id = $1", [tenant.id]);

    expect((await tenant.post("/v1/api-keys", { name: "Key" }, key)).body).toEqual(first.body);
  });
});

it.each(["", "a b", "\u00e4", "x".repeat(256)])("the Idempotency-Key %j is 400", async (key) => {
  const tenant = await newTenant();

  const answer = await tenant.post("/v1/teams", { name: "Team" }, { headers: { "Idempotency-Key": key } });

  expectProblem(answer, 400, "malformed_header");
});

it("no secret that was ever handed out can be read in the database", async () => {
  const tenant = await newTenant();
  const user = await newUser(tenant);
  const made = async (path: string, body: object) =>
    [await tenant.post(path, body), await tenant.post(path, body, newKey())].map(
      (answer) => answer.body.secret ?? answer.body.token,
    );
  const pub = (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] })).body;
  const created = await (await admin()).post("/v1/tenants", { name: "Acme" }, newKey());
  const guest = await client(pub.secret).post("/v1/guests", {}, newKey());
  const rerolled = await tenant.post(`/v1/api-keys/${pub.id}/reroll`, {}, newKey());
  const secrets = [
    tenant.key,
    pub.secret,
    created.body.apiKey.secret,
    guest.body.token,
    rerolled.body.secret,
    ...(await made("/v1/api-keys", { name: "Key" })),
    ...(await made(`/v1/users/${user.id}/tokens`, {})),
  ];
  expect(secrets.every((secret) => typeof secret === "string" && secret.length > 40)).toBe(true);

  expect(await rowsThatHold([tenant.id])).not.toEqual([]);
  expect(await rowsThatHold(secrets.flatMap(formsOf))).toEqual([]);
});

/** Of all tables; bytes stand there in hexadecimal. */
async function rowsThatHold(texts: string[]): Promise<string[]> {
  const tables = await asOwner<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')`,
  );
  expect(tables.length).toBeGreaterThan(15);
  const rows = await Promise.all(
    tables.map(({ name }) =>
      asOwner<{ row: string }>(
        `select t::text as row from ${name} t
          where exists (select 1 from unnest($1::text[]) f(form) where position(f.form in t::text) > 0) limit 5`,
        [texts],
      ),
    ),
  );
  return rows.flat().map(({ row }) => row);
}

/** A token's signature alone would be worth as much as the token, a key's random digits as much as the key. */
function formsOf(secret: string): string[] {
  const core = secret.startsWith("parley_") ? secret.split("_")[2]!.slice(0, 30) : secret.split(".")[2]!;
  return [secret, core].flatMap((text) => {
    const hex = Array.from(new TextEncoder().encode(text), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [text, hex, btoa(text).replace(/=+$/, "").slice(0, -2)];
  });
}
