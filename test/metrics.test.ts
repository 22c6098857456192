import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { METRIC_NAMES, type Metric } from "../src/tenants/metrics";
import { type Any, admin, client, expectProblem, newTenant, type Tenant } from "./helpers";
import { deliveryOf, newDeliveries, sendNow } from "./outbound";
import { newReceiver } from "./receiver";
import { FACTORIES } from "./samples";
import { asOwner } from "./setup/owner";

afterEach(() => {
  vi.restoreAllMocks();
});

async function onPlan(limits: Record<string, number>): Promise<Tenant & { planId: string }> {
  const plan = await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", limits });
  expect(plan.status, JSON.stringify(plan.body)).toBe(201);
  return { planId: plan.body.id, ...(await newTenant({ planId: plan.body.id })) };
}
const setLimits = async (tenant: { planId: string }, limits: Record<string, number>) =>
  (await admin()).patch(`/v1/plans/${tenant.planId}`, { limits });

const NAMES = { email: "emailDeliveries", sms: "smsDeliveries", push: "pushDeliveries" };

/** One of each: what it was answered, as far as it was let through. */
type Use = (tenant: Tenant) => Promise<{ status: number; body: Any }>;
const posts =
  (path: string, body: () => unknown): Use =>
  (tenant) =>
    tenant.post(`/v1/${path}`, body());

/** A delivery that the plan has no room for fails with the reason: nobody waits for the answer. */
const delivers =
  (medium: keyof typeof NAMES): Use =>
  async (tenant) => {
    const { ids } = await newDeliveries(tenant, [{ medium, recipient: "ann@example.com" }]);
    await sendNow(tenant, ids);
    const { status, error } = await deliveryOf(ids[0]!);
    return error === "plan_limit_reached" && status === "failed"
      ? { status: 402, body: { code: error, metric: NAMES[medium] } }
      : { status: 201, body: { status } };
  };

const USES: Record<Metric, Use> = {
  users: posts("users", () => ({})),
  teams: posts("teams", () => ({ name: "Team" })),
  channels: posts("channels", () => ({ name: "Room" })),
  webhooks: posts("webhooks", () => ({ name: "Hook", url: newReceiver().url, enabled: false })),
  integrations: posts("integrations", () => ({ name: "Post", provider: "sandbox", medium: "email" })),
  inboxes: async (tenant) =>
    tenant.post("/v1/inboxes", { domainId: await FACTORIES.domain!(tenant, ""), localPart: "info" }),
  contacts: posts("contacts", () => ({ displayName: "Ann" })),
  storageBytes: (tenant) => tenant.post("/v1/files?name=a", "bytes", { headers: { "Content-Type": "text/plain" } }),
  apiRequests: (tenant) => tenant.get("/v1/whoami"),
  messages: async (tenant) =>
    tenant.post(`/v1/channels/${await FACTORIES.channel!(tenant, "Room")}/messages`, { text: "Hi" }),
  events: async (tenant) => {
    await tenant.put("/v1/event-types/custom.sample", { description: "x", stream: "tenant", schema: {} });
    return tenant.post("/v1/events", { type: "custom.sample", data: {} });
  },
  emailDeliveries: delivers("email"),
  smsDeliveries: delivers("sms"),
  pushDeliveries: delivers("push"),
  // An event is recorded all the same: it is its deliveries that there are none of.
  webhookDeliveries: async (tenant) => {
    const name = crypto.randomUUID();
    await tenant.post("/v1/webhooks", { name, url: newReceiver().url, events: ["channel.created"] });
    await FACTORIES.channel!(tenant, "Room");
    const made = await asOwner("select from webhook_deliveries where tenant_id = $1", [tenant.id]);
    return made.length > 0
      ? { status: 201, body: {} }
      : { status: 402, body: { code: "plan_limit_reached", metric: "webhookDeliveries" } };
  },
  requestsPerMinute: (tenant) => tenant.get("/v1/whoami"),
};

describe.each(METRIC_NAMES)("%s", (metric) => {
  it("of none is refused", async () => {
    const { status, body } = await USES[metric](await onPlan({ [metric]: 0 }));

    if (metric === "requestsPerMinute") expect({ status, body }).toMatchObject({ status: 429, body: { limit: 0 } });
    else expect({ status, body }).toMatchObject({ status: 402, body: { code: "plan_limit_reached", metric } });
  });

  it.skipIf(metric === "requestsPerMinute")("is counted", async () => {
    const tenant = await newTenant();
    const { status, body } = await USES[metric](tenant);
    expect(status, JSON.stringify(body)).toBeLessThan(300);

    await vi.waitFor(
      async () => {
        await runDurableObjectAlarm(env.LIMITER.getByName(tenant.id));
        const { data } = (await tenant.get("/v1/tenant/limits")).body;
        expect(data.find((one: Any) => one.metric === metric).use).toBeGreaterThan(0);
      },
      { timeout: 15_000, interval: 300 },
    );
  });
});

describe("what a request is charged", () => {
  const left = async (asked: Client) => Number(/r=(\d+)/.exec((await asked).headers.get("RateLimit")!)![1]);
  type Client = Promise<{ headers: Headers }>;

  it("is nothing of the tenant's where the key's own limit refuses it", async () => {
    const tenant = await onPlan({ requestsPerMinute: 1000 });
    const { secret } = (await tenant.post("/v1/api-keys", { name: "Slow", requestsPerMinute: 1 })).body;
    const before = await left(tenant.get("/v1/whoami"));

    const answers = await Promise.all(Array.from({ length: 20 }, () => client(secret).get("/v1/whoami")));

    // A window may end in between.
    expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThanOrEqual(18);
    expect(before - (await left(tenant.get("/v1/whoami")))).toBeLessThanOrEqual(3);
  });

  it("is one token, however often settings change under it", async () => {
    const tenant = await onPlan({ requestsPerMinute: 1000 });
    const stale = async () => {
      await asOwner("update tenants set config_version = config_version + 1 where id = $1", [tenant.id]);
      return tenant.get("/v1/tenant");
    };
    const before = await left(tenant.get("/v1/whoami"));

    for (let n = 0; n < 5; n++) expect((await stale()).status).toBe(200);

    expect(before - (await left(tenant.get("/v1/whoami")))).toBeLessThanOrEqual(6);
  });
});

it.each([
  ["requestsPerMinute", 429, "rate_limited"],
  ["apiRequests", 402, "plan_limit_reached"],
])("%s that is raised while all is refused holds within a minute", async (metric, status, code) => {
  const tenant = await onPlan({ [metric]: 0 });
  expectProblem(await tenant.get("/v1/whoami"), status, code);

  await setLimits(tenant, { [metric]: 1000 });
  const now = Date.now();
  vi.spyOn(Date, "now").mockImplementation(() => now + 60_000);

  expect((await tenant.get("/v1/whoami")).status).toBe(200);
});
