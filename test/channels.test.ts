import { expect, it, vi } from "vitest";
import { type Any, type Client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { asOwner } from "./setup/owner";

async function cast(tenant: Tenant, ...names: string[]): Promise<Record<string, Client & { id: string }>> {
  const entries = await Promise.all(
    names.map(async (name) => {
      const { id } = await newUser(tenant, { displayName: name });
      return [name, { id, ...(await userClient(tenant, id)) }] as const;
    }),
  );
  return Object.fromEntries(entries);
}

async function newChannel(as: Client, input: object = {}): Promise<Any> {
  const made = await as.post("/v1/channels", { name: "general", ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

it("whoever creates a channel owns it; members see it, others do not, and a server sees all", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const channel = await newChannel(ann!, { members: [{ userId: bob!.id }] });

  const seen = (await bob!.get(`/v1/channels/${channel.id}`)).body;
  expect(seen).toMatchObject({ name: "general", memberCount: 2, own: { role: "member", unread: 0, muted: false } });
  expect(seen.members.map((m: Any) => [m.displayName, m.role])).toEqual(
    expect.arrayContaining([
      ["ann", "owner"],
      ["bob", "member"],
    ]),
  );
  expectProblem(await eve!.get(`/v1/channels/${channel.id}`), 404, "not_found");
  expect((await eve!.get("/v1/channels")).body.data).toEqual([]);
  expect((await tenant.get("/v1/channels")).body.data.map((c: Any) => c.id)).toContain(channel.id);
});

it("the permission table decides what a role may do, and a type may replace lines of it", async () => {
  const tenant = await newTenant();
  const { ann, bob } = await cast(tenant, "ann", "bob");
  const channel = await newChannel(ann!, { members: [{ userId: bob!.id }] });

  expectProblem(await bob!.patch(`/v1/channels/${channel.id}`, { name: "mine" }), 403, "not_allowed");
  expectProblem(await bob!.delete(`/v1/channels/${channel.id}`), 403, "not_allowed");
  expect((await ann!.patch(`/v1/channels/${channel.id}`, { name: "ours", metadata: { a: 1 } })).body).toMatchObject({
    name: "ours",
    metadata: { a: 1 },
  });
  await tenant.put("/v1/channel-types/open", { permissions: { "channel.update": ["owner", "member"] } });
  const open = await newChannel(ann!, { type: "open", members: [{ userId: bob!.id }] });
  expect((await bob!.patch(`/v1/channels/${open.id}`, { name: "mine" })).status).toBe(200);
  expectProblem(await tenant.delete("/v1/channel-types/open"), 409, "channel_type_in_use");
  expect((await ann!.delete(`/v1/channels/${channel.id}`)).status).toBe(204);
});

it("members are added, promoted and removed by those who may, and leave by themselves", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const { id } = await newChannel(ann!);

  expect(
    (
      await ann!.post(`/v1/channels/${id}/members`, {
        members: [{ userId: bob!.id, role: "moderator" }, { userId: eve!.id }],
      })
    ).status,
  ).toBe(204);
  expectProblem(await bob!.patch(`/v1/channels/${id}/members/${eve!.id}`, { role: "admin" }), 403, "not_allowed");
  expectProblem(await bob!.delete(`/v1/channels/${id}/members/${ann!.id}`), 403, "not_allowed");
  expect((await ann!.patch(`/v1/channels/${id}/members/${bob!.id}`, { role: "admin" })).status).toBe(204);
  expect((await bob!.delete(`/v1/channels/${id}/members/${eve!.id}`)).status).toBe(204);
  expect((await bob!.delete(`/v1/channels/${id}/members/${bob!.id}`)).status).toBe(204);
  expect((await ann!.get(`/v1/channels/${id}/members`)).body.data.map((m: Any) => m.userId)).toEqual([ann!.id]);
  const types = (await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body.data.map((e: Any) => e.type);
  expect(types).toEqual([
    "channel.created",
    "member.added",
    "member.added",
    "member.updated",
    "member.removed",
    "member.removed",
  ]);
  expectProblem(
    await ann!.post(`/v1/channels/${id}/members`, { members: [{ userId: crypto.randomUUID() }] }),
    422,
    "invalid_request",
    "members.0.userId",
  );
});

it("a distinct channel is the acting user's with the others, whoever else asks for theirs", async () => {
  const tenant = await newTenant();
  const { ann, ben, carl } = await cast(tenant, "ann", "ben", "carl");
  const make = async (who: typeof ann, ...others: (typeof ann)[]) =>
    (await who!.post("/v1/channels", { distinct: true, members: others.map((one) => ({ userId: one!.id })) })).body.id;

  const annsWithBen = await make(ann, ben);

  expect(await make(carl, ben)).not.toBe(annsWithBen);
  expect(await make(ben, ann)).toBe(annsWithBen);
  expect(await make(ann, ann, ben)).toBe(annsWithBen);
});

it("the same members find the same distinct channel, and nobody joins or leaves it", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const members = [{ userId: ann!.id }, { userId: bob!.id }];
  const make = () => tenant.post("/v1/channels", { distinct: true, members });

  const made = await Promise.all(Array.from({ length: 10 }, make));

  expect(new Set(made.map((m) => m.body.id)).size).toBe(1);
  expect((await tenant.post("/v1/channels", { distinct: true, members: members.toReversed() })).body.id).toBe(
    made[0]!.body.id,
  );
  expectProblem(
    await tenant.post(`/v1/channels/${made[0]!.body.id}/members`, { members: [{ userId: eve!.id }] }),
    409,
    "distinct_members",
  );
  for (const who of [tenant, bob!])
    expectProblem(await who.delete(`/v1/channels/${made[0]!.body.id}/members/${bob!.id}`), 409, "distinct_members");
  expect((await make()).body.id).toBe(made[0]!.body.id);
  expect((await bob!.get(`/v1/channels/${made[0]!.body.id}`)).body.memberCount).toBe(2);
});

it("an invitation is answered once, by the one invited", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const { id } = await newChannel(ann!);

  expect((await ann!.post(`/v1/channels/${id}/invitations`, { userId: bob!.id })).status).toBe(201);
  expectProblem(await ann!.post(`/v1/channels/${id}/invitations`, { userId: bob!.id }), 409, "conflict");
  expectProblem(await eve!.post(`/v1/channels/${id}/invitations/accept`), 404, "not_found");
  expect((await bob!.get("/v1/invitations?status=pending")).body.data).toHaveLength(1);
  expect((await bob!.post(`/v1/channels/${id}/invitations/accept`)).body).toMatchObject({ status: "accepted" });
  expectProblem(await bob!.post(`/v1/channels/${id}/invitations/reject`), 404, "not_found");
  expect((await bob!.get(`/v1/channels/${id}`)).body.own.role).toBe("member");
  const toBob = (await tenant.get(`/v1/events?stream=user&streamId=${bob!.id}`)).body.data;
  expect(toBob.map((e: Any) => e.type)).toEqual(["invitation.created"]);
});

it("a public channel is seen and joined by anybody; teams keep to themselves", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const open = await newChannel(ann!, { settings: { public: true } });
  const team = (await tenant.post("/v1/teams", { name: "Red" })).body;
  await tenant.put(`/v1/teams/${team.id}/members/${eve!.id}`);
  const red = await newChannel(tenant, { teamId: team.id, members: [{ userId: eve!.id }, { userId: bob!.id }] });

  expect((await bob!.get(`/v1/channels/${open.id}`)).body.own).toBeNull();
  expect((await bob!.post(`/v1/channels/${open.id}/join`)).status).toBe(204);
  expect((await bob!.get(`/v1/channels/${open.id}`)).body.own.role).toBe("member");
  expect((await eve!.get(`/v1/channels/${red.id}`)).status).toBe(200);
  expectProblem(await bob!.get(`/v1/channels/${red.id}`), 404, "not_found");
  expectProblem(await eve!.get(`/v1/channels/${open.id}`), 404, "not_found");
});

it("muting, pinning, archiving and hiding are each member's own", async () => {
  const tenant = await newTenant();
  const { ann, bob } = await cast(tenant, "ann", "bob");
  const { id } = await newChannel(ann!, { members: [{ userId: bob!.id }] });

  expect((await bob!.patch(`/v1/channels/${id}/own`, { muted: true, pinned: true })).body).toMatchObject({
    muted: true,
    pinnedAt: expect.any(String),
  });
  expect((await ann!.get(`/v1/channels/${id}`)).body.own.muted).toBe(false);
  await bob!.patch(`/v1/channels/${id}/own`, { hidden: true });
  expect((await bob!.get("/v1/channels")).body.data).toEqual([]);
  expect((await bob!.get("/v1/channels?hidden=true")).body.data).toHaveLength(1);
  await bob!.patch(`/v1/channels/${id}/own`, { hidden: false, archived: true });
  expect((await bob!.get("/v1/channels?archived=true")).body.data).toHaveLength(1);
});

it("channels are found by type, team, member, frozen and metadata, page by page", async () => {
  const tenant = await newTenant();
  const { ann } = await cast(tenant, "ann");
  for (let n = 0; n < 5; n++)
    await newChannel(tenant, {
      metadata: { n, even: n % 2 === 0 },
      frozen: n === 3,
      members: n < 2 ? [{ userId: ann!.id }] : [],
    });

  const count = async (query: string) => (await tenant.get(`/v1/channels?${query}`)).body.data.length;
  expect(await count(`metadata=${encodeURIComponent('{"even":true}')}`)).toBe(3);
  expect(await count("frozen=true")).toBe(1);
  expect(await count(`memberId=${ann!.id}`)).toBe(2);
  expect(await count("type=livestream")).toBe(0);
  const first = (await tenant.get("/v1/channels?limit=3")).body;
  const rest = (await tenant.get(`/v1/channels?limit=3&cursor=${first.nextCursor}`)).body;
  expect(new Set([...first.data, ...rest.data].map((c: Any) => c.id)).size).toBe(5);
  expectProblem(await tenant.get("/v1/channels?metadata=x"), 422, "invalid_request");
});

it("a truncated channel shows nothing of what was before, and says so", async () => {
  const tenant = await newTenant();
  const { ann, bob } = await cast(tenant, "ann", "bob");
  const { id } = await newChannel(ann!, { members: [{ userId: bob!.id }] });
  const say = async (text: string, more = {}) =>
    (await ann!.post(`/v1/channels/${id}/messages`, { text, ...more })).body;
  const [one, two] = [await say("one"), await say("two")];
  const texts = async (as: Client) => (await as.get(`/v1/channels/${id}/messages`)).body.data.map((m: Any) => m.text);

  expectProblem(await bob!.post(`/v1/channels/${id}/truncate`, {}), 403, "not_allowed");
  expect((await ann!.post(`/v1/channels/${id}/truncate`, { upToSeq: one.seq })).body).toEqual({ upToSeq: one.seq });
  expect(await texts(bob!)).toEqual(["two"]);
  expect((await bob!.get(`/v1/channels/${id}`)).body.own.unread).toBe(1);
  expectProblem(await tenant.get(`/v1/messages/${one.id}`), 404, "not_found");
  expectProblem(
    await ann!.post(`/v1/channels/${id}/messages`, { text: "?", quotedId: one.id }),
    422,
    "invalid_request",
    "quotedId",
  );
  expect((await bob!.get("/v1/search/messages?q=one")).body.data).toEqual([]);
  const message = { text: "Cleared" };
  await ann!.post(`/v1/channels/${id}/truncate`, { before: new Date().toISOString(), message });
  expect(await texts(bob!)).toEqual(["Cleared"]);
  expect((await bob!.get(`/v1/channels/${id}`)).body.lastMessage).toMatchObject({ kind: "system", text: "Cleared" });
  const rows = await asOwner("select id from messages where tenant_id = $1 and id = any ($2)", [
    tenant.id,
    [one.id, two.id],
  ]);
  expect(rows).toHaveLength(2);
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=channel.truncated`)).body.data;
  expect(told.map((e: Any) => e.data)).toMatchObject([{ upToSeq: one.seq, hard: false }, { hard: false }]);
});

it("truncated for good, the words are gone from messages, quotes and the log of events", async () => {
  const tenant = await newTenant();
  const { ann } = await cast(tenant, "ann");
  const { id } = await newChannel(ann!);
  const say = async (text: string, more = {}) =>
    (await ann!.post(`/v1/channels/${id}/messages`, { text, ...more })).body;
  const first = await say("first secret");
  const quoting = await say("kept", { quotedId: first.id });
  await ann!.patch(`/v1/messages/${first.id}`, { text: "second secret" });

  await ann!.post(`/v1/channels/${id}/truncate`, { upToSeq: first.seq, hard: true });

  await vi.waitFor(
    async () => expect(await asOwner("select 1 from messages where tenant_id = $1", [tenant.id])).toHaveLength(1),
    { timeout: 12_000, interval: 100 },
  );
  const events = JSON.stringify((await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body);
  expect(events).not.toContain("secret");
  expect(events).toContain("kept");
  expect((await ann!.get(`/v1/messages/${quoting.id}`)).body).toMatchObject({ quotedId: null, quoted: null });
});

it("a large channel that was deleted is gone for everybody at once, and removed by and by", async () => {
  const tenant = await newTenant();
  const { ann, bob } = await cast(tenant, "ann", "bob");
  const members = [{ userId: ann!.id }, { userId: bob!.id }];
  const { id } = (await tenant.post("/v1/channels", { distinct: true, members })).body;
  await asOwner(
    `insert into messages (tenant_id, id, channel_id, seq, text)
       select $1, gen_random_uuid(), $2, 1000 + n, 'filling' from generate_series(1, 700) n`,
    [tenant.id, id],
  );

  expect((await tenant.delete(`/v1/channels/${id}`)).status).toBe(204);

  for (const who of [tenant, ann!]) {
    expectProblem(await who.get(`/v1/channels/${id}`), 404, "not_found");
    expectProblem(await who.post(`/v1/channels/${id}/messages`, { text: "?" }), 404, "not_found");
    expect((await who.get("/v1/channels")).body.data).toEqual([]);
  }
  expect((await tenant.post("/v1/channels", { distinct: true, members })).body.id).not.toBe(id);
  await vi.waitFor(async () => expect(await asOwner("select 1 from channels where id = $1", [id])).toEqual([]), {
    timeout: 12_000,
    interval: 100,
  });
});

it("hidden, a channel returns with the next message; nobody is invited into a distinct one", async () => {
  const tenant = await newTenant();
  const { ann, bob, eve } = await cast(tenant, "ann", "bob", "eve");
  const members = [{ userId: ann!.id }, { userId: bob!.id }];
  const { id } = (await tenant.post("/v1/channels", { distinct: true, members })).body;
  const listed = async () => (await bob!.get("/v1/channels")).body.data.map((c: Any) => c.id);

  await bob!.patch(`/v1/channels/${id}/own`, { hidden: true });
  expect(await listed()).toEqual([]);
  await ann!.post(`/v1/channels/${id}/messages`, { text: "hello?" });
  expect(await listed()).toEqual([id]);
  expectProblem(await ann!.post(`/v1/channels/${id}/invitations`, { userId: eve!.id }), 409, "distinct_members");
});

it("a cooldown holds the whole channel back and says how long", async () => {
  const tenant = await newTenant();
  const { ann, bob } = await cast(tenant, "ann", "bob");
  const members = [{ userId: ann!.id }, { userId: bob!.id }];
  const { id } = (await tenant.post("/v1/channels", { cooldown: 60, members })).body;
  const send = (as: Client) => as.post(`/v1/channels/${id}/messages`, { text: "me" });

  expect((await send(ann!)).status).toBe(201);
  const refused = await send(bob!);

  expectProblem(refused, 429, "too_soon");
  expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(50);
});

it("null unsets what was set", async () => {
  const tenant = await newTenant();
  const { id } = await newChannel(tenant, {
    description: "Talk",
    metadata: { a: 1, b: 2 },
    avatarUrl: "https://a.example/a",
  });

  const patch = { description: null, avatarUrl: null, metadata: { a: null } };

  expect((await tenant.patch(`/v1/channels/${id}`, patch)).body).toMatchObject({
    description: null,
    avatarUrl: null,
    metadata: { b: 2 },
  });
});
