import { createExecutionContext } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { asSystem } from "../src/auth/system";
import { CATALOGUE, type EventKind } from "../src/events/catalogue";
import { type NewEvent, recordEvents } from "../src/events/service";
import { asTenant } from "../src/lib/db";
import type { z } from "../src/lib/validate";
import { type Any, newUser, type Tenant } from "./helpers";
import { newPost } from "./mail";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

type Scopes = { channels?: string[]; inboxes?: string[]; media?: string[] };

async function hookOf(tenant: Tenant, scopes: Scopes, events = ["*"]) {
  const receiver = newReceiver();
  const made = await tenant.post("/v1/webhooks", { name: "Scoped", url: receiver.url, scopes, events });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return { ...receiver, id: made.body.id as string };
}

/** A channel of an inbox and of a medium of its own, and an endpoint for each scope that it is in and out of. */
async function scoped(events?: string[]) {
  const { tenant, inbox } = await newPost();
  const other = await newPost({ localPart: "other" }, tenant);
  const made = await tenant.post("/v1/channels", { name: "vip" });
  const channelId = made.body.id as string;
  const elsewhere = (await tenant.post("/v1/channels", { name: "not vip" })).body.id as string;
  await asOwner("update channels set medium = 'sms', inbox_id = $2 where id = $1", [channelId, inbox.id]);
  const held: Scopes[] = [
    { channels: [elsewhere, channelId] },
    { inboxes: [inbox.id] },
    { media: ["sms"] },
    { channels: [channelId], inboxes: [inbox.id], media: ["sms", "email"] },
  ];
  const broken: Scopes[] = [
    { channels: [elsewhere] },
    { inboxes: [other.inbox.id] },
    { media: ["chat"] },
    { channels: [channelId], media: ["chat"] },
  ];
  const inside = await Promise.all(held.map((scopes) => hookOf(tenant, scopes, events)));
  const outside = await Promise.all(broken.map((scopes) => hookOf(tenant, scopes, events)));
  return { tenant, channelId, elsewhere, inbox, inside, outside };
}

const heardBy = async (tenant: Tenant, type: string): Promise<string[]> =>
  (
    await asOwner<{ id: string }>(
      `select distinct d.webhook_id as id from webhook_deliveries d join events e on e.tenant_id = d.tenant_id and e.id = d.event_id
        where e.tenant_id = $1 and e.type = $2`,
      [tenant.id, type],
    )
  ).map(({ id }) => id);

const types = Object.entries(CATALOGUE as Record<string, EventKind>)
  .filter(
    ([, { durable, stream, data }]) =>
      durable && (stream === "channel" || (stream === "user" && "channelId" in (data as z.ZodObject).shape)),
  )
  .map(([type, kind]) => ({ type, kind }));

it("each event of a channel reaches the scopes that the channel is in, and no others", async () => {
  const { tenant, channelId, inside, outside } = await scoped(["*", ...types.map(({ type }) => type)].slice(0, 100));
  const exec = createExecutionContext();
  const user = crypto.randomUUID();
  const news = types.map(({ type, kind }) => ({
    type,
    stream: kind.stream === "channel" ? { kind: "channel", id: channelId } : { kind: "user", id: user },
    data: { channelId },
  })) as unknown as NewEvent[];

  await asSystem(
    env,
    tenant.id,
    (work) => exec.waitUntil(work),
    (ctx) => asTenant(ctx, [recordEvents(ctx, news)]),
  );

  expect(types.map(({ type }) => type)).toEqual(
    expect.arrayContaining(["invitation.created", "delivery.updated", "user.banned"]),
  );
  const wanted = inside.map(({ id }) => id).sort();
  for (const { type } of types) expect([type, (await heardBy(tenant, type)).sort()]).toEqual([type, wanted]);
  expect(outside.length).toBe(4);
});

it("what is done in a channel of an inbox reaches its scopes from every side", async () => {
  const events = ["channel.*", "member.*", "invitation.*", "custom.*", "user.*", "typing.*", "message.*"];
  const { tenant, channelId, inside, outside } = await scoped(events);
  await tenant.put("/v1/event-types/custom.step", { description: "A step", stream: "channel", schema: {} });
  const [ann, bob] = [await newUser(tenant), await newUser(tenant)];
  const done = async (answer: Promise<Any>) => {
    const { status, body } = await answer;
    expect(status, JSON.stringify(body)).toBeLessThan(300);
  };
  await asOwner("update channels set inbox_id = null where id = $1", [channelId]);
  await done(tenant.post(`/v1/channels/${channelId}/members`, { members: [{ userId: ann.id }] }));
  await done(tenant.post(`/v1/channels/${channelId}/invitations`, { userId: bob.id }));
  const withoutInbox = await heardBy(tenant, "member.added");
  expect(withoutInbox.sort()).toEqual([inside[0]!.id, inside[2]!.id].sort());
  expect((await heardBy(tenant, "invitation.created")).sort()).toEqual(withoutInbox.sort());

  const inbox = (await tenant.get(`/v1/webhooks/${inside[1]!.id}`)).body.scopes.inboxes[0];
  await asOwner("update channels set inbox_id = $2 where id = $1", [channelId, inbox]);
  await done(tenant.post("/v1/events", { type: "custom.step", channelId, data: {} }));
  await done(tenant.patch(`/v1/channels/${channelId}`, { name: "very vip" }));
  await exports.Endpoints.tell(tenant.id, {
    type: "typing.start",
    channelId,
    data: { channelId, userId: ann.id, parentId: null },
  });
  await done(tenant.delete(`/v1/channels/${channelId}`));

  const all = inside.map(({ id }) => id).sort();
  for (const type of ["custom.step", "channel.updated", "channel.deleted"])
    expect([type, (await heardBy(tenant, type)).sort()]).toEqual([type, all]);
  for (const hook of inside)
    await vi.waitFor(async () =>
      expect((await hook.received()).map(({ json }) => json.type)).toContain("typing.start"),
    );
  for (const hook of outside)
    expect((await hook.received()).map(({ json }) => json.type)).not.toContain("typing.start");
});

it("a scoped endpoint gets of what it missed what is in its scopes", async () => {
  const { tenant, channelId, elsewhere, inbox } = await scoped(["webhook.test"]);
  await tenant.put("/v1/event-types/custom.step", { description: "A step", stream: "channel", schema: {} });
  for (const place of [channelId, elsewhere])
    await tenant.post("/v1/events", { type: "custom.step", channelId: place, data: { place } });
  const since = new Date(Date.now() - 3_600_000).toISOString();
  const [mine, other] = [
    await hookOf(tenant, { inboxes: [inbox.id], media: ["sms"] }, ["custom.*"]),
    await hookOf(tenant, { media: ["email"] }, ["custom.*"]),
  ];

  const jobs = await Promise.all(
    [mine, other].map(({ id }) => tenant.post(`/v1/webhooks/${id}/redeliver`, { since, mode: "missing" })),
  );

  expect((await mine.got(1)).map(({ json }) => json.data)).toEqual([{ place: channelId }]);
  for (const { body } of jobs)
    await vi.waitFor(async () => expect((await tenant.get(`/v1/jobs/${body.jobId}`)).body.status).toBe("completed"), {
      timeout: 8000,
    });
  expect(await other.received()).toEqual([]);
  expect(await mine.received()).toHaveLength(1);
});
