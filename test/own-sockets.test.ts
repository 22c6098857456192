import { afterEach, expect, it, vi } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { newPerson, newRoom, room } from "./live";

afterEach(() => vi.restoreAllMocks());

it("a user's own socket begins with what is unread, as it is counted elsewhere", async () => {
  const { tenant, ann, bob, id, send } = await room();
  const other = await newRoom(tenant, [ann, bob]);
  await send(ann, "one");
  await ann.post(`/v1/channels/${id}/messages`, { text: "two", mentions: [bob.id] });
  const { id: parentId } = (await bob.post(`/v1/channels/${other}/messages`, { text: "parent" })).body;
  await ann.post(`/v1/channels/${other}/messages`, { text: "reply", parentId });

  const { unread } = (await bob.open()).hello;

  expect(unread).toEqual({ channels: 1, messages: 2, mentions: 1, threads: 1 });
  expect(unread).toEqual((await bob.get("/v1/unread")).body);
});

it("an invitation reaches the one invited at once; rejected, they are no member and may be invited again", async () => {
  const { tenant, ann, bob, id } = await room();
  const eve = await newPerson(tenant);
  const [own, foreign] = [await eve.open(), await bob.open()];
  const invite = () => ann.post(`/v1/channels/${id}/invitations`, { userId: eve.id });

  expect((await invite()).status).toBe(201);
  await own.until(({ type, data }) => type === "invitation.created" && data.channelId === id);
  expect(foreign.events()).toEqual([]);

  expect((await eve.post(`/v1/channels/${id}/invitations/reject`)).body).toMatchObject({ status: "rejected" });
  expectProblem(await eve.get(`/v1/channels/${id}`), 404, "not_found");
  expect((await eve.get("/v1/invitations?status=rejected")).body.data).toMatchObject([
    { channelId: id, userId: eve.id },
  ]);
  expectProblem(await eve.post(`/v1/channels/${id}/invitations/accept`), 404, "not_found");
  expect((await invite()).status).toBe(201);
  expect((await eve.post(`/v1/channels/${id}/invitations/accept`)).body).toMatchObject({ status: "accepted" });
  expect((await eve.get(`/v1/channels/${id}`)).body.own.role).toBe("member");
});

it("who leaves a team watches its channels no longer, while their colleagues do", async () => {
  const { tenant, ann, bob } = await room();
  const team = (await tenant.post("/v1/teams", { name: "Red" })).body.id;
  for (const { id } of [ann, bob]) await tenant.put(`/v1/teams/${team}/members/${id}`);
  const red = await newRoom(tenant, [ann, bob], { teamId: team });
  const [leaving, staying] = [await ann.watch(red), await bob.watch(red)];

  expect((await tenant.delete(`/v1/teams/${team}/members/${ann.id}`)).status).toBe(204);

  await vi.waitUntil(() => leaving.closed, { timeout: 2_000 });
  expect(leaving.frames.at(-1)).toEqual({ type: "bye", code: "teams_changed" });
  await expect(ann.watch(red)).rejects.toMatchObject({ status: 404 });
  const after = (await bob.post(`/v1/channels/${red}/messages`, { text: "among us" })).body;
  await staying.until(({ seq }) => seq === after.seq);
  expect(staying.closed).toBeNull();
  expect(JSON.stringify(leaving.frames)).not.toContain("among us");
});

it("a session shows since when it is there and when its user last did something", async () => {
  const { ann } = await room();
  const before = Date.now();
  const socket = await ann.open("?deviceId=phone");
  const sessions = async (): Promise<Any[]> => (await ann.get(`/v1/users/${ann.id}/sessions`)).body.data;

  const [session] = await sessions();

  expect(session).toMatchObject({ id: socket.hello.socketId, deviceId: "phone" });
  for (const at of [session.connectedAt, session.lastActiveAt]) {
    expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(at)).toBeLessThanOrEqual(Date.now());
  }
  const { now } = Date;
  vi.spyOn(Date, "now").mockImplementation(() => now.call(Date) + 12_000);
  await socket.ask({ op: "presence", presence: "away" });
  vi.restoreAllMocks();
  const [later] = await sessions();
  expect(later.connectedAt).toBe(session.connectedAt);
  expect(Date.parse(later.lastActiveAt) - Date.parse(session.lastActiveAt)).toBeGreaterThanOrEqual(12_000);
});

it("a ticket is good for half a minute", async () => {
  const { ann } = await room();
  const before = Date.now();

  const { expiresAt } = (await ann.post("/v1/tickets")).body;

  expect(Date.parse(expiresAt) - before).toBeGreaterThan(25_000);
  expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(30_000);
});
