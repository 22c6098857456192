import { evictDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { newRoom, numbersOf, room, textsOf } from "./live";
import { asOwner } from "./setup/owner";

/** Events without a message behind them, of so many bytes each. */
const insertEvents = (tenantId: string, channelId: string, many: number, bytes = 10) =>
  asOwner(
    `with s as (update streams set last_seq = last_seq + $3 where tenant_id = $1 and id = $2 returning last_seq)
     insert into events (tenant_id, id, stream_kind, stream_id, seq, type, payload)
     select $1, gen_random_uuid(), 'channel', $2, last_seq - $3 + n, 'custom.event',
       '{"id":"1","type":"custom.event","stream":{"kind":"channel","id":"' || $2 || '"},"seq":' || last_seq - $3 + n || ',"data":{"padding":"' || repeat('x', $4) || '"}}'
       from s, generate_series(1, $3::int) n`,
    [tenantId, channelId, many, bytes],
  );

const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

it("pages of a thousand events or a mebibyte lead to the end of every stream, over sockets as over HTTP", async () => {
  const { tenant, bob, ann, id } = await room();
  const large = await newRoom(tenant, [ann, bob]);
  const last = await newRoom(tenant, [ann, bob]);
  await insertEvents(tenant.id, id, 1_500);
  await insertEvents(tenant.id, large, 40, 60_000);
  const ends = Object.fromEntries(
    (await asOwner<Any>("select id, last_seq from streams where id = any ($1)", [[id, large, last]])).map((row) => [
      row.id,
      Number(row.last_seq),
    ]),
  );
  const socket = await bob.open();
  const asks: ((cursors: object) => Promise<Any>)[] = [
    async (cursors) => (await bob.post("/v1/sync", { cursors })).body.streams,
    async (cursors) => (await socket.ask({ op: "resume", cursors })).result.streams,
  ];
  for (const ask of asks) {
    const got: Record<string, Any[]> = { [id]: [], [large]: [], [last]: [] };
    let cursors: Record<string, number> = { [id]: 0, [large]: 0, [last]: 0 };
    let pages = 0;
    for (; Object.keys(cursors).length > 0; pages++) {
      const streams = await ask(cursors);
      const events = Object.values<Any>(streams).flatMap((stream) => stream.events);
      expect(events.length).toBeLessThanOrEqual(1_000);
      expect(JSON.stringify(events).length).toBeLessThan(1_048_576 + 66_000);
      for (const [stream, page] of Object.entries<Any>(streams)) got[stream]!.push(...page.events);
      cursors = Object.fromEntries(
        Object.entries<Any>(streams).flatMap(([stream, { seq, more }]) => (more ? [[stream, seq]] : [])),
      );
    }
    expect(pages).toBeGreaterThan(3);
    for (const [stream, events] of Object.entries(got)) expect(numbersOf(events)).toEqual(upTo(ends[stream]!));
  }

  const watching = await bob.watch(id, "?after=0");
  await watching.until(({ seq }) => seq === ends[id]);
  expect(numbersOf(watching.events())).toEqual(upTo(ends[id]!));
});

it("what retention removed is told as a gap, and its messages can be read by their numbers", async () => {
  const { tenant, bob, ann, id, send } = await room();
  const [old] = [await send(ann, "old"), await send(ann, "older than the plan keeps")];
  await asOwner("delete from events where tenant_id = $1 and stream_id = $2", [tenant.id, id]);
  const { body } = await bob.post("/v1/sync", { cursors: { [id]: 1 } });
  const all = body.streams[id];
  expect(all).toMatchObject({ more: false, events: [{ type: "gap", from: 2, to: all.seq }] });

  const fresh = await send(ann, "fresh");
  const gap = { type: "gap", stream: { kind: "channel", id }, from: 1, to: fresh.seq - 1 };
  const synced = (await bob.get(`/v1/sync?cursors=${id}:0`)).body.streams[id];
  const socket = await bob.watch(id, "?after=0");
  await socket.until(({ seq }) => seq === fresh.seq);
  for (const events of [synced.events, socket.events()]) {
    expect(events[0]).toEqual(gap);
    expect(textsOf(events)).toEqual(["fresh"]);
  }
  const { data } = (await bob.get(`/v1/channels/${id}/messages?after=${old.seq - 1}`)).body;
  expect(data.map(({ text }: Any) => text)).toEqual(["old", "older than the plan keeps", "fresh"]);
});

it("a thousand streams go in one request, more do not", async () => {
  const { bob, id } = await room();
  const cursors = (many: number) =>
    Object.fromEntries([[id, 0], ...upTo(many - 1).map(() => [crypto.randomUUID(), 0])]);
  const { status, body } = await bob.post("/v1/sync", { cursors: cursors(1_000) });
  expect(status).toBe(200);
  expect(Object.values<Any>(body.streams).filter(({ error }) => error === "not_found")).toHaveLength(999);
  expect(body.streams[id].more).toBe(false);
  expectProblem(await bob.post("/v1/sync", { cursors: cursors(1_001) }), 422, "invalid_request", "cursors");
});

it("a truncated channel's events quote nothing of what was before", async () => {
  const { tenant, ann, bob, id, send } = await room();
  const [old, kept] = [await send(ann, "old words"), await send(ann, "kept words")];
  const quote = async (quotedId: string) =>
    (await ann.post(`/v1/channels/${id}/messages`, { text: "Quite so", quotedId })).body;
  const [quoting, quotingKept] = [await quote(old.id), await quote(kept.id)];
  const before = quoting.seq - 1;

  expect((await tenant.post(`/v1/channels/${id}/truncate`, { upToSeq: old.seq })).status).toBe(200);

  const watching = await bob.watch(id, `?after=${before}`);
  await watching.until(({ type }) => type === "channel.truncated");
  const own = await bob.open();
  const resumed = (await own.ask({ op: "resume", cursors: { [id]: before } })).result;
  const synced = (await bob.post("/v1/sync", { cursors: { [id]: before } })).body;
  for (const events of [watching.events(), resumed.streams[id].events, synced.streams[id].events]) {
    const said = events.flatMap(({ data }: Any) => data.message ?? []);
    expect(said.map((m: Any) => [m.id, m.quoted?.text ?? null])).toEqual([
      [quoting.id, null],
      [quotingKept.id, "kept words"],
    ]);
    expect(JSON.stringify(events)).not.toContain("old words");
  }
});

it("to its writer a shadowed message stays an ordinary one when what it quotes is gone", async () => {
  const { tenant, ann, bob, id, send } = await room();
  const quoted = await send(bob, "soon gone");
  await tenant.put(`/v1/channels/${id}/bans/${ann.id}`, { shadow: true });
  await ann.post(`/v1/channels/${id}/messages`, { text: "Quite so", quotedId: quoted.id });

  expect((await bob.delete(`/v1/messages/${quoted.id}?hard=true`)).status).toBe(204);

  const { events } = (await ann.post("/v1/sync", { cursors: { [id]: quoted.seq } })).body.streams[id];
  const [said] = events.filter(({ data }: Any) => data?.message);
  expect(said).toMatchObject({ type: "message.new", data: { message: { text: "Quite so", quoted: null } } });
});

it("what one has cleared from one's history is not told anew by an edit, a reaction or a pin, asleep though the object may be", async () => {
  const { tenant, ann, bob, id, send, object } = await room();
  const old = await send(ann, "old words");
  const [cleared, other] = [await bob.watch(id), await ann.watch(id)];

  expect((await bob.patch(`/v1/channels/${id}/own`, { clearHistory: true })).status).toBe(200);
  await evictDurableObject(object);
  await tenant.patch(`/v1/messages/${old.id}`, { text: "old words, edited" });
  await ann.put(`/v1/messages/${old.id}/reactions/${encodeURIComponent("👍")}`);
  await tenant.put(`/v1/messages/${old.id}/pin`);
  const fresh = await send(ann, "fresh");
  await tenant.patch(`/v1/messages/${fresh.id}`, { text: "fresh, edited" });

  const edited = ({ data }: Any) => data?.message?.text === "fresh, edited";
  for (const socket of [cleared, other]) await socket.until(edited);
  expect(cleared.events().map(({ type }) => type)).toEqual([
    "skip",
    "reaction.new",
    "skip",
    "message.new",
    "message.updated",
  ]);
  expect(JSON.stringify(cleared.frames)).not.toContain("old words");
  expect(textsOf(other.events())).toContain("old words, edited");
  const { events } = (await bob.post("/v1/sync", { cursors: { [id]: old.seq } })).body.streams[id];
  expect(numbersOf(events)).toEqual(numbersOf(cleared.events()));
  expect(JSON.stringify(events)).not.toContain("old words");
});
