import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Any } from "./helpers";
import { newPerson, newRoom, room, type Socket } from "./live";
import { asOwner } from "./setup/owner";

type Object = Awaited<ReturnType<typeof room>>["object"];

const presencesIn = ({ frames }: Socket) =>
  frames.filter(({ type }) => type === "presence").map(({ userId, presence }) => `${userId} ${presence}`);
const lastTyping = ({ frames }: Socket) => frames.findLast(({ type }) => type === "typing")?.typing;

/** As if a user's sockets had been as they are for so much longer, and the object had slept meanwhile. */
async function aged(object: Object, userId: string, what: "activeAt" | "since", ms: number): Promise<void> {
  await runInDurableObject(object, (_, state) => {
    for (const socket of state.getWebSockets()) {
      const kept = socket.deserializeAttachment();
      if (kept.userId === userId)
        socket.serializeAttachment({ ...kept, activeAt: kept.activeAt - ms, [what]: kept[what] - ms });
    }
  });
  await evictDurableObject(object);
}

afterEach(() => vi.restoreAllMocks());

/** Objects share the clock of the test. */
function later(ms: number): void {
  vi.restoreAllMocks();
  const { now } = Date;
  vi.spyOn(Date, "now").mockImplementation(() => now.call(Date) + ms);
}

describe("typing", () => {
  it("the whole set of those who type is told, in the channel and in each thread, and an end after five seconds", async () => {
    const { ann, bob, id, send } = await room();
    const parent = await send(bob, "parent");
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];

    expect((await mine.ask({ op: "typing", typing: true })).type).toBe("ack");
    await theirs.until(({ type, typing }) => type === "typing" && typing.length === 1);
    expect(theirs.frames.at(-1)).toEqual({
      type: "typing",
      channelId: id,
      typing: [{ userId: ann.id, parentId: null }],
    });
    await mine.ask({ op: "typing", typing: true, parentId: parent.id });
    await theirs.until(({ type, typing }) => type === "typing" && typing.length === 2);
    await mine.ask({ op: "typing", typing: false });
    await vi.waitUntil(() => lastTyping(theirs).length === 1);
    expect(lastTyping(theirs)).toEqual([{ userId: ann.id, parentId: parent.id }]);
    expect((await bob.watch(id)).hello.typing).toEqual([{ userId: ann.id, parentId: parent.id }]);

    await theirs.until(({ type, typing }) => type === "typing" && typing.length === 0);
  });

  it("who has sent it types it no more", async () => {
    const { ann, bob, id, send } = await room();
    const parent = await send(bob, "parent");
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
    await mine.ask({ op: "typing", typing: true });
    await mine.ask({ op: "typing", typing: true, parentId: parent.id });
    await vi.waitUntil(() => lastTyping(theirs)?.length === 2);

    await mine.ask({ op: "send", message: { text: "a reply", parentId: parent.id } });
    await vi.waitUntil(() => lastTyping(theirs).length === 1);
    expect(lastTyping(theirs)).toEqual([{ userId: ann.id, parentId: null }]);
    await send(ann, "over HTTP");
    await vi.waitUntil(() => lastTyping(theirs).length === 0);
  });

  it("is refused where the channel's settings or one's standing say so, from the moment they do", async () => {
    const { tenant, ann, bob, id } = await room();
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
    const typing = async () => (await mine.ask({ op: "typing", typing: true })).code ?? "ack";
    expect(await typing()).toBe("ack");
    const quiet = await ann.watch(await newRoom(tenant, [ann], { settings: { typing: false } }));
    expect(await quiet.ask({ op: "typing", typing: true })).toMatchObject({ type: "nack", code: "not_allowed" });
    await tenant.patch(`/v1/channels/${id}`, { settings: { typing: false } });
    await vi.waitUntil(async () => (await typing()) === "not_allowed", { interval: 600, timeout: 5_000 });
    await tenant.patch(`/v1/channels/${id}`, { settings: { typing: true } });
    await vi.waitUntil(async () => (await typing()) === "ack", { interval: 600, timeout: 5_000 });
    expect(theirs.closed).toBeNull();
  });
});

describe("presence", () => {
  it("who comes is online, who is invisible or away is shown so, folded over their devices", async () => {
    const { ann, bob, id } = await room();
    const watcher = await bob.watch(id);
    const phone = await ann.watch(id);
    await watcher.until(({ type, presence }) => type === "presence" && presence === "online");
    expect(phone.hello.watchers).toContainEqual({ userId: bob.id, presence: "online" });
    const laptop = await ann.watch(id);
    await phone.ask({ op: "presence", presence: "away" });
    expect(presencesIn(watcher)).toHaveLength(1);
    await laptop.ask({ op: "presence", presence: "invisible" });
    await watcher.until(({ type, presence }) => type === "presence" && presence === "away");
    await phone.ask({ op: "presence", presence: "invisible" });
    await watcher.until(({ type, presence }) => type === "presence" && presence === "offline");
  });

  it("said on a user's own socket it holds for the same device in the channels it watches", async () => {
    const { ann, bob, id } = await room();
    const watcher = await bob.watch(id);
    await ann.watch(id, "?deviceId=phone");
    await ann.watch(id, "?deviceId=laptop&presence=away");
    const own = await ann.open("?deviceId=phone");
    await watcher.until(({ presence }) => presence === "online");
    expect((await own.ask({ op: "presence", presence: "invisible" })).type).toBe("ack");
    await watcher.until(({ presence }) => presence === "away");
    expect(presencesIn(watcher)).toEqual([`${ann.id} online`, `${ann.id} away`]);
  });

  it("who comes invisible is seen by nobody", async () => {
    const { ann, bob, id, send } = await room();
    const watcher = await bob.watch(id);
    const hidden = await ann.watch(id, "?presence=invisible");
    await ann.open("?presence=invisible");
    const { seq } = await send(bob, "mark");
    await watcher.until((frame) => frame.seq === seq);

    expect(presencesIn(watcher)).toEqual([]);
    expect(hidden.hello.watchers).toEqual([{ userId: bob.id, presence: "online" }]);
    expect((await bob.get(`/v1/channels/${id}/watchers`)).body.data.map(({ userId }: Any) => userId)).toEqual([bob.id]);
    expect((await bob.get(`/v1/channels/${id}/online`)).body.data.map(({ userId }: Any) => userId)).toEqual([bob.id]);
  });

  it("a short drop shows nobody a flap, a longer one that its user is gone", async () => {
    const { ann, bob, id, send, object } = await room();
    const watcher = await bob.watch(id);
    const first = await ann.watch(id);
    await watcher.until(({ type }) => type === "presence");
    const gone = () => asOwner("select 1 from live_sockets where user_id = $1", [ann.id]);
    first.close();
    await vi.waitUntil(async () => (await gone()).length === 0);
    const second = await ann.watch(id);
    const { seq } = await send(bob, "mark");
    await watcher.until((frame) => frame.seq === seq);
    expect(presencesIn(watcher)).toHaveLength(1);

    second.close();
    await vi.waitUntil(async () => (await gone()).length === 0);
    await evictDurableObject(object);
    later(14_000);
    expect((await object.online()).map(({ userId }) => userId)).toContain(ann.id);
    later(16_000);
    expect((await object.online()).map(({ userId }) => userId)).not.toContain(ann.id);
    await vi.waitUntil(() => presencesIn(watcher).length === 2);
    expect(presencesIn(watcher).at(-1)).toBe(`${ann.id} offline`);
  });

  it("after five idle minutes one is away, and with the next word back", async () => {
    const { ann, bob, id, object } = await room();
    const [watcher, idle] = [await bob.watch(id), await ann.watch(id)];
    await watcher.until(({ type }) => type === "presence");
    await aged(object, ann.id, "activeAt", 300_000);
    await runDurableObjectAlarm(object);
    await watcher.until(({ presence }) => presence === "away");
    await idle.ask({ op: "typing", typing: true });
    await vi.waitUntil(() => presencesIn(watcher).length === 3);

    expect(presencesIn(watcher)).toEqual([`${ann.id} online`, `${ann.id} away`, `${ann.id} online`]);
  });

  it("a client that was killed is offline with the first alarm after its silence", async () => {
    const { ann, bob, id, object } = await room();
    const [watcher, killed] = [await bob.watch(id), await ann.watch(id)];
    await watcher.until(({ type }) => type === "presence");
    await aged(object, ann.id, "since", 14_000);
    await runDurableObjectAlarm(object);
    await watcher.until(({ presence }) => presence === "offline");

    expect(killed.frames.at(-1)).toEqual({ type: "bye", code: "silent" });
    expect(watcher.closed).toBeNull();
    await vi.waitUntil(
      async () => (await asOwner("select 1 from live_sockets where user_id = $1", [ann.id])).length === 0,
    );
  });

  it("in a crowd it is told less often, and never left out", async () => {
    const { tenant, ann, bob, id } = await room();
    const carol = await newPerson(tenant);
    await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: carol.id }] });
    const crowd = await Promise.all(Array.from({ length: 100 }, () => bob.watch(id)));
    const one = await ann.watch(id);
    await one.ask({ op: "typing", typing: true });
    await one.ask({ op: "presence", presence: "away" });
    const other = await carol.watch(id);
    await other.ask({ op: "typing", typing: true });

    for (const socket of [crowd[0]!, crowd[99]!]) {
      await vi.waitUntil(() => lastTyping(socket)?.length === 2 && presencesIn(socket).length >= 2, { timeout: 5_000 });
      expect(presencesIn(socket).sort()).toEqual([`${ann.id} away`, `${carol.id} online`].sort());
      expect(socket.frames.filter(({ type }) => type === "typing").length).toBeLessThanOrEqual(2);
    }
  });
});

it("who watches a channel, and which members are online, are listed page by page", async () => {
  const { tenant, ann, bob, id } = await room();
  const [carol, dave] = [await newPerson(tenant), await newPerson(tenant)];
  await tenant.post(`/v1/channels/${id}/members`, { members: [carol, dave].map((one) => ({ userId: one.id })) });
  await ann.watch(id);
  await carol.open();
  await bob.watch(id, "?presence=away");
  const listed = async (what: string) => {
    const data: Any[] = [];
    for (let cursor = ""; ; ) {
      const { body } = await ann.get(`/v1/channels/${id}/${what}?limit=1${cursor}`);
      data.push(...body.data);
      if (body.nextCursor === null) return Object.fromEntries(data.map(({ userId, presence }) => [userId, presence]));
      cursor = `&cursor=${body.nextCursor}`;
    }
  };

  expect(await listed("watchers")).toEqual({ [ann.id]: "online", [bob.id]: "away" });
  expect(await listed("online")).toEqual({ [ann.id]: "online", [bob.id]: "away", [carol.id]: "online" });
});
