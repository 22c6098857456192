import fc from "fast-check";
import { expect, inject, it } from "vitest";
import { numbersOf } from "./live";
import { perform, turnOf } from "./model/acting";
import { type Round, rounds } from "./model/steps";
import { shapesOf } from "./model/watch";
import { bringBack, checkWords, fetchAnew, lastSeqs, mayWatch, newWorld, STRANGER, type World } from "./model/world";

/** In full where CI has a real server; a quarter of it wherever else the suite is run. */
const RUNS = inject("realPostgres") ? 8 : 2;
const STEPS = 250 * RUNS;
const ROUNDS = 28;
const ROUNDS_BETWEEN_LOOKS = 7;
/** What changes how secret a message is has to be over before somebody writes the next one. */
const ALONE = new Set(["shadow", "unban", "add"]);

async function go(world: World, { acts, turn }: Round): Promise<number> {
  const before = structuredClone(world.standings);
  const isAlone = turn !== null && ALONE.has(turn.what);
  const [among] = await Promise.all([
    turn && !isAlone ? turnOf(world, turn) : null,
    ...acts.map((act) => perform(world, act)),
  ]);
  const end = isAlone ? await turnOf(world, turn) : among;
  if (turn && end !== null) {
    const watch = world.watches[turn.room]![turn.user]!;
    await watch.ended();
    expect(watch.cursor()).toBeLessThanOrEqual(end);
  }
  await catchUp(world);
  checkWords(world, before);
  return acts.length + (turn ? 1 : 0);
}

/** Everybody who is there has everything there is, which does not change any more. */
async function catchUp(world: World): Promise<number[]> {
  for (let seqs = await lastSeqs(world); ; ) {
    await Promise.all(world.watches.flatMap((own, room) => own.map((watch) => watch.reach(seqs[room]!))));
    const now = await lastSeqs(world);
    if (now.every((seq, room) => seq === seqs[room])) return now;
    seqs = now;
  }
}

/** Every client shows what it would see if it asked anew, and unread is what can be counted in it. */
async function look(world: World): Promise<void> {
  await bringBack(world);
  const seqs = await catchUp(world);
  for (const [room, own] of world.watches.entries())
    for (const [user, watch] of own.entries()) {
      if (!mayWatch(world.standings[room]![user]!)) continue;
      const { messages, own } = await fetchAnew(world, room, user);
      expect(shapesOf(watch.view.values(), watch.forgotten)).toEqual(shapesOf(messages, watch.forgotten));
      const unread = messages.filter(
        ({ seq, userId, state, silent, deletedAt }) =>
          seq > own.readSeq && userId !== world.people[user]!.id && state === "visible" && !silent && !deletedAt,
      );
      expect(own.unread).toBe(unread.length);
      const { body } = await world.people[user]!.post("/v1/sync", { cursors: { [world.rooms[room]!]: 0 } });
      world.heard.push({ user, text: JSON.stringify(body) });
      const synced = body.streams[world.rooms[room]!];
      expect(numbersOf(synced.events)).toEqual(Array.from({ length: synced.seq }, (_, n) => n + 1));
      if (!synced.more) expect(synced.seq).toBe(seqs[room]);
    }
  checkWords(world, structuredClone(world.standings));
}

async function lookAsStranger({ people, rooms }: World): Promise<void> {
  const stranger = people[STRANGER]!;
  for (const id of rooms) {
    await expect(stranger.watch(id)).rejects.toMatchObject({ status: 404 });
    expect((await stranger.get(`/v1/channels/${id}/messages`)).status).toBe(404);
    const { body } = await stranger.post("/v1/sync", { cursors: { [id]: 0 } });
    expect(body.streams[id]).toEqual({ error: "not_found" });
  }
}

it("whatever many do at once, every client shows what is there for it, each number once and in its turn, and nothing else", {
  timeout: inject("realPostgres") ? 300_000 : 240_000,
}, async () => {
  let steps = 0;
  const law = fc.asyncProperty(rounds(ROUNDS), async (all) => {
    const world = await newWorld();
    const foreign = await world.people[STRANGER]!.open();
    await bringBack(world);
    for (const [n, round] of all.entries()) {
      steps += await go(world, round);
      if (n % ROUNDS_BETWEEN_LOOKS === ROUNDS_BETWEEN_LOOKS - 1) await look(world);
    }
    await lookAsStranger(world);
    expect(foreign.frames.map(({ type }) => type)).toEqual(["hello"]);
    for (const watch of world.watches.flat()) watch.drop();
    foreign.close();
  });
  // Steps at once do not repeat themselves exactly, so a failure is shown as it was found.
  await fc.assert(law, { numRuns: RUNS, endOnFailure: true });
  expect(steps).toBeGreaterThanOrEqual(STEPS);
});
