import { env } from "cloudflare:workers";
import { exportJWK, exportSPKI } from "jose";
import { describe, expect, it } from "vitest";
import { userTokenSecret } from "../src/auth/credentials";
import { masterSecrets } from "../src/lib/crypto";
import { admin, client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { newPair, newSigner, publicJwk, registerKey, type Signer, secondsNow, sign, unsigned } from "./tokens";

const whoami = (credential: string) => client(credential).get("/v1/whoami");

describe("tokens that must fail", async () => {
  type Case = { tenant: Tenant; other: Tenant; signer: Signer; now: number };
  type Attack = [name: string, forge: (c: Case) => Promise<string>, code?: string];

  const ATTACKS: Attack[] = [
    ["alg none", async ({ signer, tenant, now }) => unsigned({ alg: "none", kid: signer.kid }, claims(tenant, now))],
    [
      "alg none in capitals",
      async ({ signer, tenant, now }) => unsigned({ alg: "NONE", kid: signer.kid }, claims(tenant, now)),
    ],
    [
      "alg none for a user token",
      async ({ tenant, now }) => unsigned({ alg: "none", kid: "user-1" }, claims(tenant, now)),
    ],
    [
      "no signature under a good header",
      async ({ signer, tenant, now }) => unsigned({ alg: "ES256", kid: signer.kid }, claims(tenant, now)),
    ],
    [
      "HMAC with the public key as PEM",
      async ({ signer, tenant }) =>
        hmacWith(new TextEncoder().encode(await exportSPKI(signer.publicKey)), signer, tenant),
    ],
    [
      "HMAC with the public key as JWK",
      async ({ signer, tenant }) =>
        hmacWith(new TextEncoder().encode(JSON.stringify(await exportJWK(signer.publicKey))), signer, tenant),
    ],
    ["an unknown kid", ({ signer }) => signer.token({}, { kid: crypto.randomUUID() }), "unknown_credential"],
    ["no kid", ({ signer }) => signer.token({}, { kid: undefined })],
    ["a kid that is no text", ({ signer }) => signer.token({}, { kid: 7 })],
    ["a kid out of the prototype", ({ signer }) => signer.token({}, { kid: "constructor" }), "unknown_credential"],
    ["a master secret that is not in use", ({ signer }) => signer.token({}, { kid: "user-99" }), "unknown_credential"],
    [
      "another tenant's kid",
      async ({ tenant, other }) => (await newSigner(other)).token({ iss: tenant.id }),
      "unknown_credential",
    ],
    [
      "the tenant's kid over another tenant's iss",
      ({ signer, other }) => signer.token({ iss: other.id }),
      "unknown_credential",
    ],
    [
      "another key of the same tenant",
      async ({ tenant, signer }) => (await newSigner(tenant)).token({}, { kid: signer.kid }),
    ],
    ["crit", ({ signer }) => signer.token({}, { crit: ["tenant"], tenant: "x" })],
    ["jku", ({ signer }) => signer.token({}, { jku: "https://keys.example.org/jwks.json" })],
    ["x5u", ({ signer }) => signer.token({}, { x5u: "https://keys.example.org/chain.pem" })],
    ["x5c", ({ signer }) => signer.token({}, { x5c: ["MIIB"] })],
    [
      "an embedded jwk",
      async ({ tenant, signer }) => {
        const pair = await newPair("ES256");
        const header = { kid: signer.kid, jwk: await publicJwk(pair) };
        return sign(pair.privateKey, header, { iss: tenant.id, scope: "users:read" });
      },
    ],
    ["expired", ({ signer, now }) => signer.token({ iat: now - 700, exp: now - 100 }), "token_expired"],
    ["not yet valid", ({ signer, now }) => signer.token({ nbf: now + 100 })],
    ["iat in the future", ({ signer, now }) => signer.token({ iat: now + 100, exp: now + 200 })],
    ["no iat", ({ signer }) => signer.token({ iat: undefined })],
    ["no exp", ({ signer }) => signer.token({ exp: undefined })],
    ["an exp that is text", ({ signer, now }) => signer.token({ exp: String(now + 60) as never })],
    ["a lifetime over an hour", ({ signer, now }) => signer.token({ iat: now, exp: now + 3601 })],
    ["the wrong audience", ({ signer }) => signer.token({ aud: "https://elsewhere.example" })],
    ["no audience", ({ signer }) => signer.token({ aud: undefined })],
    ["the wrong issuer", ({ signer }) => signer.token({ iss: "acme" })],
    ["an issuer that does not exist", ({ signer }) => signer.token({ iss: crypto.randomUUID() }), "unknown_credential"],
    ["no issuer", ({ signer }) => signer.token({ iss: undefined })],
    ["the deployment as issuer", ({ signer }) => signer.token({ iss: "00000000-0000-0000-0000-000000000000" })],
    [
      "an ES384 key with a token that says ES256",
      async ({ tenant, signer }) => {
        const { id } = await registerKey(tenant, { algorithm: "ES384", jwk: await publicJwk(await newPair("ES384")) });
        return signer.token({}, { kid: id });
      },
    ],
    [
      "an ES384 token for an ES256 key",
      async ({ tenant, signer }) => (await newSigner(tenant, "ES384")).token({}, { kid: signer.kid }),
    ],
    ["a scope above the key's", ({ signer }) => signer.token({ scope: "users:read users:write" })],
    ["a deployment scope", ({ signer }) => signer.token({ scope: "deployment:admin" })],
    ["no scope", ({ signer }) => signer.token({ scope: undefined })],
    ["a sub that is no id", ({ signer }) => signer.token({ sub: "ann" })],
    ["a jti with a NUL", ({ signer }) => signer.token({ jti: "a\0b" })],
    ["a jti that is a number", ({ signer }) => signer.token({ jti: 5 as never })],
    [
      "a changed claim",
      async ({ signer, tenant, now }) => {
        const [header, , signature] = (await signer.token()).split(".");
        const [, body] = unsigned({}, { ...claims(tenant, now), scope: "tenant:read" }).split(".");
        return `${header}.${body}.${signature}`;
      },
    ],
    ["no token at all", async () => "abc", "unknown_credential"],
    ["an encrypted token", async () => "a.b.c.d.e", "unknown_credential"],
  ];

  const claims = (tenant: Tenant, now: number) => ({
    iss: tenant.id,
    aud: "http://parley.test",
    iat: now,
    exp: now + 60,
    scope: "users:read",
  });
  const hmacWith = (secret: Uint8Array, signer: Signer, tenant: Tenant) =>
    sign(secret, { alg: "HS256", kid: signer.kid }, { iss: tenant.id, scope: "users:read" });

  let made: Promise<Case> | undefined;
  const given = () => {
    made ??= (async () => {
      const [tenant, other] = [await newTenant(), await newTenant()];
      return { tenant, other, signer: await newSigner(tenant), now: secondsNow() };
    })();
    return made;
  };

  it.each(ATTACKS)("%s", async (_, forge, code = "token_invalid") => {
    const one = await given();

    expectProblem(await whoami(await forge(one)), 401, code);
    expect((await whoami(await one.signer.token())).status).toBe(200);
  });
});

describe("user tokens that must fail", () => {
  const forge = async (tenantId: string, claims: object, header = {}, version = "1") => {
    const secret = await userTokenSecret(masterSecrets(env).get(version)!, tenantId);
    return sign(
      secret,
      { alg: "HS256", kid: `user-${version}`, ...header },
      { iss: tenantId, jti: crypto.randomUUID(), ...claims },
    );
  };

  it("one like ours works, which shows that the others fail for what is changed in them", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);

    expect((await whoami(await forge(tenant.id, { sub: id }))).body).toMatchObject({ credential: "user", userId: id });
  });

  it("a lifetime over 24 hours, no jti, no sub, another user's tenant, another tenant's secret, another algorithm", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const { id: sub } = await newUser(tenant);
    const now = secondsNow();
    const ofOther = await userTokenSecret(masterSecrets(env).get("1")!, other.id);
    const own = await userTokenSecret(masterSecrets(env).get("1")!, tenant.id);

    const invalid = [
      await forge(tenant.id, { sub, iat: now, exp: now + 86_401 }),
      await forge(tenant.id, { sub, jti: undefined }),
      await forge(tenant.id, {}),
      await forge(tenant.id, { sub, aud: "https://elsewhere.example" }),
      await sign(ofOther, { alg: "HS256", kid: "user-1" }, { iss: tenant.id, sub, jti: "a" }),
      await sign(own, { alg: "HS384", kid: "user-1" }, { iss: tenant.id, sub, jti: "a" }),
    ];
    for (const token of invalid) expectProblem(await whoami(token), 401, "token_invalid");
    expectProblem(await whoami(await forge(tenant.id, { sub, iat: now - 700, exp: now - 100 })), 401, "token_expired");
    expectProblem(await whoami(await forge(other.id, { sub })), 401, "unknown_user");
  });

  it("a deactivated user's, whoever signed it, until the user is reactivated", async () => {
    const tenant = await newTenant();
    const signer = await newSigner(tenant);
    const user = await newUser(tenant);
    const tokens = [await forge(tenant.id, { sub: user.id }), await signer.token({ sub: user.id })];
    for (const token of tokens) expect((await whoami(token)).status).toBe(200);

    await tenant.post(`/v1/users/${user.id}/deactivate`);
    for (const token of tokens) expectProblem(await whoami(token), 403, "user_deactivated");

    await tenant.post(`/v1/users/${user.id}/reactivate`);
    for (const token of tokens) expect((await whoami(token)).status).toBe(200);
  });

  it("a suspended tenant's", async () => {
    const tenant = await newTenant();
    const tokens = [
      await (await newSigner(tenant)).token(),
      await forge(tenant.id, { sub: (await newUser(tenant)).id }),
    ];
    for (const token of tokens) expect((await whoami(token)).status).toBe(200);

    await (await admin()).post(`/v1/tenants/${tenant.id}/suspend`);

    for (const token of tokens) expectProblem(await whoami(token), 403, "tenant_suspended");
  });

  it("one issued before the user's tokens were revoked; one issued after works", async () => {
    const tenant = await newTenant();
    const signer = await newSigner(tenant);
    const { id: sub } = await newUser(tenant);
    const before = [await signer.token({ sub }), (await tenant.post(`/v1/users/${sub}/tokens`, {})).body.token];
    for (const token of before) expect((await whoami(token)).status).toBe(200);

    expect((await tenant.delete(`/v1/users/${sub}/tokens`)).status).toBe(204);

    for (const token of before) expectProblem(await whoami(token), 401, "token_revoked");
    expect((await (await userClient(tenant, sub)).get("/v1/whoami")).status).toBe(200);
    expect((await whoami(await signer.token({ sub, iat: secondsNow() + 1 }))).status).toBe(200);
    expect((await whoami(await signer.token())).status).toBe(200);
  });
});
