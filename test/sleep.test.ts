import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it, vi } from "vitest";
import { Channel } from "../durable-objects/channel";
import { PING } from "../src/live/protocol";
import { newRoom, room, textsOf } from "./live";

afterEach(() => vi.restoreAllMocks());

const userOf = (tenantId: string, userId: string) => env.USER.getByName(`${tenantId}:${userId}`);
const alarmOf = (object: DurableObjectStub) => runInDurableObject(object, (_, { storage }) => storage.getAlarm());

it("what a shadow-banned user types stays their own after the object slept", async () => {
  const { tenant, ann, bob, id, object } = await room();
  await tenant.put(`/v1/channels/${id}/bans/${ann.id}`, { shadow: true });
  const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
  await evictDurableObject(object);

  await mine.ask({ op: "typing", typing: true });
  await mine.until(({ type, typing }) => type === "typing" && typing.length === 1);
  await theirs.ask({ op: "typing", typing: true });

  const seen = await theirs.until(({ type, typing }) => type === "typing" && typing.length > 0);
  expect(seen.typing).toEqual([{ userId: bob.id, parentId: null }]);
});

it("a user's own socket hears of news and invitations after its object slept", async () => {
  const { tenant, ann, bob, id, send } = await room();
  const elsewhere = await newRoom(tenant, [ann]);
  const own = await bob.open();
  const object = userOf(tenant.id, bob.id);

  await evictDurableObject(object);
  const { seq } = await send(ann, "news");
  expect(await own.until(({ type }) => type === "hint")).toEqual({ type: "hint", channelId: id, lastSeq: seq });
  await evictDurableObject(object);
  expect((await ann.post(`/v1/channels/${elsewhere}/invitations`, { userId: bob.id })).status).toBe(201);

  const invited = await own.until(({ type }) => type === "invitation.created");
  expect(invited).toMatchObject({ seq: own.hello.seq + 1, data: { channelId: elsewhere, userId: bob.id } });
});

it("a user's object holds an alarm while there are sockets, and none without", async () => {
  const { tenant, bob } = await room();
  const object = userOf(tenant.id, bob.id);
  expect(await runDurableObjectAlarm(object)).toBe(false);

  const own = await bob.open();
  expect(await runDurableObjectAlarm(object)).toBe(true);
  expect(await runDurableObjectAlarm(object)).toBe(true);

  own.close();
  await vi.waitUntil(async () => !(await runDurableObjectAlarm(object)), { timeout: 5_000 });
  expect(await alarmOf(object)).toBeNull();
});

it("the next alarm is at most 30 seconds away while anybody is there, and no nearer than it must be", async () => {
  const { tenant, bob, id, object } = await room();
  await bob.watch(id);
  await bob.open();

  for (const place of [object, userOf(tenant.id, bob.id)])
    for (const _ of ["first", "second"]) {
      const due = (await alarmOf(place))! - Date.now();
      expect(due).toBeLessThanOrEqual(30_000);
      expect(due).toBeGreaterThan(25_000);
      expect(await runDurableObjectAlarm(place)).toBe(true);
    }
});

it("a ping is answered without the object, which hears all else", async () => {
  const { ann, bob, id, send, object } = await room();
  const socket = await bob.watch(id);
  const hear = vi.spyOn(Channel.prototype, "webSocketMessage");

  socket.say(PING);
  await socket.until(({ type }) => type === "pong");
  expect(hear).not.toHaveBeenCalled();
  await socket.ask({ op: "typing", typing: true });
  expect(hear).toHaveBeenCalledOnce();

  await evictDurableObject(object);
  const pongs = () => socket.frames.filter(({ type }) => type === "pong").length;
  socket.say(PING);
  await vi.waitUntil(() => pongs() === 2);
  expect(hear).toHaveBeenCalledOnce();
  await send(ann, "still there");
  await vi.waitUntil(() => textsOf(socket.events()).includes("still there"));
});
