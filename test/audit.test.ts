import { env } from "cloudflare:workers";
import { neon, neonConfig } from "@neondatabase/serverless";
import { describe, expect, inject, it } from "vitest";
import { asSystem } from "../src/auth/system";
import { exportAuditLogs } from "../src/tenants/audit-log";
import {
  type Any,
  admin,
  type Client,
  client,
  expectProblem,
  newTenant,
  newUser,
  type Tenant,
  userClient,
} from "./helpers";
import { asOwner } from "./setup/owner";
import { newPair, newSigner, publicJwk } from "./tokens";

type Given = { tenant: Tenant; operator: Client; user: Any; other: Any; team: Any; key: Any };
/** What to do, what the log says of it, and what stands there of before and after. */
type Change = {
  act(given: Given): Promise<{ status: number; body: Any }>;
  entry: { action: string; targetType: string; before?: unknown; after?: unknown };
  /** Whose log. */
  by?: "operator";
};

const CHANGES: Record<string, Change> = {
  createTenant: {
    by: "operator",
    act: ({ operator }) => operator.post("/v1/tenants", { name: "New", metadata: { a: 1 } }),
    entry: { action: "tenant.created", targetType: "tenant", before: null, after: { name: "New", metadata: { a: 1 } } },
  },
  updateTenant: {
    by: "operator",
    act: ({ operator, tenant }) => operator.patch(`/v1/tenants/${tenant.id}`, { name: "Renamed" }),
    entry: { action: "tenant.updated", targetType: "tenant", before: { name: "Acme" }, after: { name: "Renamed" } },
  },
  suspendTenant: {
    by: "operator",
    act: ({ operator, tenant }) => operator.post(`/v1/tenants/${tenant.id}/suspend`),
    entry: { action: "tenant.suspended", targetType: "tenant" },
  },
  resumeTenant: {
    by: "operator",
    act: ({ operator, tenant }) => operator.post(`/v1/tenants/${tenant.id}/resume`),
    entry: { action: "tenant.resumed", targetType: "tenant" },
  },
  deleteTenant: {
    by: "operator",
    act: ({ operator, tenant }) => operator.delete(`/v1/tenants/${tenant.id}`),
    entry: { action: "tenant.deleted", targetType: "tenant" },
  },
  createPlan: {
    by: "operator",
    act: ({ operator }) => operator.post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", limits: { users: 3 } }),
    entry: { action: "plan.created", targetType: "plan", before: null, after: { tier: "pro", limits: { users: 3 } } },
  },
  updatePlan: {
    by: "operator",
    act: async ({ operator }) => operator.patch(`/v1/plans/${await newPlan(operator)}`, { tier: "max" }),
    entry: { action: "plan.updated", targetType: "plan", before: { tier: "pro" }, after: { tier: "max" } },
  },
  deletePlan: {
    by: "operator",
    act: async ({ operator }) => operator.delete(`/v1/plans/${await newPlan(operator)}`),
    entry: { action: "plan.deleted", targetType: "plan" },
  },
  updateOwnTenant: {
    act: ({ tenant }) =>
      tenant.patch("/v1/tenant", { name: "Renamed", settings: { allowedOrigins: ["https://a.example"] } }),
    entry: {
      action: "tenant.updated",
      targetType: "tenant",
      before: { name: "Acme", settings: {} },
      after: { name: "Renamed", settings: { allowedOrigins: ["https://a.example"] } },
    },
  },
  createApiKey: {
    act: ({ tenant }) =>
      tenant.post("/v1/api-keys", { name: "New", scopes: ["users:read"], addresses: ["192.0.2.0/24"] }),
    entry: {
      action: "api_key.created",
      targetType: "api_key",
      before: null,
      after: { name: "New", kind: "live", scopes: ["users:read"], addresses: ["192.0.2.0/24"] },
    },
  },
  updateApiKey: {
    act: ({ tenant, key, user }) =>
      tenant.patch(`/v1/api-keys/${key.id}`, {
        enabled: false,
        scopes: ["users:read"],
        resources: { user: [user.id] },
      }),
    entry: {
      action: "api_key.updated",
      targetType: "api_key",
      before: { enabled: true, scopes: ["tenant:read", "users:read"], resources: [] },
      after: { enabled: false, scopes: ["users:read"], resources: { user: [expect.any(String)] } },
    },
  },
  revokeApiKey: {
    act: ({ tenant, key }) => tenant.delete(`/v1/api-keys/${key.id}`),
    entry: { action: "api_key.revoked", targetType: "api_key" },
  },
  rerollApiKey: {
    act: ({ tenant, key }) => tenant.post(`/v1/api-keys/${key.id}/reroll`, { overlapSeconds: 60 }),
    entry: {
      action: "api_key.rerolled",
      targetType: "api_key",
      after: { overlapSeconds: 60, replacedBy: expect.any(String) },
    },
  },
  createAuthKey: {
    act: async ({ tenant }) =>
      tenant.post("/v1/auth-keys", {
        name: "Signer",
        algorithm: "ES256",
        scopes: ["users:read"],
        jwk: await publicJwk(await newPair("ES256")),
      }),
    entry: {
      action: "auth_key.created",
      targetType: "auth_key",
      after: { name: "Signer", algorithm: "ES256", scopes: ["users:read"] },
    },
  },
  revokeAuthKey: {
    act: async ({ tenant }) => tenant.delete(`/v1/auth-keys/${(await newSigner(tenant)).kid}`),
    entry: { action: "auth_key.revoked", targetType: "auth_key" },
  },
  revokeToken: {
    act: ({ tenant }) => tenant.post("/v1/tokens/revoke", { jti: "a" }),
    entry: { action: "token.revoked", targetType: "token" },
  },
  upsertUser: {
    act: ({ tenant }) => tenant.post("/v1/users", { externalId: "new", bio: "Hi" }),
    entry: { action: "user.created", targetType: "user", before: null, after: { externalId: "new", bio: "Hi" } },
  },
  "upsertUser, of a known one": {
    act: ({ tenant, team }) =>
      tenant.post("/v1/users", { externalId: "ann", bio: "Hi", metadata: { a: 2 }, teamIds: [team.id] }),
    entry: {
      action: "user.updated",
      targetType: "user",
      before: { bio: null, metadata: { a: 1 }, teamIds: [] },
      after: { externalId: "ann", bio: "Hi", metadata: { a: 2 }, teamIds: [expect.any(String)] },
    },
  },
  upsertUsers: {
    act: ({ tenant }) => tenant.post("/v1/users/bulk", { users: [{ externalId: "ann", bio: "Hi" }] }),
    entry: {
      action: "user.updated",
      targetType: "user",
      before: { bio: null },
      after: { externalId: "ann", bio: "Hi" },
    },
  },
  updateUser: {
    act: ({ tenant, user, team }) =>
      tenant.patch(`/v1/users/${user.id}`, { displayName: "Anna", role: null, teamIds: [team.id] }),
    entry: {
      action: "user.updated",
      targetType: "user",
      before: { displayName: "Ann", role: "viewer", teamIds: [] },
      after: { displayName: "Anna", role: null, teamIds: [expect.any(String)] },
    },
  },
  deactivateUser: {
    act: ({ tenant, user }) => tenant.post(`/v1/users/${user.id}/deactivate`),
    entry: { action: "user.deactivated", targetType: "user" },
  },
  reactivateUser: {
    act: ({ tenant, user }) => tenant.post(`/v1/users/${user.id}/reactivate`),
    entry: { action: "user.reactivated", targetType: "user" },
  },
  deleteUser: {
    act: ({ tenant, user }) => tenant.delete(`/v1/users/${user.id}`),
    entry: { action: "user.deleted", targetType: "user", after: { mode: "anonymise" } },
  },
  "deleteUser, hard": {
    act: ({ tenant, user }) => tenant.delete(`/v1/users/${user.id}?mode=hard`),
    entry: { action: "user.deleted", targetType: "user", after: { mode: "hard" } },
  },
  mintUserToken: {
    act: ({ tenant, user }) => tenant.post(`/v1/users/${user.id}/tokens`, { expiresInSeconds: 60 }),
    entry: { action: "token.minted", targetType: "user", after: { seconds: 60 } },
  },
  revokeUserTokens: {
    act: ({ tenant, user }) => tenant.delete(`/v1/users/${user.id}/tokens`),
    entry: { action: "token.all_revoked", targetType: "user" },
  },
  createGuest: {
    act: async ({ tenant }) => {
      const { secret } = (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] }))
        .body;
      return client(secret).post("/v1/guests", { displayName: "Visitor" });
    },
    entry: { action: "user.guest_created", targetType: "user", after: { type: "guest", displayName: "Visitor" } },
  },
  createTeam: {
    act: ({ tenant }) => tenant.post("/v1/teams", { name: "New" }),
    entry: { action: "team.created", targetType: "team", before: null, after: { name: "New" } },
  },
  updateTeam: {
    act: ({ tenant, team }) => tenant.patch(`/v1/teams/${team.id}`, { name: "Renamed" }),
    entry: { action: "team.updated", targetType: "team", before: { name: "Team" }, after: { name: "Renamed" } },
  },
  deleteTeam: {
    act: ({ tenant, team }) => tenant.delete(`/v1/teams/${team.id}`),
    entry: { action: "team.deleted", targetType: "team" },
  },
  addTeamMember: {
    act: ({ tenant, team, user }) => tenant.put(`/v1/teams/${team.id}/members/${user.id}`),
    entry: { action: "team.member_added", targetType: "team", after: { userId: expect.any(String) } },
  },
  removeTeamMember: {
    act: async ({ tenant, team, user }) => {
      await tenant.put(`/v1/teams/${team.id}/members/${user.id}`);
      return tenant.delete(`/v1/teams/${team.id}/members/${user.id}`);
    },
    entry: { action: "team.member_removed", targetType: "team", after: { userId: expect.any(String) } },
  },
};

/** What users do for themselves, many times a day, is no administration. */
const NOT_AUDITED = ["putDevice", "deleteDevice", "blockUser", "unblockUser"];

const newPlan = async (operator: Client): Promise<string> =>
  (await operator.post("/v1/plans", { name: crypto.randomUUID(), tier: "pro" })).body.id;

async function given(): Promise<Given> {
  const [tenant, operator] = [await newTenant(), await admin()];
  return {
    tenant,
    operator,
    user: await newUser(tenant, { externalId: "ann", role: "viewer", metadata: { a: 1 } }),
    other: await newUser(tenant),
    team: (await tenant.post("/v1/teams", { name: "Team" })).body,
    key: (await tenant.post("/v1/api-keys", { name: "Key", scopes: ["users:read", "tenant:read"] })).body,
  };
}

const entriesOf = async (log: Client, requestId: string | undefined): Promise<Any[]> =>
  (await log.get("/v1/audit-logs?limit=100")).body.data.filter((entry: Any) => entry.requestId === requestId);

describe("each change writes one entry", () => {
  it.each(Object.keys(CHANGES))("%s", async (name) => {
    const { act, entry, by } = CHANGES[name]!;
    const all = await given();

    const answer = (await act(all)) as { status: number; headers: Headers; body: Any };

    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    const requestId = answer.headers.get("Parley-Request-Id") ?? undefined;
    const entries = await entriesOf(by ? all.operator : all.tenant, requestId);
    expect(entries).toHaveLength(1);
    const { before = null, after, ...rest } = entry;
    expect(entries[0]).toMatchObject({
      ...rest,
      actorKind: "key",
      actorId: expect.any(String),
      targetId: expect.any(String),
    });
    expect(entries[0].before).toEqual(before);
    if (after) expect(entries[0].after).toMatchObject(after as object);
  });

  it("every operation of the platform that changes something is tried above, or is named as not audited", async () => {
    const { paths } = (await client(null).get("/openapi.json")).body;
    const mine = ["Deployment", "Tenant", "Credentials", "Users", "Teams"];
    const writes = Object.values<Any>(paths)
      .flatMap((methods) => Object.entries<Any>(methods))
      .filter(([method, one]) => method !== "get" && mine.includes(one.tags[0]));

    const untried = writes
      .map(([, one]) => one.operationId)
      .filter((id) => !(id in CHANGES) && !NOT_AUDITED.includes(id));

    expect(untried).toEqual([]);
  });

  it("a new tenant's own log begins with its creation", async () => {
    const tenant = await newTenant({ name: "Globex" });

    expect((await tenant.get("/v1/audit-logs")).body.data).toMatchObject([
      { action: "tenant.created", targetId: tenant.id, after: { name: "Globex" } },
    ]);
  });

  it("a bulk upsert writes one for each user", async () => {
    const tenant = await newTenant();

    await tenant.post("/v1/users/bulk", { users: [{ bio: "a" }, { bio: "b" }, { bio: "c" }] });

    const entries = (await tenant.get("/v1/audit-logs?action=user.created")).body.data;
    expect(entries.map((entry: Any) => entry.after.bio).sort()).toEqual(["a", "b", "c"]);
  });

  it("a change that fails writes none, whatever it fails of", async () => {
    const { tenant, user, team, key } = await given();
    await tenant.patch(`/v1/users/${user.id}`, { email: "a@example.org" });
    await tenant.put(`/v1/teams/${team.id}/members/${user.id}`);
    const before = (await tenant.get("/v1/audit-logs?limit=100")).body.data.length;

    const failed = [
      await tenant.post("/v1/users", { email: "A@example.org" }),
      await tenant.patch(`/v1/users/${crypto.randomUUID()}`, { bio: "x" }),
      await tenant.delete(`/v1/teams/${team.id}`),
      await tenant.patch(`/v1/users/${user.id}`, { teamIds: [crypto.randomUUID()] }),
      await client(key.secret).post("/v1/teams", { name: "x" }),
      await tenant.post(`/v1/api-keys/${crypto.randomUUID()}/reroll`, {}),
      await tenant.patch("/v1/tenant", { unheardOf: 1 }),
    ];

    for (const answer of failed) expect(answer.status).toBeGreaterThanOrEqual(400);
    expect((await tenant.get("/v1/audit-logs?limit=100")).body.data).toHaveLength(before);
  });
});

describe("an entry", () => {
  it("names who, for whom, from where and in which request", async () => {
    const { tenant, user, key } = await given();
    await tenant.patch(`/v1/users/${user.id}`, { role: "admin" });
    const headers = { "CF-Connecting-IP": "2001:db8::7", "User-Agent": "Browser/1.0 ä" };
    const signer = await newSigner(tenant, "ES256", { scopes: ["users:write"] });
    const minted = client((await tenant.post(`/v1/users/${user.id}/tokens`, {})).body.token);

    const made = [
      await tenant.post("/v1/teams", { name: "by key" }, { headers }),
      await tenant.post("/v1/teams", { name: "by key for a user" }, { headers, as: user.id }),
      await minted.post("/v1/teams", { name: "by user" }, { headers }),
      await client(await signer.token({ scope: "users:write" })).post("/v1/teams", { name: "by token" }, { headers }),
      await client(await signer.token({ scope: "users:write", sub: user.id })).post(
        "/v1/teams",
        { name: "by token for a user" },
        { headers },
      ),
    ];

    const who = [];
    for (const { body, headers: answered } of made) {
      const [entry] = (await tenant.get(`/v1/audit-logs?targetId=${body.id}`)).body.data;
      expect(entry).toMatchObject({
        ip: "2001:db8::7",
        userAgent: "Browser/1.0 ä",
        requestId: answered.get("Parley-Request-Id"),
        targetType: "team",
      });
      expect(Math.abs(Date.parse(entry.createdAt) - Date.now())).toBeLessThan(10_000);
      who.push([entry.actorKind, entry.actorId, entry.userId]);
    }
    const first = (await tenant.get("/v1/whoami")).body.keyId;
    expect(first).not.toBe(key.id);
    expect(who).toEqual([
      ["key", first, null],
      ["key", first, user.id],
      ["user", null, user.id],
      ["token", signer.kid, null],
      ["token", signer.kid, user.id],
    ]);
  });

  it("shows no secret, neither of keys nor of tokens", async () => {
    const { tenant, user } = await given();
    const secrets = [
      (await tenant.post("/v1/api-keys", { name: "Key" })).body.secret,
      (await tenant.post(`/v1/users/${user.id}/tokens`, {})).body.token,
    ];

    const text = JSON.stringify((await tenant.get("/v1/audit-logs?limit=100")).body);

    for (const secret of secrets) expect(text).not.toContain(secret);
    expect(text).not.toMatch(/parley_live_|"hash"|eyJ/);
  });
});

it("secrets are redacted however deep they stand, before as after, one by one and in bulk", async () => {
  const tenant = await newTenant();
  const metadata = (secret: string) => ({ shop: { apiToken: secret, list: [{ password: secret, name: "kept" }] } });
  const user = await newUser(tenant, { externalId: "a", metadata: metadata("s1") });
  await tenant.patch(`/v1/users/${user.id}`, { metadata: metadata("s2") });
  await tenant.post("/v1/users/bulk", { users: [{ externalId: "a", metadata: metadata("s3") }] });
  await tenant.patch("/v1/tenant", { metadata: metadata("s4") });
  await tenant.patch("/v1/tenant", { metadata: metadata("s5") });

  const { data } = (await tenant.get("/v1/audit-logs?limit=100")).body;

  const text = JSON.stringify(data);
  expect(text).not.toMatch(/"s\d"/);
  expect(text).toContain('"name":"kept"');
  expect(text).toContain('"apiToken":"[redacted]"');
});

it("an export goes on when settings change while it is read", async () => {
  const tenant = await newTenant();
  await asOwner(
    `insert into audit_logs (tenant_id, id, actor_kind, action, target_type, target_id, request_id, created_at)
     select $1, gen_random_uuid(), 'system', 'test', 'thing', n::text, 'r', now() - n * interval '1 second' from generate_series(1, 4500) n`,
    [tenant.id],
  );
  const waitUntil = () => undefined;
  const stream = await asSystem(env, tenant.id, waitUntil, (ctx) => exportAuditLogs(ctx, { action: "test" }));
  const reader = (stream as ReadableStream<Uint8Array>).getReader();

  let text = new TextDecoder().decode((await reader.read()).value);
  await tenant.patch("/v1/tenant", { name: "Renamed" });
  for (let part = await reader.read(); !part.done; part = await reader.read())
    text += new TextDecoder().decode(part.value);

  expect(text.trimEnd().split("\n")).toHaveLength(4500);
});

describe("reading the log", () => {
  it("filters by actor, user, action, target and time, alone and together", async () => {
    const { tenant, user, team, key } = await given();
    const boss = await newUser(tenant, { role: "admin" });
    await (await userClient(tenant, boss.id)).patch(`/v1/teams/${team.id}`, { name: "By boss" });
    const all = (await tenant.get("/v1/audit-logs?limit=100")).body.data;
    const find = async (query: string) => (await tenant.get(`/v1/audit-logs?limit=100&${query}`)).body.data;
    const { keyId } = (await tenant.get("/v1/whoami")).body;

    expect(await find(`userId=${boss.id}`)).toMatchObject([{ action: "team.updated", targetId: team.id }]);
    expect(await find(`actorId=${keyId}`)).toEqual(all.filter((entry: Any) => entry.actorId === keyId));
    expect(await find("action=team.updated")).toHaveLength(1);
    expect(await find(`targetType=team&targetId=${team.id}`)).toHaveLength(2);
    expect(await find(`targetId=${key.id}&action=api_key.created`)).toHaveLength(1);
    expect(await find(`targetId=${user.id}&action=team.created`)).toEqual([]);
    const third = all[2];
    await asOwner("update audit_logs set created_at = created_at - interval '1 day' where id = $1", [third.id]);
    const noon = new Date(Date.parse(third.createdAt) - 43_200_000).toISOString();
    expect(await find(`to=${noon}`)).toMatchObject([{ id: third.id }]);
    expect(await find(`from=${noon}`)).toHaveLength(all.length - 1);
    expect(await find("to=2020-01-01T00:00:00Z")).toEqual([]);
    expectProblem(await tenant.get("/v1/audit-logs?from=yesterday"), 422, "invalid_request", "query.from");
    expectProblem(await tenant.get("/v1/audit-logs?from=0000-01-01T00:00:00Z"), 422, "invalid_request", "query.from");
    expect(await find("from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z")).toHaveLength(all.length);
  });

  it("shows a tenant its own entries and nobody else's", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    await newUser(other);

    expect((await tenant.get("/v1/audit-logs")).body.data).toHaveLength(1);
    expectProblem(
      await client((await tenant.post("/v1/api-keys", { name: "Key", scopes: ["users:read"] })).body.secret).get(
        "/v1/audit-logs",
      ),
      403,
      "missing_scope",
    );
  });

  it("the export is one JSON object per line, filtered like the list, page after page to the end", async () => {
    const tenant = await newTenant();
    await asOwner(
      `insert into audit_logs (tenant_id, id, actor_kind, action, target_type, target_id, request_id, after, created_at)
       select $1, gen_random_uuid(), 'system', 'test', 'thing', n::text, 'r', '{"text": "line\\nbreak"}', now() - n * interval '1 second'
         from generate_series(1, 2345) n`,
      [tenant.id],
    );

    const exported = await tenant.get<string>("/v1/audit-logs/export?action=test");

    expect(exported.headers.get("Content-Type")).toBe("application/x-ndjson");
    const rows = exported.body
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows.map((row) => Number(row.targetId))).toEqual(Array.from({ length: 2345 }, (_, n) => n + 1));
    expect(rows[0]).toEqual((await tenant.get("/v1/audit-logs?action=test&limit=1")).body.data[0]);
    expect((await tenant.get<string>("/v1/audit-logs/export?action=nothing")).body).toBe("");
    expectProblem(await tenant.get("/v1/audit-logs/export?limit=5"), 422, "invalid_request", "query.limit");
  });
});

it("the Worker's role adds to the log and reads it, and can neither change nor delete what stands there", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
  const app = neon(inject("appDatabaseUrl"));
  const asTenant = (statement: string) =>
    app.transaction([
      app.query("select door.enter($1::jsonb)", [JSON.stringify({ kind: "system", tenant: tenant.id })]),
      app.query(statement),
    ]);

  const [, rows] = await asTenant("select * from audit_logs");
  expect(rows).toHaveLength(1);
  for (const statement of [
    "update audit_logs set action = 'x'",
    "delete from audit_logs",
    "truncate audit_logs",
    "alter table audit_logs disable row level security",
    "drop table audit_logs",
  ]) {
    await expect(asTenant(statement)).rejects.toMatchObject({ code: "42501" });
  }
  const insert = (tenantId: string) =>
    asTenant(
      `insert into audit_logs (tenant_id, id, actor_kind, action, target_type, request_id) values ('${tenantId}', gen_random_uuid(), 'system', 'x', 'x', 'x')`,
    );
  await insert(tenant.id);
  await expect(insert(other.id)).rejects.toMatchObject({ code: "42501" });
  expect((await tenant.get("/v1/audit-logs")).body.data).toHaveLength(2);
});
