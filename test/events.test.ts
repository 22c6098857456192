import { expect, it } from "vitest";
import { CATALOGUE, type EventKind } from "../src/events/catalogue";
import type { NewEvent } from "../src/events/service";
import { z } from "../src/lib/validate";
import { type Any, client, expectProblem, newTenant, newUser } from "./helpers";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

it("events of one stream are numbered without a gap and listed in their order", async () => {
  const tenant = await newTenant();
  const user = await newUser(tenant);
  await tenant.put("/v1/event-types/custom.step", {
    description: "A step",
    stream: "user",
    schema: { type: "object", required: ["n"] },
  });
  for (let n = 1; n <= 5; n++) await tenant.post("/v1/events", { type: "custom.step", userId: user.id, data: { n } });

  const first = await tenant.get(`/v1/events?stream=user&streamId=${user.id}&limit=3`);
  const rest = await tenant.get(`/v1/events?stream=user&streamId=${user.id}&limit=3&cursor=${first.body.nextCursor}`);
  const later = await tenant.get(`/v1/events?stream=user&streamId=${user.id}&afterSeq=3`);

  expect([...first.body.data, ...rest.body.data].map((e: Any) => [e.seq, e.data.n])).toEqual(
    [1, 2, 3, 4, 5].map((n) => [n, n]),
  );
  expect(rest.body.nextCursor).toBeNull();
  expect(later.body.data.map((e: Any) => e.seq)).toEqual([4, 5]);
});

it("an event of the tenant's own must fit the JSON Schema it was registered with", async () => {
  const tenant = await newTenant();
  const schema = { type: "object", properties: { total: { type: "number" } }, required: ["total"] };
  await tenant.put("/v1/event-types/custom.order", { description: "An order", schema });

  const good = await tenant.post("/v1/events", { type: "custom.order", data: { total: 3 } });
  expect(good.status).toBe(201);
  expect(good.body).toMatchObject({
    type: "custom.order",
    stream: { kind: "tenant", id: tenant.id },
    seq: 1,
    data: { total: 3 },
  });
  expect((await tenant.get(`/v1/events/${good.body.id}`)).body).toEqual(good.body);
  const bad = await tenant.post("/v1/events", { type: "custom.order", data: { total: "three" } });
  expectProblem(bad, 422, "invalid_request");
  expect(bad.body.errors.map((e: Any) => e.path)).toContain("data.total");
  expectProblem(await tenant.post("/v1/events", { type: "custom.unknown", data: 1 }), 422, "invalid_request", "type");
  expectProblem(await tenant.post("/v1/events", { type: "message.new", data: {} }), 422, "invalid_request", "type");
});

const SEED_TYPES = [
  ...["message.new", "message.updated", "message.deleted", "channel.created", "channel.updated", "channel.deleted"],
  ...["user.presence.changed", "user.banned", "user.updated", "member.added", "member.removed"],
  ...["reaction.new", "reaction.deleted", "typing.start", "typing.stop"],
];

it("event types are listed with their subscribers, each endpoint counted once, and the share of all endpoints", async () => {
  const tenant = await newTenant();
  const hook = (events: string[], more = {}) =>
    tenant.post("/v1/webhooks", { name: "x", url: "http://127.0.0.1:4040/", events, ...more });
  await hook(["message.*", "message.new"]);
  await hook(["*", "message.new"]);
  await hook(["typing.start", "message.shadowed"]);
  await hook(["reaction.new"]);
  await hook(["message.new"], { kind: "before_message_send" });

  const all = (await tenant.get("/v1/event-types")).body.data;
  const messages = (await tenant.get("/v1/event-types?category=message")).body.data;

  expect(all.map(({ name }: Any) => name)).toEqual(expect.arrayContaining(SEED_TYPES));
  const seen = (name: string) => {
    const { subscribers, adoptionRate } = all.find((type: Any) => type.name === name);
    return [subscribers, adoptionRate];
  };
  expect(seen("message.new")).toEqual([2, 0.5]);
  expect(seen("reaction.new")).toEqual([2, 0.5]);
  expect(seen("message.shadowed")).toEqual([1, 0.25]);
  expect(seen("typing.start")).toEqual([1, 0.25]);
  expect(seen("typing.stop")).toEqual([0, 0]);
  expect(messages.every((type: Any) => type.category === "message")).toBe(true);
  expect(messages[0]).toMatchObject({ durable: true, stream: "channel", custom: false, active: true });
});

it("a deprecated type stays with its subscribers and takes no new ones", async () => {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  const put = (active: boolean) => tenant.put("/v1/event-types/custom.old", { description: "Old", schema: {}, active });
  await put(true);
  const hook = (events: string[]) => tenant.post("/v1/webhooks", { name: "x", url: receiver.url, events });
  const { id } = (await hook(["custom.old"])).body;
  const other = (await hook(["message.new"])).body.id;

  await put(false);

  expectProblem(await hook(["custom.old"]), 422, "invalid_request", "events.0");
  const late = { events: ["message.new", "custom.old"] };
  expectProblem(await tenant.patch(`/v1/webhooks/${other}`, late), 422, "invalid_request", "events.1");
  expect((await tenant.patch(`/v1/webhooks/${id}`, late)).status).toBe(200);
  expect((await tenant.post("/v1/events", { type: "custom.old", data: 1 })).status).toBe(201);
  expect((await receiver.got(1))[0]!.json).toMatchObject({ type: "custom.old", data: 1 });
  expectProblem(await tenant.delete("/v1/event-types/custom.old"), 409, "event_type_in_use");
  const inactive = (await tenant.get("/v1/event-types?active=false")).body.data;
  expect(inactive).toMatchObject([{ name: "custom.old", subscribers: 1, custom: true }]);
});

it("a repeated request with an Idempotency-Key records one event and answers the same", async () => {
  const tenant = await newTenant();
  await tenant.put("/v1/event-types/custom.once", { description: "Once", schema: {} });
  const send = () =>
    tenant.post("/v1/events", { type: "custom.once", data: 1 }, { headers: { "Idempotency-Key": "k1" } });

  const [first, second] = [await send(), await send()];

  expect(second.body).toEqual(first.body);
  expect(second.headers.get("Idempotency-Replayed")).toBe("true");
  expect((await tenant.get("/v1/events?type=custom.once")).body.data).toHaveLength(1);
});

it("what is not in the catalogue, does not fit it, or leaves no row, does not compile as an event to record", () => {
  const stream = { kind: "tenant" as const, id: "t" };
  // @ts-expect-error There is no such type.
  const unknown: NewEvent = { type: "message.nwe", stream, data: {} };
  // @ts-expect-error Its data is another.
  const unfit: NewEvent = { type: "webhook.test", stream, data: { webhookId: "w" } };
  // @ts-expect-error It reaches sockets and webhooks at most once.
  const passing: NewEvent = { type: "typing.start", stream, data: { channelId: "c", userId: "u", parentId: null } };

  expect([unknown, unfit, passing]).toHaveLength(3);
});

const KINDS = Object.entries(CATALOGUE as Record<string, EventKind>);

it("the database holds a row of each type of the catalogue, as it is there", async () => {
  const rows = await asOwner<{ name: string }>(
    `select name, category, description, version, durable, stream, active, schema from webhook_event_types
      where tenant_id = '00000000-0000-0000-0000-000000000000' and (active or name = any($1::text[])) order by name collate "C"`,
    [Object.keys(CATALOGUE)],
  );

  const wanted = KINDS.map(([name, { category, description, version, durable, stream, active, data }]) => ({
    ...{ name, category, description, version, durable, stream, active },
    schema: JSON.parse(JSON.stringify(z.toJSONSchema(data, { unrepresentable: "any" }))),
  }));
  expect(rows).toEqual(wanted.sort((a, b) => (a.name < b.name ? -1 : 1)));
});

it("the OpenAPI document describes each event of the catalogue as a webhook, with a seq where it is durable", async () => {
  const { webhooks } = (await client(null).get("/openapi.json")).body;

  const described = Object.entries<Any>(webhooks).map(([name, { post }]) => {
    const { properties, required } = post.requestBody.content["application/json"].schema;
    return [name, post.summary, "data" in properties, "seq" in properties, required.includes("seq")];
  });
  const wanted = KINDS.map(([name, { description, durable }]) => [name, description, true, durable, durable]);
  expect(described.sort()).toEqual(wanted.sort());
});
