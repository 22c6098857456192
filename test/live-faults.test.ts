import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ADMITTED } from "../src/live/protocol";
import { expectProblem } from "./helpers";
import { connect, hold, newPerson, newRoom, numbersOf, room, textsOf } from "./live";
import { asOwner } from "./setup/owner";

afterEach(() => vi.restoreAllMocks());

/** As a commit whose Worker or object died before it told anybody. */
const commitUntold = (tenantId: string, channelId: string, type = "message.updated", data = "{}") =>
  asOwner(
    `with s as (update streams set last_seq = last_seq + 1 where tenant_id = $1 and id = $2 returning last_seq)
     insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
     select $1, gen_random_uuid(), 'channel', $2, last_seq, $3,
       '{"id":"1","type":"' || $3 || '","stream":{"kind":"channel","id":"' || $2 || '"},"seq":' || last_seq || ',"data":' || $4 || '}' from s`,
    [tenantId, channelId, type, data],
  );

describe("a fault", () => {
  it("while the database is down a send is refused for the moment, and nobody hears of it", async () => {
    const { ann, bob, id, send } = await room();
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
    await send(ann, "before");
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("connection refused"));

    const overSocket = await mine.ask({ op: "send", message: { text: "lost" } });
    const overHttp = await ann.post(`/v1/channels/${id}/messages`, { text: "lost" });

    vi.restoreAllMocks();
    expect(overSocket).toMatchObject({ type: "nack", code: "unavailable", retryAfter: 1 });
    expectProblem(overHttp, 503, "unavailable");
    expect(overHttp.headers.get("Retry-After")).toBe("1");
    const after = await mine.ask({ op: "send", message: { text: "after" } });
    await theirs.until(({ seq }) => seq === after.result.seq);
    expect(textsOf(theirs.events())).toEqual(["before", "after"]);
    expect(numbersOf(theirs.events())).toEqual([1, 2].map((n) => theirs.hello.seq + n));
  });

  it("what was committed and not published comes with the alarm, when the object went down in between", async () => {
    const { tenant, ann, bob, id, send, object } = await room();
    const socket = await bob.watch(id);
    await send(ann, "before");
    await evictDurableObject(object);
    await runInDurableObject(object, (_, { storage }) => storage.put("committing", true));
    await evictDurableObject(object);
    await commitUntold(tenant.id, id);

    await runDurableObjectAlarm(object);
    await socket.until(({ type }) => type === "message.updated");
    await send(ann, "after");
    await vi.waitUntil(() => textsOf(socket.events()).includes("after"));
    expect(numbersOf(socket.events())).toEqual([1, 2, 3].map((n) => socket.hello.seq + n));
  });

  it("a refused send has an answer of its own, and those it was sent with are stored and heard in one order by all", async () => {
    const { ann, bob, id } = await room({ settings: { maxLength: 20 } });
    const [mine, theirs] = [await ann.watch(id), await bob.watch(id)];
    const texts = Array.from({ length: 12 }, (_, n) => (n % 4 === 3 ? "x".repeat(21) : `text ${n}`));

    const answers = await Promise.all(
      texts.map((text, n) => (n % 2 ? mine : theirs).ask({ op: "send", message: { text } })),
    );

    expect(answers.map(({ type }) => type)).toEqual(texts.map((_, n) => (n % 4 === 3 ? "nack" : "ack")));
    expect(answers[3]).toMatchObject({ code: "invalid_request" });
    const last = Math.max(...answers.flatMap(({ result }) => (result ? [result.seq] : [])));
    for (const socket of [mine, theirs]) await socket.until(({ seq }) => seq === last);
    expect(mine.events()).toEqual(theirs.events());
    expect(numbersOf(mine.events())).toEqual(Array.from({ length: 9 }, (_, n) => last - 8 + n));
  });

  it("one who says too much of one kind may still say the rest", async () => {
    const { ann, id } = await room();
    const socket = await ann.watch(id);
    const said = [];
    for (let n = 0; n < 7; n++) said.push(await socket.ask({ op: "presence", presence: n % 2 ? "away" : "online" }));

    expect(said.at(-1)).toMatchObject({ type: "nack", code: "rate_limited", retryAfter: 2 });
    expect((await socket.ask({ op: "send", message: { text: "hello" } })).type).toBe("ack");
    expect(socket.closed).toBeNull();
  });
});

describe("the alarm", () => {
  it("is half a minute away while nothing else is due, and there is none without sockets", async () => {
    const { ann, bob, id, object, send } = await room();
    const alarm = () => runInDurableObject(object, (_, { storage }) => storage.getAlarm());
    await send(ann, "nobody watches");
    expect(await alarm()).toBeNull();
    const startedAt = Date.now();
    const sockets = [await ann.watch(id), await bob.watch(id)];
    expect(await alarm()).toBeGreaterThanOrEqual(startedAt + 30_000);
    await runDurableObjectAlarm(object);
    expect(await alarm()).toBeGreaterThanOrEqual(startedAt + 30_000);
    for (const socket of sockets) socket.close();
    await vi.waitUntil(async () => (await alarm()) === null);
  });

  it("comes when a token ends, and the socket with it", async () => {
    const { tenant, ann, bob, id, object } = await room();
    const { body } = await tenant.post(`/v1/users/${ann.id}/tokens`, { expiresInSeconds: 60 });
    const headers = { Authorization: `Bearer ${body.token}` };
    const [socket, other] = [await connect(`/v1/channels/${id}/connect`, headers), await bob.watch(id)];
    await runInDurableObject(object, (_, state) => {
      for (const one of state.getWebSockets()) {
        const kept = one.deserializeAttachment();
        if (kept.userId !== ann.id) continue;
        expect(kept.until).toBeLessThanOrEqual(Date.now() + 60_000);
        one.serializeAttachment({ ...kept, until: Date.now() + 300 });
      }
    });
    await evictDurableObject(object);
    await runDurableObjectAlarm(object);
    await vi.waitUntil(() => socket.closed, { timeout: 2_300, interval: 5 });

    expect(socket.frames.at(-1)).toEqual({ type: "bye", code: "credential_expired" });
    expect(other.closed).toBeNull();
  });
});

describe("a socket on its way", () => {
  it("while its user is removed or banned ends with that, whichever comes first, and hears of nothing after", async () => {
    const { tenant, ann, bob, id, send } = await room();
    for (let round = 0; round < 12; round++) {
      const ending = () =>
        round % 2
          ? tenant.delete(`/v1/channels/${id}/members/${bob.id}`)
          : tenant.put(`/v1/channels/${id}/bans/${bob.id}`, {});
      const [socket] = await Promise.all([bob.watch(id).catch(() => null), ending()]);
      await send(ann, `after ${round}`);
      if (socket) {
        await vi.waitUntil(() => socket.closed, { timeout: 4_000, interval: 5 });
        expect(socket.frames.at(-1)?.type).toBe("bye");
        expect(JSON.stringify(socket.frames)).not.toContain(`after ${round}`);
      }
      if (round % 2) await tenant.post(`/v1/channels/${id}/members`, { members: [{ userId: bob.id }] });
      else await tenant.delete(`/v1/channels/${id}/bans/${bob.id}`);
    }
  });

  /** As let in by the database at this number, and at the object only now. */
  async function arrives({ object, bob }: Awaited<ReturnType<typeof room>>, lastSeq: number) {
    const actor = { kind: "user", user: { id: bob.id } };
    const admitted = {
      id: crypto.randomUUID(),
      userId: bob.id,
      deviceId: null,
      firstSeq: 0,
      lastSeq,
      actor,
      after: null,
    };
    const headers = { Upgrade: "websocket", [ADMITTED]: JSON.stringify({ ...admitted, until: Date.now() + 60_000 }) };
    return hold((await object.fetch("http://object/", { headers })).webSocket!);
  }

  it("hears of its user's removal, and of nothing after, though it was let in before", async () => {
    const here = await room();
    const { tenant, ann, bob, id, send } = here;
    await ann.watch(id);
    const { seq } = await send(ann, "before");
    await tenant.delete(`/v1/channels/${id}/members/${bob.id}`);
    await send(ann, "after");
    const late = await arrives(here, seq);
    await vi.waitUntil(() => late.closed, { timeout: 4_000, interval: 5 });

    expect(late.frames.map(({ type }) => type)).toEqual(["hello", "member.removed", "bye"]);
    expect(late.frames.at(-1)).toEqual({ type: "bye", code: "not_a_member" });
  });

  it("gets what was committed meanwhile, although nobody watched when the object was told", async () => {
    const here = await room();
    const { ann, send } = here;
    const { seq } = await send(ann, "before");
    await send(ann, "meanwhile");
    const late = await arrives(here, seq);
    await late.until((frame) => frame.seq === seq + 1);
    expect(textsOf(late.events())).toEqual(["meanwhile"]);
  });

  it("is held to the bounds of its key and to the origins of its tenant, by ticket too", async () => {
    const { tenant, ann, id } = await room();
    const other = await newRoom(tenant, [ann]);
    const made = await tenant.post("/v1/api-keys", {
      name: "One channel",
      scopes: ["channels:read"],
      resources: { channel: [id] },
    });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    const headers = { Authorization: `Bearer ${made.body.secret}`, "Parley-User": ann.id };
    expect((await connect(`/v1/channels/${id}/connect`, headers)).hello.type).toBe("hello");
    for (const path of [`/v1/channels/${other}/connect`, "/v1/connect"])
      await expect(connect(path, headers)).rejects.toMatchObject({
        status: 403,
        body: { code: "resource_not_allowed" },
      });

    await tenant.patch("/v1/tenant", { settings: { allowedOrigins: ["https://app.example"] } });
    const { ticket } = (await ann.post("/v1/tickets")).body;
    await expect(connect(`/v1/connect?ticket=${ticket}`, { Origin: "https://evil.example" })).rejects.toMatchObject({
      status: 403,
      body: { code: "origin_not_allowed" },
    });
    expect((await connect(`/v1/connect?ticket=${ticket}`, { Origin: "https://app.example" })).hello.type).toBe("hello");
  });

  it("of a public channel that closes its doors ends for those who are no members", async () => {
    const { tenant, ann, id } = await room({ settings: { public: true } });
    const [stranger, member] = [await (await newPerson(tenant)).watch(id), await ann.watch(id)];
    await tenant.patch(`/v1/channels/${id}`, { settings: { public: false } });

    await vi.waitUntil(() => stranger.closed, { timeout: 4_000, interval: 5 });
    expect(stranger.frames.at(-1)).toEqual({ type: "bye", code: "not_a_member" });
    expect(member.closed).toBeNull();
  });
});
