import { createExecutionContext, createMessageBatch, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { neonConfig } from "@neondatabase/serverless";
import { vi } from "vitest";
import worker from "../src/index";
import type { Any, Tenant } from "./helpers";
import { asOwner } from "./setup/owner";

type Wish = {
  recipient?: string;
  medium?: string;
  content?: object;
  integrationId?: string | null;
  status?: string;
  secondsFromNow?: number;
};

/** A message's deliveries as a batch leaves them behind, before anything is on a queue. Other tests' sweeps find them a second later. */
export async function newDeliveries(
  tenant: Pick<Tenant, "id">,
  wishes: Wish[],
): Promise<{ channelId: string; ids: string[] }> {
  const channelId = crypto.randomUUID();
  const rows = wishes.map((wish) => ({
    id: crypto.randomUUID(),
    recipient: "ann@example.com",
    medium: "email",
    content: { text: "hello" },
    seconds: 0.95,
    ...wish,
  }));
  await asOwner("insert into channels (tenant_id, id, medium) values ($1, $2, 'email')", [tenant.id, channelId]);
  await asOwner(
    `insert into deliveries (tenant_id, id, channel_id, message_id, medium, recipient, content, integration_id, next_attempt_at)
     select $1, r.id, $2, gen_random_uuid(), r.medium, r.recipient, r.content, r."integrationId", now() + make_interval(secs => r.seconds)
       from jsonb_to_recordset($3::jsonb) r(id uuid, medium text, recipient text, content jsonb, "integrationId" uuid, seconds float8)`,
    [tenant.id, channelId, JSON.stringify(rows)],
  );
  return { channelId, ids: rows.map(({ id }) => id) };
}

/** Master secrets that no other test knows: what is sealed under them is out of the others' rotations and sweeps. */
export function newMasters() {
  const name = () => `m${crypto.randomUUID().replaceAll("-", "")}`;
  const secret = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
  const [old, young] = [name(), name()];
  const [oldSecret, youngSecret] = [`${old}:${secret()}`, `${young}:${secret()}`];
  const withMasters = (text: string): Env => ({ ...env, MASTER_SECRETS: text });
  return {
    old,
    young,
    before: withMasters(oldSecret),
    during: withMasters(`${oldSecret} ${youngSecret}`),
    after: withMasters(youngSecret),
  };
}

/** The Worker as it answers with other bindings. */
export async function askWith(changed: Env, tenant: Tenant, method: string, path: string, body: unknown) {
  const headers = { Authorization: `Bearer ${tenant.key}`, "Content-Type": "application/json" };
  const request = new Request(`http://parley.test${path}`, { method, headers, body: JSON.stringify(body) });
  // What it leaves to waitUntil is counting, which takes a second of its own.
  const response = await worker.fetch(request, changed, createExecutionContext());
  return { status: response.status, headers: response.headers, body: (await response.json()) as Any };
}

export async function postWith(changed: Env, tenant: Tenant, path: string, input: unknown): Promise<Any> {
  const { status, body } = await askWith(changed, tenant, "POST", path, input);
  if (status !== 201) throw new Error(`${path} → ${status} ${JSON.stringify(body)}`);
  return body;
}

type Body = { tenantId: string; deliveryIds: string[]; playBack?: true };

/** As an event of the Worker's: ends when all that it left to waitUntil has ended. */
export async function inContext<T>(run: (ctx: ExecutionContext) => Promise<T>): Promise<T> {
  const ctx = createExecutionContext();
  const result = await run(ctx);
  await waitOnExecutionContext(ctx);
  return result;
}

/** What the queue does with these bodies, in one batch; not to the end of counting, which takes a second of its own. */
export async function deliverBodies(bodies: Body[], changed: Partial<Env> = {}): Promise<void> {
  const messages = bodies.map((body, i) => ({ id: `${i}`, timestamp: new Date(), attempts: 1, body }));
  const ctx = createExecutionContext();
  await worker.queue(createMessageBatch("parley-outbound", messages), { ...env, ...changed }, ctx);
  await Promise.race([waitOnExecutionContext(ctx), new Promise((resolve) => setTimeout(resolve, 100))]);
}

export const sendNow = (tenant: Pick<Tenant, "id">, ids: string[], changed: Partial<Env> = {}) =>
  deliverBodies([{ tenantId: tenant.id, deliveryIds: ids }], changed);

export const deliveriesOf = (tenant: Pick<Tenant, "id">) =>
  asOwner<Any>("select * from deliveries where tenant_id = $1 order by id", [tenant.id]);

export async function deliveryOf(id: string): Promise<Any> {
  return (await asOwner<Any>("select * from deliveries where id = $1", [id]))[0];
}

export const ledgerOf = (id: string) =>
  asOwner<Any>("select status, details from delivery_events where delivery_id = $1 order by created_at, id", [id]);

/** Waits until the delivery has this status. */
export const becomes = (id: string, status: string) =>
  vi.waitFor(
    async () => {
      const row = await deliveryOf(id);
      if (row?.status !== status) throw new Error(`${JSON.stringify(row)} is not ${status}`);
      return row;
    },
    { timeout: 8000, interval: 50 },
  );

/** For a second more, they are found by those alone who name them. */
export const holdBack = (ids: string[]) =>
  asOwner("update deliveries set next_attempt_at = now() + interval '950 milliseconds' where id = any ($1::uuid[])", [
    ids,
  ]);

/** As if its time had come, and whoever had claimed it were gone. */
export const makeDue = (ids: string[]) =>
  asOwner(
    "update deliveries set next_attempt_at = now() - interval '2 seconds', claimed_until = null where id = any ($1::uuid[])",
    [ids],
  );

type Call = { queries: string; send(): Promise<Response> };

/** Stands between the Worker and the database while `run` runs. */
export async function betweenDatabase<T>(answer: (call: Call) => Promise<Response>, run: () => Promise<T>): Promise<T> {
  const before = neonConfig.fetchFunction;
  neonConfig.fetchFunction = (input: RequestInfo, init: RequestInit) =>
    answer({ queries: String(init.body), send: () => fetch(input, init) });
  try {
    return await run();
  } finally {
    neonConfig.fetchFunction = before;
  }
}
