import { connect as connectTo, type Socket } from "node:net";
import { quantile } from "../load.ts";
import { ADAPTERS, type Adapter } from "./adapters.ts";

/** Where watchers connect, and what to say at which rate. A process of its own, so that it slows nobody but itself. */
export type Question =
  | { ask: "open"; adapter: keyof typeof ADAPTERS; at: { url: string; headers: Record<string, string> }[] }
  | { ask: "run"; perSecond: number; seconds: number; bytes: number }
  | { ask: "close" };
export type Fanout = {
  deliveries: number;
  perSecond: number;
  p50: number;
  p99: number;
  lost: number;
  disordered: number;
};

/** Each text carries its number between two of these, whatever a server wraps around it. */
const MARK = "~";
const PING_MS = 10_000;
const PATIENCE_MS = 20_000;

type Watcher = { say(text: string): void; close(): void };

/** A WebSocket with nothing on it that costs time: whole text frames, no extensions. */
function open(url: URL, headers: Record<string, string>, hear: (text: string) => void): Promise<Watcher> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connectTo({ host: url.hostname, port: Number(url.port) });
    socket.setNoDelay();
    let bytes: Buffer = Buffer.alloc(0);
    let isOpen = false;
    const lines = Object.entries({
      Host: url.host,
      Upgrade: "websocket",
      Connection: "Upgrade",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("The server closed a socket.")));
    socket.on("data", (chunk: Buffer) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      if (!isOpen) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end === -1) return;
        const head = bytes.toString("latin1", 0, end);
        if (!head.startsWith("HTTP/1.1 101")) {
          reject(new Error(bytes.toString("utf8", 0, 500)));
          return;
        }
        isOpen = true;
        bytes = bytes.subarray(end + 4);
        resolve({ say: (text) => socket.write(framed(text)), close: () => socket.destroy() });
      }
      bytes = takeFrames(bytes, hear);
    });
  });
}

/** Whole frames are heard; what is left waits for more. */
function takeFrames(bytes: Buffer, hear: (text: string) => void): Buffer {
  let at = 0;
  while (bytes.length >= at + 2) {
    const short = bytes[at + 1]! & 127;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < at + head) break;
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    if (bytes.length < at + head + length) break;
    if ((bytes[at]! & 15) === 1) hear(bytes.toString("latin1", at + head, at + head + length));
    at += head + length;
  }
  return bytes.subarray(at);
}

/** A client masks what it says; with zeros, that changes nothing. */
function framed(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126
      ? Buffer.from([0x81, 0x80 | body.length])
      : Buffer.from([0x81, 0x80 | 126, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

let watchers: Watcher[] = [];
let adapter: Adapter;
let pinging: NodeJS.Timeout;
let heardBy: (socket: number, text: string) => void = () => undefined;
let said = 0;

async function openAll(at: { url: string; headers: Record<string, string> }[]): Promise<void> {
  for (let i = 0; i < at.length; i += 10)
    watchers.push(
      ...(await Promise.all(
        at.slice(i, i + 10).map(({ url, headers }, n) => open(new URL(url), headers, (text) => heardBy(i + n, text))),
      )),
    );
  pinging = setInterval(() => {
    if (adapter.ping) for (const watcher of watchers) watcher.say(adapter.ping);
  }, PING_MS);
}

/** Says texts at a steady rate, each over another socket, until all of them have come to every socket. */
async function run({
  perSecond,
  seconds,
  bytes,
}: {
  perSecond: number;
  seconds: number;
  bytes: number;
}): Promise<Fanout> {
  const many = perSecond * seconds;
  const first = said;
  said += many;
  const sentAt = new Float64Array(many);
  const times: number[] = [];
  const order: number[] = [];
  const counts = new Int32Array(watchers.length);
  let disordered = 0;
  let lastAt = 0;
  heardBy = (socket, text) => {
    if (adapter.answer && text.startsWith(adapter.answer)) return;
    const now = performance.now();
    for (let from = text.indexOf(MARK); from !== -1; ) {
      const to = text.indexOf(MARK, from + 1);
      const n = Number(text.slice(from + 1, to)) - first;
      from = text.indexOf(MARK, to + 1);
      if (!(n >= 0 && n < many)) continue;
      const place = counts[socket]!;
      counts[socket] = place + 1;
      order[place] ??= n;
      if (order[place] !== n) disordered++;
      times.push(now - sentAt[n]!);
      lastAt = now;
    }
  };
  const startedAt = performance.now();
  const padding = "x".repeat(bytes);
  await new Promise<void>((resolve) => {
    let n = 0;
    const timer = setInterval(() => {
      for (const due = ((performance.now() - startedAt) * perSecond) / 1000; n < many && n <= due; n++) {
        sentAt[n] = performance.now();
        watchers[n % watchers.length]!.say(adapter.say(`${MARK}${first + n}${MARK} ${padding}`, first + n));
      }
      if (n === many) {
        clearInterval(timer);
        resolve();
      }
    }, 1);
  });
  const all = many * watchers.length;
  for (const end = performance.now() + PATIENCE_MS; times.length < all && performance.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 5));
  times.sort((a, b) => a - b);
  return {
    deliveries: times.length,
    perSecond: times.length / ((lastAt - startedAt) / 1000),
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    lost: all - times.length,
    disordered,
  };
}

process.on("message", async (question: Question) => {
  try {
    if (question.ask === "run") process.send!(await run(question));
    else if (question.ask === "open") {
      adapter = ADAPTERS[question.adapter];
      await openAll(question.at);
      process.send!({});
    } else {
      clearInterval(pinging);
      for (const watcher of watchers) watcher.close();
      watchers = [];
      process.send!({});
    }
  } catch (error) {
    process.send!({ error: String(error) });
  }
});
process.once("disconnect", () => process.exit(0));
