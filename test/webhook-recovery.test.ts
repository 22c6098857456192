import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { deliverQueued } from "../src/webhooks/consumer";
import { type Any, expectProblem, newTenant, type Tenant } from "./helpers";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

const HOUR_AGO = () => new Date(Date.now() - 3_600_000).toISOString();

async function newWebhook(tenant: Tenant, url: string, more: Record<string, unknown> = {}): Promise<Any> {
  const made = await tenant.post("/v1/webhooks", { name: "Orders", url, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

/** An event with its delivery, as a commit leaves them when nobody was told of it. */
async function uncalled(tenant: Tenant, webhookId: string): Promise<{ id: string; eventId: string }> {
  const [id, eventId] = [crypto.randomUUID(), crypto.randomUUID()];
  const payload = JSON.stringify({ id: eventId, type: "custom.lost", data: {} });
  await asOwner(
    "insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload) values ($1, $2, 'tenant', $3, 1, 'custom.lost', $4)",
    [tenant.id, eventId, crypto.randomUUID(), payload],
  );
  await asOwner(
    "insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, next_attempt_at) values ($1, $2, $3, $4, now() - interval '5 seconds')",
    [tenant.id, id, webhookId, eventId],
  );
  return { id, eventId };
}

it("a claimed delivery is left to its consumer until the claim runs out", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["custom.*"] });
  const held = await uncalled(tenant, hook.id);
  await asOwner("update webhook_deliveries set claimed_until = now() + interval '1 hour' where id = $1", [held.id]);

  await sweep();
  await deliverTwice(tenant, held.id);
  expect(await receiver.received()).toEqual([]);

  await asOwner("update webhook_deliveries set claimed_until = now() - interval '1 second' where id = $1", [held.id]);
  await sweep();
  await receiver.got(1);
});

async function deliverTwice(tenant: Tenant, id: string): Promise<void> {
  const bodies = [{ tenantId: tenant.id, deliveryIds: [id] }];
  await Promise.all(
    [1, 2].map(async () => {
      const ctx = createExecutionContext();
      await deliverQueued(env, bodies, ctx);
      await waitOnExecutionContext(ctx);
    }),
  );
}

it("all that failed since a time is delivered again, as a job with progress", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["channel.created"], retryCount: 0 });
  await receiver.answers({ status: 500 });
  for (let i = 0; i < 3; i++) await tenant.post("/v1/channels", { name: "x" });
  await vi.waitFor(
    async () =>
      expect((await tenant.get(`/v1/webhook-deliveries?webhookId=${hook.id}&status=exhausted`)).body.data).toHaveLength(
        3,
      ),
    { timeout: 8000 },
  );
  await receiver.answers({ status: 200 });

  const started = await tenant.post(`/v1/webhooks/${hook.id}/redeliver`, { since: HOUR_AGO() });

  expect(started.status).toBe(202);
  await receiver.got(6);
  await vi.waitFor(
    async () =>
      expect((await tenant.get(`/v1/jobs/${started.body.jobId}`)).body).toMatchObject({
        status: "completed",
        progress: { done: 3 },
      }),
    { timeout: 8000 },
  );
});

it("it is the time of the failure that counts, and not that of the event", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["custom.*"] });
  const [late, early] = [await uncalled(tenant, hook.id), await uncalled(tenant, hook.id)];
  await asOwner(
    `update webhook_deliveries set status = 'exhausted', created_at = now() - interval '3 days',
      completed_at = now() - case id when $1 then interval '10 minutes' else interval '2 hours' end where id in ($1, $2)`,
    [late.id, early.id],
  );

  const { jobId } = (await tenant.post(`/v1/webhooks/${hook.id}/redeliver`, { since: HOUR_AGO() })).body;

  expect((await receiver.got(1)).map(({ json }) => json.id)).toEqual([late.eventId]);
  await vi.waitFor(async () => expect((await tenant.get(`/v1/jobs/${jobId}`)).body.status).toBe("completed"));
  expect(await receiver.received()).toHaveLength(1);
  expect((await tenant.get(`/v1/webhook-deliveries/${early.id}`)).body.status).toBe("exhausted");
});

it("what fails again while its job goes on is not taken up by it a second time", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const hook = await newWebhook(tenant, receiver.url, { events: ["custom.*"] });
  await asOwner(
    `with e as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
       select $1::uuid, gen_random_uuid(), 'tenant', $1::uuid, n, 'custom.x', '{}' from generate_series(1, 1200) n returning id)
     insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, status, completed_at)
       select $1::uuid, gen_random_uuid(), $2::uuid, id, 'exhausted', now() from e`,
    [tenant.id, hook.id],
  );
  // Nothing is sent to a disabled endpoint: what the job makes pending is cancelled at once.
  await asOwner("update webhook_health set status = 'disabled' where webhook_id = $1", [hook.id]);

  const { jobId } = (await tenant.post(`/v1/webhooks/${hook.id}/redeliver`, { since: HOUR_AGO() })).body;

  await vi.waitFor(
    async () =>
      expect((await tenant.get(`/v1/jobs/${jobId}`)).body).toMatchObject({
        status: "completed",
        progress: { done: 1200 },
      }),
    { timeout: 12_000 },
  );
});

it("an endpoint gets what it missed before it existed, by its own subscriptions and filter", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  await tenant.put("/v1/event-types/custom.order", { description: "An order", schema: {} });
  for (let total = 1; total <= 4; total++) await tenant.post("/v1/events", { type: "custom.order", data: { total } });
  await tenant.post("/v1/channels", { name: "not wanted" });
  const hook = await newWebhook(tenant, receiver.url, { events: ["custom.order"], filter: { total: { in: [2, 4] } } });

  await tenant.post(`/v1/webhooks/${hook.id}/redeliver`, { since: HOUR_AGO(), mode: "missing" });

  const came = await receiver.got(2);
  expect(came.map((one) => one.json.data.total).sort()).toEqual([2, 4]);
  const { data } = (await tenant.get(`/v1/webhook-attempts?webhookId=${hook.id}`)).body;
  expect(data.every((attempt: Any) => attempt.trigger === "recovery")).toBe(true);
  const tooFar = new Date(Date.now() - 15 * 86_400_000).toISOString();
  expectProblem(
    await tenant.post(`/v1/webhooks/${hook.id}/redeliver`, { since: tooFar }),
    422,
    "invalid_request",
    "since",
  );
});
