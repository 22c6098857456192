import { DurableObject } from "cloudflare:workers";
import { announceDeliveries } from "../src/events/service";
import { ApiError } from "../src/lib/errors";
import type { Ended, Frame } from "../src/lib/objects";
import { runCommand, sendFromSocket } from "../src/live/commands";
import { forgetSockets } from "../src/live/connect";
import { readFrames, readMissed } from "../src/live/missed";
import { ADMITTED, type Admitted, type Command, PING_SECONDS, type Presence } from "../src/live/protocol";
import { judgeWatchers } from "../src/live/standings";
import { type GroupAnswer, readListeners } from "../src/messages/group";
import type { SendAnswer, SendAsk } from "../src/messages/send";
import { announcePush } from "../src/push/consumer";
import type { EphemeralEvent } from "../src/webhooks/ephemeral";
import { newHints } from "./hints";
import { newPresence, type Present, type Told } from "./presence";
import { newRelease } from "./release";
import { newSending } from "./sending";
import { newShadows } from "./shadows";
import { newSockets, type Watcher } from "./sockets";
import { newSpread } from "./spread";

/** Of those who are there, a new watcher is told so many; the others are listed. */
const MOST_TOLD = 100;
/** Events after which watchers may see or do less than before, or more. */
const JUDGED_ANEW = new Set(["channel.updated", "member.updated", "member.added"]);

/** Everything live of one channel: who watches, who is there, in what order things happen. */
export class Channel extends DurableObject<Env> {
  private readonly tenantId: string;
  private readonly channelId: string;
  private readonly sockets = newSockets(this.ctx, (watchers) => this.gone(watchers));
  private readonly shadows = newShadows(this.ctx);
  private readonly presence;
  private readonly release;
  private readonly spread;
  private readonly hints;
  private readonly sending;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const [tenantId = "", channelId = ""] = (ctx.id.name ?? "").split(":");
    this.tenantId = tenantId;
    this.channelId = channelId;
    const { sockets, shadows } = this;
    this.presence = newPresence({
      ctx,
      channelId,
      sockets,
      isShadowed: shadows.has,
      told: (event) => this.tellEndpoints(event),
    });
    this.release = newRelease({
      ctx,
      read: (behind) => readFrames(env, tenantId, { kind: "channel", id: channelId }, behind),
      deliver: (frames) => this.deliver(frames),
    });
    this.spread = newSpread({
      channelId,
      sockets,
      readPage: (userId, behind, upTo) => readMissed(env, tenantId, channelId, userId, behind, upTo),
      release: this.release,
    });
    this.hints = newHints({
      ctx,
      env,
      tenantId,
      channelId,
      sockets,
      readListeners: () => readListeners(env, tenantId, channelId),
    });
    this.sending = newSending({
      ctx,
      env,
      wantsListeners: () => this.hints.isTime(),
      committed: (group) => this.committed(group),
    });
  }

  send(ask: SendAsk): Promise<SendAnswer> {
    return this.sending.send(ask);
  }

  publish(frames: Frame[]): void {
    if (frames.some(({ type }) => type === "channel.updated")) this.sending.forgetPace();
    this.release.take(frames);
    this.notify(frames);
    const last = frames.findLast(({ type }) => type === "message.new");
    if (last) this.hints.tell(last.seq, null);
  }

  private notify(frames: Frame[]): void {
    const waitUntil = (work: Promise<unknown>) => this.ctx.waitUntil(work);
    waitUntil(announcePush(this.env, this.tenantId, frames, waitUntil).catch(() => {}));
  }

  /** The cron knows of events up to this number. */
  know(lastSeq: number): void {
    this.release.know(lastSeq);
  }

  end(ended: Ended): void {
    this.sockets.end(ended);
  }

  shadow(userId: string, until: number | null): void {
    this.shadows.set(userId, until);
    this.presence.tellTyping();
  }

  beginHistory(userId: string, behind: number): void {
    this.sockets.beginHistory(userId, behind);
  }

  setPresence(userId: string, deviceId: string | null, presence: Presence): void {
    for (const [socket, watcher] of this.sockets.watchers)
      if (watcher.userId === userId && watcher.deviceId === deviceId)
        this.sockets.keep(socket, { ...watcher, presence });
    this.presence.refresh(userId);
  }

  online(): Present[] {
    this.presence.settle();
    return this.presence.list();
  }

  /** At most once, and in an invocation of its own. */
  private tellEndpoints(event: Told): void {
    const told = { ...event, channelId: this.channelId } as EphemeralEvent;
    this.ctx.waitUntil(this.ctx.exports.Endpoints.tell(this.tenantId, told).catch(() => {}));
  }

  private committed({ answers, frames, deliveries, listeners }: GroupAnswer): void {
    this.release.take(frames);
    this.notify(frames);
    for (const answer of answers)
      if (answer.ok && answer.isNew && answer.message.userId)
        this.presence.stopped(answer.message.userId, answer.message.parentId);
    announceDeliveries(this.env, this.tenantId, deliveries, (work) => this.ctx.waitUntil(work));
    const last = frames.findLast(({ audience }) => audience === null);
    if (last) this.hints.tell(last.seq, listeners);
  }

  private deliver(frames: Frame[]): void {
    this.presence.settle();
    this.spread.deliver(frames);
    const judging = frames.filter(({ type }) => JUDGED_ANEW.has(type));
    if (judging.length > 0) this.ctx.waitUntil(this.judgeAnew(judging).catch(() => {}));
  }

  /** The change of a member concerns that one; a change of the channel, everybody. */
  private async judgeAnew(frames: Frame[]): Promise<void> {
    const about = frames.map(({ payload }) => (JSON.parse(payload) as { data: { userId?: string } }).data.userId);
    const everybody = [...new Set([...this.sockets.watchers.values()].map(({ userId }) => userId))];
    const users = about.every((userId) => userId !== undefined)
      ? everybody.filter((userId) => about.includes(userId))
      : everybody;
    const standings = await judgeWatchers(this.env, this.tenantId, this.channelId, users, (work) =>
      this.ctx.waitUntil(work),
    );
    this.sockets.endWhere(({ userId }) => (standings.get(userId)?.sees === false ? "not_a_member" : null));
    for (const [socket, watcher] of this.sockets.watchers) {
      const mayType = standings.get(watcher.userId)?.types;
      if (mayType !== undefined && mayType !== watcher.mayType) this.sockets.keep(socket, { ...watcher, mayType });
    }
  }

  override async fetch(request: Request): Promise<Response> {
    const admitted = JSON.parse(request.headers.get(ADMITTED) ?? "null") as Admitted;
    this.presence.settle();
    const { client, socket, watcher } = this.sockets.accept(admitted);
    if (watcher) {
      this.release.start(admitted.lastSeq);
      this.shadows.admit(watcher.userId, admitted.shadowedUntil);
      const seq = admitted.after ?? admitted.lastSeq;
      this.presence.refresh(watcher.userId);
      const present = this.presence.list();
      this.sockets.tell(socket, {
        type: "hello",
        socketId: admitted.id,
        userId: admitted.userId,
        stream: { kind: "channel", id: this.channelId },
        seq,
        serverTime: new Date().toISOString(),
        pingSeconds: PING_SECONDS,
        watchers: present.slice(0, MOST_TOLD),
        watcherCount: present.length,
        typing: this.presence.typing(watcher.userId),
      });
      await this.sockets.schedule();
      this.ctx.waitUntil(this.spread.bringUp(socket, watcher, seq));
    }
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    this.presence.settle();
    const heard = this.sockets.heard(socket, message);
    if (!heard) return;
    this.presence.refresh(heard.watcher.userId);
    this.sockets.tell(socket, await runCommand(heard.text, (command) => this.obey(socket, heard.watcher, command)));
  }

  private async obey(socket: WebSocket, watcher: Watcher, command: Command): Promise<unknown> {
    this.sockets.mustBeWithinLimit(watcher, command.op);
    switch (command.op) {
      case "send":
        return sendFromSocket(this.env, this.tenantId, this.channelId, watcher, command.message, {
          waitUntil: (work) => this.ctx.waitUntil(work),
          deliver: (ask) => this.send(ask),
          judge: (about, draft) => this.ctx.exports.Endpoints.judge(this.tenantId, about, draft),
        });
      case "resume": {
        const behind = command.cursors[this.channelId];
        if (behind === undefined) return { streams: {} };
        const upTo = Math.max(this.release.at() ?? 0, watcher.lastSeq);
        const page = await readMissed(this.env, this.tenantId, this.channelId, watcher.userId, behind, upTo);
        const events = page.events.map((text) => JSON.parse(text));
        return { streams: { [this.channelId]: { events, seq: page.to, more: page.more } } };
      }
      case "typing":
        if (watcher.mayType === false) throw new ApiError("not_allowed", "Typing is not shown here.");
        this.presence.type(watcher.userId, command.parentId, command.typing);
        return null;
      case "presence":
        this.sockets.keep(socket, { ...watcher, presence: command.presence });
        this.presence.refresh(watcher.userId);
        return null;
    }
  }

  /** Sockets are closed already; what is left is to tell the others and to forget their rows. */
  private gone(watchers: Watcher[]): void {
    for (const { userId } of watchers) this.presence.left(userId);
    this.spread.forget();
    const ids = watchers.map(({ id }) => id);
    this.ctx.waitUntil(forgetSockets(this.env, this.tenantId, ids).catch(() => {}));
    if (this.sockets.watchers.size > 0) return;
    // Without sockets there is nothing to be woken for.
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
    const now = Date.now();
    // Their silence has been long enough for nobody to wait any longer.
    for (const { userId } of this.sockets.reap(now)) this.presence.refresh(userId, now);
    this.presence.review(now);
    await this.sending.finish(() => this.release.catchUp());
    await this.sockets.schedule();
  }
}
