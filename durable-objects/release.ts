import type { Frame } from "../src/lib/objects";

const GAP_MS = 200;
const RECENT_MOST = 256;
/** After these, what was said before may no longer be shown. */
const TAKES_BACK = /deleted|removed|truncated/;

type Around = {
  ctx: DurableObjectState;
  /** What the database holds after a number, in order. */
  read(behind: number): Promise<Frame[]>;
  deliver(frames: Frame[]): void;
};

/** Lets frames out in the order of their numbers, each once; what stays missing for a moment is read from the database. */
export function newRelease({ ctx, read, deliver }: Around) {
  const { storage } = ctx;
  let released = storage.kv.get<number>("released");
  const held = new Map<number, Frame>();
  let recent: Frame[] = [];
  let isWaiting = false;
  /** The highest number heard of, by whatever way. */
  let newest = 0;

  /** From here on there are watchers: all up to this number is theirs by other ways. */
  function start(seq: number): void {
    if (released === undefined) note(seq);
    know(seq);
  }

  function stop(): void {
    released = undefined;
    held.clear();
    recent = [];
    storage.kv.delete("released");
  }

  function note(seq: number): void {
    released = seq;
    // Unconfirmed: frames need not wait for the disk, as a machine that fails drops its sockets too.
    void storage.put("released", seq, { allowUnconfirmed: true });
  }

  function take(frames: readonly Frame[]): void {
    for (const frame of frames) {
      if (released !== undefined && frame.seq > released) held.set(frame.seq, frame);
      newest = Math.max(newest, frame.seq);
    }
    letOut();
    know(newest);
  }

  /** That there are events up to this number, should they not come by themselves. */
  function know(seq: number): void {
    newest = Math.max(newest, seq);
    if (released === undefined || newest <= released || isWaiting) return;
    isWaiting = true;
    setTimeout(() => ctx.waitUntil(fillGap()), GAP_MS);
  }

  function letOut(): void {
    if (released === undefined) return;
    const out: Frame[] = [];
    for (let next = held.get(released + 1); next; next = held.get(next.seq + 1)) {
      held.delete(next.seq);
      out.push(next);
    }
    if (out.length === 0) return;
    note(out.at(-1)!.seq);
    if (out.some(({ type }) => TAKES_BACK.test(type))) recent = [];
    else recent.push(...out);
    if (recent.length > 2 * RECENT_MOST) recent = recent.slice(-RECENT_MOST);
    deliver(out);
  }

  async function fillGap(): Promise<void> {
    try {
      if (released !== undefined && newest > released) await catchUp();
    } catch {
      // The next event, the next watcher or the cron tells of it again.
    } finally {
      isWaiting = false;
    }
  }

  /** Publishes what this object was not told of. */
  async function catchUp(): Promise<void> {
    for (let more = true; more && released !== undefined; ) {
      const frames = await read(released);
      take(frames);
      more = frames.length >= 1000;
    }
  }

  /** The frames from one number to another, if all of them are still at hand. */
  function recentBetween(behind: number, upTo: number): Frame[] | null {
    if (behind >= upTo) return [];
    const own = recent.filter(({ seq }) => seq > behind && seq <= upTo);
    return own.length === upTo - behind ? own : null;
  }

  return { start, stop, take, know, catchUp, recentBetween, at: () => released };
}
