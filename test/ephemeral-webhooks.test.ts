import { exports } from "cloudflare:workers";
import { Webhook as Verifier } from "standardwebhooks";
import { expect, it } from "vitest";
import type { EphemeralEvent } from "../src/webhooks/ephemeral";
import { newTenant, type Tenant } from "./helpers";
import { newPerson, newRoom } from "./live";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

const hookOf = async (tenant: Tenant, more: Record<string, unknown>) => {
  const receiver = newReceiver();
  const { body } = await tenant.post("/v1/webhooks", { name: "Live", url: receiver.url, ...more });
  return { ...receiver, id: body.id as string, secret: body.secret as string };
};

/** As the channel's object tells it. */
const typing = (tenant: Tenant, channelId: string) =>
  exports.Endpoints.tell(tenant.id, {
    type: "typing.start",
    channelId,
    data: { channelId, userId: crypto.randomUUID(), parentId: null },
  } satisfies EphemeralEvent);

it("what leaves no row goes, signed, to those who name it or its category, and to nobody else", async () => {
  const tenant = await newTenant();
  const room = (await tenant.post("/v1/channels", { name: "a" })).body.id;
  const named = await hookOf(tenant, { events: ["typing.start"] });
  const category = await hookOf(tenant, { events: ["typing.*"], scopes: { channels: [room] } });
  const all = await hookOf(tenant, { events: ["*"] });
  const elsewhere = await hookOf(tenant, { events: ["typing.stop", "user.*"] });

  await typing(tenant, room);
  await typing(tenant, crypto.randomUUID());

  expect(await named.received()).toHaveLength(2);
  const [came, ...more] = await category.received();
  expect(more).toEqual([]);
  const verified = new Verifier(category.secret).verify(came!.body, came!.headers) as Record<string, unknown>;
  expect(verified).toMatchObject({ type: "typing.start", stream: { kind: "channel", id: room } });
  expect(verified).not.toHaveProperty("seq");
  expect(came!.headers["webhook-id"]).toBe(verified.id);
  expect([await all.received(), await elsewhere.received()].flat()).toEqual([]);
  expect(await asOwner("select 1 from webhook_deliveries where tenant_id = $1", [tenant.id])).toEqual([]);
  expect(await asOwner("select 1 from webhook_attempts where tenant_id = $1", [tenant.id])).toEqual([]);
});

it("it is tried once: who fails, rests or has had enough for now has missed it", async () => {
  const tenant = await newTenant();
  const room = (await tenant.post("/v1/channels", { name: "a" })).body.id;
  const failing = await hookOf(tenant, { events: ["typing.*"] });
  const resting = await hookOf(tenant, { events: ["typing.*"] });
  const paced = await hookOf(tenant, { events: ["typing.*"], perSecond: 1 });
  await failing.answers({ status: 500 });
  await asOwner("update webhook_health set paused_until = now() + interval '1 hour' where webhook_id = $1", [
    resting.id,
  ]);

  const started = Math.floor(Date.now() / 1000);
  await Promise.all(Array.from({ length: 20 }, () => typing(tenant, room)));
  const seconds = Math.floor(Date.now() / 1000) - started + 1;

  expect(await failing.received()).toHaveLength(20);
  expect(await resting.received()).toEqual([]);
  expect((await paced.received()).length).toBeLessThanOrEqual(seconds);
});

it.each([
  ["410", { status: 410 }],
  ["webhook-delivery: disable", { headers: { "webhook-delivery": "disable" } }],
])("an endpoint that answers %s is disabled, told of and called no more", async (_, answer) => {
  const tenant = await newTenant();
  const room = (await tenant.post("/v1/channels", { name: "a" })).body.id;
  const hook = await hookOf(tenant, { events: ["typing.*"] });
  const other = await hookOf(tenant, { events: ["typing.*", "webhook.*"] });
  await hook.answers(answer);

  await typing(tenant, room);
  await typing(tenant, room);

  expect(await hook.received()).toHaveLength(1);
  expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({ status: "disabled", enabled: true });
  const came = (await other.got(3)).map(({ json }) => json.type);
  expect(came.sort()).toEqual(["typing.start", "typing.start", "webhook.disabled"]);
});

it("who types and who is there reaches them straight from the channel's sockets", async () => {
  const tenant = await newTenant();
  const hook = await hookOf(tenant, { events: ["typing.*", "user.presence.changed"] });
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const room = await newRoom(tenant, [ann, bob]);
  const socket = await ann.watch(room);
  await bob.watch(room);

  await socket.ask({ op: "typing", typing: true });
  await socket.ask({ op: "typing", typing: true });
  await socket.ask({ op: "typing", typing: false });
  await socket.ask({ op: "presence", presence: "away" });

  const came = (await hook.got(5)).map(({ json }) => ({ type: json.type, ...json.data }));
  const typed = { channelId: room, userId: ann.id, parentId: null };
  const present = { type: "user.presence.changed", channelId: room };
  expect(came).toHaveLength(5);
  expect(came).toEqual(
    expect.arrayContaining([
      { ...present, userId: ann.id, presence: "online" },
      { ...present, userId: bob.id, presence: "online" },
      { type: "typing.start", ...typed },
      { type: "typing.stop", ...typed },
      { ...present, userId: ann.id, presence: "away" },
    ]),
  );
  expect(await asOwner("select 1 from events where tenant_id = $1 and type ~ 'typing|presence'", [tenant.id])).toEqual(
    [],
  );
});
