import { DurableObject } from "cloudflare:workers";
import { ApiError } from "../src/lib/errors";
import type { Ended, Frame } from "../src/lib/objects";
import { runCommand } from "../src/live/commands";
import { forgetSockets } from "../src/live/connect";
import { range, readFrames } from "../src/live/missed";
import { setPresence } from "../src/live/presence";
import { ADMITTED, type Admitted, type Command, PING_SECONDS } from "../src/live/protocol";
import { syncStreams } from "../src/live/sync";
import { textOf } from "./crowd";
import { brighter, type Shown, stateOf } from "./presence";
import { newRelease } from "./release";
import { newSockets, type Watcher } from "./sockets";

const HINT_MS = 1_000;
const MOST_HINTED = 1_000;
type Hinted = { at: number; lastSeq: number; isDue: boolean };

/** A user's own sockets, one per device or page: what is addressed to them, and hints at news elsewhere. */
export class User extends DurableObject<Env> {
  private readonly tenantId: string;
  private readonly userId: string;
  private readonly sockets = newSockets(this.ctx, (watchers) => this.gone(watchers));
  private readonly release;
  private readonly hinted = new Map<string, Hinted>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const [tenantId = "", userId = ""] = (ctx.id.name ?? "").split(":");
    this.tenantId = tenantId;
    this.userId = userId;
    this.release = newRelease({
      ctx,
      read: (behind) => readFrames(env, tenantId, { kind: "user", id: userId }, behind),
      deliver: (frames) => this.deliver(frames),
    });
  }

  publish(frames: Frame[]): void {
    this.release.take(frames);
  }

  know(lastSeq: number): void {
    this.release.know(lastSeq);
  }

  /** Of each channel at once, then at most once a second, with the newest number. */
  hint(channelId: string, lastSeq: number): void {
    const now = Date.now();
    const known = this.hinted.get(channelId);
    if (known && known.lastSeq >= lastSeq) return;
    if (!known || known.at <= now - HINT_MS) {
      if (this.hinted.size >= MOST_HINTED) this.hinted.clear();
      this.hinted.set(channelId, { at: now, lastSeq, isDue: false });
      this.tellHint(channelId, lastSeq);
      return;
    }
    known.lastSeq = lastSeq;
    if (known.isDue) return;
    known.isDue = true;
    setTimeout(
      () => {
        Object.assign(known, { at: Date.now(), isDue: false });
        this.tellHint(channelId, known.lastSeq);
      },
      known.at + HINT_MS - now,
    );
  }

  /** Of a draft the device that wrote it gets the bare number. */
  private deliver(frames: Frame[]): void {
    const common = textOf(frames.map(({ payload }) => payload));
    const own = (deviceId: string | null) => (frame: Frame) =>
      frame.type.startsWith("draft.") && JSON.parse(frame.payload).data.deviceId === deviceId;
    for (const [socket, { deviceId }] of this.sockets.watchers) {
      const isOwn = own(deviceId);
      const texts = frames.map((frame) =>
        isOwn(frame) ? range("skip", "user", this.userId, frame.seq, frame.seq) : frame.payload,
      );
      this.sockets.say(socket, deviceId === null ? common : textOf(texts));
    }
  }

  private tellHint(channelId: string, lastSeq: number): void {
    this.tellAll(JSON.stringify({ type: "hint", channelId, lastSeq }));
  }

  end(ended: Ended): void {
    this.sockets.end(ended);
  }

  sessions() {
    return [...this.sockets.watchers.values()].map(({ id, deviceId, since, activeAt }) => ({
      id,
      deviceId,
      connectedAt: new Date(since).toISOString(),
      lastActiveAt: new Date(activeAt).toISOString(),
    }));
  }

  /** As others may see it, over all devices. */
  presence(): Shown {
    const now = Date.now();
    return [...this.sockets.watchers.values()].map((one) => stateOf(one, now)).reduce<Shown>(brighter, "offline");
  }

  private tellAll(text: string): void {
    for (const socket of this.sockets.watchers.keys()) this.sockets.say(socket, text);
  }

  override async fetch(request: Request): Promise<Response> {
    const admitted = JSON.parse(request.headers.get(ADMITTED) ?? "null") as Admitted;
    const { client, socket, watcher } = this.sockets.accept(admitted);
    if (watcher) {
      this.release.start(admitted.lastSeq);
      this.sockets.tell(socket, {
        type: "hello",
        socketId: admitted.id,
        userId: admitted.userId,
        stream: { kind: "user", id: this.userId },
        seq: this.release.at() ?? admitted.lastSeq,
        serverTime: new Date().toISOString(),
        pingSeconds: PING_SECONDS,
        ...(admitted.unread && { unread: admitted.unread }),
      });
      await this.sockets.schedule();
    }
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const heard = this.sockets.heard(socket, message);
    if (!heard) return;
    this.sockets.tell(socket, await runCommand(heard.text, (command) => this.obey(socket, heard.watcher, command)));
  }

  private async obey(socket: WebSocket, watcher: Watcher, command: Command): Promise<unknown> {
    this.sockets.mustBeWithinLimit(watcher, command.op);
    if (command.op === "resume") return syncStreams(this.env, this.tenantId, this.userId, command.cursors);
    if (command.op !== "presence") throw new ApiError("invalid_request", "Connect to a channel for that.");
    this.sockets.keep(socket, { ...watcher, presence: command.presence });
    await setPresence(this.env, this.tenantId, this.userId, watcher.deviceId, command.presence);
    return null;
  }

  private gone(watchers: Watcher[]): void {
    const ids = watchers.map(({ id }) => id);
    this.ctx.waitUntil(forgetSockets(this.env, this.tenantId, ids).catch(() => {}));
    if (this.sockets.watchers.size > 0) return;
    this.release.stop();
    this.ctx.waitUntil(this.sockets.schedule());
  }

  override webSocketClose(socket: WebSocket): void {
    this.sockets.lost(socket);
    socket.close(1000, "closed");
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket);
  }

  override async alarm(): Promise<void> {
    this.sockets.reap(Date.now());
    await this.sockets.schedule();
  }
}
