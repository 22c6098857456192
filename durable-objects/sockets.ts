import { ApiError, type ErrorCode } from "../src/lib/errors";
import type { Ended } from "../src/lib/objects";
import { type Admitted, MOST_FRAME_BYTES, PING, PONG, type Presence, type ServerFrame } from "../src/live/protocol";
import { newAllowance } from "./allowance";

const ALARM_MS = 30_000;
/** Clients ping every 10 seconds: who did not for so long is gone by the next alarm, whatever the network says. */
const SILENT_MS = 14_000;
const REMEMBERED_MS = 60_000;
/** What a user does is kept with the socket this exactly. */
const ACTIVE_MS = 10_000;

/** What survives with the socket when the object sleeps. */
export type Watcher = Admitted & { since: number; presence: Presence; activeAt: number };

/** The sockets of one object, rebuilt from what they carry when it wakes. `gone` hears of those it closed or lost. */
export function newSockets(ctx: DurableObjectState, gone: (watchers: Watcher[]) => void) {
  const { kv } = ctx.storage;
  const watchers = new Map<WebSocket, Watcher>();
  const allowance = newAllowance();
  for (const socket of ctx.getWebSockets()) {
    const watcher = socket.deserializeAttachment() as Watcher | null;
    if (watcher && socket.readyState === WebSocket.OPEN) watchers.set(socket, watcher);
  }
  ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));

  function keep(socket: WebSocket, watcher: Watcher): void {
    watchers.set(socket, watcher);
    socket.serializeAttachment(watcher);
  }

  /** The client's end; null where the socket was ended before it arrived. */
  function accept(admitted: Admitted): { client: WebSocket; socket: WebSocket; watcher: Watcher | null } {
    const { 0: client, 1: socket } = new WebSocketPair();
    ctx.acceptWebSocket(socket);
    const code = recalled<string>("ended", admitted.id);
    if (code !== undefined) {
      sayBye(socket, code);
      return { client, socket, watcher: null };
    }
    const now = Date.now();
    const firstSeq = Math.max(admitted.firstSeq, recalled<number>("begun", admitted.userId) ?? 0);
    const presence = admitted.presence ?? "online";
    const watcher: Watcher = { ...admitted, firstSeq, presence, since: now, activeAt: now };
    keep(socket, watcher);
    return { client, socket, watcher };
  }

  type Remembered<T> = Record<string, { told: T; at: number }>;

  const recalled = <T>(what: string, id: string): T | undefined => kv.get<Remembered<T>>(what)?.[id]?.told;

  /** For those who were let in before and have yet to arrive here, within the next minute. */
  function remember<T>(what: string, ids: readonly string[], told: T): void {
    const at = Date.now();
    const known = Object.entries(kv.get<Remembered<T>>(what) ?? {}).filter(([, one]) => one.at > at - REMEMBERED_MS);
    kv.put(what, Object.fromEntries([...known, ...ids.map((id) => [id, { told, at }] as const)]));
  }

  /** Closes the sockets of these rows. */
  function end({ ids, code }: Ended): void {
    remember("ended", ids, code);
    endWhere(({ id }) => (ids.includes(id) ? code : null));
  }

  /** What was said up to this number is not for this user any more. */
  function beginHistory(userId: string, behind: number): void {
    remember("begun", [userId], behind);
    for (const [socket, watcher] of watchers)
      if (watcher.userId === userId) keep(socket, { ...watcher, firstSeq: Math.max(watcher.firstSeq, behind) });
  }

  /** Closes each socket that there is a reason to. */
  function endWhere(reason: (watcher: Watcher, socket: WebSocket) => string | null): Watcher[] {
    const closed: Watcher[] = [];
    for (const [socket, watcher] of watchers) {
      const code = reason(watcher, socket);
      if (code === null) continue;
      watchers.delete(socket);
      sayBye(socket, code);
      closed.push(watcher);
    }
    if (closed.length > 0) gone(closed);
    return closed;
  }

  const close = (socket: WebSocket, code: string): void => void endWhere((_, one) => (one === socket ? code : null));

  /** The last thing a socket hears. */
  function sayBye(socket: WebSocket, code: string): void {
    try {
      socket.send(JSON.stringify({ type: "bye", code } satisfies ServerFrame));
      socket.close(4000, code);
    } catch {}
  }

  /** The other end is gone. */
  function lost(socket: WebSocket): void {
    const watcher = watchers.get(socket);
    watchers.delete(socket);
    if (watcher) gone([watcher]);
  }

  function say(socket: WebSocket, text: string): void {
    try {
      socket.send(text);
    } catch {
      // Not at once: whoever speaks to all of them is still in the middle of it.
      queueMicrotask(() => lost(socket));
    }
  }

  const tell = (socket: WebSocket, frame: ServerFrame) => say(socket, JSON.stringify(frame));

  /** Closes expired ones, and those whose clients no longer ping. */
  function reap(now: number): Watcher[] {
    allowance.forget(now);
    return endWhere((watcher, socket) => {
      const { since, activeAt, until } = watcher;
      const pinged = ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
      if (until <= now) return "credential_expired";
      return Math.max(since, activeAt, pinged) <= now - SILENT_MS ? "silent" : null;
    });
  }

  /** One alarm for all: the next round, or before it the end of a credential. */
  async function schedule(): Promise<void> {
    const { storage } = ctx;
    if (watchers.size === 0) return storage.deleteAlarm();
    const now = Date.now();
    let due = now + ALARM_MS;
    for (const { until } of watchers.values()) due = Math.min(due, Math.max(now, until));
    const set = await storage.getAlarm();
    if (set === null || set > due) await storage.setAlarm(due);
  }

  /** The text of a command; what is none is answered here. */
  function heard(socket: WebSocket, message: string | ArrayBuffer): { watcher: Watcher; text: string } | null {
    const watcher = watchers.get(socket);
    if (!watcher) return null;
    const refuse = (code: ErrorCode, retryAfter?: number) => {
      tell(socket, { type: "nack", id: null, code, ...(retryAfter !== undefined && { retryAfter }) });
      return null;
    };
    const now = Date.now();
    const verdict = allowance.spend(watcher.userId, undefined, now);
    if (!verdict.ok) {
      if (!verdict.isFlood) return refuse("rate_limited", verdict.retryAfter);
      close(socket, "rate_limited");
      return null;
    }
    if (typeof message !== "string") return refuse("malformed_json");
    if (message.length > MOST_FRAME_BYTES) return refuse("payload_too_large");
    if (watcher.activeAt < now - ACTIVE_MS) keep(socket, { ...watcher, activeAt: now });
    return { watcher: watchers.get(socket)!, text: message };
  }

  /** Each kind of command has a limit of its own. */
  function mustBeWithinLimit({ userId }: Watcher, op: string): void {
    const verdict = allowance.spend(userId, op);
    if (!verdict.ok) throw new ApiError("rate_limited", undefined, { reset: verdict.retryAfter });
  }

  return {
    watchers,
    keep,
    accept,
    beginHistory,
    end,
    endWhere,
    close,
    lost,
    say,
    tell,
    reap,
    schedule,
    heard,
    mustBeWithinLimit,
  };
}

export type Sockets = ReturnType<typeof newSockets>;
