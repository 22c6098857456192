import { expect, inject, it } from "vitest";
import { type Any, newTenant, newUser } from "../helpers";
import "../setup/provided";
import { asOwner } from "../setup/owner";

const TARGETS = inject("broadcastTargets");

it.runIf(inject("realPostgres"))(
  `a broadcast reaches each of ${TARGETS} channels once`,
  { timeout: 600_000 },
  async () => {
    const tenant = await newTenant();
    const sender = await newUser(tenant);
    await asOwner(
      `with made as (insert into channels (tenant_id, id, type) select $1, gen_random_uuid(), 'messaging' from generate_series(1, ${TARGETS}) returning id)
       insert into channel_members (tenant_id, channel_id, user_id, role) select $1, id, $2, 'owner' from made`,
      [tenant.id, sender.id],
    );
    const { id } = (await tenant.post("/v1/campaigns", { name: "All", message: { text: "Hi" }, senderId: sender.id }))
      .body;
    await asOwner(
      `insert into campaign_targets (tenant_id, id, campaign_id, channel_id) select $1, gen_random_uuid(), $2, c.id from channels c where c.tenant_id = $1`,
      [tenant.id, id],
    );
    const began = Date.now();

    await tenant.post(`/v1/campaigns/${id}/start`);

    await expect
      .poll(async () => (await tenant.get(`/v1/campaigns/${id}`)).body.status, { timeout: 500_000, interval: 2_000 })
      .toBe("completed");
    console.log(`${TARGETS} targets in ${Math.round((Date.now() - began) / 1000)} s`);
    const { counts } = (await tenant.get(`/v1/campaigns/${id}`)).body;
    expect(counts).toMatchObject({ targets: TARGETS, sent: TARGETS, failed: 0, pending: 0 });
    const [found] = await asOwner<Any>(
      "select count(*)::int as messages, count(distinct channel_id)::int as channels from messages where tenant_id = $1",
      [tenant.id],
    );
    expect(found).toEqual({ messages: TARGETS, channels: TARGETS });
  },
);
