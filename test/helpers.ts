import { exports } from "cloudflare:workers";
import { expect } from "vitest";
import { newApiKey } from "../src/lib/ids";
import { asOwner } from "./setup/owner";

const ORIGIN = "http://parley.test";

export type Answer<T = Record<string, unknown>> = { status: number; headers: Headers; body: T };
type Options = { as?: string; headers?: Record<string, string> };

export type Client = {
  request<T = Any>(method: string, path: string, body?: unknown, options?: Options): Promise<Answer<T>>;
  get<T = Any>(path: string, options?: Options): Promise<Answer<T>>;
  post<T = Any>(path: string, body?: unknown, options?: Options): Promise<Answer<T>>;
  put<T = Any>(path: string, body?: unknown, options?: Options): Promise<Answer<T>>;
  patch<T = Any>(path: string, body?: unknown, options?: Options): Promise<Answer<T>>;
  delete<T = Any>(path: string, options?: Options): Promise<Answer<T>>;
};

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
export type Any = any;

/** Calls the Worker from outside, with this credential. */
export function client(credential: string | null): Client {
  const request = async (method: string, path: string, body?: unknown, { as, headers }: Options = {}) => {
    const response = await exports.default.fetch(`${ORIGIN}${path}`, {
      method,
      headers: {
        ...(credential && { Authorization: `Bearer ${credential}` }),
        ...(as && { "Parley-User": as }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json =
      response.headers.get("Content-Type")?.includes("json") &&
      !response.headers.get("Content-Type")?.includes("ndjson");
    return { status: response.status, headers: response.headers, body: json && text !== "" ? JSON.parse(text) : text };
  };
  return {
    request,
    get: (path, options) => request("GET", path, undefined, options),
    post: (path, body, options) => request("POST", path, body, options),
    put: (path, body, options) => request("PUT", path, body, options),
    patch: (path, body, options) => request("PATCH", path, body, options),
    delete: (path, options) => request("DELETE", path, undefined, options),
  };
}

const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";
let adminKey: Promise<string> | undefined;

async function registerAdminKey(): Promise<string> {
  const key = newApiKey("admin", crypto.getRandomValues(new Uint8Array(64)));
  const id = crypto.randomUUID();
  await asOwner(
    "insert into api_keys (tenant_id, id, name, kind, hash, hint) values ($1, $2, 'test', 'admin', sha256($3::text::bytea), 'test')",
    [DEPLOYMENT, id, key],
  );
  await asOwner(
    "insert into api_key_scopes (tenant_id, key_id, scope) select $1, $2, unnest(array['deployment:admin', 'keys:read', 'keys:write', 'audit:read', 'jobs:read', 'jobs:write'])",
    [DEPLOYMENT, id],
  );
  return key;
}

/** The deployment's operator. */
export async function admin(): Promise<Client> {
  adminKey ??= registerAdminKey();
  return client(await adminKey);
}

export type Tenant = Client & { id: string; key: string };

/** Every test makes its own, so none needs to clean up. */
export async function newTenant(input: Record<string, unknown> = {}): Promise<Tenant> {
  const made = await (await admin()).post("/v1/tenants", { name: "Acme", ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return { id: made.body.id, key: made.body.apiKey.secret, ...client(made.body.apiKey.secret) };
}

export async function newUser(tenant: Client, input: Record<string, unknown> = {}): Promise<Any> {
  const made = await tenant.post("/v1/users", { displayName: "Ann", ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

/** A user's own app: a client with a token of this user. */
export async function userClient(tenant: Client, userId: string): Promise<Client> {
  const minted = await tenant.post(`/v1/users/${userId}/tokens`, {});
  expect(minted.status, JSON.stringify(minted.body)).toBe(201);
  return client(minted.body.token);
}

/** What every refusal looks like. */
export function expectProblem(answer: Answer<Any>, status: number, code: string, ...paths: string[]): void {
  expect({ status: answer.status, code: answer.body.code }, JSON.stringify(answer.body)).toEqual({ status, code });
  expect(answer.headers.get("Content-Type")).toBe("application/problem+json");
  expect(answer.body).toMatchObject({
    title: expect.any(String),
    detail: expect.any(String),
    requestId: expect.any(String),
  });
  if (paths.length > 0) expect(answer.body.errors.map((e: Any) => e.path)).toEqual(paths);
}
