// What a customer would write against the generated types. `npm run check` makes them and compiles this.
import type { components, operations } from "../../dist/client/parley";

type User = components["schemas"]["User"];
type Problem = components["schemas"]["Problem"];

type Json<T> = T extends { content: { "application/json": infer Body } } ? Body : undefined;
type Sent<Id extends keyof operations> = operations[Id] extends { requestBody: infer Body } ? Json<Body> : undefined;
type Asked<Id extends keyof operations> = operations[Id]["parameters"]["query"];
type Success<R> = { [Status in keyof R & (200 | 201 | 202)]: Json<R[Status]> }[keyof R & (200 | 201 | 202)];
type Answered<Id extends keyof operations> = Success<operations[Id]["responses"]>;

/** What the API answers to a call it refuses. */
export class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

type Call<Id extends keyof operations> = {
  method: string;
  path: string;
  body?: Sent<Id>;
  query?: Asked<Id>;
};

export function connect(url: string, key: string) {
  return async function call<Id extends keyof operations>({
    method,
    path,
    body,
    query,
  }: Call<Id>): Promise<Answered<Id>> {
    const target = new URL(path, url);
    for (const [name, value] of Object.entries(query ?? {})) target.searchParams.set(name, String(value));
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const response = await fetch(target, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Refused((await response.json()) as Problem);
    return (await response.json()) as Answered<Id>;
  };
}

export async function createUser(call: ReturnType<typeof connect>, externalId: string): Promise<User> {
  return call<"upsertUser">({
    method: "POST",
    path: "/v1/users",
    body: { externalId, displayName: "Ada", role: "editor" },
  });
}

export async function listAllUsers(call: ReturnType<typeof connect>): Promise<User[]> {
  const all: User[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await call<"listUsers">({
      method: "GET",
      path: "/v1/users",
      query: { limit: 100, ...(cursor && { cursor }) },
    });
    all.push(...page.data);
    if (!page.nextCursor) return all;
    cursor = page.nextCursor;
  }
}

/** Names the fields that the API would not take. */
export async function tryBadUser(call: ReturnType<typeof connect>): Promise<string[]> {
  try {
    await call<"upsertUser">({ method: "POST", path: "/v1/users", body: { email: "no address" } });
    return [];
  } catch (error) {
    if (!(error instanceof Refused) || error.problem.code !== "invalid_request") throw error;
    return (error.problem.errors ?? []).map(({ path }) => path);
  }
}

/** The types are no wishes: neither of these compiles. */
export async function mistaken(call: ReturnType<typeof connect>): Promise<void> {
  // @ts-expect-error a display name is text
  await call<"upsertUser">({ method: "POST", path: "/v1/users", body: { displayName: 7 } });
  // @ts-expect-error there is no such role
  await call<"listUsers">({ method: "GET", path: "/v1/users", query: { role: "owner" } });
}
