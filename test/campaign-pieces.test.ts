import { describe, expect, it } from "vitest";
import { type Any, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { eventually } from "./jobs";
import { betweenDatabase } from "./outbound";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

/** A piece of a campaign has 200 targets. */
const TARGETS = 450;
const FIRST_PIECE = 200;

async function begun(tenant: Tenant) {
  const sender = await newUser(tenant);
  const channels = await asOwner<{ id: string }>(
    `with made as (insert into channels (tenant_id, id, type) select $1, gen_random_uuid(), 'messaging' from generate_series(1, ${TARGETS}) returning id),
       put as (insert into channel_members (tenant_id, channel_id, user_id, role) select $1, id, $2, 'owner' from made)
     select id from made`,
    [tenant.id, sender.id],
  );
  const input = { name: "News", message: { text: "Hear, hear" }, senderId: sender.id };
  const { id } = (await tenant.post("/v1/campaigns", input)).body;
  const channelIds = channels.map((one) => one.id);
  expect((await tenant.post(`/v1/campaigns/${id}/targets`, { channelIds })).status).toBe(200);
  return id;
}

/** Does something once the first piece is sent and noted. */
async function afterFirstPiece(act: () => Promise<unknown>, run: () => Promise<unknown>): Promise<void> {
  let pieces = 0;
  await betweenDatabase(async ({ queries, send }) => {
    const answer = await send();
    if (queries.includes("update campaign_targets t set status") && ++pieces === 1) await act();
    return answer;
  }, run);
}

/** As the cron would, some time later. */
async function lookAgain(id: string): Promise<void> {
  await asOwner(
    "update scheduled_jobs set run_at = now() - interval '1 second', locked_until = null where status in ('pending', 'running') and payload ->> 'campaignId' = $1",
    [id],
  );
  await sweep();
}

const sentIn = async (tenant: Tenant) =>
  (
    await asOwner<Any>(
      "select count(*)::int as messages, count(distinct channel_id)::int as channels from messages where tenant_id = $1",
      [tenant.id],
    )
  )[0];

describe("while it is sending", () => {
  it.each([
    ["pause", "paused"],
    ["cancel", "cancelled"],
  ])(
    "%s stops a campaign before its next piece; resumed after a pause, it reaches each target once",
    async (verb, status) => {
      const tenant = await newTenant();
      const id = await begun(tenant);
      const get = async (): Promise<Any> => (await tenant.get(`/v1/campaigns/${id}`)).body;

      await afterFirstPiece(
        async () => expect((await tenant.post(`/v1/campaigns/${id}/${verb}`)).body.status).toBe(status),
        async () => {
          expect((await tenant.post(`/v1/campaigns/${id}/start`)).status).toBe(200);
          await eventually(async () => expect((await get()).status).toBe(status));
          await lookAgain(id);
        },
      );

      expect(await get()).toMatchObject({ status, counts: { sent: FIRST_PIECE, pending: TARGETS - FIRST_PIECE } });
      expect(await sentIn(tenant)).toEqual({ messages: FIRST_PIECE, channels: FIRST_PIECE });
      const resumed = await tenant.post(`/v1/campaigns/${id}/resume`);
      if (verb === "cancel") return expectProblem(resumed, 409, "conflict");
      expect(resumed.status).toBe(200);
      await eventually(async () =>
        expect(await get()).toMatchObject({ status: "completed", counts: { sent: TARGETS, failed: 0, pending: 0 } }),
      );
      expect(await sentIn(tenant)).toEqual({ messages: TARGETS, channels: TARGETS });
    },
  );
});
