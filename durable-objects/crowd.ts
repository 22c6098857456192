import type { ServerFrame } from "../src/live/protocol";
import type { Sockets } from "./sockets";

/** Above so many sockets, what has no number is gathered for a second: told less often, and never left out. */
const CROWD = 100;
const CROWD_MS = 1_000;

type Around = {
  /** All who type, as others see it or as this user does. */
  typing(userId?: string): ServerFrame;
  /** Who types and is seen so by themselves alone. */
  typesUnseen(userId: string): boolean;
};

/** Presence, typing and the like, on their way to everybody. Of each user, and of typing as a whole, the newest state counts. */
export function newCrowd(sockets: Sockets, { typing, typesUnseen }: Around) {
  const presences = new Map<string, ServerFrame>();
  let typingChanged = false;
  let isGathering = false;

  /** To all others. */
  function tell(userId: string, frame: ServerFrame): void {
    presences.delete(userId);
    presences.set(userId, frame);
    spreadSoon();
  }

  function tellTyping(): void {
    typingChanged = true;
    spreadSoon();
  }

  function spreadSoon(): void {
    if (isGathering) return;
    if (sockets.watchers.size <= CROWD) {
      spread();
      return;
    }
    isGathering = true;
    setTimeout(() => {
      isGathering = false;
      spread();
    }, CROWD_MS);
  }

  function spread(): void {
    const withTyping = typingChanged;
    const changed = new Map(presences);
    presences.clear();
    typingChanged = false;
    const textFor = (userId?: string) => {
      const frames = [...changed].flatMap(([about, frame]) => (about === userId ? [] : [frame]));
      if (withTyping) frames.push(typing(userId));
      return textOf(frames.map((frame) => JSON.stringify(frame)));
    };
    const common = textFor();
    for (const [socket, { userId }] of sockets.watchers) {
      const text = changed.has(userId) || (withTyping && typesUnseen(userId)) ? textFor(userId) : common;
      if (text !== "") sockets.say(socket, text);
    }
  }

  return { tell, tellTyping };
}

/** One frame as it is, several as an array. */
export const textOf = (texts: string[]): string => (texts.length <= 1 ? (texts[0] ?? "") : `[${texts.join(",")}]`);
