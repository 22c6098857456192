import fc from "fast-check";

/** Small things that many do at once. `pick` chooses among what there is. */
export type Act = { what: (typeof ACTS)[number]; user: number; room: number; pick: number };
/** Something that changes who may see what, or where the object is, while others go on talking. */
export type Turn = { what: (typeof TURNS)[number]; user: number; room: number };
export type Round = { acts: Act[]; turn: Turn | null };

const ACTS = [
  "send",
  "send over the socket",
  "send silently",
  "send pending",
  "edit",
  "delete",
  "delete for good",
  "react",
  "take a reaction back",
  "read",
  "approve",
  "reject",
  "drop",
  "come back",
] as const;
const TURNS = ["remove", "add", "ban", "shadow", "unban", "evict"] as const;

const often = <T extends string>(names: readonly T[], weights: Partial<Record<T, number>>) =>
  fc.oneof(...names.map((name) => ({ arbitrary: fc.constant(name), weight: weights[name] ?? 1 })));

const act: fc.Arbitrary<Act> = fc.record({
  what: often(ACTS, { send: 5, "send over the socket": 4, edit: 3, react: 3, read: 2, "come back": 3, approve: 2 }),
  user: fc.nat(3),
  room: fc.nat(1),
  pick: fc.nat(1_000),
});
const turn: fc.Arbitrary<Turn> = fc.record({
  what: often(TURNS, { add: 3, unban: 3, evict: 2 }),
  user: fc.integer({ min: 1, max: 3 }),
  room: fc.nat(1),
});

export const rounds = (many: number) =>
  fc.array(fc.record({ acts: fc.array(act, { minLength: 6, maxLength: 14 }), turn: fc.option(turn, { freq: 2 }) }), {
    minLength: many,
    maxLength: many,
  });
