import * as fc from "fast-check";
import { expect } from "vitest";
import { type Attempt, attempts, TOKEN } from "./arbitrary";
import {
  type Answer,
  type Any,
  admin,
  type Client,
  client,
  newTenant,
  newUser,
  type Tenant,
  userClient,
} from "./helpers";
import { prepareCall } from "./prepared";
import { clientWith, FACTORIES, givenFor, IN_THE_RIGHT_STATE } from "./samples";
import { faultsOf, type Given, type Operation, problemFaults, readOperations, sampleCall } from "./spec";

type Pool = Record<string, string[]>;
type World = {
  operations: Map<string, Operation>;
  given: Map<string, Given>;
  pool: Pool;
  clients: { tenant: Tenant; operator: Client; guest: Client; user: Client; nobody: Client };
};

/** Answers with 5xx that are no fault of the API's: the tenant's own endpoint failed. */
const NOT_OURS = ["action_failed"];

async function newWorld(): Promise<World> {
  const operator = await admin();
  const limits = { requestsPerMinute: 1_000_000, fileBytes: 5_000_000_000_000 };
  const plan = await operator.post("/v1/plans", { name: `Fuzz ${crypto.randomUUID()}`, tier: "fuzz", limits });
  const tenant = await newTenant({ planId: plan.body.id });
  const operations = new Map((await readOperations()).map((operation) => [operation.id, operation]));
  const pool: Pool = {};
  for (const kind of Object.keys(FACTORIES)) {
    pool[kind] = [];
    for (let i = 0; i < 3; i++) pool[kind].push(await FACTORIES[kind]!(tenant, "Fuzz"));
  }
  const given = new Map<string, Given>();
  for (const id of operations.keys()) given.set(id, await givenFor(id, tenant, ""));
  const user = await userClient(tenant, (await newUser(tenant)).id);
  const guest = await clientWith(tenant, ["users:guest"]);
  return { operations, given, pool, clients: { tenant, operator, guest, user, nobody: client(null) } };
}

function callerOf({ clients }: World, { scope }: Operation, credential: string): Client {
  if (credential === "user") return clients.user;
  if (credential !== "right" || scope === "public") return clients.nobody;
  return scope === "deployment:admin" ? clients.operator : scope === "users:guest" ? clients.guest : clients.tenant;
}

/** The request as it is sent, with the ids of what is there now. */
function requestOf(world: World, attempt: Attempt) {
  const operation = world.operations.get(attempt.operation)!;
  const help = attempt.helped ? world.given.get(operation.id)! : {};
  const present = (text: string) =>
    text.replace(
      TOKEN,
      (_, kind: string, n: string) => world.pool[kind]?.[Number(n) % world.pool[kind]!.length] ?? crypto.randomUUID(),
    );
  const values = Object.entries({ ...attempt.parameters, ...help.parameters }).map(
    ([name, text]) => [name, present(text)] as const,
  );
  const parameters = Object.fromEntries(values);
  const inPath = operation.parameters.filter((p) => p.in === "path").map((p) => p.name);
  const encode = (text: string) => (attempt.raw ? text : encodeURIComponent(text.toWellFormed()));
  const path = inPath.reduce(
    (at, name) => at.replace(`{${name}}`, () => encode(parameters[name] ?? "")),
    operation.path,
  );
  const query = new URLSearchParams(attempt.strangeQuery);
  for (const p of operation.parameters)
    if (p.in === "query" && p.name in parameters) query.append(p.name, parameters[p.name]!);
  const headers: Record<string, string> = { ...attempt.headers };
  for (const p of operation.parameters)
    if (p.in === "header" && p.name in parameters) headers[p.name] ??= forHeader(parameters[p.name]!);
  for (const [name, text] of Object.entries(headers)) headers[name] = present(text);
  if (!["right", "user", "none"].includes(attempt.credential)) headers.Authorization = attempt.credential;
  const plain = !attempt.raw && inPath.every((name) => !["", ".", ".."].includes(parameters[name]!.trim()));
  return {
    operation,
    as: callerOf(world, operation, attempt.credential),
    method: attempt.method,
    path: query.size > 0 ? `${path}?${query}` : path,
    headers,
    body: ["GET", "HEAD"].includes(attempt.method) ? undefined : bodyOf(attempt, operation, help, headers, present),
    /** Whether the request can only have reached this operation. */
    sure: plain && attempt.method === operation.method,
  };
}

type Request = ReturnType<typeof requestOf>;

/** The same caller and headers, but a call that would succeed. */
async function prepared({ operations, clients }: World, request: Request, attempt: Attempt): Promise<Request> {
  const { operation } = request;
  const { path, body, headers } = await prepareCall([...operations.values()], clients.tenant, operation);
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  return {
    ...request,
    path,
    body: text,
    headers: { ...headers, ...attempt.headers },
    method: operation.method,
    sure: true,
  };
}

const forHeader = (text: string) => text.replace(/[^\x20-\x7e]/g, "").trim();

function bodyOf(
  { body }: Attempt,
  operation: Operation,
  help: Given,
  headers: Record<string, string>,
  present: (text: string) => string,
) {
  if (operation.bytes) {
    headers["Content-Type"] ??= "text/plain";
    return body ? JSON.stringify(body) : "ten bytes.";
  }
  if (!body) return undefined;
  if ("text" in body) return body.text;
  const isObject = body.json !== null && typeof body.json === "object" && !Array.isArray(body.json);
  return present(JSON.stringify(isObject && help.body ? { ...(body.json as object), ...help.body } : body.json));
}

function faults({ sure, operation, method }: Request, answer: Answer<Any>): string[] {
  const unidentified = answer.headers.get("Parley-Request-Id") ? [] : ["There is no Parley-Request-Id."];
  if (answer.status >= 500 && !NOT_OURS.includes(answer.body?.code)) return [`${answer.status}`, ...unidentified];
  if (method === "HEAD") return unidentified;
  return [...unidentified, ...(sure ? faultsOf(operation, answer) : answer.status >= 400 ? problemFaults(answer) : [])];
}

/** What a DELETE is to find, the PUT of the same place makes. */
async function makeFirst({ operations, given, clients }: World, path: string, operation: Operation): Promise<void> {
  const maker = [...operations.values()].find((other) => other.method === "PUT" && other.path === operation.path);
  if (operation.method !== "DELETE" || !maker) return;
  const { body } = sampleCall(maker, () => crypto.randomUUID(), undefined, given.get(maker.id));
  await clients.tenant.put(path, body);
}

/** What a call made can be named in later ones; what it deleted cannot, and is made anew. */
async function harvest(
  { operations, pool, clients }: World,
  { method, path }: Operation,
  sent: string,
  answer: Answer<Any>,
) {
  if (method === "DELETE" && answer.status === 204) {
    for (const [kind, ids] of Object.entries(pool)) {
      pool[kind] = ids.filter((id) => !sent.includes(id));
      while (pool[kind].length < 3) pool[kind].push(await FACTORIES[kind]!(clients.tenant, "Fuzz"));
    }
  }
  if (method !== "POST" || answer.status !== 201 || typeof answer.body?.id !== "string") return;
  const one = [...operations.values()].find((other) => other.method === "GET" && other.path === `${path}/{id}`);
  const kind = one?.parameters.find(({ name }) => name === "id")?.schema["x-resource"];
  if (kind) pool[kind] = [...(pool[kind] ?? []).slice(-50), answer.body.id];
}

/** Sends so many requests; returns how often each operation answered with which hundred of statuses. */
export async function fuzz(count: number): Promise<Record<string, Record<string, number>>> {
  const world = await newWorld();
  const kindFor =
    ({ id }: Operation) =>
    (resource: string) =>
      IN_THE_RIGHT_STATE[id]?.[resource] ?? resource;
  const tally: Record<string, Record<string, number>> = {};
  const property = fc.asyncProperty(attempts([...world.operations.values()], kindFor), async (attempt) => {
    const random = requestOf(world, attempt);
    const request = attempt.prepared ? await prepared(world, random, attempt) : random;
    const { as, method, path, body, headers, operation } = request;
    if (attempt.helped && request.sure) await makeFirst(world, path, operation);
    const answer = await as.request<Any>(method, path, body, { headers });
    const hundred = `${Math.floor(answer.status / 100)}xx`;
    tally[operation.id] = { ...tally[operation.id], [hundred]: (tally[operation.id]?.[hundred] ?? 0) + 1 };
    if (request.sure) await harvest(world, operation, path, answer);
    const sent = `${method} ${path} ${JSON.stringify(headers)} ${body?.slice(0, 2000)}`;
    expect(faults(request, answer), `${sent} → ${answer.status} ${JSON.stringify(answer.body).slice(0, 1000)}`).toEqual(
      [],
    );
  });
  await fc.assert(property, { numRuns: count });
  return tally;
}
