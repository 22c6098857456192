import fc from "fast-check";
import { expect, it } from "vitest";
import { type Any, newTenant } from "./helpers";
import { newPerson, newRoom, type Person } from "./live";

async function room() {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  return { tenant, ann, bob, id: await newRoom(tenant, [ann, bob]) };
}
const say = async (as: Person, id: string, text: string, more: object = {}): Promise<Any> =>
  (await as.post(`/v1/channels/${id}/messages`, { text, ...more })).body;
const own = async (as: Person, id: string) => (await as.get(`/v1/channels/${id}`)).body.own;

it("a mark moves on and never runs ahead; what does not move it is not told", async () => {
  const { tenant, ann, bob, id } = await room();
  const one = await say(ann, id, "one");
  const two = await say(ann, id, "two");
  const before = Date.now();

  expect((await own(bob, id)).unread).toBe(2);
  const read = await bob.post(`/v1/channels/${id}/read`, { seq: one.seq });
  expect(read.body).toMatchObject({ readSeq: one.seq, unread: 1 });
  await bob.post(`/v1/channels/${id}/read`, { seq: one.seq });
  await bob.post(`/v1/channels/${id}/read`, { seq: 0 });
  expect((await bob.post(`/v1/channels/${id}/read`, { seq: Number.MAX_SAFE_INTEGER })).body.unread).toBe(0);
  const three = await say(ann, id, "three");
  expect((await own(bob, id)).unread).toBe(1);
  const readersOf = async (message: Any): Promise<Any[]> =>
    (await ann.get(`/v1/channels/${id}/messages/${message.id}/reads`)).body.data;
  expect((await readersOf(two)).map(({ userId }) => userId)).toEqual([bob.id]);
  expect(await readersOf(three)).toEqual([]);
  const times = [...(await readersOf(one)), ...(await readersOf(two))].map(({ readAt }) => Date.parse(readAt));
  expect(times).toHaveLength(2);
  expect(times[0]).toBeGreaterThanOrEqual(before - 1_000);
  expect(times[1]).toBeGreaterThan(times[0]!);
  expect(times[1]).toBeLessThanOrEqual(Date.now() + 1_000);
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.read`)).body.data;
  expect(told).toHaveLength(2);
});

it("a private receipt is the reader's alone, and a channel without receipts tells none", async () => {
  const { tenant, ann, bob, id } = await room();
  const silent = await newRoom(tenant, [ann, bob], { settings: { reads: false } });
  const [one, two] = [await say(ann, id, "one"), await say(ann, silent, "two")];

  expect((await bob.post(`/v1/channels/${id}/read`, { seq: one.seq, private: true })).body.unread).toBe(0);
  expect((await bob.post(`/v1/channels/${silent}/read`, { seq: two.seq })).body.unread).toBe(0);

  for (const [channel, message] of [
    [id, one],
    [silent, two],
  ]) {
    expect((await ann.get(`/v1/channels/${channel}/messages/${message.id}/reads`)).body.data).toEqual([]);
    const told = await tenant.get(`/v1/events?stream=channel&streamId=${channel}&type=message.read`);
    expect(told.body.data).toEqual([]);
  }
});

it("silent and system messages, and one's own, raise nothing; all is read at once", async () => {
  const { tenant, ann, bob, id } = await room();
  await say(ann, id, "quiet", { silent: true });
  await say(bob, id, "mine");
  await tenant.post(`/v1/channels/${id}/messages`, { kind: "system", text: "Ann joined" });
  expect((await own(bob, id)).unread).toBe(0);
  const seen = await say(ann, id, "loud", { mentions: [bob.id] });
  await say(ann, id, "hm", { parentId: (await say(bob, id, "question")).id });
  expect((await bob.get("/v1/unread")).body).toEqual({ channels: 1, messages: 1, mentions: 1, threads: 1 });
  await bob.post("/v1/read-all");
  expect((await bob.get("/v1/unread")).body).toEqual({ channels: 0, messages: 0, mentions: 0, threads: 0 });
  const back = await bob.post(`/v1/channels/${id}/unread`, { seq: seen.seq });
  expect(back.body).toMatchObject({ unread: 1, unreadMentions: 1, readSeq: seen.seq - 1 });
});

const step = fc.record({
  what: fc.constantFrom(
    "say",
    "say",
    "silent",
    "mention",
    "all",
    "reply",
    "shown",
    "pending",
    "approve",
    "delete",
    "hard",
    "read",
    "unread",
    "clear",
  ),
  who: fc.integer({ min: 0, max: 1 }),
  at: fc.nat({ max: 30 }),
});

it("whatever happens, unread equals a recount for everybody", { timeout: 60_000 }, async () => {
  const { tenant, ann, bob, id } = await room();
  await tenant.put("/v1/channel-types/messaging", { permissions: { "message.mention_all": ["member"] } });
  const people = [ann, bob];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 12 }), async (steps) => {
      for (const { what, who, at } of steps) {
        const actor = people[who]!;
        const { data } = (await tenant.get(`/v1/channels/${id}/messages?limit=30`)).body;
        const target = data[at % Math.max(1, data.length)];
        const send = (more: object) => actor.post(`/v1/channels/${id}/messages`, { text: what, ...more });
        const parentId = data.find((m: Any) => m.parentId === null && m.state === "visible" && !m.deletedAt)?.id;
        if (what === "say") await send({});
        else if (what === "silent") await send({ silent: true });
        else if (what === "mention") await send({ mentions: [ann.id, bob.id] });
        else if (what === "all") await send({ mentioning: "channel" });
        else if (what === "reply" && parentId) await send({ parentId });
        else if (what === "shown" && parentId) await send({ parentId, showInChannel: true });
        else if (what === "pending") await send({ pending: true, mentions: [ann.id] });
        else if (what === "clear") await actor.patch(`/v1/channels/${id}/own`, { clearHistory: true });
        else if (!target) continue;
        else if (what === "approve") await tenant.post(`/v1/messages/${target.id}/approve`);
        else if (what === "delete") await tenant.delete(`/v1/messages/${target.id}`);
        else if (what === "hard") await tenant.delete(`/v1/messages/${target.id}?hard=true`);
        else if (what === "read") await actor.post(`/v1/channels/${id}/read`, { seq: target.seq });
        else if (what === "unread") await actor.post(`/v1/channels/${id}/unread`, { seq: target.seq });
      }
      for (const person of people) {
        const { unread, unreadMentions } = await own(person, id);
        expect((await person.get(`/v1/channels/${id}/unread`)).body).toMatchObject({ unread, unreadMentions });
      }
    }),
    { numRuns: 8 },
  );
});
