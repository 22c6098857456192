import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { decodeProtectedHeader, exportJWK, exportPKCS8, exportSPKI, generateKeyPair } from "jose";
import { describe, expect, it } from "vitest";
import { app } from "../src/app";
import { forget } from "../src/auth/snapshots";
import { newApiKey } from "../src/lib/ids";
import { callsOf } from "./calls";
import { type Any, admin, client, expectProblem, newTenant, newUser, userClient } from "./helpers";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { ALGORITHMS, newPair, newSigner, publicJwk, registerKey, secondsNow, sign } from "./tokens";

const whoami = (credential: string) => client(credential).get("/v1/whoami");

describe("signed tokens", () => {
  it.each(ALGORITHMS)(
    "a token signed with %s works for its scopes, the key being given as PEM or as JWK",
    async (algorithm) => {
      const tenant = await newTenant();
      const pair = await newPair(algorithm);
      const byPem = await registerKey(tenant, { algorithm, publicKeyPem: await exportSPKI(pair.publicKey) });
      const byJwk = await registerKey(tenant, { algorithm, jwk: await publicJwk(pair) });

      for (const { id } of [byPem, byJwk]) {
        const token = await sign(pair.privateKey, { alg: algorithm, kid: id }, { iss: tenant.id, scope: "users:read" });
        const me = await whoami(token);
        expect(me.body).toMatchObject({ tenantId: tenant.id, credential: "token", keyId: id, scopes: ["users:read"] });
        expect((await client(token).get("/v1/users")).status).toBe(200);
        expectProblem(await client(token).get("/v1/tenant"), 403, "missing_scope");
      }
      expect((await tenant.get(`/v1/auth-keys/${byJwk.id}`)).body.jwk).not.toHaveProperty("d");
    },
  );

  it("a token with sub acts for that user, within the key's scopes and the user's role", async () => {
    const tenant = await newTenant();
    const signer = await newSigner(tenant, "ES256", { scopes: ["users:read", "users:write", "me:read"] });
    const viewer = await newUser(tenant, { role: "viewer" });
    const nobody = await newUser(tenant);
    const all = { scope: "users:read users:write me:read" };

    const asViewer = client(await signer.token({ ...all, sub: viewer.id }));
    expect((await asViewer.get("/v1/whoami")).body.userId).toBe(viewer.id);
    expect((await asViewer.get("/v1/users")).status).toBe(200);
    expectProblem(await asViewer.post("/v1/users", {}), 403, "missing_scope");
    expectProblem(await client(await signer.token({ ...all, sub: nobody.id })).get("/v1/users"), 403, "missing_scope");
    expectProblem(
      await client(await signer.token({ scope: "me:read", sub: viewer.id })).get("/v1/users"),
      403,
      "missing_scope",
    );
    expectProblem(await whoami(await signer.token({ ...all, sub: crypto.randomUUID() })), 401, "unknown_user");
  });

  it("up to 60 seconds of wrong clocks are forgiven", async () => {
    const signer = await newSigner(await newTenant());
    const now = secondsNow();

    expect((await whoami(await signer.token({ iat: now - 600, exp: now - 30 }))).status).toBe(200);
    expect((await whoami(await signer.token({ iat: now + 30, exp: now + 90 }))).status).toBe(200);
    expect((await whoami(await signer.token({ nbf: now + 30 }))).status).toBe(200);
  });
});

describe("registering public keys", () => {
  it("private keys are refused, as PEM and as JWK, and are not kept", async () => {
    const tenant = await newTenant();
    const key = { name: "Signer", scopes: ["users:read"] };

    for (const algorithm of ALGORITHMS) {
      const pair = await newPair(algorithm);
      const pem = await exportPKCS8(pair.privateKey);
      const both = `${await exportSPKI(pair.publicKey)}\n${pem}`;
      for (const publicKeyPem of [pem, both]) {
        expectProblem(
          await tenant.post("/v1/auth-keys", { ...key, algorithm, publicKeyPem }),
          422,
          "invalid_request",
          "publicKeyPem",
        );
      }
      const jwk = await exportJWK(pair.privateKey);
      expectProblem(await tenant.post("/v1/auth-keys", { ...key, algorithm, jwk }), 422, "invalid_request", "jwk");
    }
    expect((await tenant.get("/v1/auth-keys")).body.data).toEqual([]);
  });

  it.each([
    ["a symmetric key", { algorithm: "ES256", jwk: { kty: "oct", k: "c2VjcmV0c2VjcmV0c2VjcmV0" } }, "jwk"],
    ["a symmetric key that calls itself an EC key", { algorithm: "ES256", jwk: { kty: "EC", k: "c2VjcmV0" } }, "jwk"],
    ["no key", { algorithm: "ES256", jwk: {} }, "jwk"],
    ["text that is no PEM", { algorithm: "ES256", publicKeyPem: "hello" }, "publicKeyPem"],
    ["an algorithm that is not offered", { algorithm: "HS256", publicKeyPem: "hello" }, "algorithm"],
    ["two sources at once", { algorithm: "ES256", jwk: {}, publicKeyPem: "hello" }, ""],
    ["no source", { algorithm: "ES256" }, ""],
  ])("%s is refused", async (_, input, path) => {
    const made = await (await newTenant()).post("/v1/auth-keys", { name: "Signer", scopes: ["users:read"], ...input });

    expectProblem(made, 422, "invalid_request", path);
  });

  it("a key of another curve or kind than its algorithm is refused, and so is a weak RSA key", async () => {
    const tenant = await newTenant();
    const key = { name: "Signer", scopes: ["users:read"] };
    const p384 = await newPair("ES384");
    const weak = await generateKeyPair("RS256", { modulusLength: 2048, extractable: true });
    const { e, n } = await exportJWK(weak.publicKey);

    for (const algorithm of ["ES256", "RS256", "EdDSA"]) {
      expectProblem(
        await tenant.post("/v1/auth-keys", { ...key, algorithm, jwk: await publicJwk(p384) }),
        422,
        "invalid_request",
        "jwk",
      );
      expectProblem(
        await tenant.post("/v1/auth-keys", { ...key, algorithm, publicKeyPem: await exportSPKI(p384.publicKey) }),
        422,
        "invalid_request",
        "publicKeyPem",
      );
    }
    const short = { kty: "RSA", e, n: n!.slice(0, 171) };
    expectProblem(
      await tenant.post("/v1/auth-keys", { ...key, algorithm: "RS256", jwk: short }),
      422,
      "invalid_request",
      "jwk",
    );
  });

  it.each([
    "http://keys.example.org/jwks.json",
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/jwks.json",
    "https://[::1]/jwks.json",
    "https://localhost/jwks.json",
    "https://keys.internal/jwks.json",
    "https://user:pw@keys.example.org/jwks.json",
    "https://parley.test/jwks.json",
    "file:///etc/passwd",
  ])("a key set at %s is refused", async (jwksUrl) => {
    const tenant = await newTenant();

    const made = await tenant.post("/v1/auth-keys", {
      name: "Set",
      algorithm: "ES256",
      scopes: ["users:read"],
      jwksUrl,
    });

    expectProblem(made, 422, "invalid_request", "jwksUrl");
  });
});

describe("key sets", () => {
  const serve = async (receiver: ReturnType<typeof newReceiver>, keys: object[]) =>
    receiver.answers({ headers: { "content-type": "application/json" }, body: JSON.stringify({ keys }) });

  it("a token signed with a key of the set works, and the set is fetched once", async () => {
    const tenant = await newTenant();
    const receiver = newReceiver();
    const pair = await newPair("ES256");
    await serve(receiver, [{ ...(await publicJwk(pair)), kid: "key-1" }]);
    const { id } = await registerKey(tenant, { algorithm: "ES256", jwksUrl: receiver.url });
    const token = () => sign(pair.privateKey, { kid: "key-1" }, { iss: tenant.id, scope: "users:read" });

    expect((await whoami(await token())).body).toMatchObject({ credential: "token", keyId: id });
    expect((await whoami(await token())).status).toBe(200);
    expectProblem(
      await whoami(await sign(pair.privateKey, { kid: "key-2" }, { iss: tenant.id, scope: "users:read" })),
      401,
      "unknown_credential",
    );

    const came = await fetch(receiver.url.replace("/box/", "/received/"));
    expect(await came.json()).toHaveLength(1);
  });

  it("the algorithm stays the registered one, and private, symmetric, unfit or broken keys of a set verify nothing", async () => {
    const tenant = await newTenant();
    const receiver = newReceiver();
    const [p256, p384] = [await newPair("ES256"), await newPair("ES384")];
    const secret = crypto.getRandomValues(new Uint8Array(32));
    const k = btoa(String.fromCharCode(...secret))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
    await serve(receiver, [
      { ...(await publicJwk(p384)), kid: "other-curve", alg: "ES384" },
      { ...(await exportJWK(p256.privateKey)), kid: "private" },
      { kty: "oct", k, kid: "symmetric", alg: "HS256" },
      { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA", kid: "broken" },
    ]);
    await registerKey(tenant, { algorithm: "ES256", jwksUrl: receiver.url });
    const own = { iss: tenant.id, scope: "users:read" };

    const refused = [
      await sign(p384.privateKey, { alg: "ES384", kid: "other-curve" }, own),
      await sign(p256.privateKey, { kid: "private" }, own),
      await sign(secret, { alg: "HS256", kid: "symmetric" }, own),
      await sign(p256.privateKey, { kid: "broken" }, own),
    ];
    for (const token of refused) expect((await whoami(token)).status).toBe(401);
  });

  it("a set that cannot be had, or is none, refuses tokens and nothing else", async () => {
    const tenant = await newTenant();
    const pair = await newPair("ES256");
    for (const reply of [
      { status: 500 },
      { hangUp: true },
      { body: "<html>" },
      { body: '{"keys":7}' },
      { body: '{"keys":[null]}' },
    ]) {
      const receiver = newReceiver();
      await receiver.answers(reply);
      await registerKey(tenant, { algorithm: "ES256", jwksUrl: receiver.url });
    }

    expectProblem(
      await whoami(await sign(pair.privateKey, { kid: "key-1" }, { iss: tenant.id, scope: "users:read" })),
      401,
      "unknown_credential",
    );
    expect((await whoami(await (await newSigner(tenant)).token())).status).toBe(200);
  });
});

describe("the master secret", () => {
  const master = (byte: number) => btoa(String.fromCharCode(...new Uint8Array(32).fill(byte)));
  const call = async (secrets: string, credential: string, method: string, path: string, body?: unknown) => {
    const context = createExecutionContext();
    const headers = { Authorization: `Bearer ${credential}`, "Content-Type": "application/json" };
    const request = new Request(`http://parley.test${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const response = await app.fetch(request, { ...env, MASTER_SECRETS: secrets }, context);
    await waitOnExecutionContext(context);
    return { status: response.status, headers: response.headers, body: (await response.json()) as Any };
  };

  it("while it is rotated two versions are live, the newest signs, and a version taken out ends its tokens", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);
    const [first, both, second] = [`1:${master(7)}`, `1:${master(7)} 2:${master(8)}`, `2:${master(8)}`];
    const mint = async (secrets: string) =>
      (await call(secrets, tenant.key, "POST", `/v1/users/${id}/tokens`, {})).body.token;

    const [old, young] = [await mint(first), await mint(both)];

    expect([decodeProtectedHeader(old).kid, decodeProtectedHeader(young).kid]).toEqual(["user-1", "user-2"]);
    for (const token of [old, young]) expect((await call(both, token, "GET", "/v1/whoami")).body.userId).toBe(id);
    expectProblem(await call(first, young, "GET", "/v1/whoami"), 401, "unknown_credential");
    expectProblem(await call(second, old, "GET", "/v1/whoami"), 401, "unknown_credential");
    expect((await call(second, young, "GET", "/v1/whoami")).status).toBe(200);
    expectProblem(await call(`2:${master(9)}`, young, "GET", "/v1/whoami"), 401, "token_invalid");
  });
});

describe("what a request costs, and what a copy may not outlive", () => {
  it("no credential, and one with a typing error or of a random guess, is refused without the database", async () => {
    const { key } = await newTenant();
    const swapped = key.slice(0, 20) + (key[20] === "a" ? "b" : "a") + key.slice(21);
    const typos = [
      swapped,
      key.slice(0, -1),
      `${key}x`,
      key.replace("live", "pub"),
      `parley_live_${"a".repeat(36)}`,
      "parley_live_",
      "hello",
    ];

    const refuseAll = async () => {
      for (const typo of typos) expectProblem(await whoami(typo), 401, "unknown_credential");
      expectProblem(await client(null).get("/v1/whoami"), 401, "missing_credential");
      const basic = await client(null).get("/v1/whoami", { headers: { Authorization: "Basic YTpi" } });
      expectProblem(basic, 401, "missing_credential");
      expect(basic.headers.get("WWW-Authenticate")).toContain("Bearer");
    };

    expect(await callsOf(refuseAll)).toBe(0);
  });

  it("a key that is well formed and unknown is 401", async () => {
    const key = newApiKey("live", crypto.getRandomValues(new Uint8Array(64)));

    expectProblem(await whoami(key), 401, "unknown_credential");
  });

  it("in steady state one call per request for each kind of credential, two when the isolate is cold", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);
    const userToken = (await tenant.post(`/v1/users/${user.id}/tokens`, {})).body.token;
    const signed = await (await newSigner(tenant)).token();

    for (const credential of [tenant.key, userToken, signed]) {
      await whoami(credential);
      expect(await callsOf(() => whoami(credential))).toBe(1);
      expect(
        await callsOf(
          () => whoami(credential),
          () => forget(tenant.id),
        ),
      ).toBe(2);
    }
    expect(await callsOf(() => tenant.post("/v1/teams", { name: "Team" }))).toBe(1);
    expect(await callsOf(() => tenant.patch(`/v1/users/${user.id}`, { bio: "Hello" }))).toBe(1);
  });

  it("a revoked key, token, signing key or tenant is refused at the next request", async () => {
    const tenant = await newTenant();
    const signer = await newSigner(tenant);
    const user = await newUser(tenant);
    const second = (await tenant.post("/v1/api-keys", { name: "Second" })).body;
    const minted = (await tenant.post(`/v1/users/${user.id}/tokens`, {})).body;
    const [signed, single] = [await signer.token(), await signer.token({ jti: "only-this" })];
    for (const credential of [second.secret, minted.token, signed, single])
      expect((await whoami(credential)).status).toBe(200);

    expect((await tenant.delete(`/v1/api-keys/${second.id}`)).status).toBe(204);
    expectProblem(await whoami(second.secret), 401, "key_revoked");

    expect((await tenant.post("/v1/tokens/revoke", { jti: minted.jti })).status).toBe(204);
    expectProblem(await whoami(minted.token), 401, "token_revoked");

    await tenant.post("/v1/tokens/revoke", { jti: "only-this" });
    expectProblem(await whoami(single), 401, "token_revoked");
    expect((await whoami(signed)).status).toBe(200);

    expect((await tenant.delete(`/v1/auth-keys/${signer.kid}`)).status).toBe(204);
    expectProblem(await whoami(signed), 401, "key_revoked");

    await (await admin()).post(`/v1/tenants/${tenant.id}/suspend`);
    expectProblem(await whoami(tenant.key), 403, "tenant_suspended");
  });

  it("a signing key works from the moment it is registered, also where the tenant is known already", async () => {
    const tenant = await newTenant();
    await tenant.get("/v1/whoami");

    expect((await whoami(await (await newSigner(tenant)).token())).status).toBe(200);
  });

  it("changed scopes, addresses, resources and origins of a key hold at the next request, be they wider or narrower", async () => {
    const tenant = await newTenant();
    const [ann, ben] = [await newUser(tenant), await newUser(tenant)];
    const { id, secret } = (await tenant.post("/v1/api-keys", { name: "Second", scopes: ["users:read"] })).body;
    const at = { headers: { "CF-Connecting-IP": "192.0.2.7", Origin: "https://app.example" } };
    const read = () => client(secret).get(`/v1/users/${ann.id}`, at);
    const change = async (patch: object) => expect((await tenant.patch(`/v1/api-keys/${id}`, patch)).status).toBe(200);
    expect((await read()).status).toBe(200);

    const CHANGES: [narrower: object, code: string, wider: object][] = [
      [{ scopes: ["tenant:read"] }, "missing_scope", { scopes: ["users:read"] }],
      [{ addresses: ["198.51.100.0/24"] }, "address_not_allowed", { addresses: ["198.51.100.0/24", "192.0.2.0/24"] }],
      [{ resources: { user: [ben.id] } }, "resource_not_allowed", { resources: { user: [ben.id, ann.id] } }],
    ];
    for (const [narrower, code, wider] of CHANGES) {
      await change(narrower);
      expectProblem(await read(), 403, code);
      await change(wider);
      expect((await read()).status).toBe(200);
    }
    await change({ enabled: false });
    expectProblem(await read(), 401, "key_disabled");
    await change({ enabled: true });
    expect((await read()).status).toBe(200);
    await tenant.patch("/v1/tenant", { settings: { allowedOrigins: ["https://other.example"] } });
    expectProblem(await read(), 403, "origin_not_allowed");
    await tenant.patch("/v1/tenant", { settings: { allowedOrigins: ["https://app.example"] } });
    expect((await read()).status).toBe(200);
  });

  it("what is known of one key is not kept alive by what another key has just learned of the tenant", async () => {
    const tenant = await newTenant();
    const scopes = ["users:read", "users:write"];
    const [narrowed, other] = [
      (await tenant.post("/v1/api-keys", { name: "Narrowed", scopes })).body,
      (await tenant.post("/v1/api-keys", { name: "Other", scopes })).body,
    ];
    expect((await client(narrowed.secret).post("/v1/users", {})).status).toBe(201);

    // As by another isolate: this one hears of it from the other key first.
    await asOwner("delete from api_key_scopes where key_id = $1 and scope = 'users:write'", [narrowed.id]);
    expect((await client(other.secret).get("/v1/users")).status).toBe(200);

    expectProblem(await client(narrowed.secret).post("/v1/users", {}), 403, "missing_scope");
  });

  it("a refusal names what is wrong with the credential before what it lacks", async () => {
    const tenant = await newTenant();
    const { id, secret } = (await tenant.post("/v1/api-keys", { name: "Second", scopes: ["users:read"] })).body;
    expectProblem(await client(secret).get("/v1/tenant"), 403, "missing_scope");

    await tenant.delete(`/v1/api-keys/${id}`);

    expectProblem(await client(secret).get("/v1/tenant"), 401, "key_revoked");
  });
});

describe("acting for a user", () => {
  it("Parley-User names a user by id or by external id", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant, { externalId: "ann/ä b" });

    for (const as of [id, id.toUpperCase(), `external:${encodeURIComponent("ann/ä b")}`]) {
      expect((await tenant.get("/v1/whoami", { as })).body).toMatchObject({ credential: "key", userId: id });
    }
    expect((await tenant.get("/v1/whoami")).body.userId).toBeNull();
  });

  it("a user who does not exist, or is another tenant's, is 401; a deactivated one 403; a malformed name 400", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const [foreign, gone] = [await newUser(other, { externalId: "ben" }), await newUser(tenant)];
    await tenant.post(`/v1/users/${gone.id}/deactivate`);

    for (const as of [crypto.randomUUID(), foreign.id, "external:ben", "external:nobody"]) {
      expectProblem(await tenant.get("/v1/whoami", { as }), 401, "unknown_user");
    }
    expectProblem(await tenant.get("/v1/whoami", { as: gone.id }), 403, "user_deactivated");
    for (const as of [
      "ann",
      "external:",
      "external:%",
      "external:a%00b",
      `external:${"a".repeat(256)}`,
      "external:%ED%A0%80",
    ]) {
      expectProblem(await tenant.get("/v1/whoami", { as }), 400, "malformed_header");
    }
  });

  it("a token names its user itself", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);

    expectProblem(
      await (await userClient(tenant, user.id)).get("/v1/whoami", { as: user.id }),
      400,
      "malformed_header",
    );
  });
});
