import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type Any, client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { newPerson, newRoom, numbersOf, type Person } from "./live";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

let tenant: Tenant;
let mod: Person;
let bob: Person;

beforeAll(async () => {
  tenant = await newTenant();
  [mod, bob] = [await newPerson(tenant), await newPerson(tenant)];
});

/** A room with a moderator, bob, and ann, who is new in each. */
async function room(more: Record<string, unknown> = {}) {
  const ann = await newPerson(tenant);
  const id = await newRoom(tenant, [mod, bob, ann], more);
  expect((await tenant.patch(`/v1/channels/${id}/members/${mod.id}`, { role: "moderator" })).status).toBe(204);
  const send = async (who: Person, text: string, more = {}) => {
    const { status, body } = await who.post(`/v1/channels/${id}/messages`, { text, ...more });
    expect(status, JSON.stringify(body)).toBe(201);
    return body;
  };
  const ban = (who: Person, body: Any = {}, by: { put: Tenant["put"] } = mod) =>
    by.put(`/v1/channels/${id}/bans/${who.id}`, body);
  return { ann, id, send, ban, object: env.CHANNEL.getByName(`${tenant.id}:${id}`) };
}

const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
const textsIn = async (who: { get: Tenant["get"] }, id: string) =>
  (await who.get(`/v1/channels/${id}/messages`)).body.data.map((m: Any) => m.text);
const typesOf = async (id: string) =>
  (await tenant.get(`/v1/events?stream=channel&streamId=${id}&limit=100`)).body.data.map((e: Any) => e.type);

describe("bans", () => {
  it("who is banned from a channel neither sees it nor does anything in it, until the ban is lifted", async () => {
    const { ann, id, send, ban } = await room({ settings: { public: true } });
    const own = await send(ann, "mine");

    const { status, body } = await ban(ann, { reason: "Spam" });

    expect(status, JSON.stringify(body)).toBe(200);
    expect(body).toMatchObject({ userId: ann.id, channelId: id, shadow: false, reason: "Spam", bannedBy: mod.id });
    const refused = [
      ann.post(`/v1/channels/${id}/messages`, { text: "still here" }),
      ann.get(`/v1/channels/${id}/messages`),
      ann.get(`/v1/channels/${id}/members`),
      ann.post(`/v1/channels/${id}/join`),
      ann.patch(`/v1/messages/${own.id}`, { text: "edited" }),
      ann.delete(`/v1/messages/${own.id}`),
      ann.put(`/v1/messages/${own.id}/reactions/x`),
      ann.post(`/v1/channels/${id}/read`, { seq: own.seq }),
    ];
    for (const answer of await Promise.all(refused)) expectProblem(answer, 403, "banned");
    await expect(ann.watch(id)).rejects.toMatchObject({ status: 403, body: { code: "banned" } });
    expect((await ann.get("/v1/channels")).body.data.map((c: Any) => c.id)).not.toContain(id);
    expect((await ann.post("/v1/sync", { cursors: { [id]: 0 } })).body.streams[id]).toEqual({ error: "not_found" });
    expect((await ann.get("/v1/whoami")).status).toBe(200);

    expect((await mod.delete(`/v1/channels/${id}/bans/${ann.id}`)).status).toBe(204);
    await send(ann, "back");
    expectProblem(await mod.delete(`/v1/channels/${id}/bans/${ann.id}`), 404, "not_found");
    expect(await typesOf(id)).toEqual(expect.arrayContaining(["user.banned", "user.unbanned"]));
  });

  it("the banned do not come back by an invitation", async () => {
    const { id, ban } = await room();
    const cid = await newPerson(tenant);
    await mod.post(`/v1/channels/${id}/invitations`, { userId: cid.id });
    await ban(cid);

    expectProblem(await cid.post(`/v1/channels/${id}/invitations/accept`), 403, "banned");
    expect((await cid.post(`/v1/channels/${id}/invitations/reject`)).status).toBeLessThan(300);
  });

  it("a ban ends by itself, for writing, reading and watching alike", async () => {
    const { ann, id, ban, send } = await room();
    await ban(ann, { expiresAt: soon(60_000) });
    expectProblem(await ann.get(`/v1/channels/${id}`), 404, "not_found");
    await asOwner("update bans set expires_at = now() where tenant_id = $1 and user_id = $2", [tenant.id, ann.id]);

    await send(ann, "back");
    expect(await textsIn(ann, id)).toEqual(["back"]);
    expect((await ann.watch(id)).hello.type).toBe("hello");
    expect((await mod.get(`/v1/channels/${id}/bans`)).body.data).toEqual([]);
    expectProblem(await mod.delete(`/v1/channels/${id}/bans/${ann.id}`), 404, "not_found");
  });

  it("moderators ban nobody above them, members nobody, and none bans themselves", async () => {
    const { ann, id, ban } = await room();
    const owner = await newPerson(tenant);
    await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: owner.id, role: "owner" }] });

    expectProblem(await ban(owner), 403, "not_allowed");
    expectProblem(await ban(mod), 403, "not_allowed");
    expectProblem(await ban(bob, {}, ann), 403, "not_allowed");
    expectProblem(await ban(ann, { expiresAt: "2020-01-01T00:00:00Z" }), 422, "invalid_request", "expiresAt");
    expectProblem(await mod.put(`/v1/channels/${id}/bans/${crypto.randomUUID()}`, {}), 404, "not_found");
    expectProblem(await ann.get(`/v1/channels/${id}/bans`), 403, "not_allowed");
    expectProblem(await mod.put(`/v1/bans/${ann.id}`, {}), 403, "missing_scope");
    expect((await ban(owner, {}, tenant)).status).toBe(200);
    expect((await mod.get(`/v1/channels/${id}/bans?userId=${owner.id}`)).body.data).toMatchObject([{ bannedBy: null }]);
    const { body } = await tenant.get(`/v1/audit-logs?targetId=${owner.id}`);
    expect(body.data[0]).toMatchObject({ action: "user.banned", after: { channelId: id } });
  });

  it("what the banned wrote of late can go with the ban", async () => {
    const { ann, id, ban, send } = await room();
    await send(bob, "hello");
    const old = await send(ann, "old");
    await asOwner("update messages set created_at = now() - interval '2 hours' where tenant_id = $1 and id = $2", [
      tenant.id,
      old.id,
    ]);
    for (const text of ["spam", "more spam"]) await send(ann, text);
    const watcher = await bob.watch(id);

    await ban(ann, { deleteMessagesSince: soon(-3_600_000) });

    expect(await textsIn(bob, id)).toEqual(["hello", "old", "", ""]);
    await watcher.until(({ type }) => type === "user.banned");
    expect(watcher.events().map(({ type }) => type)).toEqual(["message.deleted", "message.deleted", "user.banned"]);
  });

  it("a ban ends the user's sockets, asleep though the object may be, and nothing after it reaches them", async () => {
    const { ann, id, ban, send, object } = await room();
    const other = await newRoom(tenant, [ann, bob]);
    const [one, two, elsewhere, watcher] = [
      await ann.watch(id),
      await ann.watch(id),
      await ann.watch(other),
      await bob.watch(id),
    ];
    await evictDurableObject(object);
    const at = Date.now();

    await ban(ann);
    await send(bob, "at last");

    for (const socket of [one, two]) {
      await vi.waitUntil(() => socket.closed, { timeout: 2_000 });
      expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "banned" });
    }
    expect(Date.now() - at).toBeLessThan(4_000);
    const banned = await watcher.until(({ type }) => type === "user.banned");
    expect(banned.data).toMatchObject({ userId: ann.id, shadow: false });
    await watcher.until(({ type }) => type === "message.new");
    for (const socket of [one, two])
      expect(socket.events().every(({ seq, to }) => (to ?? seq) <= banned.seq)).toBe(true);
    expect(elsewhere.closed).toBeNull();

    await mod.delete(`/v1/channels/${id}/bans/${ann.id}`);
    const back = await ann.watch(id);
    await send(bob, "welcome back");
    await back.until(({ type }) => type === "message.new");
    expect(back.closed).toBeNull();
  });

  it("a ban from everywhere shuts a user out of all, their own sockets included, until it ends", async () => {
    const { ann, id, send } = await room();
    const [watching, own] = [await ann.watch(id), await ann.open()];

    expect((await tenant.put(`/v1/bans/${ann.id}`, { reason: "Fraud" })).body).toMatchObject({ channelId: null });

    for (const socket of [watching, own]) {
      await vi.waitUntil(() => socket.closed, { timeout: 5_000 });
      expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "banned" });
    }
    for (const answer of [
      await ann.get("/v1/channels"),
      await ann.post("/v1/channels", {}),
      await ann.post(`/v1/channels/${id}/messages`, { text: "?" }),
      await tenant.post(`/v1/channels/${id}/messages`, { text: "?" }, { as: ann.id }),
    ])
      expectProblem(answer, 403, "banned");
    await expect(ann.open()).rejects.toMatchObject({ status: 403, body: { code: "banned" } });
    expect((await tenant.get(`/v1/bans?userId=${ann.id}`)).body.data).toHaveLength(1);
    const events = (await tenant.get("/v1/events?type=user.banned&stream=tenant")).body.data;
    expect(events.find((e: Any) => e.data.userId === ann.id).data).toMatchObject({ reason: "Fraud", channelId: null });

    await tenant.delete(`/v1/bans/${ann.id}`);
    await send(ann, "back");
  });

  it("operators ban nobody who may do more than they", async () => {
    const [editor, boss] = [await newPerson(tenant, { role: "editor" }), await newUser(tenant, { role: "admin" })];
    const ann = await newUser(tenant);

    expectProblem(await editor.put(`/v1/bans/${boss.id}`, {}), 403, "missing_scope");
    expect((await editor.put(`/v1/bans/${ann.id}`, {})).body).toMatchObject({ bannedBy: editor.id });
  });

  it("a deactivated user neither writes nor watches, and their sockets end", async () => {
    const { ann, id } = await room();
    const [watching, own] = [await ann.watch(id), await ann.open()];

    await tenant.post(`/v1/users/${ann.id}/deactivate`);

    for (const socket of [watching, own]) {
      await vi.waitUntil(() => socket.closed, { timeout: 5_000 });
      expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "user_deactivated" });
    }
    expectProblem(await ann.post(`/v1/channels/${id}/messages`, { text: "?" }), 403, "user_deactivated");
    await expect(ann.watch(id)).rejects.toMatchObject({ status: 403 });
  });
});

describe("shadow bans", () => {
  it("the one concerned does not notice, and no byte of what they write reaches anybody else", async () => {
    const receiver = newReceiver();
    await tenant.post("/v1/webhooks", { name: "all", url: receiver.url, events: ["*"] });
    const { ann, id, send, ban } = await room();
    const cid = await newPerson(tenant);
    await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: cid.id }] });
    const open = await send(bob, "open");
    const early = await send(ann, "early");
    const [writer, other, elsewhere] = [await ann.watch(id), await bob.watch(id), await cid.open()];
    const before = (await bob.get(`/v1/channels/${id}`)).body;

    expect((await ban(ann, { shadow: true, reason: "Troll" })).status).toBe(200);
    const secret = await send(ann, "HUSH", { mentions: [bob.id] });
    const reply = await send(ann, "HUSH reply", { parentId: open.id });
    const quote = await send(ann, "HUSH quote", { quotedId: open.id });
    const edited = await ann.patch(`/v1/messages/${early.id}`, { text: "HUSH edit", metadata: { a: "HUSH" } });
    expect((await ann.put(`/v1/messages/${open.id}/reactions/HUSH`)).status).toBe(204);
    await ann.patch(`/v1/messages/${secret.id}`, { text: "HUSH again" });
    await writer.ask({ op: "send", message: { text: "HUSH by socket" } });
    await writer.ask({ op: "typing", typing: true });
    await writer.until(({ type, typing }) => type === "typing" && typing.length === 1);
    const last = await send(bob, "last");

    // The writer sees all of it, as ever.
    expect(edited.body).toMatchObject({ text: "HUSH edit", metadata: { a: "HUSH" }, editedAt: expect.any(String) });
    expect((await ann.get(`/v1/messages/${open.id}`)).body).toMatchObject({
      reactions: [{ emoji: "HUSH", count: 1, latestUserIds: [ann.id] }],
      replyCount: 1,
    });
    expect(await textsIn(ann, id)).toEqual(["open", "HUSH edit", "HUSH again", "HUSH quote", "HUSH by socket", "last"]);
    expect((await ann.get(`/v1/messages/${early.id}/edits`)).body.data).toMatchObject([{ text: "early" }]);
    await writer.until(({ seq }) => seq === last.seq);
    expect(writer.events().map(({ type }) => type)).toEqual([
      "skip", // the ban itself
      "message.new",
      "message.new",
      "message.new",
      "message.updated",
      "reaction.new",
      "message.updated",
      "message.new",
      "message.new",
    ]);

    // Nobody else sees anything.
    await other.until(({ seq }) => seq === last.seq);
    const after = (await bob.get(`/v1/channels/${id}`)).body;
    expect(after.own).toEqual(before.own);
    expect(await textsIn(bob, id)).toEqual(["open", "early", "last"]);
    const seen = [
      other.frames,
      elsewhere.frames,
      after,
      (await bob.get(`/v1/channels/${id}/messages?parentId=${open.id}`)).body,
      (await bob.get(`/v1/messages/${open.id}`)).body,
      (await bob.get(`/v1/messages/${early.id}`)).body,
      (await bob.get(`/v1/messages/${early.id}/edits`)).body,
      (await bob.get("/v1/channels")).body,
      (await bob.get("/v1/unread")).body,
      (await bob.post("/v1/sync", { cursors: { [id]: 0 } })).body,
      (await other.ask({ op: "resume", cursors: { [id]: 0 } })).result,
      (await cid.post("/v1/sync", { cursors: { [id]: 0, [cid.id]: 0 } })).body,
    ];
    for (const view of seen) expect(JSON.stringify(view)).not.toContain("HUSH");
    expect((await bob.get(`/v1/messages/${open.id}`)).body.replyCount).toBe(0);
    for (const hidden of [secret, reply, quote])
      expectProblem(await bob.get(`/v1/messages/${hidden.id}`), 404, "not_found");
    expect(numbersOf(other.events()).every((n, i, all) => i === 0 || n === all[i - 1]! + 1)).toBe(true);
    expect(other.frames.filter(({ type }) => type === "typing").flatMap(({ typing }) => typing)).toEqual([]);
    expect(other.frames.some(({ type }) => type === "user.banned")).toBe(false);
    expect(other.hello.watchers.map((w: Any) => w.userId)).toContain(ann.id);
    await vi.waitUntil(async () => JSON.stringify(await receiver.received()).includes('"last"'), { timeout: 10_000 });
    expect(JSON.stringify(await receiver.received())).not.toContain("HUSH");
  });
});

it("webhooks hear of shadowed and of waiting messages where they name just that type, and by no other", async () => {
  const own = await newTenant();
  const [ann, bob] = [await newPerson(own), await newPerson(own)];
  const id = await newRoom(own, [ann, bob]);
  const hooks = new Map<string, ReturnType<typeof newReceiver>>();
  for (const event of ["*", "message.*", "message.new", "message.shadowed", "message.pending"]) {
    const receiver = newReceiver();
    const made = await own.post("/v1/webhooks", { name: event, url: receiver.url, events: [event] });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    hooks.set(event, receiver);
  }
  const send = (as: Person, text: string, more = {}) => as.post(`/v1/channels/${id}/messages`, { text, ...more });

  await send(bob, "WAITING", { pending: true });
  await own.put(`/v1/channels/${id}/bans/${ann.id}`, { shadow: true });
  await send(ann, "HUSH");
  await send(bob, "the last one");

  const textsAt = async (event: string) =>
    (await hooks.get(event)!.received()).flatMap(({ json }) => (json.data as Any).message?.text ?? []);
  for (const event of ["*", "message.*", "message.new"])
    await vi.waitFor(async () => expect(await textsAt(event)).toEqual(["the last one"]), { timeout: 10_000 });
  await vi.waitFor(async () => expect(await textsAt("message.shadowed")).toEqual(["HUSH"]), { timeout: 10_000 });
  await vi.waitFor(async () => expect(await textsAt("message.pending")).toEqual(["WAITING"]), { timeout: 10_000 });
});

describe("flags and the review queue", () => {
  const queued = async (who: { get: Tenant["get"] }, query: string) =>
    (await who.get(`/v1/moderation/queue?${query}`)).body.data;

  it("a flag counts once for each who flags, and reaches servers alone", async () => {
    const { ann, id, send } = await room();
    const cid = await newPerson(tenant);
    await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: cid.id }] });
    const bad = await send(ann, "bad");
    const watcher = await bob.watch(id);
    const flag = (who: { post: Tenant["post"] }, reason: string) =>
      who.post(`/v1/messages/${bad.id}/flags`, { reason, details: "See for yourself" });

    const answers = await Promise.all([...Array.from({ length: 5 }, () => flag(bob, "spam")), flag(cid, "rude")]);

    for (const { status, body } of answers) expect(status, JSON.stringify(body)).toBe(201);
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(2);
    const [entry] = await queued(mod, `channelId=${id}`);
    expect(entry).toMatchObject({
      kind: "message",
      messageId: bad.id,
      userId: ann.id,
      source: "flag",
      status: "pending",
      flagCount: 2,
      reasons: ["rude", "spam"],
      message: { text: "bad" },
    });
    expect((await mod.get(`/v1/moderation/queue/${entry.id}/flags`)).body.data).toHaveLength(2);
    for (const [query, hits] of Object.entries({
      "reason=rude": 1,
      "reason=other": 0,
      "kind=user": 0,
      "status=approved": 0,
    }))
      expect(await queued(mod, `channelId=${id}&${query}`), query).toHaveLength(hits);
    expect((await typesOf(id)).filter((type: string) => type === "message.flagged")).toHaveLength(2);
    const last = await send(bob, "last");
    await watcher.until(({ seq }) => seq === last.seq);
    expect(JSON.stringify(watcher.frames)).not.toContain("flagged");
    expectProblem(await flag(ann, "mine"), 403, "not_allowed");
    expectProblem(await flag(await newPerson(tenant), "?"), 404, "not_found");
  });

  it("moderators see what is of their channels, operators all, members nothing", async () => {
    const [one, other] = [await room(), await room()];
    const stranger = await newPerson(tenant);
    const [operator, viewer] = [
      await newPerson(tenant, { role: "editor" }),
      await newPerson(tenant, { role: "viewer" }),
    ];
    const elsewhere = await newRoom(tenant, [bob, one.ann]);
    const there = (await one.ann.post(`/v1/channels/${elsewhere}/messages`, { text: "there" })).body;
    await bob.post(`/v1/messages/${there.id}/flags`, { reason: "seen" });
    await bob.post(`/v1/users/${other.ann.id}/flags`, { reason: "seen", channelId: other.id });
    await bob.post(`/v1/users/${one.ann.id}/flags`, { reason: "seen" });
    const seen = async (who: Person | Tenant) => (await queued(who, "reason=seen&limit=100")).length;

    expect([await seen(mod), await seen(operator), await seen(tenant)]).toEqual([1, 3, 3]);
    expect([await seen(bob), await seen(viewer), await seen(stranger)]).toEqual([0, 0, 0]);
    const [general] = await queued(tenant, `userId=${one.ann.id}&kind=user`);
    for (const answer of [
      await mod.get(`/v1/moderation/queue/${general.id}`),
      await mod.post(`/v1/moderation/queue/${general.id}/approve`),
      await bob.get(`/v1/moderation/queue/${general.id}/flags`),
    ])
      expectProblem(answer, 404, "not_found");
    expectProblem(await bob.post(`/v1/users/${crypto.randomUUID()}/flags`, { reason: "?" }), 404, "not_found");
    const done = await operator.post(`/v1/moderation/queue/${general.id}/approve`);
    expect(done.body).toMatchObject({ status: "approved", reviewedBy: operator.id, reviewedAt: expect.any(String) });
    expectProblem(await tenant.post(`/v1/moderation/queue/${general.id}/reject`, {}), 409, "conflict");
  });

  it("a ban from everywhere by verdict asks for what a ban asks for, and nobody judges themselves", async () => {
    const tenant = await newTenant();
    const admin = await newUser(tenant, { role: "admin" });
    const scopes = ["channels:read", "channels:write", "me:write"];
    const modest = client((await tenant.post("/v1/api-keys", { name: "modest", scopes })).body.secret);
    expect((await modest.post(`/v1/users/${admin.id}/flags`, { reason: "rude" })).status).toBe(201);
    const [entry] = (await tenant.get("/v1/moderation/queue")).body.data;

    const banned = await modest.post(`/v1/moderation/queue/${entry.id}/reject`, { ban: { everywhere: true } });
    expectProblem(banned, 403, "missing_scope");
    const own = await userClient(tenant, admin.id);
    expectProblem(await own.post(`/v1/moderation/queue/${entry.id}/approve`), 403, "not_allowed");
  });

  it("rejecting deletes the message and bans its writer in one call", async () => {
    const { ann, id, send } = await room();
    const bad = await send(ann, "bad");
    const [watcher, writer] = [await bob.watch(id), await ann.watch(id)];
    const { queueId } = (await bob.post(`/v1/messages/${bad.id}/flags`, { reason: "spam" })).body;

    const { status, body } = await mod.post(`/v1/moderation/queue/${queueId}/reject`, {
      deleteMessage: true,
      ban: { reason: "Spam", expiresAt: soon(60_000) },
    });

    expect(status, JSON.stringify(body)).toBe(200);
    expect(body).toMatchObject({ status: "rejected", reviewedBy: mod.id });
    await watcher.until(({ type }) => type === "user.banned");
    expect(
      watcher
        .events()
        .slice(0, 3)
        .map(({ type }) => type),
    ).toEqual(["skip", "message.deleted", "user.banned"]);
    await vi.waitUntil(() => writer.closed, { timeout: 5_000 });
    expect(writer.frames.at(-1)).toEqual({ type: "bye", code: "banned" });
    expectProblem(await ann.post(`/v1/channels/${id}/messages`, { text: "?" }), 403, "banned");
    expect((await mod.get(`/v1/channels/${id}/bans`)).body.data).toMatchObject([{ userId: ann.id, bannedBy: mod.id }]);
    expect((await typesOf(id)).at(-1)).toBe("moderation.reviewed");
  });

  it("a verdict bans nobody above the one who gives it, nor beyond their channel", async () => {
    const { ann, id, send } = await room();
    const owner = await newPerson(tenant);
    await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: owner.id, role: "owner" }] });
    const flagged = async (who: Person) =>
      (await bob.post(`/v1/messages/${(await send(who, "x")).id}/flags`, { reason: "x" })).body.queueId;
    const [above, below] = [await flagged(owner), await flagged(ann)];

    expectProblem(await mod.post(`/v1/moderation/queue/${above}/reject`, { ban: {} }), 403, "not_allowed");
    expectProblem(
      await mod.post(`/v1/moderation/queue/${below}/reject`, { ban: { everywhere: true } }),
      403,
      "not_allowed",
    );
    expect((await queued(mod, `channelId=${id}&status=pending`)).length).toBe(2);
    const operator = await newPerson(tenant, { role: "admin" });
    expect((await operator.post(`/v1/moderation/queue/${below}/reject`, { ban: { everywhere: true } })).status).toBe(
      200,
    );
    expectProblem(await ann.get("/v1/channels"), 403, "banned");
  });

  it("what waits for a verdict stands in the queue, and expires unseen", async () => {
    const { ann, id, send } = await room({ type: "hasty" });
    await tenant.put("/v1/channel-types/hasty", { settings: { pendingMinutes: 5 } });
    const [yes, late] = [await send(ann, "yes", { pending: true }), await send(ann, "late", { pending: true })];
    const [first] = (await queued(mod, `channelId=${id}&source=pending`)).filter((e: Any) => e.messageId === yes.id);
    expect(first).toMatchObject({ kind: "message", userId: ann.id, message: { text: "yes", state: "pending" } });
    const [{ minutes }] = await asOwner<Any>(
      "select round(extract(epoch from expires_at - now()) / 60)::int as minutes from messages where tenant_id = $1 and id = $2",
      [tenant.id, late.id],
    );
    expect(minutes).toBe(5);

    expect((await mod.post(`/v1/moderation/queue/${first.id}/approve`)).body).toMatchObject({ status: "approved" });
    expect(await textsIn(bob, id)).toEqual(["yes"]);
    await asOwner("update messages set expires_at = now() where tenant_id = $1 and id = $2", [tenant.id, late.id]);
    expectProblem(await mod.post(`/v1/messages/${late.id}/approve`), 409, "conflict");
    expect((await mod.get(`/v1/channels/${id}/pending`)).body.data).toEqual([]);
    await sweep();

    expect((await ann.get(`/v1/messages/${late.id}`)).body.state).toBe("rejected");
    expect(await queued(mod, `channelId=${id}&status=rejected`)).toMatchObject([
      { messageId: late.id, reviewedBy: null },
    ]);
    expect(await textsIn(bob, id)).toEqual(["yes"]);
  });

  it("a message that nobody wrote waits for a verdict unseen as well", async () => {
    const { id } = await room();
    const watcher = await bob.watch(id);
    const { body } = await tenant.post(`/v1/channels/${id}/messages`, { text: "HUSH", pending: true });
    const last = (await tenant.post(`/v1/channels/${id}/messages`, { text: "last" })).body;

    await watcher.until(({ seq }) => seq === last.seq);
    expect(JSON.stringify(watcher.frames)).not.toContain("HUSH");
    expect((await mod.post(`/v1/messages/${body.id}/approve`)).body.state).toBe("visible");
    expect(await textsIn(bob, id)).toEqual(["last", "HUSH"]);
  });

  it("an edit is held against block lists: refused, with stars, or its editor's alone until a verdict", async () => {
    for (const [action, word] of [
      ["block", "vile"],
      ["mask", "darn"],
      ["hold", "dubious"],
    ] as const) {
      const { id } = (await tenant.post("/v1/block-lists", { name: `edit ${action}`, kind: "word", action })).body;
      await tenant.post(`/v1/block-lists/${id}/entries`, { entries: [word] });
    }
    const { ann, id, send } = await room();
    const [one, two] = [await send(ann, "one"), await send(ann, "two")];
    const watcher = await bob.watch(id);

    expectProblem(await ann.patch(`/v1/messages/${one.id}`, { text: "VILE" }), 422, "content_blocked");
    expect((await ann.patch(`/v1/messages/${one.id}`, { text: "darn!" })).body.text).toBe("****!");
    for (const { id } of [one, two])
      expect((await ann.patch(`/v1/messages/${id}`, { text: "dubious" })).body).toMatchObject({ text: "dubious" });

    expect(await textsIn(bob, id)).toEqual(["****!", "two"]);
    expect(await textsIn(ann, id)).toEqual(["dubious", "dubious"]);
    const [second, first] = await queued(mod, `channelId=${id}&source=block_list`);
    expect([first.messageId, second.messageId]).toEqual([one.id, two.id]);
    expect(first).toMatchObject({ reason: "edit hold", change: { text: "dubious" } });
    await mod.post(`/v1/moderation/queue/${first.id}/approve`);
    await mod.post(`/v1/moderation/queue/${second.id}/reject`, {});
    expect(await textsIn(bob, id)).toEqual(["dubious", "two"]);
    expect(await textsIn(ann, id)).toEqual(["dubious", "two"]);
    expect((await bob.get(`/v1/messages/${one.id}/edits`)).body.data).toMatchObject([
      { text: "one" },
      { text: "****!" },
    ]);
    const last = await send(bob, "last");
    await watcher.until(({ seq }) => seq === last.seq);
    expect(watcher.events().filter(({ type }) => type === "message.updated")).toHaveLength(2);
  });
});
