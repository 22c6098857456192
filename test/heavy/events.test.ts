import { expect, inject, it } from "vitest";
import { type Any, newTenant, newUser } from "../helpers";
import { newReceiver } from "../receiver";
import { asOwner } from "../setup/owner";
import "../setup/provided";

it.runIf(inject("realPostgres"))(
  "50 concurrent writers leave no gap and no repeat in channel, user and tenant streams",
  async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant);
    const channel = (await tenant.post("/v1/channels", { name: "busy" })).body;
    const places: Record<string, object> = {
      channel: { channelId: channel.id },
      user: { userId: user.id },
      tenant: {},
    };
    for (const stream of Object.keys(places))
      await tenant.put(`/v1/event-types/custom.${stream}`, { description: stream, stream, schema: {} });

    await Promise.all(
      Array.from({ length: 50 }, async (_, writer) => {
        for (const [stream, place] of Object.entries(places)) {
          for (let n = 0; n < 4; n++) {
            const sent = await tenant.post("/v1/events", { type: `custom.${stream}`, data: { writer, n }, ...place });
            expect(sent.status).toBe(201);
          }
        }
      }),
    );

    for (const [stream, id] of Object.entries({ channel: channel.id, user: user.id, tenant: tenant.id })) {
      const seqs: number[] = [];
      for (let cursor = ""; ; ) {
        const page = (await tenant.get(`/v1/events?stream=${stream}&streamId=${id}&limit=100${cursor}`)).body;
        seqs.push(...page.data.map((e: Any) => e.seq));
        if (!page.nextCursor) break;
        cursor = `&cursor=${page.nextCursor}`;
      }
      expect(seqs).toEqual(Array.from({ length: stream === "channel" ? 201 : 200 }, (_, i) => i + 1));
    }
  },
);

it.runIf(inject("realPostgres"))(
  "a type is never taken away from an endpoint that subscribes at that moment",
  async () => {
    const [tenant, { url }] = [await newTenant(), newReceiver()];
    const events = ["custom.brief"];
    const outcomes = new Set<string>();
    for (let round = 0; round < 40; round++) {
      await tenant.put("/v1/event-types/custom.brief", { description: "Brief", schema: {} });
      const other = (await tenant.post("/v1/webhooks", { name: "x", url, events: ["channel.created"] })).body;

      const [made, changed, removed] = await Promise.all([
        tenant.post("/v1/webhooks", { name: "y", url, events }),
        tenant.patch(`/v1/webhooks/${other.id}`, { events }),
        tenant.delete("/v1/event-types/custom.brief"),
      ]);

      const [orphans] = await asOwner<{ n: number }>(
        `select count(*)::int as n from webhook_subscriptions s where s.tenant_id = $1 and s.name = 'custom.brief'
        and not exists (select 1 from webhook_event_types t where t.tenant_id = s.tenant_id and t.name = s.name)`,
        [tenant.id],
      );
      const answers = [made.status, changed.status, removed.status];
      expect([answers, orphans!.n]).toEqual([answers, 0]);
      for (const status of answers) expect([200, 201, 204, 409, 422]).toContain(status);
      outcomes.add(String(removed.status));
      for (const id of [made.body.id, other.id]) if (id) await tenant.delete(`/v1/webhooks/${id}`);
      await tenant.delete("/v1/event-types/custom.brief");
    }
    expect([...outcomes].sort()).toEqual(["204", "409"]);
  },
);
