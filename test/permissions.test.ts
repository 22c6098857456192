import { beforeAll, expect, it } from "vitest";
import { PERMISSIONS, type Verb } from "../src/channels/permissions";
import { type Answer, type Any, newTenant, newUser, type Tenant } from "./helpers";
import { newPerson, type Person } from "./live";

const ROLES = ["owner", "admin", "moderator", "member"] as const;
/** Only conversations can be trashed, and in them it is the operators' roles that count. */
type Tried = Exclude<Verb, "channel.trash">;
const VERBS = (Object.keys(PERMISSIONS) as Verb[]).filter((verb): verb is Tried => verb !== "channel.trash");

let tenant: Tenant;
let people: Record<(typeof ROLES)[number], Person>;
let writer: Person;

beforeAll(async () => {
  tenant = await newTenant();
  const made = await Promise.all([...ROLES, "writer"].map(() => newPerson(tenant)));
  people = { owner: made[0]!, admin: made[1]!, moderator: made[2]!, member: made[3]! };
  writer = made[4]!;
});

/** A channel with one of each role in it, and somebody else who writes. */
async function newRoom(more: object = {}): Promise<string> {
  const members = [...ROLES.map((role) => ({ userId: people[role].id, role })), { userId: writer.id }];
  const made = await tenant.post("/v1/channels", { members, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body.id;
}

type Attempt = {
  /** What the channel has beside the usual. */
  room?: object;
  code?: string;
  by(who: Person, room: string): Promise<Answer<Any>>;
};

const newMessage = async (room: string, more: object = {}): Promise<string> => {
  const said = await writer.post(`/v1/channels/${room}/messages`, { text: "Hear, hear", ...more });
  expect(said.status, JSON.stringify(said.body)).toBe(201);
  return said.body.id;
};
const newMember = async (room: string): Promise<string> => {
  const { id } = await newUser(tenant);
  expect((await tenant.post(`/v1/channels/${room}/members`, { members: [{ userId: id }] })).status).toBe(204);
  return id;
};
const saying = (message: object, attempt: Partial<Attempt> = {}): Attempt => ({
  by: (who, room) => who.post(`/v1/channels/${room}/messages`, { text: "Hear, hear", ...message }),
  ...attempt,
});
const patching = (patch: object): Attempt => ({ by: (who, room) => who.patch(`/v1/channels/${room}`, patch) });

/** Each verb, done to what is made for it. */
const ATTEMPTS: Record<Tried, Attempt> = {
  "channel.update": patching({ name: "Ours" }),
  "channel.freeze": patching({ frozen: false }),
  "channel.delete": { by: (who, room) => who.delete(`/v1/channels/${room}`) },
  "channel.truncate": { by: (who, room) => who.post(`/v1/channels/${room}/truncate`, {}) },
  "channel.join": { by: (who, room) => who.post(`/v1/channels/${room}/join`), room: { settings: { public: true } } },
  "member.add": {
    by: async (who, room) =>
      who.post(`/v1/channels/${room}/members`, { members: [{ userId: (await newUser(tenant)).id }] }),
  },
  "member.remove": { by: async (who, room) => who.delete(`/v1/channels/${room}/members/${await newMember(room)}`) },
  "member.role": {
    by: async (who, room) => who.patch(`/v1/channels/${room}/members/${await newMember(room)}`, { role: "member" }),
  },
  "member.invite": {
    by: async (who, room) => who.post(`/v1/channels/${room}/invitations`, { userId: (await newUser(tenant)).id }),
  },
  "message.send": saying({}),
  "message.send_frozen": saying({}, { room: { frozen: true }, code: "channel_frozen" }),
  "message.skip_slow_mode": {
    by: async (who, room) => {
      await who.post(`/v1/channels/${room}/messages`, { text: "Hear" });
      return who.post(`/v1/channels/${room}/messages`, { text: "hear" });
    },
    room: { slowMode: 60 },
    code: "too_soon",
  },
  "message.edit": { by: async (who, room) => who.patch(`/v1/messages/${await newMessage(room)}`, { text: "!" }) },
  "message.delete": { by: async (who, room) => who.delete(`/v1/messages/${await newMessage(room)}`) },
  "message.pin": { by: async (who, room) => who.put(`/v1/messages/${await newMessage(room)}/pin`) },
  "message.system": saying({ kind: "system" }),
  "message.mention": { by: (who, room) => saying({ mentions: [writer.id] }).by(who, room) },
  "message.mention_all": saying({ mentioning: "channel" }),
  "message.mention_here": saying({ mentioning: "here" }),
  "reaction.add": { by: async (who, room) => who.put(`/v1/messages/${await newMessage(room)}/reactions/%F0%9F%91%8D`) },
  "moderation.ban": {
    by: async (who, room) => who.put(`/v1/channels/${room}/bans/${await newMember(room)}`, {}),
  },
  /** Who does not review does not see what waits. */
  "moderation.review": {
    by: async (who, room) => who.post(`/v1/messages/${await newMessage(room, { pending: true })}/approve`),
    code: "not_found",
  },
};

const refusalOf = async ({ by }: Attempt, who: Person, room: string): Promise<string | null> => {
  const { status, body } = await by(who, room);
  return status < 300 ? null : body.code;
};

it.each(VERBS)("%s is for those whom the table names, and for nobody else", async (verb) => {
  const attempt = ATTEMPTS[verb];
  const room = await newRoom(attempt.room);
  const standings: readonly string[] = PERMISSIONS[verb];

  const found: Record<string, string | null> = {};
  // The owner comes last, as what they may do can end the channel.
  for (const role of ROLES.toReversed()) found[role] = await refusalOf(attempt, people[role], room);

  expect(found).toEqual(
    Object.fromEntries(ROLES.map((role) => [role, standings.includes(role) ? null : (attempt.code ?? "not_allowed")])),
  );
});

it.each(VERBS)("%s is not even an owner's where the channel's type leaves it to nobody", async (verb) => {
  const attempt = ATTEMPTS[verb];
  const type = verb.replace(".", "-");
  expect((await tenant.put(`/v1/channel-types/${type}`, { permissions: { [verb]: [] } })).status).toBe(200);
  const room = await newRoom({ type, ...attempt.room });

  expect(await refusalOf(attempt, people.owner, room)).toBe(attempt.code ?? "not_allowed");
});

it("whoever sees a public channel joins it, and writers change and delete what they wrote", async () => {
  const room = await newRoom({ settings: { public: true } });
  const stranger = await newPerson(tenant);

  expect(await refusalOf(ATTEMPTS["channel.join"], stranger, room)).toBeNull();
  const own = await newMessage(room);
  expect((await writer.patch(`/v1/messages/${own}`, { text: "Mended" })).status).toBe(200);
  expect((await writer.delete(`/v1/messages/${own}`)).status).toBe(204);
});
