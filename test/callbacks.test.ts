import { describe, expect, it } from "vitest";
import { signCallback } from "../src/providers/sandbox";
import { type Any, client, expectProblem, newTenant, type Tenant } from "./helpers";
import { eventually, queueJobs } from "./jobs";
import { deliveryOf, ledgerOf, newDeliveries, sendNow } from "./outbound";
import { asOwner } from "./setup/owner";

const secret = "a-secret-of-the-provider";

async function newAccount() {
  const tenant = await newTenant();
  const body = { name: "Post", provider: "sandbox", medium: "email", credentials: { signingSecret: secret } };
  return { tenant, integration: (await tenant.post("/v1/integrations", body)).body };
}

async function callBack(
  tenant: Tenant,
  integrationId: string,
  receipts: object[],
  headers: Record<string, string> = {},
) {
  const body = JSON.stringify({ receipts });
  return client(null).post(`/v1/callbacks/${tenant.id}/${integrationId}`, body, {
    headers: { "Sandbox-Signature": await signCallback(secret, body), ...headers },
  });
}

const kept = async (tenant: Tenant, query = ""): Promise<Any[]> =>
  (await tenant.get(`/v1/provider-callbacks${query}`)).body.data;

async function runJobsOf(tenant: Tenant) {
  await asOwner("update scheduled_jobs set run_at = now() where tenant_id = $1 and status = 'pending'", [tenant.id]);
  const jobs = await asOwner<Any>("select id from scheduled_jobs where tenant_id = $1 and status = 'pending'", [
    tenant.id,
  ]);
  await queueJobs(...jobs.map(({ id }) => ({ tenantId: tenant.id, jobId: id })));
}

describe("a provider's callback", () => {
  it("is kept once with what was read from it, without credentials, and can be heard again without effect", async () => {
    const { tenant, integration } = await newAccount();
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    await sendNow(tenant, ids);
    const receipts = [
      {
        eventId: "e1",
        messageId: `sandbox-${ids[0]}`,
        status: "bounced",
        details: { hard: true, said: "5.1.1 \0 no" },
      },
    ];

    for (let i = 0; i < 3; i++)
      expect(
        (await callBack(tenant, integration.id, receipts, { Authorization: "Basic cGFzcw==", "X-Vendor": "yes" }))
          .status,
      ).toBe(204);

    const [one, ...others] = await kept(tenant);
    expect(others).toEqual([]);
    expect(one).toMatchObject({ integrationId: integration.id, status: "heard", error: null, times: 3 });
    const { body: whole } = await tenant.get(`/v1/provider-callbacks/${one.id}`);
    expect(JSON.parse(whole.body)).toEqual({ receipts });
    expect(whole.headers).toMatchObject({ "x-vendor": "yes", "sandbox-signature": expect.any(String) });
    expect(whole.headers).not.toHaveProperty("authorization");
    expect(whole.heard.receipts).toMatchObject([{ eventId: "e1", status: "bounced" }]);
    const before = [await deliveryOf(ids[0]!), await ledgerOf(ids[0]!)];

    const replayed = await tenant.post(`/v1/provider-callbacks/${one.id}/replay`);

    expect(replayed).toMatchObject({ status: 200, body: { id: one.id, status: "heard" } });
    expect([await deliveryOf(ids[0]!), await ledgerOf(ids[0]!)]).toEqual(before);
  });

  it("that comes before its message is recorded waits for it", async () => {
    const { tenant, integration } = await newAccount();
    const { ids } = await newDeliveries(tenant, [{ recipient: "silent@example.com" }]);
    const receipts = [{ eventId: "e1", messageId: `sandbox-${ids[0]}`, status: "delivered" }];

    expect((await callBack(tenant, integration.id, receipts)).status).toBe(204);
    expect((await kept(tenant, "?status=waiting")).map(({ status }) => status)).toEqual(["waiting"]);
    await sendNow(tenant, ids);

    await eventually(async () => {
      await runJobsOf(tenant);
      expect((await deliveryOf(ids[0]!)).status).toBe("delivered");
    });
    expect((await kept(tenant, `?integrationId=${integration.id}`)).map(({ status }) => status)).toEqual(["heard"]);
  });

  it("of a message that never comes is given up in the end, and can still be replayed", async () => {
    const { tenant, integration } = await newAccount();
    await callBack(tenant, integration.id, [{ eventId: "e1", messageId: "sandbox-nothing", status: "delivered" }]);
    await asOwner("update scheduled_jobs set attempts = 12 where tenant_id = $1 and type = 'callbacks.replay'", [
      tenant.id,
    ]);

    await eventually(async () => {
      await runJobsOf(tenant);
      expect((await kept(tenant))[0].status).toBe("unknown");
    });
    const [{ id }] = await kept(tenant);
    expect((await tenant.post(`/v1/provider-callbacks/${id}/replay`)).body.status).toBe("waiting");
  });

  it("that nobody signed is not kept", async () => {
    const { tenant, integration } = await newAccount();

    expectProblem(await callBack(tenant, integration.id, [], { "Sandbox-Signature": "t=1,v1=00" }), 403, "not_allowed");

    expect(await kept(tenant)).toEqual([]);
  });
});
