import { beforeAll, describe, expect, it } from "vitest";
import { type Any, expectProblem, newTenant, newUser, type Tenant } from "./helpers";
import { eventually } from "./jobs";
import { newPerson, newRoom, type Person } from "./live";
import { betweenDatabase } from "./outbound";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

let tenant: Tenant;
let bot: Person;

beforeAll(async () => {
  tenant = await newTenant();
  bot = await newPerson(tenant, { displayName: "News" });
});

type Wish = { channels?: string[]; users?: string[]; senderId?: string | null; message?: object };

async function draft({
  channels = [],
  users = [],
  senderId = bot.id,
  message = { text: "Hear, hear" },
}: Wish): Promise<string> {
  const made = await tenant.post("/v1/campaigns", { name: "News", message, senderId });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const added = await tenant.post(`/v1/campaigns/${made.body.id}/targets`, { channelIds: channels, userIds: users });
  expect(added.status, JSON.stringify(added.body)).toBe(200);
  return made.body.id;
}

const start = async (id: string) => expect((await tenant.post(`/v1/campaigns/${id}/start`)).status).toBe(200);
const get = async (id: string): Promise<Any> => (await tenant.get(`/v1/campaigns/${id}`)).body;
const becomes = (id: string, status: string) =>
  eventually(async () => {
    const campaign = await get(id);
    expect(campaign.status, campaign.error).toBe(status);
    return campaign;
  });
const textsIn = async (channelId: string): Promise<string[]> =>
  (await tenant.get(`/v1/channels/${channelId}/messages`)).body.data.map((one: Any) => one.text);
const rooms = (count: number) => Promise.all(Array.from({ length: count }, () => newRoom(tenant, [bot])));
/** What a queue message would do is left to a later moment. */
const makeDue = (id: string) =>
  asOwner(
    "update scheduled_jobs set run_at = now() - interval '1 second', locked_until = null where status in ('pending', 'running') and payload ->> 'campaignId' = $1",
    [id],
  );

it("reaches channels and users once each, however often they are named, and tells who watches", async () => {
  const [ann, ben, carl] = await Promise.all([newPerson(tenant), newPerson(tenant), newPerson(tenant)]);
  const room = await newRoom(tenant, [bot, ann]);
  const existing = (
    await tenant.post("/v1/channels", { distinct: true, members: [{ userId: bot.id }, { userId: ben.id }] })
  ).body.id;
  const [watching, listening] = await Promise.all([ann.watch(room), carl.open()]);
  const id = await draft({ channels: [room, existing], users: [ben.id, carl.id] });
  const again = await tenant.post(`/v1/campaigns/${id}/targets`, {
    channelIds: [room, room],
    userIds: [carl.id, bot.id],
  });
  expect(again.body).toEqual({ added: 0 });

  await start(id);

  const { counts } = await becomes(id, "completed");
  expect(counts).toMatchObject({ targets: 4, sent: 4, failed: 0, pending: 0 });
  expect((await watching.until(({ type }) => type === "message.new")).data.message).toMatchObject({
    userId: bot.id,
    text: "Hear, hear",
  });
  expect(await textsIn(room)).toEqual(["Hear, hear"]);
  expect(await textsIn(existing)).toEqual(["Hear, hear"]);
  const mine = (await carl.get("/v1/channels")).body.data;
  expect(mine.map((one: Any) => [one.lastMessage.text, one.own.unread])).toEqual([["Hear, hear", 1]]);
  await listening.until(({ type, channelId }) => type === "hint" && channelId === mine[0].id);
});

it("counts what was delivered and read from what is there", async () => {
  const [ann, ben] = await Promise.all([newPerson(tenant), newPerson(tenant)]);
  const [annsRoom, bensRoom] = await Promise.all([newRoom(tenant, [bot, ann]), newRoom(tenant, [bot, ben])]);
  await ann.watch(annsRoom);
  const id = await draft({ channels: [annsRoom, bensRoom] });
  await start(id);
  expect((await becomes(id, "completed")).counts).toMatchObject({ sent: 2, delivered: 1, read: 0 });

  const [message] = (await ben.get(`/v1/channels/${bensRoom}/messages`)).body.data;
  await ben.post(`/v1/channels/${bensRoom}/read`, { seq: message.seq });

  expect((await get(id)).counts).toMatchObject({ sent: 2, delivered: 2, read: 1 });
});

it("a target that refuses fails alone, with its reason", async () => {
  const [good, frozen, foreign] = await Promise.all([
    newRoom(tenant, [bot]),
    newRoom(tenant, [bot]),
    newRoom(tenant, [await newPerson(tenant)]),
  ]);
  await asOwner("update channel_members set role = 'member' where channel_id = $1", [frozen]);
  await tenant.patch(`/v1/channels/${frozen}`, { frozen: true });
  const id = await draft({ channels: [good, frozen, foreign] });

  await start(id);

  expect((await becomes(id, "completed")).counts).toMatchObject({ sent: 1, failed: 2 });
  const { data } = (await tenant.get(`/v1/campaigns/${id}/targets?status=failed`)).body;
  expect(Object.fromEntries(data.map((one: Any) => [one.channelId, one.code]))).toEqual({
    [frozen]: "channel_frozen",
    [foreign]: "not_found",
  });
});

it("without a sender it speaks for the app itself, into channels alone", async () => {
  const room = await newRoom(tenant, [bot]);
  const id = await draft({ channels: [room], senderId: null, message: { text: "Maintenance", kind: "system" } });
  const toUsers = await tenant.post(`/v1/campaigns/${id}/targets`, { userIds: [bot.id] });
  expectProblem(toUsers, 422, "invalid_request", "userIds");

  await start(id);

  expect((await becomes(id, "completed")).counts).toMatchObject({ sent: 1, failed: 0 });
  expect((await tenant.get(`/v1/channels/${room}/messages`)).body.data).toMatchObject([
    { userId: null, kind: "system" },
  ]);
});

it("goes to whole teams and to everybody there is", async () => {
  const other = await newTenant();
  const sender = await newUser(other);
  const users = await Promise.all(Array.from({ length: 3 }, () => newUser(other)));
  const team = (await other.post("/v1/teams", { name: "West" })).body;
  await other.put(`/v1/teams/${team.id}/members/${users[0].id}`, {});
  const made = (await other.post("/v1/campaigns", { name: "All", message: { text: "Hi" }, senderId: sender.id })).body;
  const add = async (body: object) => (await other.post(`/v1/campaigns/${made.id}/targets`, body)).body.added;

  expect(await add({ teamIds: [team.id] })).toBe(1);
  expect(await add({ everybody: true })).toBe(2);
});

describe("its life", () => {
  it("a scheduled one waits for its time, may be put off, and starts within a second of it", async () => {
    const [room] = await rooms(1);
    const id = await draft({ channels: [room!] });
    const at = (ms: number) => ({ at: new Date(Date.now() + ms).toISOString() });
    expectProblem(await tenant.post(`/v1/campaigns/${id}/schedule`, at(-1)), 422, "invalid_request", "at");
    expect((await tenant.post(`/v1/campaigns/${id}/schedule`, at(3_600_000))).body.status).toBe("scheduled");
    await makeDue(id);
    await sweep();
    expect(await get(id)).toMatchObject({ status: "scheduled", startedAt: null });

    const soon = at(1_500);
    await tenant.post(`/v1/campaigns/${id}/schedule`, soon);

    const { startedAt } = await becomes(id, "completed");
    const late = Date.parse(startedAt) - Date.parse(soon.at);
    expect(late).toBeGreaterThanOrEqual(-1_000);
    expect(late).toBeLessThan(5_000);
    expect(await textsIn(room!)).toEqual(["Hear, hear"]);
  });

  it("paused, it stops between two pieces; resumed, it goes on where it was; cancelled, it stays so", async () => {
    const id = await draft({ channels: await rooms(4) });
    await asOwner("update campaigns set status = 'paused' where id = $1", [id]);
    await asOwner(
      "update campaign_targets set status = 'sent' where id = (select id from campaign_targets where campaign_id = $1 order by id limit 1)",
      [id],
    );
    expectProblem(await tenant.post(`/v1/campaigns/${id}/start`), 409, "conflict");
    expect((await tenant.post(`/v1/campaigns/${id}/resume`)).status).toBe(200);
    expect((await becomes(id, "completed")).counts).toMatchObject({ sent: 4 });
    const { n } = (
      await asOwner<Any>(
        "select count(*)::int as n from campaign_targets where campaign_id = $1 and message_id is not null",
        [id],
      )
    )[0]!;
    expect(n).toBe(3);

    const other = await draft({ channels: await rooms(1) });
    await tenant.post(`/v1/campaigns/${other}/schedule`, { at: new Date(Date.now() + 86_400_000).toISOString() });
    expectProblem(await tenant.delete(`/v1/campaigns/${other}`), 409, "conflict");
    expect((await tenant.post(`/v1/campaigns/${other}/cancel`)).body.status).toBe("cancelled");
    await makeDue(other);
    await sweep();
    expect((await get(other)).counts).toMatchObject({ pending: 1, sent: 0 });
    expect((await tenant.delete(`/v1/campaigns/${other}`)).status).toBe(204);
  });

  it("a crash between sending and noting it repeats nothing", async () => {
    const channels = await rooms(3);
    const id = await draft({ channels });
    let crashes = 0;
    await betweenDatabase(
      async ({ queries, send }) => {
        if (!queries.includes("update campaign_targets t set status") || crashes > 0) return send();
        crashes++;
        return new Response("gone", { status: 500 });
      },
      async () => {
        await start(id);
        await eventually(() => expect(crashes).toBe(1));
        await eventually(async () => {
          await makeDue(id);
          await sweep();
          expect((await get(id)).status).toBe("completed");
        });
      },
    );

    expect((await get(id)).counts).toMatchObject({ sent: 3 });
    for (const channel of channels) expect(await textsIn(channel)).toEqual(["Hear, hear"]);
  });

  it("a sender who is deactivated ends it; reactivated and resumed, it is completed", async () => {
    const sender = await newPerson(tenant);
    const room = await newRoom(tenant, [sender]);
    const id = await draft({ channels: [room], senderId: sender.id });
    await tenant.post(`/v1/users/${sender.id}/deactivate`);
    await start(id);
    expect(await becomes(id, "failed")).toMatchObject({ error: "The sender is deactivated." });

    await tenant.post(`/v1/users/${sender.id}/reactivate`);
    await tenant.post(`/v1/campaigns/${id}/resume`);

    expect((await becomes(id, "completed")).counts).toMatchObject({ sent: 1 });
  });

  it("is changed before it begins, and not afterwards", async () => {
    const id = await draft({ channels: await rooms(1) });
    expect((await tenant.patch(`/v1/campaigns/${id}`, { message: { text: "Better" } })).body.message.text).toBe(
      "Better",
    );
    expectProblem(
      await tenant.patch(`/v1/campaigns/${id}`, { message: { text: " " } }),
      422,
      "invalid_request",
      "message.text",
    );
    await start(id);
    await becomes(id, "completed");
    expectProblem(await tenant.patch(`/v1/campaigns/${id}`, { name: "Late" }), 409, "conflict");
    expectProblem(await tenant.post(`/v1/campaigns/${id}/targets`, { channelIds: await rooms(1) }), 409, "conflict");
  });
});
