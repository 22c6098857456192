import { expect, vi } from "vitest";
import type { Any } from "../helpers";
import type { Person, Socket } from "../live";

/** A client of a room that keeps what it shows by events alone, and connects again after the last number it had. */
export function newWatch(person: Person, channelId: string) {
  const view = new Map<string, Any>();
  let socket: Socket | null = null;
  let taken = 0;
  let cursor = 0;
  let looked: Any[] = [];
  let opening: Promise<void> | null = null;
  /** Messages that only their writer knew, and took away. */
  const forgotten = new Set<string>();

  function open(): Promise<void> {
    if (socket && !socket.closed) return Promise.resolve();
    take();
    opening ??= connect().finally(() => {
      opening = null;
    });
    return opening;
  }

  async function connect(): Promise<void> {
    const opened = await person.watch(channelId, `?after=${cursor}`);
    taken = 0;
    socket = opened;
    take();
  }

  function take(): void {
    if (!socket) return;
    for (; taken < socket.frames.length; taken++) {
      const frame = socket.frames[taken];
      expect(socket.frames[taken - 1]?.type, "after bye").not.toBe("bye");
      looked.push(frame);
      if (frame.type === "hello") expect(frame.seq).toBe(cursor);
      else apply(frame);
    }
  }

  /** Every number once, and in its turn. */
  function apply(frame: Any): void {
    const { seq, from, to } = frame;
    if (seq === undefined && from === undefined) return;
    expect({ type: frame.type, first: from ?? seq }).toEqual({ type: frame.type, first: cursor + 1 });
    cursor = to ?? seq;
    if (seq !== undefined) show(frame);
  }

  function show({ type, data }: Any): void {
    if (["message.new", "message.updated", "message.pending"].includes(type)) {
      view.set(data.message.id, data.message);
      if (data.message.deletedAt) forgotten.add(data.message.id);
    }
    const known = view.get(data.messageId);
    if (!known) return;
    if (type === "message.deleted") {
      if (data.hard) view.delete(data.messageId);
      else view.set(data.messageId, { ...known, deletedAt: "then" });
    }
    if (type === "reaction.new") view.set(data.messageId, reacted(known, data.emoji, 1));
    if (type === "reaction.deleted") view.set(data.messageId, reacted(known, data.emoji, -1));
  }

  function reacted(message: Any, emoji: string, by: number): Any {
    const others = message.reactions.filter((one: Any) => one.emoji !== emoji);
    const count = (message.reactions.find((one: Any) => one.emoji === emoji)?.count ?? 0) + by;
    return { ...message, reactions: count > 0 ? [...others, { emoji, count }] : others };
  }

  /** Until it has everything up to a number. */
  async function reach(seq: number): Promise<void> {
    if (!socket || socket.closed) return;
    const isThere = () => {
      take();
      return cursor >= seq;
    };
    await vi.waitUntil(isThere, { timeout: 10_000, interval: 3 });
  }

  /** The server ends it, and says why. */
  async function ended(): Promise<void> {
    if (!socket) return;
    const ending = socket;
    await vi.waitUntil(() => ending.closed, { timeout: 2_000, interval: 5 });
    take();
    expect(ending.frames.at(-1)?.type).toBe("bye");
    socket = null;
  }

  /** The client goes, without a word. */
  function drop(): void {
    take();
    socket?.close();
    socket = null;
  }

  return {
    open,
    reach,
    ended,
    drop,
    view,
    forgotten,
    socket: () => socket,
    isOpen: () => socket !== null && socket.closed === null,
    cursor: () => cursor,
    /** What came since this was asked last. */
    unchecked: () => {
      take();
      const frames = looked;
      looked = [];
      return frames;
    },
  };
}

export type Watch = ReturnType<typeof newWatch>;

/** As far as events tell everything of it. */
export const shapeOf = (message: Any) =>
  message.deletedAt
    ? { id: message.id, seq: message.seq, isDeleted: true }
    : {
        id: message.id,
        seq: message.seq,
        userId: message.userId,
        text: message.text,
        state: message.state,
        isEdited: message.editedAt !== null,
        reactions: message.reactions.map(({ emoji, count }: Any) => `${emoji} ${count}`).sort(),
      };

export const shapesOf = (messages: Iterable<Any>, forgotten: Set<string>) =>
  [...messages]
    .filter(({ id }) => !forgotten.has(id))
    .map(shapeOf)
    .sort((a, b) => a.seq - b.seq);
