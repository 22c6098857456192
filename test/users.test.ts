import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Any, type Client, client, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { asOwner } from "./setup/owner";

const ids = (answer: { body: Any }): string[] => answer.body.data.map((user: Any) => user.id);
const newTeam = async (tenant: Client, name = "Team"): Promise<string> =>
  (await tenant.post("/v1/teams", { name })).body.id;

describe("creating and upserting", () => {
  it("a user has the fields it was given and null for the others", async () => {
    const tenant = await newTenant();
    const teamId = await newTeam(tenant);
    const given = {
      externalId: "u-1",
      username: "ann",
      displayName: "Ann Ä. 漢字 🦜",
      avatarUrl: "https://example.org/ann.png",
      bio: "Hello",
      email: "Ann@Example.org",
      type: "guest",
      role: "viewer",
      metadata: { level: 3, nested: { list: [1, null, "x"] } },
    };

    const full = await newUser(tenant, { ...given, teamIds: [teamId] });
    const empty = (await tenant.post("/v1/users", {})).body;

    expect(full).toMatchObject({ ...given, teamIds: [teamId], deactivatedAt: null, lastSeenAt: null });
    expect((await tenant.get(`/v1/users/${full.id}`)).body).toEqual(full);
    expect(empty).toMatchObject({
      externalId: null,
      displayName: null,
      email: null,
      type: "regular",
      role: null,
      metadata: {},
      teamIds: [],
    });
    expect(Object.keys(full).sort()).toEqual(Object.keys(empty).sort());
  });

  it("a known externalId means the same user: what is given is set, null unsets, what is not given stays", async () => {
    const tenant = await newTenant();
    const [red, blue] = [await newTeam(tenant), await newTeam(tenant)];
    const first = await newUser(tenant, {
      externalId: "u-1",
      type: "guest",
      email: "a@example.org",
      bio: "Hello",
      metadata: { a: 1, b: 2 },
      teamIds: [red],
    });

    const second = await newUser(tenant, {
      externalId: "u-1",
      displayName: "Anna",
      bio: null,
      metadata: { b: null, c: 3 },
      teamIds: [blue],
    });
    const third = (await tenant.post("/v1/users", { externalId: "u-1" })).body;

    expect(second).toMatchObject({
      id: first.id,
      displayName: "Anna",
      type: "guest",
      email: "a@example.org",
      bio: null,
      metadata: { a: 1, c: 3 },
      teamIds: [blue],
    });
    expect({ ...third, updatedAt: "" }).toEqual({ ...second, updatedAt: "" });
    expect(ids(await tenant.get("/v1/users"))).toEqual([first.id]);
  });

  it("the same externalId in another tenant is another user", async () => {
    const [one, other] = [
      await newUser(await newTenant(), { externalId: "u-1" }),
      await newUser(await newTenant(), { externalId: "u-1" }),
    ];

    expect(one.id).not.toBe(other.id);
  });

  it("a hundred are upserted at once, new and known ones mixed, and answered in the order of the question", async () => {
    const tenant = await newTenant();
    const known = await newUser(tenant, {
      externalId: "u-50",
      type: "guest",
      bio: "Kept",
      role: "editor",
      metadata: { kept: true },
    });
    const users = Array.from({ length: 100 }, (_, n) => {
      const externalId = n % 3 === 0 && n !== 50 ? {} : { externalId: `u-${100 - n}` };
      return { ...externalId, displayName: `User ${n}`, ...(n % 2 === 1 && { type: "anonymous", bio: `Bio ${n}` }) };
    });

    const made = await tenant.post("/v1/users/bulk", { users });

    expect(made.status).toBe(200);
    expect(made.body.data.map((user: Any) => user.displayName)).toEqual(users.map((user) => user.displayName));
    expect(made.body.data[50]).toMatchObject({
      id: known.id,
      type: "guest",
      bio: "Kept",
      role: "editor",
      metadata: { kept: true },
    });
    expect(made.body.data[51]).toMatchObject({ type: "anonymous", bio: "Bio 51" });
    const again = await tenant.post("/v1/users/bulk", {
      users: users.filter((user) => "externalId" in user).map((user) => ({ ...user, bio: null })),
    });
    expect(new Set([...ids(made), ...ids(again)]).size).toBe(100);
    expect(again.body.data.every((user: Any) => user.bio === null)).toBe(true);
  });

  it("any mixture of bulk upserts ends as the same upserts one by one would", async () => {
    const profile = fc.record(
      {
        displayName: fc.option(fc.constantFrom("Ann", "Ben")),
        bio: fc.option(fc.constantFrom("x", "y")),
        type: fc.constantFrom("regular", "guest"),
        metadata: fc.dictionary(fc.constantFrom("a", "b"), fc.option(fc.integer({ min: 0, max: 9 })), { maxKeys: 2 }),
      },
      { requiredKeys: [] },
    );
    const round = fc.uniqueArray(fc.tuple(fc.constantFrom("u-1", "u-2", "u-3", "u-4"), profile), {
      selector: ([id]) => id,
      minLength: 1,
    });
    const state = async (tenant: Client) =>
      (await tenant.get("/v1/users")).body.data
        .map(({ id, createdAt, updatedAt, ...rest }: Any) => rest)
        .sort((a: Any, b: Any) => (a.externalId < b.externalId ? -1 : 1));

    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 3 }), async (rounds) => {
        const [bulk, single] = [await newTenant(), await newTenant()];
        for (const one of rounds) {
          const users = one.map(([externalId, given]) => ({ externalId, ...given }));
          expect((await bulk.post("/v1/users/bulk", { users })).status).toBe(200);
          for (const user of users) expect((await single.post("/v1/users", user)).status).toBe(201);
        }
        expect(await state(bulk)).toEqual(await state(single));
      }),
      { numRuns: 15 },
    );
  });

  it("a bulk upsert is all or nothing, and says where it is wrong", async () => {
    const tenant = await newTenant();
    await newUser(tenant, { email: "taken@example.org" });
    const before = ids(await tenant.get("/v1/users"));
    const bulk = (...users: object[]) => tenant.post("/v1/users/bulk", { users });
    const gone = crypto.randomUUID();

    expectProblem(await bulk({}, { email: "TAKEN@example.org" }), 409, "conflict", "email");
    expectProblem(await bulk({}, { displayName: 7 }), 422, "invalid_request", "users.1.displayName");
    expectProblem(await bulk({}, { nickname: "x" }), 422, "invalid_request", "users.1.nickname");
    expectProblem(
      await bulk({ externalId: "a" }, {}, { externalId: "a" }),
      422,
      "invalid_request",
      "users.2.externalId",
    );
    expectProblem(await bulk({}, { teamIds: [gone] }), 422, "invalid_request", "users.1.teamIds.0");
    expectProblem(await bulk(), 422, "invalid_request", "users");
    expectProblem(await bulk(...Array.from({ length: 101 }, () => ({}))), 422, "invalid_request", "users");
    expect(ids(await tenant.get("/v1/users"))).toEqual(before);
  });

  it("an e-mail address is unique in its tenant, whatever its case", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    await newUser(tenant, { email: "Ann@Example.org" });
    const ben = await newUser(tenant, { email: "ben@example.org" });

    expectProblem(await tenant.post("/v1/users", { email: "ann@example.ORG" }), 409, "conflict", "email");
    expectProblem(await tenant.patch(`/v1/users/${ben.id}`, { email: "ANN@example.org" }), 409, "conflict", "email");
    expect((await tenant.patch(`/v1/users/${ben.id}`, { email: "BEN@example.org" })).body.email).toBe(
      "BEN@example.org",
    );
    expect((await newUser(other, { email: "ann@example.org" })).email).toBe("ann@example.org");
  });

  it.each([
    ["an e-mail address that is none", { email: "ann" }, "email"],
    ["an avatar that is a script", { avatarUrl: "javascript:alert(1)" }, "avatarUrl"],
    ["an avatar that is no URL", { avatarUrl: "ann.png" }, "avatarUrl"],
    ["an unknown type", { type: "robot" }, "type"],
    ["an unknown role", { role: "owner" }, "role"],
    ["an empty externalId", { externalId: "" }, "externalId"],
    ["a name that is too long", { displayName: "x".repeat(256) }, "displayName"],
    ["metadata that is no object", { metadata: [1] }, "metadata"],
    ["a password, which Parley does not hold", { password: "secret" }, "password"],
  ])("%s is refused", async (_, input, path) => {
    expectProblem(await (await newTenant()).post("/v1/users", input), 422, "invalid_request", path);
  });
});

describe("reading", () => {
  it("filters find just what they name, alone and together", async () => {
    const tenant = await newTenant();
    const teamId = await newTeam(tenant);
    const ann = await newUser(tenant, {
      externalId: "u-1",
      email: "Ann@example.org",
      role: "admin",
      teamIds: [teamId],
    });
    const ben = await newUser(tenant, { type: "guest", role: "viewer", teamIds: [teamId] });
    const cay = await newUser(tenant);
    await tenant.post(`/v1/users/${cay.id}/deactivate`);
    const find = async (query: string) => ids(await tenant.get(`/v1/users?${query}`));

    expect(await find("")).toEqual([cay.id, ben.id, ann.id]);
    expect(await find("type=guest")).toEqual([ben.id]);
    expect(await find("role=admin")).toEqual([ann.id]);
    expect(await find(`teamId=${teamId}`)).toEqual([ben.id, ann.id]);
    expect(await find(`teamId=${teamId}&role=viewer`)).toEqual([ben.id]);
    expect(await find(`teamId=${crypto.randomUUID()}`)).toEqual([]);
    expect(await find("externalId=u-1")).toEqual([ann.id]);
    expect(await find("email=ANN@EXAMPLE.ORG")).toEqual([ann.id]);
    expect(await find("deactivated=true")).toEqual([cay.id]);
    expect(await find("deactivated=false")).toEqual([ben.id, ann.id]);
    expectProblem(await tenant.get("/v1/users?deactivated=maybe"), 422, "invalid_request", "query.deactivated");
    expectProblem(await tenant.get("/v1/users?colour=red"), 422, "invalid_request", "query.colour");
  });

  it("a search finds parts of names, addresses and external ids, in any case, and takes its text literally", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const ann = await newUser(tenant, {
      displayName: "Ann Müller",
      username: "annie",
      email: "a.m@example.org",
      externalId: "crm-0815",
    });
    const odd = await newUser(tenant, { displayName: "50%_off\\now" });
    await newUser(other, { displayName: "Ann Müller" });
    const find = async (text: string) => ids(await tenant.get(`/v1/users?search=${encodeURIComponent(text)}`));

    for (const text of ["ann m", "MÜLLER", "annie", "A.M@EX", "crm-08"])
      expect(await find(text), text).toEqual([ann.id]);
    for (const text of ["50%", "%_off", "\\now"]) expect(await find(text), text).toEqual([odd.id]);
    for (const text of ["%%%", "___", "A%r", "nobody"]) expect(await find(text), text).toEqual([]);
    expect(await find("ann müller&role=admin")).toEqual([]);
    expectProblem(await tenant.get("/v1/users?search=an"), 422, "invalid_request", "query.search");
  });

  it("a user who does not exist or is another tenant's is 404, an id that is none 422", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const foreign = await newUser(other);

    for (const id of [foreign.id, crypto.randomUUID()]) {
      expectProblem(await tenant.get(`/v1/users/${id}`), 404, "not_found");
      expectProblem(await tenant.patch(`/v1/users/${id}`, { bio: "x" }), 404, "not_found");
      expectProblem(await tenant.delete(`/v1/users/${id}`), 404, "not_found");
      expectProblem(await tenant.post(`/v1/users/${id}/deactivate`), 404, "not_found");
    }
    expectProblem(await tenant.get("/v1/users/ann"), 422, "invalid_request", "path.id");
    expect((await other.get(`/v1/users/${foreign.id}`)).body).toEqual(foreign);
  });
});

describe("changing", () => {
  it("fields are set and unset, metadata is merged member by member", async () => {
    const tenant = await newTenant();
    const [red, blue] = [await newTeam(tenant), await newTeam(tenant)];
    const { id } = await newUser(tenant, {
      externalId: "u-1",
      bio: "Hello",
      role: "viewer",
      metadata: { a: 1, b: { c: 2 } },
      teamIds: [red],
    });
    const patch = async (body: object) => (await tenant.patch(`/v1/users/${id}`, body)).body;

    expect(await patch({ bio: null, username: "ann" })).toMatchObject({
      bio: null,
      username: "ann",
      displayName: "Ann",
    });
    expect(await patch({ metadata: { a: null, b: 7, d: [] } })).toMatchObject({ metadata: { b: 7, d: [] } });
    expect(await patch({ role: null, teamIds: [blue, red, blue] })).toMatchObject({
      role: null,
      teamIds: [red, blue].sort(),
    });
    expect(await patch({ teamIds: [] })).toMatchObject({ teamIds: [], username: "ann" });
    expect(await patch({ externalId: "u-2" })).toMatchObject({ externalId: "u-2" });
    const before = await patch({});
    expect({ ...(await patch({})), updatedAt: before.updatedAt }).toEqual(before);
    expectProblem(
      await tenant.patch(`/v1/users/${id}`, { teamIds: [red, crypto.randomUUID()] }),
      422,
      "invalid_request",
      "teamIds.1",
    );
    await newUser(tenant, { externalId: "u-3" });
    expectProblem(await tenant.patch(`/v1/users/${id}`, { externalId: "u-3" }), 409, "conflict", "externalId");
  });

  it("metadata cannot grow without bound by being merged again and again", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);
    const part = (name: string) => ({ metadata: { [name]: "x".repeat(12_000) } });

    expect((await tenant.patch(`/v1/users/${id}`, part("a"))).status).toBe(200);
    expect((await tenant.patch(`/v1/users/${id}`, part("b"))).status).toBe(200);
    expectProblem(await tenant.patch(`/v1/users/${id}`, part("c")), 422, "invalid_request", "metadata");
    expect((await tenant.patch(`/v1/users/${id}`, { metadata: { a: null } })).status).toBe(200);
    expectProblem(
      await tenant.post("/v1/users", { metadata: { a: "x".repeat(16_400) } }),
      422,
      "invalid_request",
      "metadata",
    );
  });

  it("a deactivated user keeps everything and comes back", async () => {
    const tenant = await newTenant();
    const user = await newUser(tenant, { externalId: "u-1" });

    const gone = (await tenant.post(`/v1/users/${user.id}/deactivate`)).body;
    expect(gone.deactivatedAt).toEqual(expect.any(String));
    expect((await tenant.post(`/v1/users/${user.id}/deactivate`)).body.deactivatedAt).toBe(gone.deactivatedAt);
    expectProblem(await tenant.post(`/v1/users/${user.id}/tokens`, {}), 403, "user_deactivated");

    const back = (await tenant.post(`/v1/users/${user.id}/reactivate`)).body;
    expect(back).toMatchObject({ externalId: "u-1", deactivatedAt: null });
  });

  it("deleted, a user is anonymous: nothing personal is left, tokens end, and the external id is free", async () => {
    const tenant = await newTenant();
    const teamId = await newTeam(tenant);
    const ben = await newUser(tenant);
    const user = await newUser(tenant, {
      externalId: "u-1",
      username: "ann",
      bio: "Hi",
      email: "a@example.org",
      avatarUrl: "https://example.org/a.png",
      role: "viewer",
      metadata: { a: 1 },
      teamIds: [teamId],
    });
    const app = await userClient(tenant, user.id);
    await app.put(`/v1/users/${user.id}/devices/phone`, { pushToken: "t" });
    await app.put(`/v1/users/${user.id}/blocks/${ben.id}`);

    expect((await tenant.delete(`/v1/users/${user.id}`)).status).toBe(204);

    const left = (await tenant.get(`/v1/users/${user.id}`)).body;
    expect(left).toMatchObject({
      externalId: null,
      username: null,
      displayName: null,
      avatarUrl: null,
      bio: null,
      email: null,
      role: null,
      metadata: {},
      teamIds: [],
      deactivatedAt: expect.any(String),
    });
    expect((await tenant.get(`/v1/users/${user.id}/devices`)).body.data).toEqual([]);
    expect((await tenant.get(`/v1/users/${user.id}/blocks`)).body.data).toEqual([]);
    expectProblem(await app.get("/v1/whoami"), 403, "user_deactivated");
    await tenant.post(`/v1/users/${user.id}/reactivate`);
    expectProblem(await app.get("/v1/whoami"), 401, "token_revoked");
    expect((await newUser(tenant, { externalId: "u-1" })).id).not.toBe(user.id);
  });

  it("deleted hard, a user is gone with all that is theirs", async () => {
    const tenant = await newTenant();
    const [user, ben] = [await newUser(tenant, { teamIds: [await newTeam(tenant)] }), await newUser(tenant)];
    const app = await userClient(tenant, user.id);
    await app.put(`/v1/users/${user.id}/devices/phone`, {});
    await tenant.put(`/v1/users/${ben.id}/blocks/${user.id}`);

    expect((await tenant.delete(`/v1/users/${user.id}?mode=hard`)).status).toBe(204);

    expectProblem(await tenant.get(`/v1/users/${user.id}`), 404, "not_found");
    expectProblem(await app.get("/v1/whoami"), 401, "unknown_user");
    expect((await tenant.get(`/v1/users/${ben.id}/blocks`)).body.data).toEqual([]);
    expectProblem(await tenant.delete(`/v1/users/${user.id}?mode=hard`), 404, "not_found");
  });

  it("deleted hard, a user leaves none of their messages behind, nor the words of them in any event or quotation", async () => {
    const tenant = await newTenant();
    const [user, ben] = [await newUser(tenant), await newUser(tenant)];
    const channel = await tenant.post("/v1/channels", { members: [{ userId: user.id }, { userId: ben.id }] });
    const path = `/v1/channels/${channel.body.id}/messages`;
    const say = async (as: string, text: string, more: object = {}) =>
      (await tenant.post(path, { text, ...more }, { as })).body.id;
    const gone = await say(user.id, "unmistakable");
    await tenant.patch(`/v1/messages/${gone}`, { text: "unmistakable still" }, { as: user.id });
    await say(ben.id, "an answer in the thread", { parentId: gone });
    const quoting = await say(ben.id, "to that", { quotedId: gone });
    const kept = await say(ben.id, "kept");
    await say(user.id, "unmistakable answer", { parentId: kept });
    await tenant.put(`/v1/messages/${kept}/reactions/like`, {}, { as: user.id });
    await tenant.put(`/v1/messages/${kept}/reactions/like`, {}, { as: ben.id });
    const texts = async () =>
      (
        await asOwner<{ n: number }>(
          `select (select count(*)::int from events where tenant_id = $1 and payload like '%unmistakable%')
            + (select count(*)::int from messages where tenant_id = $1 and text like '%unmistakable%') as n`,
          [tenant.id],
        )
      )[0]!.n;
    expect(await texts()).toBeGreaterThan(3);

    expect((await tenant.delete(`/v1/users/${user.id}?mode=hard`)).status).toBe(204);

    expect(await texts()).toBe(0);
    expectProblem(await tenant.get(`/v1/messages/${gone}`), 404, "not_found");
    const left = (await tenant.get(path)).body.data;
    expect(left.map(({ id }: Any) => id).sort()).toEqual([quoting, kept].sort());
    expect(JSON.stringify(left)).not.toContain(user.id);
    expect(await asOwner("select user_id from message_reactions where tenant_id = $1", [tenant.id])).toEqual([
      { user_id: ben.id },
    ]);
    const synced = await tenant.post("/v1/sync", { cursors: { [channel.body.id]: 0 } }, { as: ben.id });
    expect(synced.status).toBe(200);
    expect(synced.body.streams[channel.body.id].more).toBe(false);
  });
});

describe("teams", () => {
  it("a team is created, listed, changed and deleted", async () => {
    const tenant = await newTenant();

    const team = (await tenant.post("/v1/teams", { name: "Support", metadata: { floor: 2, gone: null } })).body;
    expect(team).toMatchObject({ name: "Support", metadata: { floor: 2 } });
    expect((await tenant.get("/v1/teams")).body.data).toEqual([team]);
    expect(
      (await tenant.patch(`/v1/teams/${team.id}`, { name: "Help", metadata: { floor: null, wing: "B" } })).body,
    ).toMatchObject({ name: "Help", metadata: { wing: "B" } });
    expect((await tenant.get(`/v1/teams/${team.id}`)).body.name).toBe("Help");
    expect((await tenant.delete(`/v1/teams/${team.id}`)).status).toBe(204);
    expectProblem(await tenant.get(`/v1/teams/${team.id}`), 404, "not_found");
    expectProblem(await tenant.delete(`/v1/teams/${team.id}`), 404, "not_found");
  });

  it("members are added and taken out, and a team that has any is not deleted", async () => {
    const tenant = await newTenant();
    const [teamId, ann, ben] = [await newTeam(tenant), await newUser(tenant), await newUser(tenant)];
    for (const { id } of [ann, ben, ben])
      expect((await tenant.put(`/v1/teams/${teamId}/members/${id}`)).status).toBe(204);

    expect((await tenant.get(`/v1/teams/${teamId}/members`)).body.data.map((m: Any) => m.userId)).toEqual(
      [ann.id, ben.id].sort(),
    );
    expect((await tenant.get(`/v1/users/${ann.id}`)).body.teamIds).toEqual([teamId]);
    expectProblem(await tenant.delete(`/v1/teams/${teamId}`), 409, "team_in_use");

    for (const { id } of [ann, ben])
      expect((await tenant.delete(`/v1/teams/${teamId}/members/${id}`)).status).toBe(204);
    expectProblem(await tenant.delete(`/v1/teams/${teamId}/members/${ann.id}`), 404, "not_found");
    expect((await tenant.delete(`/v1/teams/${teamId}`)).status).toBe(204);
  });

  it("neither another tenant's team nor user gets into a team", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const [own, foreign] = [await newTeam(tenant), await newTeam(other)];
    const [ann, stranger] = [await newUser(tenant), await newUser(other)];

    expectProblem(await tenant.put(`/v1/teams/${foreign}/members/${ann.id}`), 404, "not_found");
    expectProblem(await tenant.put(`/v1/teams/${own}/members/${stranger.id}`), 404, "not_found");
    expectProblem(await tenant.post("/v1/users", { teamIds: [own, foreign] }), 422, "invalid_request", "teamIds.1");
    expect((await other.get(`/v1/teams/${foreign}/members`)).body.data).toEqual([]);
  });
});

describe("devices", () => {
  it("a device is registered, seen again, listed and forgotten; its push token is never shown", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);
    const path = `/v1/users/${id}/devices`;

    const first = (
      await tenant.put(`${path}/phone%2F1`, { pushProvider: "apns", pushToken: "secret-token", platform: "ios" })
    ).body;
    expect(first).toMatchObject({
      userId: id,
      deviceId: "phone/1",
      pushProvider: "apns",
      platform: "ios",
      hasPushToken: true,
    });
    const second = (await tenant.put(`${path}/phone%2F1`, {})).body;
    expect(second).toMatchObject({ id: first.id, pushProvider: "apns", hasPushToken: true });
    expect(Date.parse(second.lastActiveAt)).toBeGreaterThan(Date.parse(first.lastActiveAt) - 1);
    expect((await tenant.put(`${path}/phone%2F1`, { pushToken: null })).body.hasPushToken).toBe(false);

    const listed = await tenant.get(path);
    expect(listed.body.data).toHaveLength(1);
    expect(JSON.stringify([first, listed.body])).not.toContain("secret-token");
    expect((await tenant.delete(`${path}/phone%2F1`)).status).toBe(204);
    expectProblem(await tenant.delete(`${path}/phone%2F1`), 404, "not_found");
    expectProblem(await tenant.put(`${path}/x`, { platform: "fridge" }), 422, "invalid_request", "platform");
    expectProblem(await tenant.put(`/v1/users/${crypto.randomUUID()}/devices/x`, {}), 404, "not_found");
  });
});

describe("blocks", () => {
  it("a user blocks and unblocks others of the tenant, not themselves", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const [ann, ben, foreign] = [await newUser(tenant), await newUser(tenant), await newUser(other)];
    const path = `/v1/users/${ann.id}/blocks`;

    for (let twice = 0; twice < 2; twice++) expect((await tenant.put(`${path}/${ben.id}`)).status).toBe(204);
    expect((await tenant.get(path)).body.data).toEqual([{ blockedUserId: ben.id, createdAt: expect.any(String) }]);
    expect((await tenant.get(`/v1/users/${ben.id}/blocks`)).body.data).toEqual([]);
    expect((await tenant.delete(`${path}/${ben.id}`)).status).toBe(204);

    expectProblem(await tenant.delete(`${path}/${ben.id}`), 404, "not_found");
    expectProblem(await tenant.put(`${path}/${ann.id}`), 422, "invalid_request", "path.blockedUserId");
    expectProblem(await tenant.put(`${path}/${foreign.id}`), 404, "not_found");
  });
});

describe("what a user may do", () => {
  it("roles bring scopes: a viewer reads, an editor writes, an admin holds keys and reads the audit log", async () => {
    const tenant = await newTenant();
    const [viewer, editor, boss, plain] = await Promise.all(
      ["viewer", "editor", "admin", null].map(async (role) => userClient(tenant, (await newUser(tenant, { role })).id)),
    );
    const may = async (app: Client | undefined) => ({
      reads: (await app!.get("/v1/users")).status,
      writes: (await app!.post("/v1/teams", { name: "Team" })).status,
      holdsKeys: (await app!.get("/v1/api-keys")).status,
      audits: (await app!.get("/v1/audit-logs")).status,
      changesTenant: (await app!.patch("/v1/tenant", { name: "Acme" })).status,
      manages: (await app!.get("/v1/tenants")).status,
    });

    expect(await may(plain)).toEqual({
      reads: 403,
      writes: 403,
      holdsKeys: 403,
      audits: 403,
      changesTenant: 403,
      manages: 403,
    });
    expect(await may(viewer)).toEqual({
      reads: 200,
      writes: 403,
      holdsKeys: 403,
      audits: 403,
      changesTenant: 403,
      manages: 403,
    });
    expect(await may(editor)).toEqual({
      reads: 200,
      writes: 201,
      holdsKeys: 403,
      audits: 403,
      changesTenant: 403,
      manages: 403,
    });
    expect(await may(boss)).toEqual({
      reads: 200,
      writes: 201,
      holdsKeys: 200,
      audits: 200,
      changesTenant: 200,
      manages: 403,
    });
  });

  it("a changed role holds at the next request", async () => {
    const tenant = await newTenant();
    const { id } = await newUser(tenant);
    const app = await userClient(tenant, id);
    expectProblem(await app.get("/v1/users"), 403, "missing_scope");

    await tenant.patch(`/v1/users/${id}`, { role: "viewer" });
    expect((await app.get("/v1/users")).status).toBe(200);

    await tenant.patch(`/v1/users/${id}`, { role: null });
    expectProblem(await app.get("/v1/users"), 403, "missing_scope");
  });

  it("a user acts for themselves alone, with a token as through Parley-User", async () => {
    const tenant = await newTenant();
    const [ann, ben] = [await newUser(tenant, { externalId: "ann" }), await newUser(tenant)];
    const app = await userClient(tenant, ann.id);
    const through = (as: string): Client => {
      const request: Client["request"] = (method, path, body) => tenant.request(method, path, body, { as });
      return {
        ...client(null),
        request,
        get: (path) => request("GET", path),
        put: (path, body) => request("PUT", path, body),
        delete: (path) => request("DELETE", path),
      };
    };

    for (const caller of [app, through(ann.id), through("external:ann")]) {
      expect((await caller.put(`/v1/users/${ann.id}/devices/phone`, {})).status).toBe(200);
      expect((await caller.get(`/v1/users/${ann.id}/devices`)).body.data).toHaveLength(1);
      expect((await caller.put(`/v1/users/${ann.id}/blocks/${ben.id}`)).status).toBe(204);
      const refused = [
        await caller.get(`/v1/users/${ben.id}/devices`),
        await caller.put(`/v1/users/${ben.id}/devices/phone`, {}),
        await caller.delete(`/v1/users/${ben.id}/devices/phone`),
        await caller.get(`/v1/users/${ben.id}/blocks`),
        await caller.put(`/v1/users/${ben.id}/blocks/${ann.id}`),
        await caller.delete(`/v1/users/${ben.id}/blocks/${ann.id}`),
      ];
      for (const answer of refused) expectProblem(answer, 403, "not_allowed");
    }
    expect((await tenant.get(`/v1/users/${ben.id}/devices`)).body.data).toEqual([]);
  });

  it("a user's token lives as long as was asked for, at most a day", async () => {
    const tenant: Tenant = await newTenant();
    const { id } = await newUser(tenant);
    const mint = (body: object) => tenant.post(`/v1/users/${id}/tokens`, body);

    for (const expiresInSeconds of [60, 86_400]) {
      const { body } = await mint({ expiresInSeconds });
      expect(Math.abs(Date.parse(body.expiresAt) - Date.now() - expiresInSeconds * 1000)).toBeLessThan(5000);
      expect((await client(body.token).get("/v1/whoami")).body.userId).toBe(id);
    }
    for (const expiresInSeconds of [59, 86_401, 0.5, "60"])
      expectProblem(await mint({ expiresInSeconds }), 422, "invalid_request", "expiresInSeconds");
    expectProblem(await tenant.post(`/v1/users/${crypto.randomUUID()}/tokens`, {}), 404, "not_found");
  });
});
