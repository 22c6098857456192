import { describe, expect, it } from "vitest";
import { callsOf } from "./calls";
import { expectProblem, newTenant } from "./helpers";
import { newPerson, newRoom } from "./live";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

async function room() {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  return { tenant, ann, bob, id: await newRoom(tenant, [ann, bob]) };
}

describe("sending", () => {
  it("a message is there for the members, with the number of its event", async () => {
    const { tenant, ann, bob, id } = await room();

    const sent = await ann.post(`/v1/channels/${id}/messages`, {
      text: "Hello",
      metadata: { a: 1 },
      mentions: [bob.id],
    });

    expect(sent.status, JSON.stringify(sent.body)).toBe(201);
    expect(sent.body).toMatchObject({
      text: "Hello",
      userId: ann.id,
      channelId: id,
      metadata: { a: 1 },
      mentions: [bob.id],
      state: "visible",
    });
    expect((await bob.get(`/v1/messages/${sent.body.id}`)).body).toEqual(sent.body);
    const events = await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.new`);
    expect(events.body.data).toMatchObject([{ seq: sent.body.seq, data: { message: sent.body } }]);
  });

  it("one call to the database is all it takes", async () => {
    const { ann, id } = await room();
    await ann.post(`/v1/channels/${id}/messages`, { text: "first" });
    const calls = await callsOf(async () => {
      expect((await ann.post(`/v1/channels/${id}/messages`, { text: "second" })).status).toBe(201);
    });

    expect(calls).toBe(1);
  });

  it("a clientId sends once, whoever repeats it and however often", async () => {
    const { ann, bob, id } = await room();
    const send = () => ann.post(`/v1/channels/${id}/messages`, { text: "once", clientId: "c-1" });

    const answers = await Promise.all(Array.from({ length: 10 }, send));
    const later = await send();

    expect(new Set([...answers, later].map(({ body }) => `${body.id} ${body.seq} ${body.text}`)).size).toBe(1);
    expect((await bob.post(`/v1/channels/${id}/messages`, { text: "mine", clientId: "c-1" })).body.id).not.toBe(
      later.body.id,
    );
    expect((await bob.get(`/v1/channels/${id}/messages`)).body.data.map((m: { text: string }) => m.text)).toEqual([
      "once",
      "mine",
    ]);
  });

  it("sends at once get numbers without gaps, in few calls to the database", async () => {
    const { ann, id } = await room();
    await ann.post(`/v1/channels/${id}/messages`, { text: "warm" });
    const calls = await callsOf(async () => {
      const sent = await Promise.all(
        Array.from({ length: 50 }, (_, n) => ann.post(`/v1/channels/${id}/messages`, { text: `${n}` })),
      );
      const seqs = sent.map(({ body }) => body.seq).sort((a, b) => a - b);
      expect(seqs.map((seq) => seq - seqs[0])).toEqual(Array.from({ length: 50 }, (_, n) => n));
    });

    expect(calls).toBeLessThan(15);
  });

  it("a refused send has its own answer, and its neighbours go through", async () => {
    const { tenant, ann, bob, id } = await room();
    const stranger = await newPerson(tenant);
    await ann.post(`/v1/channels/${id}/messages`, { text: "warm" });

    const [good, foreign, orphan, other] = await Promise.all([
      ann.post(`/v1/channels/${id}/messages`, { text: "good" }),
      stranger.post(`/v1/channels/${id}/messages`, { text: "from outside" }),
      bob.post(`/v1/channels/${id}/messages`, { text: "reply", parentId: crypto.randomUUID() }),
      bob.post(`/v1/channels/${id}/messages`, { text: "other" }),
    ]);

    expect([good.status, other.status]).toEqual([201, 201]);
    expectProblem(foreign, 404, "not_found");
    expectProblem(orphan, 422, "invalid_request", "parentId");
    expect((await ann.get(`/v1/channels/${id}/messages`)).body.data).toHaveLength(3);
  });

  it("a server may send for nobody, and nobody may send nothing", async () => {
    const { tenant, ann, id } = await room();
    const system = await tenant.post(`/v1/channels/${id}/messages`, { kind: "system", text: "Welcome" });
    expect(system.body).toMatchObject({ userId: null, kind: "system" });
    expectProblem(
      await ann.post(`/v1/channels/${id}/messages`, { kind: "system", text: "I am the system" }),
      403,
      "not_allowed",
    );
    expectProblem(await ann.post(`/v1/channels/${id}/messages`, { text: "  " }), 422, "invalid_request", "text");
    expectProblem(await ann.post(`/v1/channels/${id}/messages`, { text: "a\u0000b" }), 422, "invalid_request", "text");
    expectProblem(
      await ann.post(`/v1/channels/${crypto.randomUUID()}/messages`, { text: "nowhere" }),
      404,
      "not_found",
    );
  });

  it("attachments are kept with the message", async () => {
    const { ann, bob, id } = await room();
    const attachments = [
      { type: "image", url: "https://example.com/a.png", width: 10, height: 20, metadata: { alt: "A" } },
      { type: "location", latitude: 52.5, longitude: 13.4 },
    ];
    const sent = await ann.post(`/v1/channels/${id}/messages`, { attachments });
    expect(sent.body.attachments).toMatchObject(attachments);
    expect((await bob.get(`/v1/messages/${sent.body.id}`)).body).toEqual(sent.body);
    expectProblem(
      await ann.post(`/v1/channels/${id}/messages`, { attachments: [{ type: "file" }] }),
      422,
      "invalid_request",
    );
    const missing = [{ type: "file", fileId: crypto.randomUUID() }];
    expectProblem(
      await ann.post(`/v1/channels/${id}/messages`, { attachments: missing }),
      422,
      "invalid_request",
      "attachments",
    );
  });

  it("slow mode holds members back, says how long, and lets moderators pass", async () => {
    const tenant = await newTenant();
    const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
    const id = await newRoom(tenant, [ann], { slowMode: 60 });
    await asOwner(
      "insert into channel_members (tenant_id, channel_id, user_id, role) values ($1, $2, $3, 'moderator')",
      [tenant.id, id, bob.id],
    );

    const both = await Promise.all(["one", "two"].map((text) => ann.post(`/v1/channels/${id}/messages`, { text })));
    const refused = both.find(({ status }) => status !== 201)!;

    expect(both.map(({ status }) => status).sort()).toEqual([201, 429]);
    expectProblem(refused, 429, "too_soon");
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(50);
    for (const text of ["three", "four"])
      expect((await bob.post(`/v1/channels/${id}/messages`, { text })).status).toBe(201);
  });
});

describe("reading", () => {
  it("pages lie before, after and around a number", async () => {
    const { ann, id } = await room();
    for (let n = 0; n < 7; n++) await ann.post(`/v1/channels/${id}/messages`, { text: `${n}` });
    const list = async (query: string) => (await ann.get(`/v1/channels/${id}/messages?${query}`)).body;
    const all = (await list("limit=100")).data;
    const texts = (page: { data: { text: string }[] }) => page.data.map(({ text }) => text).join("");

    const newest = await list("limit=3");
    expect([texts(newest), newest.hasEarlier, newest.hasLater]).toEqual(["456", true, false]);
    const before = await list(`limit=3&before=${all[4].seq}`);
    expect([texts(before), before.hasEarlier, before.hasLater]).toEqual(["123", true, true]);
    const after = await list(`limit=3&after=${all[4].seq}`);
    expect([texts(after), after.hasEarlier, after.hasLater]).toEqual(["56", true, false]);
    const around = await list(`limit=3&around=${all[3].seq}`);
    expect([texts(around), around.hasEarlier, around.hasLater]).toEqual(["234", true, true]);
    expectProblem(await ann.get(`/v1/channels/${id}/messages?before=1&after=1`), 422, "invalid_request");
  });

  it("what a banned user was still allowed to write is seen by nobody else, shadowed or pending", async () => {
    const { tenant, ann, bob, id } = await room();
    await asOwner(
      "insert into bans (tenant_id, id, user_id, channel_id, shadow) values ($1, gen_random_uuid(), $2, $3, true)",
      [tenant.id, ann.id, id],
    );
    const shadowed = (await ann.post(`/v1/channels/${id}/messages`, { text: "secret" })).body;
    const pending = (await bob.post(`/v1/channels/${id}/messages`, { text: "waiting", pending: true })).body;

    expect(shadowed).not.toHaveProperty("shadowed");
    expect((await ann.get(`/v1/messages/${shadowed.id}`)).status).toBe(200);
    expectProblem(await bob.get(`/v1/messages/${shadowed.id}`), 404, "not_found");
    expectProblem(await bob.get(`/v1/messages/${shadowed.id}/edits`), 404, "not_found");
    expectProblem(await bob.delete(`/v1/messages/${shadowed.id}`), 404, "not_found");
    expectProblem(await ann.get(`/v1/messages/${pending.id}`), 404, "not_found");
    expect((await bob.get(`/v1/channels/${id}/messages`)).body.data.map((m: { text: string }) => m.text)).toEqual([
      "waiting",
    ]);
    expect((await ann.get(`/v1/channels/${id}/messages`)).body.data.map((m: { text: string }) => m.text)).toEqual([
      "secret",
    ]);
    expectProblem(
      await bob.post(`/v1/channels/${id}/messages`, { text: "?", quotedId: shadowed.id }),
      422,
      "invalid_request",
      "quotedId",
    );
    expectProblem(
      await bob.post(`/v1/channels/${id}/messages`, { text: "?", parentId: shadowed.id }),
      422,
      "invalid_request",
      "parentId",
    );
  });
});

describe("changing", () => {
  it("an edit keeps what was said before, and is the writer's or a moderator's", async () => {
    const { tenant, ann, bob, id } = await room();
    const { body: sent } = await ann.post(`/v1/channels/${id}/messages`, { text: "one", metadata: { a: 1 } });

    const edited = await ann.patch(`/v1/messages/${sent.id}`, { text: "two", metadata: { b: 2 } });

    expect(edited.body).toMatchObject({
      id: sent.id,
      seq: sent.seq,
      text: "two",
      metadata: { a: 1, b: 2 },
      editedAt: expect.any(String),
    });
    expectProblem(await bob.patch(`/v1/messages/${sent.id}`, { text: "mine now" }), 403, "not_allowed");
    expect((await tenant.patch(`/v1/messages/${sent.id}`, { text: "three" })).body.text).toBe("three");
    expect((await bob.get(`/v1/messages/${sent.id}/edits`)).body.data).toMatchObject([
      { text: "one", metadata: { a: 1 }, editedBy: ann.id },
      { text: "two", editedBy: null },
    ]);
  });

  it("deleted softly a message keeps its place without its words; hard, nothing is left", async () => {
    const { tenant, ann, bob, id } = await room();
    const { body: soft } = await ann.post(`/v1/channels/${id}/messages`, { text: "soft" });
    const { body: hard } = await ann.post(`/v1/channels/${id}/messages`, { text: "hardly there" });
    expectProblem(await bob.delete(`/v1/messages/${soft.id}`), 403, "not_allowed");

    expect((await ann.delete(`/v1/messages/${soft.id}`)).status).toBe(204);
    expect((await ann.delete(`/v1/messages/${hard.id}?hard=true`)).status).toBe(204);

    expect((await bob.get(`/v1/channels/${id}/messages`)).body.data).toMatchObject([
      { id: soft.id, text: "", deletedAt: expect.any(String) },
    ]);
    expectProblem(await bob.get(`/v1/messages/${hard.id}`), 404, "not_found");
    const events = JSON.stringify((await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body);
    expect(events).not.toContain("hardly there");
    expectProblem(await ann.patch(`/v1/messages/${soft.id}`, { text: "again" }), 409, "conflict");
  });
});

describe("reactions and pins", () => {
  const reactionsOf = (body: { reactions: { emoji: string; count: number }[] }) =>
    body.reactions.map(({ emoji, count }) => `${emoji}${count}`);

  it("a reaction is there once per user and emoji, counted, and can be taken back", async () => {
    const { tenant, ann, bob, id } = await room();
    const { body: sent } = await ann.post(`/v1/channels/${id}/messages`, { text: "react!" });
    const at = (emoji: string) => `/v1/messages/${sent.id}/reactions/${encodeURIComponent(emoji)}`;

    for (const who of [ann, bob, bob]) expect((await who.put(at("👍"))).status).toBe(204);
    await bob.put(at("heart"));

    const { body } = await ann.get(`/v1/messages/${sent.id}`);
    expect(reactionsOf(body)).toEqual(["👍2", "heart1"]);
    expect(body.reactions[0].latestUserIds.sort()).toEqual([ann.id, bob.id].sort());
    await bob.delete(at("👍"));
    expect(reactionsOf((await ann.get(`/v1/messages/${sent.id}`)).body)).toEqual(["👍1", "heart1"]);
    const types = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&afterSeq=${sent.seq}`)).body.data.map(
      (e: { type: string }) => e.type,
    );
    expect(types).toEqual(["reaction.new", "reaction.new", "reaction.new", "reaction.deleted"]);
    expectProblem(await tenant.put(at("👍")), 403, "not_allowed");
    const stranger = await newPerson(tenant);
    expectProblem(await stranger.put(at("👍")), 404, "not_found");
  });

  it("a frozen channel takes none, and where one is all there may be it is replaced", async () => {
    const tenant = await newTenant();
    const ann = await newPerson(tenant);
    const id = await newRoom(tenant, [ann], { settings: { oneReaction: true } });
    const { body: sent } = await ann.post(`/v1/channels/${id}/messages`, { text: "react!" });
    for (const emoji of ["a", "b"]) await ann.put(`/v1/messages/${sent.id}/reactions/${emoji}`);
    expect(reactionsOf((await ann.get(`/v1/messages/${sent.id}`)).body)).toEqual(["b1"]);
    await tenant.patch(`/v1/channels/${id}`, { frozen: true });
    expectProblem(await ann.put(`/v1/messages/${sent.id}/reactions/c`), 403, "channel_frozen");
    expectProblem(await ann.post(`/v1/channels/${id}/messages`, { text: "still?" }), 403, "channel_frozen");
    expectProblem(await ann.patch(`/v1/messages/${sent.id}`, { text: "so?" }), 403, "channel_frozen");
    expect((await tenant.patch(`/v1/messages/${sent.id}`, { text: "the server may" })).status).toBe(200);
  });

  it("moderators pin, the last pinned stands first", async () => {
    const { tenant, ann, id } = await room();
    const sent = [];
    for (const text of ["one", "two", "three"])
      sent.push((await ann.post(`/v1/channels/${id}/messages`, { text })).body);
    expectProblem(await ann.put(`/v1/messages/${sent[0].id}/pin`), 403, "not_allowed");
    for (const { id } of [sent[1], sent[0]])
      expect((await tenant.put(`/v1/messages/${id}/pin`)).body.pinnedAt).toEqual(expect.any(String));
    const pins = async () => (await ann.get(`/v1/channels/${id}/pins`)).body.data.map((m: { text: string }) => m.text);
    expect(await pins()).toEqual(["one", "two"]);
    await tenant.delete(`/v1/messages/${sent[1].id}/pin`);
    expect(await pins()).toEqual(["one"]);
  });
});

describe("pending", () => {
  it("approved, a message appears as if it were sent now; rejected, it stays its writer's alone", async () => {
    const { tenant, ann, bob, id } = await room();
    const send = async (text: string, more = {}) =>
      (await ann.post(`/v1/channels/${id}/messages`, { text, ...more })).body;
    const [yes, no] = [await send("approve me", { pending: true }), await send("reject me", { pending: true })];
    const open = await send("open");
    const watcher = await bob.watch(id);

    expectProblem(await bob.post(`/v1/messages/${yes.id}/approve`), 404, "not_found");
    expectProblem(await bob.get(`/v1/channels/${id}/pending`), 404, "not_found");
    expect((await tenant.get(`/v1/channels/${id}/pending`)).body.data.map((m: { id: string }) => m.id)).toEqual([
      yes.id,
      no.id,
    ]);
    const approved = (await tenant.post(`/v1/messages/${yes.id}/approve`)).body;
    await tenant.post(`/v1/messages/${no.id}/reject`);

    expect(approved).toMatchObject({ state: "visible", text: "approve me" });
    expect(approved.seq).toBeGreaterThan(open.seq);
    const frame = await watcher.until(({ type }) => type === "message.new");
    expect(frame).toMatchObject({ seq: approved.seq, data: { message: approved } });
    expect((await bob.get(`/v1/channels/${id}/messages`)).body.data.map((m: { text: string }) => m.text)).toEqual([
      "open",
      "approve me",
    ]);
    expect((await ann.get(`/v1/messages/${no.id}`)).body.state).toBe("rejected");
    expect(JSON.stringify(watcher.frames)).not.toContain("reject me");
    expectProblem(await tenant.post(`/v1/messages/${yes.id}/approve`), 409, "conflict");
  });
});

describe("quotes, mentions and attachments", () => {
  it("a quote is embedded one level deep, and never what others may not see", async () => {
    const { tenant, ann, bob, id } = await room();
    const send = async (as: typeof ann, text: string, more = {}) =>
      (await as.post(`/v1/channels/${id}/messages`, { text, ...more })).body;
    const first = await send(ann, "first");
    const second = await send(bob, "second", { quotedId: first.id });
    const third = await send(ann, "third", { quotedId: second.id });

    expect(third.quoted).toMatchObject({ id: second.id, userId: bob.id, text: "second", attachments: [] });
    expect(third.quoted).not.toHaveProperty("quoted");
    expect((await bob.get(`/v1/messages/${third.id}`)).body).toEqual(third);
    await bob.delete(`/v1/messages/${second.id}?hard=true`);
    expect((await ann.get(`/v1/messages/${third.id}`)).body).toMatchObject({ quotedId: null, quoted: null });
    const events = JSON.stringify((await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body);
    expect(events).toContain("third");
    expect(events).not.toContain("second");
  });

  it("mentions are counted: by name, of all, and of those who are connected", async () => {
    const tenant = await newTenant();
    const [ann, bob, eve] = [await newPerson(tenant), await newPerson(tenant), await newPerson(tenant)];
    const id = await newRoom(tenant, [ann, bob, eve]);
    await tenant.patch(`/v1/channels/${id}/members/${ann.id}`, { role: "moderator" });
    const socket = await bob.open();
    const send = (as: typeof ann, more: object) => as.post(`/v1/channels/${id}/messages`, { text: "hey", ...more });
    const mentions = async (who: typeof ann) => {
      const { own } = (await who.get(`/v1/channels/${id}`)).body;
      const recount = (await who.get(`/v1/channels/${id}/unread`)).body;
      expect(recount).toMatchObject({ unread: own.unread, unreadMentions: own.unreadMentions });
      return own.unreadMentions;
    };

    expectProblem(await send(bob, { mentioning: "channel" }), 403, "not_allowed");
    expectProblem(await send(bob, { mentioning: "here" }), 403, "not_allowed");
    await send(ann, { mentions: [eve.id] });
    expect([await mentions(bob), await mentions(eve)]).toEqual([0, 1]);
    const here = await send(ann, { mentioning: "here", mentions: [eve.id] });
    expect(here.body).toMatchObject({ mentioning: "here", mentions: [eve.id] });
    expect([await mentions(bob), await mentions(eve)]).toEqual([1, 2]);
    const all = await send(ann, { mentioning: "channel", mentions: [eve.id] });
    expect([await mentions(ann), await mentions(bob), await mentions(eve)]).toEqual([0, 2, 3]);
    await ann.delete(`/v1/messages/${all.body.id}`);
    expect([await mentions(bob), await mentions(eve)]).toEqual([1, 2]);
    await send(ann, { mentioning: "channel", silent: true });
    expect(await mentions(bob)).toBe(1);
    await tenant.put("/v1/channel-types/messaging", { permissions: { "message.mention": ["owner"] } });
    expectProblem(await send(bob, { mentions: [eve.id] }), 403, "not_allowed");
    socket.close();
  });

  it("an edit changes attachments and mentions, and its history has the old ones", async () => {
    const { ann, bob, id } = await room();
    const picture = { type: "image", url: "https://example.com/a.png" };
    const { body: sent } = await ann.post(`/v1/channels/${id}/messages`, { text: "look", attachments: [picture] });

    const file = { type: "file", url: "https://example.com/b.pdf" };
    const edited = await ann.patch(`/v1/messages/${sent.id}`, { attachments: [file], mentions: [bob.id] });

    expect(edited.body).toMatchObject({ text: "look", attachments: [file], mentions: [bob.id] });
    expect((await bob.get(`/v1/channels/${id}`)).body.own.unreadMentions).toBe(1);
    expect((await bob.get(`/v1/messages/${sent.id}/edits`)).body.data).toMatchObject([
      { text: "look", attachments: [picture], mentions: [] },
    ]);
    const empty = await ann.patch(`/v1/messages/${sent.id}`, { text: "", attachments: [] });
    expectProblem(empty, 422, "invalid_request", "text");
    const missing = [{ type: "file", fileId: crypto.randomUUID() }];
    expectProblem(
      await ann.patch(`/v1/messages/${sent.id}`, { attachments: missing }),
      422,
      "invalid_request",
      "attachments",
    );
  });

  it("a message deleted for good takes its thread and its files along", async () => {
    const { tenant, ann, id } = await room();
    const upload = async () =>
      (await ann.post("/v1/files?name=a.txt", "content", { headers: { "Content-Type": "text/plain" } })).body.id;
    const [own, shared] = [await upload(), await upload()];
    const attachments = [own, shared].map((fileId) => ({ type: "file", fileId }));
    const { body: sent } = await ann.post(`/v1/channels/${id}/messages`, { attachments });
    await ann.post(`/v1/channels/${id}/messages`, { text: "my reply", parentId: sent.id });
    await ann.post(`/v1/channels/${id}/messages`, { attachments: [attachments[1]] });

    expect((await ann.delete(`/v1/messages/${sent.id}?hard=true`)).status).toBe(204);
    await asOwner("update files set created_at = now() - interval '2 days' where tenant_id = $1", [tenant.id]);
    await sweep();

    expectProblem(await tenant.get(`/v1/files/${own}`), 404, "not_found");
    expect((await tenant.get(`/v1/files/${shared}`)).status).toBe(200);
    const events = JSON.stringify((await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body);
    expect(events).not.toContain("my reply");
  });
});
