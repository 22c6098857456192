import { expect, it } from "vitest";
import { type Any, newTenant } from "./helpers";
import { newPerson, newRoom, type Person } from "./live";

async function cast() {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant, { displayName: "Ann" }), await newPerson(tenant, { displayName: "Bob" })];
  const say = async (who: Person, channelId: string, text: string, more: object = {}) => {
    const said = await who.post(`/v1/channels/${channelId}/messages`, { text, ...more });
    expect(said.status, JSON.stringify(said.body)).toBe(201);
    return said.body;
  };
  return { tenant, ann, bob, say };
}

const listed = async (who: Pick<Person, "get">, query = ""): Promise<Any[]> =>
  (await who.get(`/v1/channels${query}`)).body.data;
const idsIn = async (who: Pick<Person, "get">, query: string) => (await listed(who, query)).map(({ id }) => id);

it("one answer lists a user's channels by their last message, with it, what is unread, how many are in it and who", async () => {
  const { tenant, ann, bob, say } = await cast();
  const cid = await newPerson(tenant, { displayName: "Cid" });
  const [first, second, third] = [
    await newRoom(tenant, [ann, bob]),
    await newRoom(tenant, [ann, bob, cid]),
    await newRoom(tenant, [ann, bob]),
  ];
  await say(ann, third, "early");
  await say(ann, second, "one");
  await say(ann, second, "two");
  const last = await say(bob, first, "last");

  const channels = await listed(bob);

  expect(
    channels.map(({ id, lastMessage, own, memberCount }) => [id, lastMessage.text, own.unread, memberCount]),
  ).toEqual([
    [first, "last", 0, 2],
    [second, "two", 2, 3],
    [third, "early", 1, 2],
  ]);
  expect(channels[0]).toMatchObject({ lastSeq: last.seq, lastMessageAt: last.createdAt });
  expect(channels[1].members.map(({ displayName }: Any) => displayName).sort()).toEqual(["Ann", "Bob", "Cid"]);
});

it("a list holds the channels of a type or of a team alone", async () => {
  const { tenant, ann, bob } = await cast();
  const team = (await tenant.post("/v1/teams", { name: "Red" })).body.id;
  const [plain, game] = [await newRoom(tenant, [ann]), await newRoom(tenant, [ann], { type: "gaming" })];
  await tenant.put(`/v1/teams/${team}/members/${bob.id}`);
  const [red, redGame] = [
    await newRoom(tenant, [bob], { teamId: team }),
    await newRoom(tenant, [bob], { teamId: team, type: "gaming" }),
  ];

  expect(await idsIn(tenant, "?type=gaming")).toEqual([redGame, game]);
  expect(await idsIn(tenant, `?teamId=${team}`)).toEqual([redGame, red]);
  expect(await idsIn(tenant, `?teamId=${team}&type=gaming`)).toEqual([redGame]);
  expect(await idsIn(ann, "?type=gaming")).toEqual([game]);
  expect(await idsIn(ann, "?type=messaging")).toEqual([plain]);
  expect(await idsIn(bob, `?teamId=${team}`)).toEqual([redGame, red]);
  expect(await idsIn(ann, `?teamId=${team}`)).toEqual([]);
});

it("what is shadowed or waits moves no channel in others' lists, and is no last message there", async () => {
  const { tenant, ann, bob, say } = await cast();
  const [older, newer] = [await newRoom(tenant, [ann, bob]), await newRoom(tenant, [ann, bob])];
  await say(bob, older, "older");
  await say(bob, newer, "newer");
  const shown = async () =>
    (await listed(bob)).map(({ id, lastMessage, lastMessageAt, own }) => [
      id,
      lastMessage.text,
      lastMessageAt,
      own.unread,
    ]);
  const before = await shown();
  expect(before.map(([id]) => id)).toEqual([newer, older]);

  const waiting = await say(ann, older, "waiting", { pending: true });
  expect((await tenant.put(`/v1/channels/${older}/bans/${ann.id}`, { shadow: true })).status).toBe(200);
  await say(ann, older, "shadowed");

  expect(await shown()).toEqual(before);
  expect((await listed(ann)).find(({ id }) => id === older).own.unread).toBe(1);
  await tenant.delete(`/v1/channels/${older}/bans/${ann.id}`);
  expect((await tenant.post(`/v1/messages/${waiting.id}/approve`)).status).toBe(200);
  expect((await shown()).map(([id, text]) => [id, text])).toEqual([
    [older, "waiting"],
    [newer, "newer"],
  ]);
});
