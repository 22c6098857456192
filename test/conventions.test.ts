import { exports } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ERRORS } from "../src/lib/errors";
import { type Any, admin, type Client, client, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { readOperations, type Schema, sample } from "./spec";

const NUL = "a\0b";
const SURROGATE = "a\ud800b";
const WRONG = { wrong: true };

type Operation = {
  id: string;
  method: string;
  path: string;
  scope: string;
  query: string[];
  /** Path parameters that are no ids, with a text that fits. */
  texts: Record<string, string>;
  body: Any;
};

/** Of the OpenAPI document, so that routes to come are tried as well. */
async function operations(): Promise<Operation[]> {
  const document = (await client(null).get("/openapi.json")).body;
  const of = (schema: Any): Any => (schema?.$ref ? document.components.schemas[schema.$ref.split("/").at(-1)] : schema);
  return Object.entries<Any>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Any>(methods).map(([method, one]) => {
      const parameters = (one.parameters ?? []) as Any[];
      const isText = ({ schema }: Any) => of(schema)?.type === "string" && !of(schema).format;
      return {
        id: one.operationId,
        method: method.toUpperCase(),
        path,
        scope: one["x-scope"],
        query: parameters.filter((p) => p.in === "query").map((p) => p.name),
        texts: Object.fromEntries(parameters.filter((p) => p.in === "path" && isText(p)).map(fitting)),
        body: of(one.requestBody?.content?.["application/json"]?.schema),
      };
    }),
  );
}

const fitting = ({ name, schema }: Any) =>
  [
    name,
    schema.enum?.[0] ?? ["custom.name", "name", "1"].find((text) => new RegExp(schema.pattern ?? "").test(text)) ?? "?",
  ] as const;

const withBody = async () => (await operations()).filter(({ body }) => body?.type === "object" && body.properties);

/** Where objects with known members stand within a body. */
function objectsWithin({ properties = {}, items, anyOf }: Schema, at: string[] = []): string[][] {
  return [
    ...(at.length > 0 && Object.keys(properties).length > 0 ? [at] : []),
    ...Object.entries(properties).flatMap(([name, schema]) => objectsWithin(schema, [...at, name])),
    ...(items ? objectsWithin(items, [...at, "0"]) : []),
    // Samples are of the first kind.
    ...(anyOf ? objectsWithin(anyOf[0]!, at) : []),
  ];
}

/** Texts that are read and not kept as they are. */
const NOT_KEPT = {
  "beginUpload contentType": "what is no media type counts as application/octet-stream",
};

/** The caller whom the operation lets in. */
async function callers(): Promise<(scope: string) => Client> {
  const tenant = await newTenant();
  const pub = client(
    (await tenant.post("/v1/api-keys", { name: "Pub", kind: "pub", scopes: ["users:guest"] })).body.secret,
  );
  const operator = await admin();
  return (scope) => (scope === "deployment:admin" ? operator : scope === "users:guest" ? pub : tenant);
}

const filled = ({ path, texts }: Pick<Operation, "path" | "texts">) =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => texts[name] ?? crypto.randomUUID());

/** `value` at each place of a body where a schema wants text, and the paths of these places. */
function withTexts(schema: Any, value: string, path: string[] = []): { body: Any; paths: string[] } {
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return withTexts(options.find((option: Any) => option.type !== "null") ?? {}, value, path);
  if (schema.type === "object" && schema.properties) {
    const inner = Object.entries<Any>(schema.properties).map(
      ([key, one]) => [key, withTexts(one, value, [...path, key])] as const,
    );
    return {
      body: Object.fromEntries(inner.map(([key, { body }]) => [key, body])),
      paths: inner.flatMap(([, { paths }]) => paths),
    };
  }
  if (schema.type === "array") {
    const { body, paths } = withTexts(schema.items, value, [...path, "0"]);
    return { body: [body], paths };
  }
  const types = [schema.type].flat();
  if (types.includes("string")) return { body: value, paths: [path.join(".")] };
  return { body: undefined, paths: [] };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("errors", () => {
  it("a body that is not JSON, or says it is something else, is 400", async () => {
    const tenant = await newTenant();
    const bodies = ["{", "", "{'a': 1}", '{"name": "x"', "undefined", "\u0000", '{"name": NaN}'];
    for (const body of bodies) expectProblem(await tenant.post("/v1/teams", body), 400, "malformed_json");

    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/jsonp",
      "",
    ]) {
      const answer = await tenant.post("/v1/users", '{"displayName":"Ann"}', { headers: { "Content-Type": type } });
      expectProblem(answer, 400, "malformed_json");
    }
    for (const type of ["application/json", "application/json; charset=utf-8", "application/merge-patch+json"]) {
      const answer = await tenant.post("/v1/users", '{"displayName":"Ann"}', { headers: { "Content-Type": type } });
      expect(answer.body.displayName).toBe("Ann");
    }
  });

  it.each([[[]], ["text"], [7], [null]])("a body that is %j instead of an object is 422", async (body) => {
    expectProblem(await (await newTenant()).post("/v1/teams", JSON.stringify(body)), 422, "invalid_request", "");
  });

  it("an unknown field in any body or query is 422 and named", async () => {
    const callerFor = await callers();
    for (const one of await withBody()) {
      const answer = await callerFor(one.scope).request(one.method, filled(one), { unheardOf: 1 });
      expect(answer.status, one.id).toBe(422);
      expect(answer.body.errors, one.id).toContainEqual({ path: "unheardOf", message: expect.any(String) });
    }
    for (const one of (await operations()).filter(({ body, scope }) => !body && scope !== "public")) {
      const answer = await callerFor(one.scope).request(one.method, `${filled(one)}?unheardOf=1`);
      expect(answer.status, one.id).toBe(422);
      expect(answer.body.errors, one.id).toContainEqual({ path: "query.unheardOf", message: expect.any(String) });
    }
  });

  it("an unknown field in any object within a body is 422 and named", async () => {
    const callerFor = await callers();
    const paths = new Map((await operations()).map((one) => [one.id, filled(one)]));
    let tried = 0;
    for (const one of (await readOperations()).filter(({ body }) => body)) {
      for (const place of objectsWithin(one.body!)) {
        const body = sample(one.body!, () => crypto.randomUUID(), place) as Any;
        const inner = place.reduce((at, step) => at?.[step], body);
        if (inner === null || typeof inner !== "object") continue;
        inner.unheardOf = 1;
        tried++;

        const answer = await callerFor(one.scope).request(one.method, paths.get(one.id)!, body);

        expect(answer.status, `${one.id} ${place.join(".")}`).toBe(422);
        expect(
          answer.body.errors.map((error: Any) => error.path),
          one.id,
        ).toContain(`${place.join(".")}.unheardOf`);
      }
    }
    expect(tried).toBeGreaterThan(20);
  });

  it("a wrong type in any field of any body is 422 and named", async () => {
    const callerFor = await callers();
    for (const one of await withBody()) {
      const names = Object.keys(one.body.properties);
      const open = names.filter(
        (name) =>
          !one.body.properties[name].type && !one.body.properties[name].anyOf && !one.body.properties[name].enum,
      );
      const body = Object.fromEntries(
        names.map((name) => [name, [one.body.properties[name].type].flat().includes("object") ? 7 : WRONG]),
      );
      const answer = await callerFor(one.scope).request(one.method, filled(one), body);
      expect(answer.status, one.id).toBe(422);
      for (const name of names.filter((each) => !open.includes(each))) {
        expect(
          answer.body.errors.some(({ path }: Any) => path === name || path.startsWith(`${name}.`)),
          `${one.id} ${name}`,
        ).toBe(true);
      }
    }
  });

  it.each([
    ["a NUL", NUL],
    ["a lone surrogate", SURROGATE],
  ])("%s is 422 wherever text is taken, and named", async (_, value) => {
    const callerFor = await callers();
    for (const one of await withBody()) {
      const { body, paths } = withTexts(one.body, value);
      if (paths.length === 0) continue;
      const answer = await callerFor(one.scope).request(one.method, filled(one), body);
      expect(answer.status, one.id).toBe(422);
      const named = answer.body.errors.map(({ path }: Any) => path);
      for (const path of paths.filter((each) => !(`${one.id} ${each}` in NOT_KEPT)))
        expect(named, one.id).toContain(path);
    }
  });

  it("a NUL in a path or a query is refused, never a fault", async () => {
    const callerFor = await callers();
    for (const one of (await operations()).filter(({ scope }) => scope !== "public")) {
      const caller = callerFor(one.scope);
      const body = one.body && {};
      for (const name of Object.keys(one.texts)) {
        const path = filled({ ...one, path: one.path.replace(`{${name}}`, "a%00b") });
        const answer = await caller.request(one.method, path, body);
        expect({ id: one.id, status: answer.status }).toEqual({ id: one.id, status: 422 });
      }
      for (const name of one.query) {
        const answer = await caller.request(one.method, `${filled(one)}?${name}=a%00b`, body);
        expect([400, 401, 403, 404, 422], `${one.id} ${name}`).toContain(answer.status);
      }
    }
  });

  it("metadata takes any JSON that can be stored, and refuses what cannot", async () => {
    const tenant = await newTenant();
    const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
    const post = (metadata: string) => tenant.post("/v1/users", `{"metadata":{"a":${metadata}}}`);

    const fine = [
      '"\\\\u0000 is no NUL, \\ud83e\\udd9c is a pair"',
      "-1.5e300",
      "null",
      nested(31),
      '{"":{"ä":[true,false]}}',
      '"\\u007f\\u2028"',
    ];
    for (const metadata of fine) expect((await post(metadata)).status, metadata).toBe(201);
    const kept = (await post('{"n":[1,null,"x",{"y":1.25}]}')).body.metadata;
    expect(kept).toEqual({ a: { n: [1, null, "x", { y: 1.25 }] } });

    const refused = [
      '"\\u0000"',
      '"\\ud800"',
      '{"\\ud800":1}',
      '["\\u0000"]',
      "1e400",
      nested(33),
      nested(400_000),
      `"${"x".repeat(16_384)}"`,
    ];
    for (const metadata of refused) expectProblem(await post(metadata), 422, "invalid_request", "metadata");
  });

  it("an unknown path is 404, and so is a known one by another method, with a credential as without", async () => {
    const tenant = await newTenant();
    for (const caller of [tenant, client(null)]) {
      for (const path of [
        "/",
        "/v1",
        "/v2/users",
        "/v1/users/",
        "/v1/nothing",
        "/v1/users/a/b/c",
        "/%00",
        "/v1/%2e%2e/users",
        "//v1/users",
      ]) {
        expectProblem(await caller.get(path), 404, "not_found");
      }
      for (const [method, path] of [
        ["DELETE", "/v1/users"],
        ["PUT", "/v1/whoami"],
        ["POST", "/v1/whoami"],
        ["PATCH", "/health"],
        ["TRACE", "/v1/users"],
      ] as const) {
        expectProblem(await caller.request(method, path), 404, "not_found");
      }
    }
  });

  it("every code of the table has a status and says what to do, and the document lists it", async () => {
    const { description } = (await client(null).get("/openapi.json")).body.info;
    for (const [code, [status, title, todo]] of Object.entries(ERRORS)) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(`${title} ${todo}`.length).toBeGreaterThan(10);
      expect(description).toContain(`\`${code}\` | ${status}`);
    }
  });

  it("a fault is logged with its request id and answered without its text", async () => {
    const tenant = await newTenant();
    await tenant.get("/v1/whoami");
    const logged = vi.spyOn(console, "error").mockImplementation(() => {});
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new RangeError("the inside of it"));

    const answer = await tenant.get("/v1/users");

    expect(answer.status).toBeGreaterThanOrEqual(500);
    expect(JSON.stringify(answer.body)).not.toContain("inside");
    const lines = logged.mock.calls.map(([line]) => JSON.parse(line));
    expect(lines.every(({ requestId }) => requestId === answer.body.requestId)).toBe(true);
  });

  it("a database that cannot be reached is 503 with Retry-After", async () => {
    const tenant = await newTenant();
    await tenant.get("/v1/whoami");
    vi.spyOn(console, "error").mockImplementation(() => {});
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("connection refused"));

    const answer = await tenant.get("/v1/users");

    expectProblem(answer, 503, "unavailable");
    expect(answer.headers.get("Retry-After")).toBe("1");
  });
});

describe("limits of a body", () => {
  const limit = 1_048_576;
  const bodyOf = (bytes: number) => `{"name":"${"x".repeat(bytes - 11)}"}`;

  it("a JSON body of up to 1 MiB is read, a larger one is 413, also when it does not say its length", async () => {
    const tenant = await newTenant();
    expectProblem(await tenant.post("/v1/teams", bodyOf(limit)), 422, "invalid_request", "name");
    expectProblem(await tenant.post("/v1/teams", bodyOf(limit + 1)), 413, "payload_too_large");
    expectProblem(await client(null).post("/v1/teams", bodyOf(limit + 1)), 413, "payload_too_large");

    const chunks = new Blob([bodyOf(limit * 3)]).stream();
    const streamed = await exports.default.fetch("http://parley.test/v1/teams", {
      method: "POST",
      headers: { Authorization: `Bearer ${tenant.key}`, "Content-Type": "application/json" },
      body: chunks,
    });
    expect(streamed.status).toBe(413);
  });
});

describe("what every answer carries", () => {
  const ANSWERS: [string, (tenant: Tenant) => Promise<{ headers: Headers; status: number; body: Any }>, number][] = [
    ["a list", (tenant) => tenant.get("/v1/users"), 200],
    ["a creation", (tenant) => tenant.post("/v1/users", {}), 201],
    ["an empty answer", (tenant) => tenant.post("/v1/tokens/revoke", { jti: "a" }), 204],
    ["a public route", () => client(null).get("/health"), 200],
    ["a preflight", () => client(null).request("OPTIONS", "/v1/users"), 204],
    ["no credential", () => client(null).get("/v1/users"), 401],
    ["a lacking scope", (tenant) => tenant.get("/v1/tenants"), 403],
    ["an unknown path", (tenant) => tenant.get("/v1/nothing"), 404],
    ["a missing row", (tenant) => tenant.get(`/v1/users/${crypto.randomUUID()}`), 404],
    ["an invalid body", (tenant) => tenant.post("/v1/teams", {}), 422],
    ["malformed JSON", (tenant) => tenant.post("/v1/teams", "{"), 400],
    ["a large body", (tenant) => tenant.post("/v1/teams", "x".repeat(1_048_577)), 413],
  ];

  it.each(ANSWERS)("%s carries a request id of its own, and lets any page read it", async (_, call, status) => {
    const tenant = await newTenant();

    const [one, other] = [await call(tenant), await call(tenant)];

    expect(one.status).toBe(status);
    const id = one.headers.get("Parley-Request-Id");
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(id).not.toBe(other.headers.get("Parley-Request-Id"));
    if (status >= 400) expect(one.body.requestId).toBe(id);
    expect(one.headers.get("Access-Control-Allow-Origin")).toBe("*");
    expect(one.headers.get("Access-Control-Expose-Headers")).toContain("Parley-Request-Id");
  });

  it.each([
    ["a list", (tenant: Tenant) => tenant.get("/v1/users")],
    ["a creation", (tenant: Tenant) => tenant.post("/v1/users", {})],
    ["an invalid body", (tenant: Tenant) => tenant.post("/v1/teams", {})],
    ["a missing row", (tenant: Tenant) => tenant.get(`/v1/users/${crypto.randomUUID()}`)],
    ["a lacking scope", (tenant: Tenant) => tenant.get("/v1/tenants")],
  ])("%s says how much of the rate is left", async (_, call) => {
    const { headers } = await call(await newTenant());

    expect(headers.get("RateLimit-Policy")).toBe('"default";q=6000;w=60');
    expect(headers.get("RateLimit")).toMatch(/^"default";r=\d+;t=([1-9]|[1-5]\d|60)$/);
  });
});

describe("CORS", () => {
  it("a preflight is answered for any origin, without a credential and without credentials mode", async () => {
    const { status, headers } = await client(null).request("OPTIONS", "/v1/users", undefined, {
      headers: {
        Origin: "https://anywhere.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
      },
    });

    expect(status).toBe(204);
    expect(headers.get("Access-Control-Allow-Origin")).toBe("*");
    expect(headers.get("Access-Control-Allow-Credentials")).toBeNull();
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"])
      expect(headers.get("Access-Control-Allow-Methods")).toContain(method);
    for (const name of ["Authorization", "Content-Type", "Idempotency-Key", "Parley-User"])
      expect(headers.get("Access-Control-Allow-Headers")).toContain(name);
    expect(Number(headers.get("Access-Control-Max-Age"))).toBeGreaterThan(0);
  });

  it("a tenant's list of origins is enforced on the request; without a list, or without an origin, nothing is", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);
    const token = (await tenant.post(`/v1/users/${user.id}/tokens`, {})).body.token;
    const from = (origin?: string) =>
      Promise.all(
        [tenant, client(token)].map((one) => one.get("/v1/whoami", origin ? { headers: { Origin: origin } } : {})),
      );
    for (const answer of await from("https://anywhere.example")) expect(answer.status).toBe(200);

    await tenant.patch("/v1/tenant", {
      settings: { allowedOrigins: ["https://app.example", "http://localhost:3000"] },
    });

    for (const origin of ["https://app.example", "http://localhost:3000", undefined]) {
      for (const answer of await from(origin)) expect(answer.status).toBe(200);
    }
    for (const origin of [
      "https://anywhere.example",
      "http://app.example",
      "https://app.example.evil.example",
      "https://app.example:8443",
      "null",
    ]) {
      for (const answer of await from(origin)) {
        expectProblem(answer, 403, "origin_not_allowed");
        expect(answer.headers.get("Access-Control-Allow-Origin")).toBe("*");
      }
    }
    await tenant.patch("/v1/tenant", { settings: { allowedOrigins: null } });
    for (const answer of await from("https://anywhere.example")) expect(answer.status).toBe(200);
  });

  it.each([
    "app.example",
    "https://app.example/",
    "https://app.example/path",
    "*",
    "ftp://app.example",
    "https://APP.example",
  ])("%j is no origin", async (origin) => {
    const answer = await (await newTenant()).patch("/v1/tenant", { settings: { allowedOrigins: [origin] } });

    expectProblem(answer, 422, "invalid_request", "settings.allowedOrigins.0");
  });
});

describe("logs", () => {
  it("each request is one line of JSON with who, what and how, and no secret", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);
    const lines: string[] = [];
    for (const level of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation((...args) => void lines.push(args.join(" ")));
    }
    const secrets = ["Tr0ub4dor", "push-secret", "ann@example.org", tenant.key];

    const key = await tenant.post("/v1/api-keys", { name: "Tr0ub4dor" });
    const minted = await tenant.post(`/v1/users/${user.id}/tokens`, {});
    await client(minted.body.token).put(`/v1/users/${user.id}/devices/phone`, { pushToken: "push-secret" });
    await tenant.get("/v1/users?email=ann@example.org");
    await tenant.post("/v1/teams", "{");
    await client(`${tenant.key}x`).get("/v1/users");
    const missing = await client(null).get("/v1/users");
    secrets.push(key.body.secret, minted.body.token, minted.body.token.split(".")[2]);

    const about = lines.map((line) => JSON.parse(line)).filter(({ method }) => method);
    expect(about).toHaveLength(7);
    expect(about[0]).toEqual({
      level: "info",
      requestId: key.headers.get("Parley-Request-Id"),
      method: "POST",
      path: "/v1/api-keys",
      status: 201,
      ms: expect.any(Number),
      tenantId: tenant.id,
      actor: "key",
    });
    expect(about.at(-1)).toMatchObject({ requestId: missing.body.requestId, status: 401 });
    for (const line of lines) {
      expect(line).not.toContain("\n");
      for (const secret of secrets) expect(line).not.toContain(secret);
    }
  });
});
