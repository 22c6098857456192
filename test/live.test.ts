import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { COMMANDS, FRAMES } from "../src/live/protocol";
import { type Any, admin, client, expectProblem, newTenant } from "./helpers";
import { connect, newPerson, newRoom, numbersOf, room, textsOf } from "./live";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

describe("watching", () => {
  it("watchers get every event once, in the order of its number, whatever brought it", async () => {
    const { ann, bob, id, send } = await room();
    const sockets = [await ann.watch(id), await bob.watch(id)];

    const sent = await Promise.all(Array.from({ length: 20 }, (_, n) => send(n % 2 ? ann : bob, `${n}`)));
    await ann.patch(`/v1/messages/${sent[1]!.id}`, { text: "edited" });
    await ann.delete(`/v1/messages/${sent[3]!.id}`);
    const last = await send(bob, "last");

    for (const socket of sockets) {
      await socket.until(({ seq }) => seq === last.seq);
      const first = socket.hello.seq + 1;
      expect(numbersOf(socket.events())).toEqual(Array.from({ length: last.seq - first + 1 }, (_, n) => first + n));
      expect(socket.events().map(({ type }) => type)).toEqual([
        ...Array(20).fill("message.new"),
        "message.updated",
        "message.deleted",
        "message.new",
      ]);
    }
    expect(sockets[0]!.events()).toEqual(sockets[1]!.events());
  });

  it("one who comes back gets what was missed before what is new", async () => {
    const { ann, bob, id, send } = await room();
    const first = await bob.watch(id);
    const seen = await send(ann, "seen");
    await first.until(({ seq }) => seq === seen.seq);
    first.close();
    for (const text of ["missed", "missed too"]) await send(ann, text);

    const again = await bob.watch(id, `?after=${seen.seq}`);
    const last = await send(ann, "new");
    await again.until(({ seq }) => seq === last.seq);

    expect(textsOf(again.events())).toEqual(["missed", "missed too", "new"]);
    expect(numbersOf(again.events())).toEqual([1, 2, 3].map((n) => seen.seq + n));
    const resumed = await again.ask({ op: "resume", cursors: { [id]: seen.seq } });
    expect(resumed.result.streams[id]).toMatchObject({ seq: last.seq, more: false });
    expect(textsOf(resumed.result.streams[id].events)).toEqual(["missed", "missed too", "new"]);
  });

  it("what is another's secret is a bare range, and for its writer as if nothing were wrong", async () => {
    const { tenant, ann, bob, id, send } = await room();
    await asOwner(
      "insert into bans (tenant_id, id, user_id, channel_id, shadow) values ($1, gen_random_uuid(), $2, $3, true)",
      [tenant.id, ann.id, id],
    );
    const [writer, other] = [await ann.watch(id), await bob.watch(id)];

    const secret = await send(ann, "secret");
    await ann.patch(`/v1/messages/${secret.id}`, { text: "secret still" });
    const open = await send(bob, "open");

    for (const socket of [writer, other]) await socket.until(({ seq }) => seq === open.seq);
    expect(writer.events().map(({ type }) => type)).toEqual(["message.new", "message.updated", "message.new"]);
    expect(other.events().map(({ type }) => type)).toEqual(["skip", "skip", "message.new"]);
    const synced = await bob.post("/v1/sync", { cursors: { [id]: secret.seq - 1 } });
    const resumed = await other.ask({ op: "resume", cursors: { [id]: 0 } });
    for (const seenByBob of [other.frames, synced.body, resumed])
      expect(JSON.stringify(seenByBob)).not.toContain("secret");
    expect(numbersOf(synced.body.streams[id].events)).toEqual([secret.seq, secret.seq + 1, open.seq]);
  });

  it("an event the object was not told of comes in its turn", async () => {
    const { tenant, ann, bob, id, send } = await room();
    const socket = await bob.watch(id);
    // As if the Worker had died between its commit and telling the object.
    await asOwner(
      `with s as (update streams set last_seq = last_seq + 1 where tenant_id = $1 and id = $2 returning last_seq)
       insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
       select $1, gen_random_uuid(), 'channel', $2, last_seq, 'message.updated', '{"id":"1","type":"message.updated","stream":{"id":"1"},"data":{},"seq":' || last_seq || '}' from s`,
      [tenant.id, id],
    );
    const later = await send(ann, "later");

    await socket.until(({ seq }) => seq === later.seq);
    expect(socket.events().map(({ seq }) => seq)).toEqual([later.seq - 1, later.seq]);
  });

  it("asleep and awake again, the object goes on where it was", async () => {
    const { tenant, ann, bob, id, send, object } = await room();
    const socket = await bob.watch(id);
    await send(ann, "before");
    await evictDurableObject(object);
    await send(ann, "between");
    await evictDurableObject(object);
    await asOwner(
      `with s as (update streams set last_seq = last_seq + 1 where tenant_id = $1 and id = $2 returning last_seq)
       insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
       select $1, gen_random_uuid(), 'channel', $2, last_seq, 'message.updated', '{"id":"1","type":"message.updated","stream":{"id":"1"},"data":{},"seq":' || last_seq || '}' from s`,
      [tenant.id, id],
    );
    await sweep();
    await socket.until(({ type }) => type === "message.updated");
    const last = await socket.ask({ op: "typing", typing: true });

    expect(last.type).toBe("ack");
    expect(textsOf(socket.events())).toEqual(["before", "between"]);
    expect(numbersOf(socket.events())).toEqual([1, 2, 3].map((n) => socket.hello.seq + n));
  });

  it("strangers, the banned and the removed are not let in, and users alone can be", async () => {
    const { tenant, ann, id } = await room();
    const stranger = await newPerson(tenant);
    await expect(stranger.watch(id)).rejects.toMatchObject({ status: 404 });
    await expect(
      connect(`/v1/channels/${id}/connect`, { Authorization: `Bearer ${tenant.key}` }),
    ).rejects.toMatchObject({ status: 403 });
    await expect(connect(`/v1/channels/${id}/connect`, {})).rejects.toMatchObject({ status: 401 });
    const acting = await connect(`/v1/channels/${id}/connect`, {
      Authorization: `Bearer ${tenant.key}`,
      "Parley-User": ann.id,
    });
    expect(acting.hello).toMatchObject({ type: "hello", userId: ann.id });
    await asOwner("insert into bans (tenant_id, id, user_id) values ($1, gen_random_uuid(), $2)", [tenant.id, ann.id]);
    await expect(ann.watch(id)).rejects.toMatchObject({ status: 403, body: { code: "banned" } });
    expectProblem(await ann.get(`/v1/channels/${id}/connect`), 400, "malformed_header");
  });

  it("a removed member hears of it, and of nothing after", async () => {
    const { tenant, ann, bob, id, send } = await room();
    const socket = await bob.watch(id);
    expect((await tenant.delete(`/v1/channels/${id}/members/${bob.id}`)).status).toBe(204);
    await send(ann, "without bob");
    await vi.waitUntil(() => socket.closed, { timeout: 5_000 });

    expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "not_a_member" });
    expect(textsOf(socket.frames)).toEqual([]);
    await expect(bob.watch(id)).rejects.toMatchObject({ status: 404 });
  });
});

describe("commands", () => {
  it("a send is acknowledged after its commit, with the message; a repetition by clientId answers the same", async () => {
    const { ann, bob, id } = await room();
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
    const message = { text: "over the wire", clientId: "w-1" };

    const [first, again] = [await mine.ask({ op: "send", message }), await mine.ask({ op: "send", message })];

    expect(first).toMatchObject({ type: "ack", result: { text: "over the wire", userId: ann.id } });
    expect(again.result).toEqual(first.result);
    await theirs.until(({ seq }) => seq === first.result.seq);
    expect(textsOf(theirs.events())).toEqual(["over the wire"]);
  });

  it("what is no command gets a nack that says why, and others notice nothing", async () => {
    const { ann, bob, id, send } = await room();
    const [socket, other] = [await ann.watch(id), await bob.watch(id)];
    const nacks = async (text: string | ArrayBuffer) => {
      const before = socket.frames.length;
      socket.raw.send(text);
      return (await vi.waitUntil(() => socket.frames[before], { interval: 5 })) as Any;
    };
    expect(await nacks("{nonsense")).toMatchObject({ type: "nack", id: null, code: "malformed_json" });
    expect(await nacks('{"id":1,"op":"fly"}')).toMatchObject({ type: "nack", id: 1, code: "unknown_command" });
    expect(await nacks('{"id":2,"op":"send","message":{"text":5}}')).toMatchObject({
      type: "nack",
      id: 2,
      code: "invalid_request",
    });
    expect(await nacks(new Uint8Array([1, 2, 255]).buffer)).toMatchObject({ type: "nack", code: "malformed_json" });
    expect(await nacks(`"${"x".repeat(70_000)}"`)).toMatchObject({ type: "nack", code: "payload_too_large" });
    expect(await nacks('{"type":"ping"}')).toEqual({ type: "pong" });
    for (let n = 0; n < 200; n++) socket.raw.send('{"id":3,"op":"fly"}');
    await vi.waitUntil(() => socket.closed, { timeout: 5_000 });
    expect(socket.frames).toContainEqual(
      expect.objectContaining({ type: "nack", code: "rate_limited", retryAfter: 1 }),
    );
    expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "rate_limited" });

    const after = await send(bob, "undisturbed");
    await other.until(({ seq }) => seq === after.seq);
    expect(other.closed).toBeNull();
  });
});

describe("tickets", () => {
  it("a ticket lets its buyer in once", async () => {
    const { ann, id } = await room();
    const { body } = await ann.post("/v1/tickets");
    const path = `/v1/channels/${id}/connect?ticket=${body.ticket}`;

    expect((await connect(path, {})).hello.userId).toBe(ann.id);
    await expect(connect(path, {})).rejects.toMatchObject({ status: 401 });
    await expect(connect(`${path}x`, {})).rejects.toMatchObject({ status: 401 });
  });

  it("an expired ticket lets nobody in, and a ticket is worth no more than its credential", async () => {
    const { tenant, ann, id } = await room();
    const [old, revoked] = [(await ann.post("/v1/tickets")).body.ticket, (await ann.post("/v1/tickets")).body.ticket];
    await asOwner("update socket_tickets set expires_at = now() where tenant_id = $1", [tenant.id]);
    await expect(connect(`/v1/connect?ticket=${old}`, {})).rejects.toMatchObject({ status: 401 });
    await asOwner("update socket_tickets set expires_at = now() + interval '30 seconds' where tenant_id = $1", [
      tenant.id,
    ]);
    await tenant.post(`/v1/users/${ann.id}/deactivate`);
    await expect(connect(`/v1/channels/${id}/connect?ticket=${revoked}`, {})).rejects.toMatchObject({ status: 403 });
  });
});

describe("a user's own socket", () => {
  it("hints at news in channels of the user's that are not watched", async () => {
    const { tenant, ann, bob, id, send } = await room();
    const stranger = await newPerson(tenant);
    const [own, foreign] = [await bob.open(), await stranger.open()];
    expect(own.hello).toMatchObject({ userId: bob.id, stream: { kind: "user", id: bob.id } });

    const startedAt = Date.now();
    const first = await send(ann, "news");
    const hint = await own.until(({ type }) => type === "hint");
    expect(hint).toEqual({ type: "hint", channelId: id, lastSeq: first.seq });
    const last = (await Promise.all(["a", "b", "c"].map((text) => send(ann, text))))
      .map(({ seq }) => seq)
      .sort((a, b) => b - a)[0];
    await own.until(({ type, lastSeq }) => type === "hint" && lastSeq === last);
    const hints = own.frames.filter(({ type }) => type === "hint").length;
    expect(hints).toBeLessThanOrEqual(1 + Math.floor((Date.now() - startedAt) / 1_000));
    expect(foreign.frames).toHaveLength(1);
    const resumed = await own.ask({ op: "resume", cursors: { [id]: first.seq, [crypto.randomUUID()]: 0 } });
    expect(textsOf(resumed.result.streams[id].events).sort()).toEqual(["a", "b", "c"]);
    expect(Object.values(resumed.result.streams)).toContainEqual({ error: "not_found" });
  });
});

describe("without sockets", () => {
  it("an object holds no alarm, and with them a single one", async () => {
    const { ann, bob, id, send, object } = await room();
    await send(ann, "hello");
    expect(await runDurableObjectAlarm(object)).toBe(false);
    const socket = await bob.watch(id);
    expect(await runDurableObjectAlarm(object)).toBe(true);
    expect(await runDurableObjectAlarm(object)).toBe(true);
    socket.close();
    await vi.waitUntil(async () => !(await runDurableObjectAlarm(object)), { timeout: 5_000 });
  });
});

describe("what ends a credential ends its sockets", () => {
  const said = async (socket: Awaited<ReturnType<typeof connect>>, code: string) => {
    await vi.waitUntil(() => socket.closed, { timeout: 2_000, interval: 5 });
    expect(socket.frames.at(-1)).toEqual({ type: "bye", code });
  };

  it("a revoked token, all of a user's, a deactivated user", async () => {
    const { tenant, ann, bob, id } = await room();
    const [one, two, own, other] = [await ann.watch(id), await bob.watch(id), await bob.open(), await ann.open()];
    const { jti } = JSON.parse(atob(ann.token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));

    await tenant.post("/v1/tokens/revoke", { jti });
    await said(one, "token_revoked");
    await said(other, "token_revoked");
    expect(two.closed).toBeNull();

    expect((await tenant.delete(`/v1/users/${bob.id}/tokens`)).status).toBe(204);
    await said(two, "token_revoked");
    await said(own, "token_revoked");

    const acting = await connect(`/v1/channels/${id}/connect`, {
      Authorization: `Bearer ${tenant.key}`,
      "Parley-User": bob.id,
    });
    await tenant.post(`/v1/users/${bob.id}/deactivate`);
    await said(acting, "user_deactivated");
  });

  it("a key that is revoked, asleep though the object may be", async () => {
    const { tenant, ann, id, object } = await room();
    const made = await tenant.post("/v1/api-keys", { name: "Live", scopes: ["channels:read", "channels:write"] });
    const socket = await connect(`/v1/channels/${id}/connect`, {
      Authorization: `Bearer ${made.body.secret}`,
      "Parley-User": ann.id,
    });
    await evictDurableObject(object);

    expect((await tenant.delete(`/v1/api-keys/${made.body.id}`)).status).toBeLessThan(300);

    await said(socket, "key_revoked");
  });

  it("a tenant that is suspended, a team that is left", async () => {
    const { tenant, ann, bob, id } = await room();
    const team = (await tenant.post("/v1/teams", { name: "Team" })).body.id;
    const watcher = await ann.watch(id);
    await tenant.put(`/v1/teams/${team}/members/${ann.id}`);
    await said(watcher, "teams_changed");

    const last = await bob.watch(id);
    await (await admin()).post(`/v1/tenants/${tenant.id}/suspend`);
    await said(last, "tenant_suspended");
  });

  it("no socket slips in beside the end of its credential", async () => {
    const { tenant, ann, id } = await room();
    for (let round = 0; round < 10; round++) {
      const made = await tenant.post("/v1/api-keys", { name: "Race", scopes: ["channels:read"] });
      const headers = { Authorization: `Bearer ${made.body.secret}`, "Parley-User": ann.id };
      const connecting = connect(`/v1/channels/${id}/connect`, headers).catch(() => null);
      const [socket] = await Promise.all([connecting, tenant.delete(`/v1/api-keys/${made.body.id}`)]);
      if (socket) await vi.waitUntil(() => socket.closed, { timeout: 2_000, interval: 5 });
    }
    const live = await asOwner("select 1 from live_sockets where tenant_id = $1", [tenant.id]);
    expect(live).toEqual([]);
  });
});

it("a user sees and ends their own sessions, nobody else's", async () => {
  const { ann, bob, id } = await room();
  const [phone, laptop, channel] = [
    await ann.open("?deviceId=phone"),
    await ann.open("?deviceId=laptop"),
    await ann.watch(id),
  ];

  const listed = await ann.get(`/v1/users/${ann.id}/sessions`);
  expect(listed.body.data.map((session: Any) => session.deviceId).sort()).toEqual(["laptop", "phone"]);
  expect((await bob.get(`/v1/channels/${id}/watchers`)).body.data).toEqual([{ userId: ann.id, presence: "online" }]);
  expectProblem(await bob.get(`/v1/users/${ann.id}/sessions`), 403, "not_allowed");
  expectProblem(await bob.delete(`/v1/users/${ann.id}/sessions`), 403, "not_allowed");
  expect((await ann.delete(`/v1/users/${ann.id}/sessions?sessionId=${phone.hello.socketId}`)).status).toBe(204);
  await vi.waitUntil(() => phone.closed, { timeout: 2_000 });
  expect(laptop.closed).toBeNull();
  expect((await ann.delete(`/v1/users/${ann.id}/sessions`)).status).toBe(204);
  await vi.waitUntil(() => laptop.closed && channel.closed, { timeout: 2_000 });
  expect(laptop.frames.at(-1)).toEqual({ type: "bye", code: "session_ended" });
});

it("the reference shows every command and frame, as they are checked", async () => {
  const { body } = await client(null).get("/openapi.json");
  const { schemas } = body.components;

  for (const name of Object.keys(COMMANDS)) expect(body.info.description).toContain(`| \`${name}\` |`);
  for (const name of Object.keys(FRAMES)) expect(body.info.description).toContain(`| \`${name}\` |`);
  expect(schemas.CommandSend.properties).toMatchObject({ op: { enum: ["send"] }, message: expect.anything() });
  expect(schemas.FrameHello.required).toEqual(
    expect.arrayContaining(["type", "socketId", "userId", "stream", "seq", "serverTime", "pingSeconds"]),
  );
  expect(schemas.Frame.oneOf).toHaveLength(Object.keys(FRAMES).length);
  expect(schemas.Command.oneOf).toHaveLength(Object.keys(COMMANDS).length);
});

it("whoever watches a public channel is sent away when its type is public no longer, and members stay", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  expect((await tenant.put("/v1/channel-types/lobby", { settings: { public: true } })).status).toBe(200);
  const [lobby, plain] = [await newRoom(tenant, [bob], { type: "lobby" }), await newRoom(tenant, [ann])];
  const [guest, member, elsewhere] = [await ann.watch(lobby), await bob.watch(lobby), await ann.watch(plain)];

  expect((await tenant.put("/v1/channel-types/lobby", { settings: { public: false } })).status).toBe(200);

  await guest.until(({ type }) => type === "bye");
  expect(guest.frames.at(-1)).toEqual({ type: "bye", code: "not_a_member" });
  const sent = (await bob.post(`/v1/channels/${lobby}/messages`, { text: "among us" })).body;
  await member.until(({ type, data }) => type === "message.new" && data.message.id === sent.id);
  expect(guest.frames.at(-1)).toEqual({ type: "bye", code: "not_a_member" });
  expect(elsewhere.frames.some(({ type }) => type === "bye")).toBe(false);
});
