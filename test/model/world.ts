import { expect } from "vitest";
import type { Any, Tenant } from "../helpers";
import { admin, newTenant } from "../helpers";
import { newPerson, type Person } from "../live";
import { asOwner } from "../setup/owner";
import { newWatch, type Watch } from "./watch";

/** What a user is in a room. */
export type Standing = { member: boolean; banned: boolean; shadowed: boolean };
/** One text that was sent or put in place of another, by the word in it that is found nowhere else. */
export type Saying = { room: number; writer: number; message: { isShadowed: boolean; isSecret: boolean } };

export type World = {
  tenant: Tenant;
  people: Person[];
  rooms: string[];
  standings: Standing[][];
  watches: Watch[][];
  sayings: Map<string, Saying>;
  /** Every body that a user got over HTTP since it was last looked at. */
  heard: { user: number; text: string }[];
  nextWord(saying: Saying): string;
};

export const PEOPLE = 5;
/** Reviews in the first room, and is neither removed nor banned. */
export const MODERATOR = 0;
/** Is a member of no room. */
export const STRANGER = 4;
const ROOMS = 2;

/** Four in the first room, two of them in the second, and one who is nowhere. */
export async function newWorld(): Promise<World> {
  const plan = await (await admin()).post("/v1/plans", {
    name: `model ${crypto.randomUUID()}`,
    tier: "test",
    limits: { requestsPerMinute: 1_000_000, userRequestsPerMinute: 1_000_000 },
  });
  const tenant = await newTenant({ planId: plan.body.id });
  const people = await Promise.all(Array.from({ length: PEOPLE }, () => newPerson(tenant)));
  const rooms: string[] = [];
  const standings: Standing[][] = [];
  for (let room = 0; room < ROOMS; room++) {
    const isIn = (user: number) => user !== STRANGER && (room === 0 || user < 2);
    const members = people.flatMap(({ id }, user) =>
      isIn(user) ? [{ userId: id, role: user === MODERATOR ? "moderator" : "member" }] : [],
    );
    const made = await tenant.post("/v1/channels", { members });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    rooms.push(made.body.id);
    standings.push(people.map((_, user) => ({ member: isIn(user), banned: false, shadowed: false })));
  }
  const watches = rooms.map((id) => people.map((person) => newWatch(person, id)));
  const sayings = new Map<string, Saying>();
  return {
    tenant,
    people,
    rooms,
    standings,
    watches,
    sayings,
    heard: [],
    nextWord(saying) {
      const word = `word${sayings.size}x`;
      sayings.set(word, saying);
      return word;
    },
  };
}

export const mayWatch = ({ member, banned }: Standing): boolean => member && !banned;

/** Lets in whoever may watch a room and does not. */
export async function bringBack({ rooms, people, standings, watches }: World, chosen = (_: number) => true) {
  await Promise.all(
    rooms.flatMap((_, room) =>
      people.map(async (_person, user) => {
        const watch = watches[room]![user]!;
        if (chosen(user) && mayWatch(standings[room]![user]!) && !watch.isOpen()) await watch.open();
      }),
    ),
  );
}

export async function lastSeqs({ rooms }: World): Promise<number[]> {
  const rows = await asOwner<{ id: string; last_seq: string }>("select id, last_seq from streams where id = any ($1)", [
    rooms,
  ]);
  return rooms.map((id) => Number(rows.find((row) => row.id === id)?.last_seq ?? 0));
}

/** No word of a saying where it must not be. `before` is how things stood when the last steps began. */
export function checkWords(world: World, before: Standing[][]): void {
  const { sayings, standings, heard, watches, people } = world;
  const check = (user: number, text: string) => {
    for (const [word] of text.matchAll(/word\d+x/g)) {
      const { room, writer, message } = sayings.get(word)!;
      const isIn = mayWatch(standings[room]![user]!) || mayWatch(before[room]![user]!);
      const isFine = isIn && (writer === user || !message.isSecret);
      expect(isFine, `${word} of user ${writer} in room ${room} reached user ${user}: ${text.slice(0, 2_000)}`).toBe(
        true,
      );
    }
  };
  for (const { user, text } of heard.splice(0)) check(user, text);
  for (const own of watches)
    for (const [user] of people.entries())
      for (const frame of own[user]!.unchecked()) check(user, JSON.stringify(frame));
}

export type Fetched = { messages: Any[]; own: Any };

/** What a user sees of a room when asking anew. */
export async function fetchAnew({ people, rooms, heard }: World, room: number, user: number): Promise<Fetched> {
  const messages: Any[] = [];
  const get = async (path: string) => {
    const { status, body } = await people[user]!.get(`/v1/channels/${rooms[room]}${path}`);
    expect(status, JSON.stringify(body)).toBe(200);
    heard.push({ user, text: JSON.stringify(body) });
    return body;
  };
  for (let after = 0, more = true; more; ) {
    const page = await get(`/messages?after=${after}&limit=100`);
    messages.push(...page.data);
    after = page.data.at(-1)?.seq ?? after;
    more = page.hasLater;
  }
  const [{ own }, counted] = [await get(""), await get("/unread")];
  expect({ unread: own.unread, mentions: own.unreadMentions }).toEqual({
    unread: counted.unread,
    mentions: counted.unreadMentions,
  });
  return { messages, own };
}
