import { newCrowd } from "./crowd";
import type { Sockets, Watcher } from "./sockets";

const IDLE_MS = 300_000;
const TYPING_MS = 5_000;
/** A drop shorter than this shows nobody a flap. */
const GRACE_MS = 15_000;
/** A timer this short is over before the ten idle seconds after which an object sleeps. What is due later waits for the alarm. */
const TIMER_MS = 5_000;

export type Shown = "online" | "away" | "offline";
export type Present = { userId: string; presence: Exclude<Shown, "offline"> };
type Typist = { userId: string; parentId: string | null; until: number };

export type Told =
  | { type: "typing.start" | "typing.stop"; data: { channelId: string; userId: string; parentId: string | null } }
  | { type: "user.presence.changed"; data: { channelId: string; userId: string; presence: Shown } };

type Around = {
  ctx: DurableObjectState;
  channelId: string;
  sockets: Sockets;
  isShadowed(userId: string): boolean;
  /** For endpoints. */
  told(event: Told): void;
};

export const stateOf = ({ presence, activeAt }: Watcher, now: number): Shown =>
  presence === "invisible" ? "offline" : presence === "away" || activeAt <= now - IDLE_MS ? "away" : "online";

/** Online before away before offline; who is invisible everywhere is offline to others. */
export const brighter = (a: Shown | undefined, b: Shown): Shown =>
  a === "online" || b === "online" ? "online" : a === "away" || b === "away" ? "away" : "offline";

/** Who is there, and who types. None of it has a number: what is missed is replaced by what comes next. */
export function newPresence({ ctx, channelId, sockets, isShadowed, told }: Around) {
  const { kv } = ctx.storage;
  const shown = new Map<string, Shown>(kv.get<[string, Shown][]>("shown"));
  const leaving = new Map<string, number>(kv.get<[string, number][]>("leaving"));
  let typists: Typist[] = kv.get<Typist[]>("typists") ?? [];
  let nextDue = earliest();
  let isTimed = false;
  const crowd = newCrowd(sockets, {
    typing: (userId) => ({ type: "typing", channelId, typing: typing(userId) }),
    typesUnseen: (userId) => isShadowed(userId) && typists.some((one) => one.userId === userId),
  });

  function folded(now: number, only?: string): Map<string, Shown> {
    const states = new Map<string, Shown>();
    for (const watcher of sockets.watchers.values()) {
      const { userId } = watcher;
      if (only === undefined || only === userId)
        states.set(userId, brighter(states.get(userId), stateOf(watcher, now)));
    }
    return states;
  }

  /** Tells the watchers what changed of this user, if anything did. */
  function refresh(userId: string, now = Date.now(), state = folded(now, userId).get(userId) ?? "offline"): void {
    if (leaving.delete(userId)) keepLeaving();
    if ((shown.get(userId) ?? "offline") === state) return;
    if (state === "offline") shown.delete(userId);
    else shown.set(userId, state);
    kv.put("shown", [...shown]);
    crowd.tell(userId, { type: "presence", channelId, userId, presence: state });
    told({ type: "user.presence.changed", data: { channelId, userId, presence: state } });
    if (state === "offline") keepTypists((one) => one.userId !== userId);
  }

  /** A socket closed: its user may be back in a moment. Without any socket there is nobody left to tell. */
  function left(userId: string): void {
    const now = Date.now();
    if (sockets.watchers.size === 0) {
      for (const one of [...shown.keys()]) refresh(one, now);
    } else if (folded(now, userId).has(userId) || !shown.has(userId)) {
      refresh(userId, now);
    } else {
      leaving.set(userId, now + GRACE_MS);
      keepLeaving();
    }
  }

  /** What time alone has changed, as far as somebody could have noticed. */
  function settle(now = Date.now()): void {
    if (now < nextDue) {
      soon(now);
      return;
    }
    for (const [userId, at] of [...leaving]) if (at <= now) refresh(userId, now);
    keepTypists(({ until }) => until > now);
    plan(now);
  }

  /** All of it, those too who have become idle. */
  function review(now: number): void {
    settle(now);
    const states = folded(now);
    for (const userId of [...shown.keys()])
      if (!leaving.has(userId)) refresh(userId, now, states.get(userId) ?? "offline");
    plan(now);
  }

  function type(userId: string, parentId: string | null, isTyping: boolean): void {
    const now = Date.now();
    settle(now);
    if (!isTyping) {
      stopped(userId, parentId);
      return;
    }
    const known = typists.find((one) => one.userId === userId && one.parentId === parentId);
    if (known) known.until = now + TYPING_MS;
    else typists.push({ userId, parentId, until: now + TYPING_MS });
    kv.put("typists", typists);
    if (!known) {
      crowd.tellTyping();
      tellOf("typing.start", { userId, parentId });
    }
    plan(now);
  }

  function tellOf(type: "typing.start" | "typing.stop", { userId, parentId }: Omit<Typist, "until">): void {
    if (!isShadowed(userId)) told({ type, data: { channelId, userId, parentId } });
  }

  /** In the channel or in a thread: said so, or sent what was typed. */
  const stopped = (userId: string, parentId: string | null) =>
    keepTypists((one) => one.userId !== userId || one.parentId !== parentId);

  function keepTypists(isKept: (one: Typist) => boolean): void {
    const kept = typists.filter(isKept);
    if (kept.length === typists.length) return;
    for (const one of typists) if (!kept.includes(one)) tellOf("typing.stop", one);
    typists = kept;
    if (kept.length > 0) kv.put("typists", kept);
    else kv.delete("typists");
    crowd.tellTyping();
  }

  function keepLeaving(): void {
    if (leaving.size > 0) kv.put("leaving", [...leaving]);
    else kv.delete("leaving");
    plan(Date.now());
  }

  function earliest(): number {
    return Math.min(...leaving.values(), ...typists.map(({ until }) => until));
  }

  function plan(now: number): void {
    nextDue = earliest();
    soon(now);
  }

  function soon(now: number): void {
    if (isTimed || nextDue > now + TIMER_MS) return;
    isTimed = true;
    setTimeout(
      () => {
        isTimed = false;
        settle();
      },
      Math.max(0, nextDue - now),
    );
  }

  /** The whole set, which receivers put in place of theirs: so nobody types for ever. Who is shadowed is seen typing by themselves alone. */
  const typing = (viewer?: string) =>
    typists
      .filter(({ userId }) => userId === viewer || !isShadowed(userId))
      .map(({ userId, parentId }) => ({ userId, parentId }));

  const list = (): Present[] =>
    [...shown].flatMap(([userId, presence]) => (presence === "offline" ? [] : [{ userId, presence }]));

  return { refresh, left, settle, review, type, stopped, list, typing, tellTyping: crowd.tellTyping };
}
