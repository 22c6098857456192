import { env, exports } from "cloudflare:workers";
import { expect, vi } from "vitest";
import { ServerFrame } from "../src/live/protocol";
import type { Any, Client, Tenant } from "./helpers";
import { newTenant, newUser, userClient } from "./helpers";

const ORIGIN = "http://parley.test";

/** A socket as an app would hold it: every frame it got, arrays taken apart. */
export type Socket = {
  frames: Any[];
  hello: Any;
  raw: WebSocket;
  closed: { code: number; reason: string } | null;
  /** Frames with a number, in the order they came. */
  events(): Any[];
  say(command: unknown): void;
  /** Says it and waits for its ack or nack. */
  ask(command: Record<string, unknown>): Promise<Any>;
  until(found: (frame: Any) => boolean): Promise<Any>;
  close(): void;
};

let asked = 0;

/** What is none must be one of the protocol's frames. */
const isEvent = ({ id, type, seq, stream, data }: Any) =>
  id !== undefined && type.includes(".") && seq > 0 && stream.id !== undefined && data !== undefined;

export async function connect(path: string, headers: Record<string, string>): Promise<Socket> {
  const response = await exports.default.fetch(`${ORIGIN}${path}`, { headers: { Upgrade: "websocket", ...headers } });
  if (response.status !== 101)
    throw Object.assign(new Error(`${response.status}`), { status: response.status, body: await response.json() });
  return hold(response.webSocket!);
}

/** As `connect`, of a socket that is there already. */
export async function hold(raw: WebSocket): Promise<Socket> {
  const socket: Socket = {
    frames: [],
    hello: null,
    raw,
    closed: null,
    events: () =>
      socket.frames.filter(({ seq, from, type }) => type !== "hello" && (seq !== undefined || from !== undefined)),
    say: (command) => raw.send(typeof command === "string" ? command : JSON.stringify(command)),
    async ask(command) {
      const id = `c${++asked}`;
      socket.say({ id, ...command });
      return socket.until((frame) => (frame.type === "ack" || frame.type === "nack") && frame.id === id);
    },
    until: (found) => vi.waitUntil(() => socket.frames.find(found), { timeout: 8_000, interval: 5 }),
    close: () => raw.close(1000, "done"),
  };
  raw.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(data as string);
    const frames: Any[] = Array.isArray(frame) ? frame : [frame];
    for (const one of frames) if (!isEvent(one)) ServerFrame.parse(one);
    socket.frames.push(...frames);
  });
  raw.addEventListener("close", ({ code, reason }) => {
    socket.closed = { code, reason };
  });
  raw.accept();
  socket.hello = await socket.until(({ type }) => type === "hello" || type === "bye");
  return socket;
}

export type Person = Client & {
  id: string;
  token: string;
  watch(channelId: string, query?: string): Promise<Socket>;
  open(query?: string): Promise<Socket>;
};

export async function newPerson(tenant: Tenant, input: Record<string, unknown> = {}): Promise<Person> {
  const { id } = await newUser(tenant, input);
  const minted = await tenant.post(`/v1/users/${id}/tokens`, {});
  const headers = { Authorization: `Bearer ${minted.body.token}` };
  return {
    ...(await userClient(tenant, id)),
    id,
    token: minted.body.token,
    watch: (channelId, query = "") => connect(`/v1/channels/${channelId}/connect${query}`, headers),
    open: (query = "") => connect(`/v1/connect${query}`, headers),
  };
}

export async function newRoom(tenant: Tenant, members: Person[], more: Record<string, unknown> = {}): Promise<string> {
  const made = await tenant.post("/v1/channels", { members: members.map(({ id }) => ({ userId: id })), ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body.id;
}

/** What a channel's stream is made of, for each number up to its last: the event's type, or that it was skipped. */
export function numbersOf(frames: Any[]): number[] {
  return frames.flatMap(({ seq, from, to }) =>
    from === undefined ? [seq] : Array.from({ length: to - from + 1 }, (_, i) => from + i),
  );
}

/** A tenant with a channel, and in it two who talk. */
export async function room(more: Record<string, unknown> = {}) {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const id = await newRoom(tenant, [ann, bob], more);
  const send = async (from: typeof ann, text: string) =>
    (await from.post(`/v1/channels/${id}/messages`, { text })).body;
  const object = env.CHANNEL.getByName(`${tenant.id}:${id}`);
  return { tenant, ann, bob, id, send, object };
}

export const textsOf = (frames: Any[]) =>
  frames.map(({ data }) => data?.message?.text).filter((text) => text !== undefined);
