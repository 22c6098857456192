import type { AddressInfo } from "node:net";
import { createServer } from "node:net";

/**
 * An endpoint as fast as it can be made, in a process of its own: answers each POST with 200, and notes when it came.
 * What is posted to /dead/… is never answered.
 */
export type Question = { ask: "reset" } | { ask: "wait"; count: number };
export type Came = { at: number; path: string; timestamp: string };

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const now = () => performance.timeOrigin + performance.now();
let came: Came[] = [];
let waiting: { count: number } | undefined;

function note(path: string, body: string): void {
  const from = body.indexOf('"timestamp":"') + 13;
  came.push({ at: now(), path, timestamp: from > 12 ? body.slice(from, from + 24) : "" });
  if (waiting && came.length >= waiting.count) tell();
}

function tell(): void {
  process.send!(came);
  waiting = undefined;
}

const server = createServer((socket) => {
  let text = "";
  socket.setNoDelay().setEncoding("latin1");
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    text += chunk;
    for (;;) {
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = Number(/content-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
      if (text.length < head + 4 + length) return;
      const path = text.slice(5, text.indexOf(" ", 5));
      const body = text.slice(head + 4, head + 4 + length);
      text = text.slice(head + 4 + length);
      if (path.startsWith("/dead/")) return;
      note(path, body);
      socket.write(ANSWER);
    }
  });
});

process.on("message", (question: Question) => {
  if (question.ask === "reset") {
    came = [];
    process.send!(came);
  } else {
    waiting = question;
    if (came.length >= question.count) tell();
  }
});
process.once("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1", () => process.send!(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
