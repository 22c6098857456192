import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { TENANT_SCOPES } from "../src/lib/scopes";
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

const newKey = async (tenant: Client, input: Record<string, unknown> = {}): Promise<Any> => {
  const made = await tenant.post("/v1/api-keys", { name: "Key", ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
};
const whoami = (secret: string) => client(secret).get("/v1/whoami");

describe("API keys", () => {
  it("a key is shown once, and afterwards by its last four characters only", async () => {
    const tenant = await newTenant();

    const { secret, ...key } = await newKey(tenant, {
      name: "Backend",
      scopes: ["users:read", "users:read", "tenant:read"],
    });

    expect(secret).toMatch(/^parley_live_[0-9A-Za-z]{36}$/);
    expect(key).toMatchObject({
      name: "Backend",
      kind: "live",
      enabled: true,
      hint: secret.slice(-4),
      lastUsedAt: null,
      requests: 0,
    });
    expect(key.scopes).toEqual(["tenant:read", "users:read"]);
    expect((await tenant.get(`/v1/api-keys/${key.id}`)).body).toEqual(key);
    expect((await tenant.get("/v1/api-keys")).body.data[0]).toEqual(key);
    expect((await whoami(secret)).body).toMatchObject({
      keyId: key.id,
      scopes: expect.arrayContaining(["users:read"]),
    });
  });

  it("a key without a list of scopes has all that a tenant's key can have", async () => {
    expect((await newKey(await newTenant())).scopes).toEqual([...TENANT_SCOPES].sort());
  });

  it("a key is renamed, limited, disabled and enabled again", async () => {
    const tenant = await newTenant();
    const { id, secret } = await newKey(tenant);

    const changed = await tenant.patch(`/v1/api-keys/${id}`, {
      name: "Renamed",
      requestsPerMinute: 30,
      expiresAt: "2099-01-01T00:00:00+01:00",
    });
    expect(changed.body).toMatchObject({
      name: "Renamed",
      requestsPerMinute: 30,
      expiresAt: "2098-12-31T23:00:00.000Z",
    });
    expect((await tenant.patch(`/v1/api-keys/${id}`, { requestsPerMinute: null, expiresAt: null })).body).toMatchObject(
      { requestsPerMinute: null, expiresAt: null },
    );

    await tenant.patch(`/v1/api-keys/${id}`, { enabled: false });
    expectProblem(await whoami(secret), 401, "key_disabled");
    await tenant.patch(`/v1/api-keys/${id}`, { enabled: true });
    expect((await whoami(secret)).status).toBe(200);
    expectProblem(await tenant.patch(`/v1/api-keys/${crypto.randomUUID()}`, { name: "x" }), 404, "not_found");
  });

  it("a key stops when it expires", async () => {
    const tenant = await newTenant();
    const { id, secret } = await newKey(tenant, { expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    expect((await whoami(secret)).status).toBe(200);

    await tenant.patch(`/v1/api-keys/${id}`, { expiresAt: new Date(Date.now() - 1000).toISOString() });

    expectProblem(await whoami(secret), 401, "key_expired");
  });

  it("a revoked key stays listed and never works again", async () => {
    const tenant = await newTenant();
    const { id, secret } = await newKey(tenant);

    expect((await tenant.delete(`/v1/api-keys/${id}`)).status).toBe(204);
    await tenant.patch(`/v1/api-keys/${id}`, { enabled: true });

    expectProblem(await whoami(secret), 401, "key_revoked");
    const first = (await tenant.get(`/v1/api-keys/${id}`)).body.revokedAt;
    await tenant.delete(`/v1/api-keys/${id}`);
    expect((await tenant.get(`/v1/api-keys/${id}`)).body.revokedAt).toBe(first);
    expectProblem(await tenant.post(`/v1/api-keys/${id}/reroll`, {}), 409, "conflict", "path.id");
    expectProblem(await tenant.delete(`/v1/api-keys/${crypto.randomUUID()}`), 404, "not_found");
  });

  it("rerolled without overlap the old key ends at once and the new one can do the same", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);
    const input = {
      name: "Backend",
      scopes: ["users:read"],
      requestsPerMinute: 50,
      resources: { user: [user.id] },
      addresses: ["192.0.2.0/24"],
    };
    const old = await newKey(tenant, input);

    const { secret, ...key } = (await tenant.post(`/v1/api-keys/${old.id}/reroll`, { overlapSeconds: 0 })).body;

    const from = { headers: { "CF-Connecting-IP": "192.0.2.1" } };
    expect((await client(secret).get(`/v1/users/${user.id}`, from)).status).toBe(200);
    expectProblem(await client(old.secret).get(`/v1/users/${user.id}`, from), 401, "key_revoked");
    const { name, scopes, requestsPerMinute, resources, addresses } = old;
    expect(key).toMatchObject({ name, scopes, requestsPerMinute, resources, addresses, hint: secret.slice(-4) });
    expect((await tenant.get(`/v1/api-keys/${old.id}`)).body.replacedBy).toBe(key.id);
  });

  it("rerolled with overlap both keys work, until the overlap ends or the old one is revoked", async () => {
    const tenant = await newTenant();
    const [first, second] = [await newKey(tenant), await newKey(tenant)];

    for (const old of [first, second]) {
      const next = (await tenant.post(`/v1/api-keys/${old.id}/reroll`, { overlapSeconds: 3600 })).body;
      expect((await whoami(old.secret)).status).toBe(200);
      expect((await whoami(next.secret)).status).toBe(200);
      expectProblem(await tenant.post(`/v1/api-keys/${old.id}/reroll`, {}), 409, "conflict");
    }
    await tenant.delete(`/v1/api-keys/${first.id}`);
    expectProblem(await whoami(first.secret), 401, "key_revoked");
    await asOwner("update api_keys set revoked_at = revoked_at - interval '1 hour 1 second' where id = $1", [
      second.id,
    ]);
    expectProblem(await whoami(second.secret), 401, "key_revoked");
  });

  it("a key can reroll itself", async () => {
    const tenant = await newTenant();
    const { id, secret } = await newKey(tenant);

    const next = await client(secret).post(`/v1/api-keys/${id}/reroll`, { overlapSeconds: 0 });

    expect((await whoami(next.body.secret)).status).toBe(200);
  });

  it("a key's own rate limit shows in the headers, and never exceeds the plan's", async () => {
    const tenant = await newTenant();
    const { secret } = await newKey(tenant, { requestsPerMinute: 77 });

    expect((await whoami(secret)).headers.get("RateLimit-Policy")).toContain("q=77");
    expect((await whoami(secret)).headers.get("RateLimit")).toMatch(/^"default";r=\d+;t=\d+$/);
    const { secret: greedy } = await newKey(tenant, { requestsPerMinute: 1_000_000 });
    expect((await whoami(greedy)).headers.get("RateLimit-Policy")).toContain("q=6000");
  });

  it("a key with a list of addresses works from those alone", async () => {
    const tenant = await newTenant();
    const { secret, addresses } = await newKey(tenant, {
      addresses: ["198.51.100.7", "203.0.113.0/24", "2001:db8::/32"],
    });
    const from = (ip?: string) => client(secret).get("/v1/whoami", ip ? { headers: { "CF-Connecting-IP": ip } } : {});

    expect(addresses).toEqual(["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"]);
    for (const ip of ["198.51.100.7", "203.0.113.255", "2001:db8::1"]) expect((await from(ip)).status).toBe(200);
    for (const ip of ["198.51.100.8", "203.0.114.0", "2001:db9::1", "::ffff:198.51.100.7", undefined]) {
      expectProblem(await from(ip), 403, "address_not_allowed");
    }
  });

  it.each(["10.0.0.1/33", "10.0.0.5/8", "localhost", "", "10.0.0.0/08", "2001:db8::1/32", "1.2.3"])(
    "%j is no address",
    async (address) => {
      const made = await (await newTenant()).post("/v1/api-keys", { name: "Key", addresses: [address] });

      expectProblem(made, 422, "invalid_request", "addresses.0");
    },
  );

  it("scopes, addresses and resources that stand there twice count once", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);

    const key = await newKey(tenant, {
      addresses: ["192.0.2.1", "192.0.2.1/32"],
      resources: { user: [id, id.toUpperCase()] },
    });

    expect(key).toMatchObject({ addresses: ["192.0.2.1/32"], resources: [{ kind: "user", id }] });
  });

  it("last use and requests are shown, within the minute in which they are written", async () => {
    const tenant = await newTenant();
    const { id, secret } = await newKey(tenant);
    const shown = async () => (await tenant.get(`/v1/api-keys/${id}`)).body;
    const lastUsedAt = async () => (await shown()).lastUsedAt;
    expect(await lastUsedAt()).toBeNull();

    const before = Date.now();
    for (let n = 0; n < 3; n++) await whoami(secret);

    const used = await vi.waitFor(
      async () => {
        await runDurableObjectAlarm(env.LIMITER.getByName(tenant.id));
        const at = await lastUsedAt();
        expect(at).not.toBeNull();
        return at;
      },
      { timeout: 12_000, interval: 250 },
    );
    expect(Math.abs(Date.parse(used) - before)).toBeLessThan(12_000);
    await vi.waitFor(
      async () => {
        await runDurableObjectAlarm(env.LIMITER.getByName(tenant.id));
        expect((await shown()).requests).toBe(3);
      },
      { timeout: 12_000, interval: 250 },
    );
  });
});

describe("keys bound to resources", () => {
  const given = async () => {
    const tenant = await newTenant();
    const [mine, theirs] = [await newUser(tenant), await newUser(tenant)];
    const team = (await tenant.post("/v1/teams", { name: "Team" })).body;
    const key = await newKey(tenant, { resources: { user: [mine.id.toUpperCase()] } });
    return { tenant, mine, theirs, team, key, bound: client(key.secret) };
  };

  it("the key reaches what it is bound to, and kinds it is not bound on stay open", async () => {
    const { mine, team, key, bound } = await given();

    expect(key.resources).toEqual([{ kind: "user", id: mine.id }]);
    expect((await bound.get(`/v1/users/${mine.id}`)).status).toBe(200);
    expect((await bound.get(`/v1/users/${mine.id.toUpperCase()}`)).status).toBe(200);
    expect((await bound.get(`/v1/teams/${team.id}`)).status).toBe(200);
    expect((await bound.put(`/v1/teams/${team.id}/members/${mine.id}`)).status).toBe(204);
    expect((await bound.get("/v1/whoami", { as: mine.id })).body.userId).toBe(mine.id);
  });

  it("the key names no other in path, query, body or header, and neither lists nor makes any", async () => {
    const { tenant, mine, theirs, team, bound } = await given();
    const onTeam = client((await newKey(tenant, { resources: { team: [team.id] } })).secret);
    const other = (await tenant.post("/v1/teams", { name: "Other" })).body;

    const refused = [
      await bound.get(`/v1/users/${theirs.id}`),
      await bound.patch(`/v1/users/${theirs.id}`, { bio: "x" }),
      await bound.put(`/v1/users/${mine.id}/blocks/${theirs.id}`),
      await bound.put(`/v1/teams/${team.id}/members/${theirs.id}`),
      await bound.get(`/v1/audit-logs?userId=${theirs.id}`),
      await bound.get("/v1/users"),
      await bound.post("/v1/users", {}),
      await bound.post("/v1/users/bulk", { users: [{}] }),
      await bound.get("/v1/whoami", { as: theirs.id }),
      await onTeam.get(`/v1/users?teamId=${other.id}`),
      await onTeam.post("/v1/users", { teamIds: [team.id, other.id] }),
      await onTeam.post("/v1/users/bulk", { users: [{}, { teamIds: [other.id] }] }),
      await onTeam.patch(`/v1/users/${mine.id}`, { teamIds: [other.id] }),
    ];
    for (const answer of refused) expectProblem(answer, 403, "resource_not_allowed");
    expect((await onTeam.get(`/v1/users?teamId=${team.id}`)).status).toBe(200);
    expect((await onTeam.post("/v1/users", { teamIds: [team.id] })).status).toBe(201);
  });

  it("what it makes is bound as it is", async () => {
    const { mine, theirs, key, bound, tenant } = await given();
    const wide = await newKey(tenant);
    const all = [mine.id, theirs.id];

    const refused = [
      await bound.post("/v1/api-keys", { name: "Wider" }),
      await bound.post("/v1/api-keys", { name: "Wider", resources: { user: all } }),
      await bound.post("/v1/api-keys", { name: "Wider", resources: { user: [] } }),
      await bound.patch(`/v1/api-keys/${key.id}`, { resources: { user: all } }),
      await bound.patch(`/v1/api-keys/${key.id}`, { resources: {} }),
      await bound.post(`/v1/api-keys/${wide.id}/reroll`, {}),
      await bound.post("/v1/auth-keys", {
        name: "Signer",
        algorithm: "ES256",
        scopes: ["users:read"],
        jwk: await publicJwk(await newPair("ES256")),
      }),
    ];
    for (const answer of refused) expectProblem(answer, 403, "resource_not_allowed");
    expect((await whoami(wide.secret)).status).toBe(200);
    expect((await bound.post("/v1/api-keys", { name: "Same", resources: { user: [mine.id] } })).status).toBe(201);
    expect((await bound.post(`/v1/api-keys/${key.id}/reroll`, {})).status).toBe(201);
  });
});

describe("nobody hands out more than they hold", () => {
  const limited = async (tenant: Tenant, scopes: string[]) => client((await newKey(tenant, { scopes })).secret);

  it("a key makes, widens and rerolls no key beyond its own scopes, and registers no such signing key", async () => {
    const tenant = await newTenant();
    const key = await newKey(tenant, { scopes: ["keys:write", "keys:read"] });
    const holder = client(key.secret);
    const strong = await newKey(tenant);

    const refused = [
      await holder.post("/v1/api-keys", { name: "More" }),
      await holder.post("/v1/api-keys", { name: "More", scopes: ["keys:read", "users:read"] }),
      await holder.patch(`/v1/api-keys/${key.id}`, { scopes: ["keys:write", "tenant:write"] }),
      await holder.post(`/v1/api-keys/${strong.id}/reroll`, { overlapSeconds: 0 }),
      await holder.post("/v1/auth-keys", {
        name: "Signer",
        algorithm: "ES256",
        scopes: ["users:read"],
        jwk: await publicJwk(await newPair("ES256")),
      }),
    ];
    for (const answer of refused) expectProblem(answer, 403, "missing_scope");
    expect((await whoami(strong.secret)).status).toBe(200);
    expect((await holder.post("/v1/api-keys", { name: "Same", scopes: ["keys:read"] })).status).toBe(201);
    expect((await holder.post(`/v1/api-keys/${key.id}/reroll`, {})).status).toBe(201);
  });

  it("a user's admin role and a signed token hand out what they hold", async () => {
    const tenant = await newTenant();
    const operator = await userClient(tenant, (await newUser(tenant, { role: "admin" })).id);
    const service = client(
      await (await newSigner(tenant, "ES256", { scopes: ["keys:write", "users:read"] })).token({
        scope: "keys:write users:read",
      }),
    );

    expect((await operator.post("/v1/api-keys", { name: "All" })).status).toBe(201);
    expectProblem(await service.post("/v1/api-keys", { name: "More" }), 403, "missing_scope");
    expect((await service.post("/v1/api-keys", { name: "Same", scopes: ["users:read"] })).status).toBe(201);
  });

  it("an editor makes nobody more than an editor, and does not touch who is more", async () => {
    const tenant = await newTenant();
    const [editor, boss, plain] = [
      await newUser(tenant, { role: "editor" }),
      await newUser(tenant, { role: "admin", externalId: "boss" }),
      await newUser(tenant),
    ];
    const asEditor = await userClient(tenant, editor.id);

    const refused = [
      await asEditor.patch(`/v1/users/${editor.id}`, { role: "admin" }),
      await asEditor.patch(`/v1/users/${plain.id}`, { role: "admin" }),
      await asEditor.post("/v1/users", { role: "admin" }),
      await asEditor.post("/v1/users/bulk", { users: [{}, { role: "admin" }] }),
      await asEditor.post("/v1/users", { externalId: "boss", email: "mine@example.org" }),
      await asEditor.patch(`/v1/users/${boss.id}`, { role: null }),
      await asEditor.patch(`/v1/users/${boss.id}`, { externalId: "other" }),
      await asEditor.post(`/v1/users/${boss.id}/deactivate`),
      await asEditor.delete(`/v1/users/${boss.id}`),
      await asEditor.delete(`/v1/users/${boss.id}?mode=hard`),
    ];
    for (const answer of refused) expectProblem(answer, 403, "missing_scope");
    expect((await tenant.get(`/v1/users/${boss.id}`)).body).toEqual(boss);
    expect((await asEditor.patch(`/v1/users/${plain.id}`, { role: "editor" })).status).toBe(200);
    expect((await asEditor.post("/v1/users", { role: "viewer" })).status).toBe(201);
  });

  it("a key with few scopes gives no role that brings more, and mints no token for a user who has one", async () => {
    const tenant = await newTenant();
    const boss = await newUser(tenant, { role: "admin" });
    const plain = await newUser(tenant);
    const holder = await limited(tenant, ["users:read", "users:write", "tokens:write"]);

    const refused = [
      await holder.patch(`/v1/users/${plain.id}`, { role: "viewer" }),
      await holder.post("/v1/users", { role: "admin" }),
      await holder.post(`/v1/users/${boss.id}/tokens`, {}),
      await holder.delete(`/v1/users/${boss.id}/tokens`),
    ];
    for (const answer of refused) expectProblem(answer, 403, "missing_scope");
    expect((await holder.post(`/v1/users/${plain.id}/tokens`, {})).status).toBe(201);
    expect((await holder.patch(`/v1/users/${plain.id}`, { bio: "Hello" })).status).toBe(200);
  });

  it("nobody makes a key of the deployment", async () => {
    for (const caller of [await newTenant(), await admin()]) {
      expectProblem(
        await caller.post("/v1/api-keys", { name: "Root", scopes: ["deployment:admin"] }),
        422,
        "invalid_request",
        "scopes",
      );
      expectProblem(await caller.post("/v1/api-keys", { name: "Root", kind: "admin" }), 422, "invalid_request", "kind");
    }
  });
});

describe("publishable keys", () => {
  const publishable = async (tenant: Tenant) => newKey(tenant, { kind: "pub", scopes: ["users:guest"] });

  it.each(["guest", "anonymous"])("one makes a user of type %s together with a token for it", async (type) => {
    const tenant = await newTenant();
    const { secret } = await publishable(tenant);
    expect(secret).toMatch(/^parley_pub_/);

    const made = await client(secret).post("/v1/guests", { type, displayName: "Visitor" });

    expect(made.status).toBe(201);
    expect(made.body.user).toMatchObject({ type, displayName: "Visitor", role: null, teamIds: [] });
    expect((await whoami(made.body.token)).body).toMatchObject({ credential: "user", userId: made.body.user.id });
    expectProblem(await client(made.body.token).get("/v1/users"), 403, "missing_scope");
    expect((await tenant.get(`/v1/users/${made.body.user.id}`)).body).toEqual(made.body.user);
  });

  it("one does nothing else, whatever scope its rows should come to hold", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant, { externalId: "ann" });
    const { id, secret } = await publishable(tenant);
    await asOwner("insert into api_key_scopes (tenant_id, key_id, scope) values ($1, $2, 'users:read')", [
      tenant.id,
      id,
    ]);
    const visitor = client(secret);

    const document = (await client(null).get("/openapi.json")).body;
    for (const [path, operations] of Object.entries<Any>(document.paths)) {
      for (const [method, operation] of Object.entries<Any>(operations)) {
        if (operation["x-scope"] === "public" || operation.operationId === "createGuest") continue;
        const answer = await visitor.request(method.toUpperCase(), path.replace(/\{\w+\}/g, user.id));
        expectProblem(answer, 403, "missing_scope");
      }
    }
    for (const as of [user.id, "external:ann"])
      expectProblem(await visitor.post("/v1/guests", {}, { as }), 403, "resource_not_allowed");
    expectProblem(await visitor.post("/v1/guests", { role: "admin" }), 422, "invalid_request", "role");
    expectProblem(await visitor.post("/v1/guests", { type: "regular" }), 422, "invalid_request", "type");
  });

  it("one can be given no other scope, neither at first nor later", async () => {
    const tenant = await newTenant();
    const { id } = await publishable(tenant);

    expectProblem(await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub" }), 422, "invalid_request", "scopes");
    expectProblem(
      await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest", "users:read"] }),
      422,
      "invalid_request",
      "scopes",
    );
    expectProblem(
      await tenant.patch(`/v1/api-keys/${id}`, { scopes: ["users:read"] }),
      422,
      "invalid_request",
      "scopes",
    );
    expect((await tenant.patch(`/v1/api-keys/${id}`, { scopes: ["users:guest"], name: "Site" })).body).toMatchObject({
      name: "Site",
      scopes: ["users:guest"],
    });
    expect((await tenant.post(`/v1/api-keys/${id}/reroll`, {})).body.secret).toMatch(/^parley_pub_/);
  });
});
