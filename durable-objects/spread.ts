import type { Frame } from "../src/lib/objects";
import { type Page, shownToWriter, skip } from "../src/live/missed";
import { textOf } from "./crowd";
import type { Sockets, Watcher } from "./sockets";

/** Above so many deliveries a second, but for a short burst, frames wait for each other for a moment. */
const BUSY_DELIVERIES = 30_000;
const BURST = 5_000;
const COALESCE_MS = 25;
const ENDING = new Set(["member.removed", "user.banned", "channel.deleted"]);

type Told = { type: string; seq: number; data: { userId?: string; shadow?: boolean } };

/** Why this event is the last one that a user may see of the channel, if it is. */
function endingFor(userId: string, { type, data }: Told): string | null {
  if (type === "channel.deleted") return "channel_deleted";
  if (!ENDING.has(type) || data.userId !== userId || data.shadow) return null;
  return type === "user.banned" ? "banned" : "not_a_member";
}

const oldSeqs = new WeakMap<Frame, number>();

/** The number of the message whose words are shown once more; infinite where that is not so. Read once, however many watch. */
function oldSeq(frame: Frame): number {
  if (frame.type !== "message.updated") return Number.POSITIVE_INFINITY;
  const known = oldSeqs.get(frame);
  if (known !== undefined) return known;
  const { data } = JSON.parse(frame.payload) as { data: { message?: { seq: number } } };
  const seq = data.message?.seq ?? Number.POSITIVE_INFINITY;
  oldSeqs.set(frame, seq);
  return seq;
}

type Around = {
  channelId: string;
  sockets: Sockets;
  /** One page of what a user missed. */
  readPage(userId: string, behind: number, upTo: number): Promise<Page>;
  release: { at(): number | undefined; recentBetween(behind: number, upTo: number): Frame[] | null };
};

/** Brings events to the watchers of a channel: to each what they may see, in order, and what was before them first. */
export function newSpread({ channelId, sockets, readPage, release }: Around) {
  /** Sockets that are still given what was before them, and what has come for them since. */
  const behind = new Map<WebSocket, Frame[]>();
  /** What a socket already had when it came, although others are still to get it. */
  const floors = new Map<WebSocket, number>();
  let pending: Frame[] = [];
  /** Deliveries that a moment's work has left to do. */
  let load = { at: 0, deliveries: 0 };

  function deliver(frames: Frame[]): void {
    const now = Date.now();
    const done = ((now - load.at) * BUSY_DELIVERIES) / 1000;
    load = { at: now, deliveries: Math.max(0, load.deliveries - done) + frames.length * sockets.watchers.size };
    if (pending.length > 0) pending.push(...frames);
    else if (load.deliveries > Math.max(BURST, 2 * sockets.watchers.size)) {
      pending.push(...frames);
      setTimeout(flush, COALESCE_MS);
    } else spread(frames);
  }

  function flush(): void {
    const frames = pending;
    pending = [];
    spread(frames);
  }

  /** Up to and with the event that ends somebody's watching, and nothing after it. */
  function spread(frames: Frame[]): void {
    const last = frames.findIndex(({ type }) => ENDING.has(type));
    const now = last === -1 ? frames : frames.slice(0, last + 1);
    const common = now.every(({ audience }) => audience === null) ? textOf(now.map(({ payload }) => payload)) : null;
    const oldest = Math.min(...now.map(oldSeq));
    for (const [socket, watcher] of sockets.watchers) {
      const waiting = behind.get(socket);
      if (waiting) waiting.push(...now);
      else if (floors.size > 0 && floors.has(socket)) spreadAbove(socket, watcher, now);
      else sockets.say(socket, (watcher.firstSeq < oldest ? common : null) ?? framesFor(watcher, now));
    }
    if (last === -1) return;
    const told = JSON.parse(frames[last]!.payload) as Told;
    // Who was let in later than that is there again with good reason.
    sockets.endWhere(({ userId, lastSeq }) => (lastSeq < told.seq ? endingFor(userId, told) : null));
    if (last + 1 < frames.length) spread(frames.slice(last + 1));
  }

  function spreadAbove(socket: WebSocket, watcher: Watcher, frames: Frame[]): void {
    const floor = floors.get(socket)!;
    const rest = frames.filter(({ seq }) => seq > floor);
    if (rest.length > 0) sockets.say(socket, framesFor(watcher, rest));
    if (frames.at(-1)!.seq >= floor) floors.delete(socket);
  }

  function textFor({ userId, firstSeq }: Watcher, frame: Frame): string {
    const { seq, payload, audience } = frame;
    if ((audience !== null && audience !== userId) || oldSeq(frame) <= firstSeq) return skip(channelId, seq, seq);
    return audience === null ? payload : shownToWriter(payload);
  }

  const framesFor = (watcher: Watcher, frames: Frame[]): string =>
    textOf(frames.map((frame) => textFor(watcher, frame)));

  /** The last number that those have who are not behind. */
  const spreadTo = () => (pending[0] ? pending[0].seq - 1 : (release.at() ?? 0));

  /** Gives a new socket what lies between a number and now. */
  async function bringUp(socket: WebSocket, watcher: Watcher, from: number): Promise<void> {
    const waiting: Frame[] = [];
    behind.set(socket, waiting);
    const upTo = Math.max(release.at() ?? 0, watcher.lastSeq);
    try {
      const events = from >= watcher.firstSeq ? release.recentBetween(from, upTo) : null;
      if (events)
        sayPage(
          socket,
          watcher,
          events.map((frame) => textFor(watcher, frame)),
        );
      else
        for (let next = from, more = true; more && sockets.watchers.has(socket); ) {
          const page = await readPage(watcher.userId, next, upTo);
          sayPage(socket, watcher, page.events);
          ({ to: next, more } = page);
        }
      if (spreadTo() < upTo) floors.set(socket, upTo);
      const rest = waiting.filter(({ seq }) => seq > upTo);
      const present = sockets.watchers.get(socket);
      if (rest.length > 0 && present) sockets.say(socket, framesFor(present, rest));
    } catch {
      sockets.close(socket, "unavailable");
    } finally {
      behind.delete(socket);
    }
  }

  /** A socket may have been on its way while its user was removed: the events themselves tell. */
  function sayPage(socket: WebSocket, watcher: Watcher, events: string[]): void {
    if (events.length === 0 || !sockets.watchers.has(socket)) return;
    const codes = events.map((text) => {
      if (![...ENDING].some((type) => text.includes(`"type":"${type}"`))) return null;
      const told = JSON.parse(text) as Told;
      return told.seq > watcher.lastSeq ? endingFor(watcher.userId, told) : null;
    });
    const last = codes.findIndex((code) => code !== null);
    sockets.say(socket, textOf(last === -1 ? events : events.slice(0, last + 1)));
    if (last !== -1) sockets.close(socket, codes[last]!);
  }

  /** Sockets that are gone. */
  function forget(): void {
    for (const socket of floors.keys()) if (!sockets.watchers.has(socket)) floors.delete(socket);
  }

  return { deliver, bringUp, forget };
}
