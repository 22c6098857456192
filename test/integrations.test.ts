import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { rewrapJob } from "../src/integrations/rewrap";
import { openCredentials, rewrapKey, sealCredentials } from "../src/integrations/vault";
import { systemContext } from "../src/lib/context";
import { toBase64 } from "../src/lib/crypto";
import type { Job, Step } from "../src/lib/job";
import { openSecret, sealSecret } from "../src/webhooks/secrets";
import { type Any, admin, expectProblem, newTenant, type Tenant } from "./helpers";
import { deliveryOf, makeDue, newDeliveries, newMasters, postWith, sendNow } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

const SECRET = "the-secret-that-is-never-shown";

async function newIntegration(tenant: Tenant, more: Record<string, unknown> = {}): Promise<Any> {
  const made = await tenant.post("/v1/integrations", {
    name: "Post",
    provider: "sandbox",
    medium: "email",
    credentials: { signingSecret: SECRET },
    ...more,
  });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

const rowOf = async (id: string): Promise<Any> =>
  (await asOwner<Any>("select * from integrations where id = $1", [id]))[0];

it("credentials go in and never come out: not in an answer, not in the audit log, not in the database", async () => {
  const tenant = await newTenant();
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const body = {
    name: "Post",
    provider: "sandbox",
    medium: "email",
    config: { delaySeconds: 2 },
    credentials: { signingSecret: SECRET },
  };

  const made = await tenant.post("/v1/integrations", body, { headers });
  const again = await tenant.post("/v1/integrations", body, { headers });
  const id = made.body.id;
  const changed = await tenant.patch(`/v1/integrations/${id}`, {
    provider: "sandbox",
    credentials: { signingSecret: `${SECRET}-2` },
  });
  const answers = [
    made,
    again,
    changed,
    await tenant.get(`/v1/integrations/${id}`),
    await tenant.get("/v1/integrations"),
    await tenant.get("/v1/audit-logs"),
  ];

  expect(made.status).toBe(201);
  expect(made.body).toEqual({
    id,
    name: "Post",
    provider: "sandbox",
    medium: "email",
    config: { delaySeconds: 2, healthy: true },
    status: "active",
    checkedAt: null,
    error: null,
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
  expect(again.body).toEqual(made.body);
  expect(changed.status).toBe(200);
  expect(JSON.stringify(answers.map((answer) => answer.body))).not.toContain(SECRET);
  expect(answers.at(-1)!.body.data.map(({ action, after }: Any) => [action, after.credentials])).toEqual(
    expect.arrayContaining([
      ["integration.created", "[redacted]"],
      ["integration.updated", "[redacted]"],
    ]),
  );
  const rows = await asOwner<Any>(
    "select i::text as text, encode(i.credentials, 'escape') as bytes from integrations i where id = $1",
    [id],
  );
  const kept = await asOwner<Any>("select k::text as text from idempotency_keys k where tenant_id = $1", [tenant.id]);
  expect(JSON.stringify([rows, kept])).not.toContain("never-shown");
});

it("config and credentials are judged by their provider", async () => {
  const tenant = await newTenant();
  const { id } = await newIntegration(tenant);
  const create = (more: Record<string, unknown>) =>
    tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email", ...more });
  const change = (patch: Record<string, unknown>) => tenant.patch(`/v1/integrations/${id}`, patch);

  expectProblem(await create({ config: { delaySeconds: -1 } }), 422, "invalid_request", "config.delaySeconds");
  expectProblem(
    await create({ credentials: { signingSecret: "short" } }),
    422,
    "invalid_request",
    "credentials.signingSecret",
  );
  expectProblem(await create({ credentials: { password: "x" } }), 422, "invalid_request", "credentials.password");
  expectProblem(await create({ provider: "pigeon" }), 422, "invalid_request", "provider");
  expectProblem(await create({ medium: "chat" }), 422, "invalid_request", "medium");
  expectProblem(await create({ color: "red" }), 422, "invalid_request", "color");
  expectProblem(
    await change({ provider: "sandbox", config: { delaySeconds: 901 } }),
    422,
    "invalid_request",
    "config.delaySeconds",
  );
  expectProblem(
    await change({ provider: "sandbox", credentials: { password: "x" } }),
    422,
    "invalid_request",
    "credentials.password",
  );
  expectProblem(await change({ config: {} }), 422, "invalid_request", "provider");
  expect((await change({ provider: "sandbox", config: { delaySeconds: 3 } })).body.config).toEqual({
    delaySeconds: 3,
    healthy: true,
  });
});

it("a tenant has as many accounts as it likes for a medium, and finds them by medium, provider and status", async () => {
  const tenant = await newTenant();
  const mails = [await newIntegration(tenant), await newIntegration(tenant, { name: "Other" })];
  const texts = await newIntegration(tenant, { medium: "sms" });
  await tenant.patch(`/v1/integrations/${mails[0].id}`, { enabled: false, name: "Off" });
  const found = async (query: string) =>
    (await tenant.get(`/v1/integrations?${query}`)).body.data.map(({ id }: Any) => id);

  expect(await found("")).toEqual([texts.id, mails[1].id, mails[0].id]);
  expect(await found("medium=email")).toEqual([mails[1].id, mails[0].id]);
  expect(await found("medium=email&status=disabled")).toEqual([mails[0].id]);
  expect(await found("provider=sandbox&status=active&limit=1")).toEqual([texts.id]);
  expectProblem(await (await newTenant()).get(`/v1/integrations/${texts.id}`), 404, "not_found");
});

it("the plan says how many there may be", async () => {
  const operator = await admin();
  const plan = await operator.post("/v1/plans", {
    name: `One ${crypto.randomUUID()}`,
    tier: "small",
    limits: { integrations: 1 },
  });
  const tenant = await newTenant({ planId: plan.body.id });
  const { id } = await newIntegration(tenant);
  const second = { name: "Post", provider: "sandbox", medium: "email" };

  expectProblem(await tenant.post("/v1/integrations", second), 402, "plan_limit_reached");
  await tenant.delete(`/v1/integrations/${id}`);
  expect((await tenant.post("/v1/integrations", second)).status).toBe(201);
});

it("an account is not deleted while something waits to go out by it", async () => {
  const tenant = await newTenant();
  const { id } = await newIntegration(tenant);
  const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com", integrationId: id }]);

  expectProblem(await tenant.delete(`/v1/integrations/${id}`), 409, "conflict");
  await sendNow(tenant, ids);
  expect((await tenant.delete(`/v1/integrations/${id}`)).status).toBe(204);

  expectProblem(await tenant.get(`/v1/integrations/${id}`), 404, "not_found");
  expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent", integration_id: null });
});

it("a health check keeps what the provider said, and a disabled account stays disabled", async () => {
  const tenant = await newTenant();
  const { id } = await newIntegration(tenant, { config: { healthy: false } });
  const check = async () => (await tenant.post(`/v1/integrations/${id}/check`)).body;

  expect(await check()).toMatchObject({
    status: "failing",
    error: "The sandbox was told to be unwell.",
    checkedAt: expect.any(String),
  });
  await tenant.patch(`/v1/integrations/${id}`, { enabled: true });
  expect((await tenant.get(`/v1/integrations/${id}`)).body.status).toBe("failing");
  await tenant.patch(`/v1/integrations/${id}`, { provider: "sandbox", config: { healthy: true } });
  expect(await check()).toMatchObject({ status: "active", error: null });
  await tenant.patch(`/v1/integrations/${id}`, { enabled: false });
  expect(await check()).toMatchObject({ status: "disabled" });
  expectProblem(await (await newTenant()).post(`/v1/integrations/${id}/check`), 404, "not_found");
});

const twoMasters = (): Env => ({ ...env, MASTER_SECRETS: `${env.MASTER_SECRETS} 2:${btoa("\x09".repeat(32))}` });
const newestAlone = (): Env => ({ ...env, MASTER_SECRETS: `2:${btoa("\x09".repeat(32))}` });

describe("the vault", () => {
  const owner = { tenantId: crypto.randomUUID(), id: crypto.randomUUID() };

  it("opens what it sealed, for the same owner, however the master secrets have moved on", async () => {
    const sealed = await sealCredentials(env, owner, { apiKey: SECRET });
    const rewrapped = { ...sealed, ...(await rewrapKey(twoMasters(), owner, sealed)) };

    expect(await openCredentials(env, owner, sealed)).toEqual({ apiKey: SECRET });
    expect(await openCredentials(twoMasters(), owner, sealed)).toEqual({ apiKey: SECRET });
    expect(rewrapped).toMatchObject({ masterVersion: "2", credentials: sealed.credentials });
    expect(await openCredentials(newestAlone(), owner, rewrapped)).toEqual({ apiKey: SECRET });
    await expect(openCredentials(newestAlone(), owner, sealed)).rejects.toThrow("no master secret 1");
  });

  it("opens nothing for another tenant, another integration, another version or another data key", async () => {
    const sealed = await sealCredentials(env, owner, { apiKey: SECRET });
    const other = await sealCredentials(env, { ...owner, id: crypto.randomUUID() }, { apiKey: "other" });
    const renamed = { ...env, MASTER_SECRETS: env.MASTER_SECRETS.replace("1:", "7:") };

    await expect(openCredentials(env, { ...owner, tenantId: crypto.randomUUID() }, sealed)).rejects.toThrow();
    await expect(openCredentials(env, { ...owner, id: crypto.randomUUID() }, sealed)).rejects.toThrow();
    await expect(openCredentials(renamed, owner, { ...sealed, masterVersion: "7" })).rejects.toThrow();
    await expect(openCredentials(env, owner, { ...sealed, dataKey: other.dataKey })).rejects.toThrow();
    await expect(openCredentials(env, owner, { ...sealed, credentials: other.credentials })).rejects.toThrow();
  });
});

it("ciphertext moved into another row opens there for nobody: nothing is sent, and the account is failing", async () => {
  const [tenant, other] = [await newTenant(), await newTenant()];
  const [victim, sibling, thief] = [
    await newIntegration(tenant),
    await newIntegration(tenant),
    await newIntegration(other),
  ];

  for (const [into, sender] of [
    [thief, other],
    [sibling, tenant],
  ] as const) {
    await asOwner(
      `update integrations i set credentials = v.credentials, data_key = v.data_key, master_version = v.master_version
         from integrations v where v.id = $1 and i.id = $2`,
      [victim.id, into.id],
    );
    const { ids } = await newDeliveries(sender, [{ recipient: "silent@example.com", integrationId: into.id }]);
    await sendNow(sender, ids);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "pending", attempts: 1, error: "account_unreadable" });
    expect((await sender.get(`/v1/integrations/${into.id}`)).body).toMatchObject({
      status: "failing",
      error: "account_unreadable",
    });
    expect((await sender.post(`/v1/integrations/${into.id}/check`)).body).toMatchObject({ status: "failing" });

    await sender.patch(`/v1/integrations/${into.id}`, { provider: "sandbox", credentials: { signingSecret: SECRET } });
    await makeDue(ids);
    await sendNow(sender, ids);
    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent" });
    expect((await sender.get(`/v1/integrations/${into.id}`)).body).toMatchObject({ status: "active", error: null });
  }
});

it("a rotation seals everything under the newest master secret, step by step, past what does not open", async () => {
  const tenant = await newTenant();
  const { old, young, before, during, after: alone } = newMasters();
  const input = { name: "Post", provider: "sandbox", medium: "email", credentials: { signingSecret: SECRET } };
  const made: Any[] = [];
  for (let i = 0; i < 5; i++) made.push(await postWith(before, tenant, "/v1/integrations", input));
  const webhook = await postWith(before, tenant, "/v1/webhooks", { name: "Orders", url: newReceiver().url });
  await asOwner("update integrations set data_key = decode('00', 'hex') where id = $1", [made[2].id]);

  const step = rewrapJob(
    {
      webhook_secrets: async (env, { tenantId, ownerId, sealed, masterVersion }) => {
        const secret = await openSecret(env, tenantId, ownerId, { sealed: toBase64(sealed), masterVersion });
        return (await sealSecret(env, tenantId, ownerId, secret)).sealed;
      },
    },
    2,
  );

  const ctx = systemContext(during, tenant.id, () => {});
  const progress: number[] = [];
  let came: Step = {};
  while (!came.done && progress.length < 10) {
    came = await step(ctx, { cursor: came.cursor ?? null, progress: came.progress ?? 0 } as Job);
    progress.push(came.progress!);
  }

  expect(progress).toEqual([2, 3, 5, 5]);
  expect(came.result).toEqual({ failed: 1 });
  const rows = await Promise.all(made.map(({ id }) => rowOf(id)));
  expect(rows.map(({ master_version }) => master_version)).toEqual([young, young, old, young, young]);
  const [secret] = await asOwner<Any>(
    "select encode(sealed, 'base64') as sealed, master_version as \"masterVersion\" from webhook_secrets where webhook_id = $1",
    [webhook.id],
  );
  expect(await openSecret(alone, tenant.id, webhook.id, secret)).toBe(webhook.secret);
  const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com", integrationId: made[0].id }]);
  await sendNow(tenant, ids, alone);
  expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent" });
});
