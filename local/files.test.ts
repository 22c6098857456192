import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type BuiltStack, startBuiltStack } from "./built-stack.ts";

// What only a real connection shows: a sender that hangs up, and what goes over the wire.

const folder = mkdtempSync(`${tmpdir()}/parley-files-test-`);
let worker: BuiltStack;
let key: string;

before(async () => {
  worker = await startBuiltStack(folder);
  key = worker.key;
});

after(async () => {
  await worker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type File = { name: string; status: string; size: number; error: string };

async function listFiles(status: string): Promise<File[]> {
  const path = `/v1/files?status=${status}`;
  const response = await fetch(new URL(path, worker.url), { headers: { authorization: `Bearer ${key}` } });
  assert.equal(response.status, 200);
  return ((await response.json()) as { data: File[] }).data;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await holds()); await delay(20)) assert.ok(Date.now() < end, "it never came");
}

const endings: [name: string, hangUp: (socket: Socket) => void][] = [
  ["that is closed", (socket) => socket.destroy()],
  ["that is reset", (socket) => socket.resetAndDestroy()],
  ["that says no more", (socket) => socket.end()],
];

for (const [name, hangUp] of endings) {
  test(`an upload over a connection ${name} is failed at once and gives its room back`, async () => {
    const socket = connect(Number(worker.url.port), worker.url.hostname).on("error", () => {});
    const head = `POST /v1/files?name=${encodeURIComponent(name)} HTTP/1.1\r\nHost: ${worker.url.host}\r\n`;
    socket.write(`${head}Authorization: Bearer ${key}\r\nContent-Length: 5000000\r\n\r\n`);
    socket.write(Buffer.alloc(1_000_000));
    await until(async () => (await listFiles("uploading")).length > 0);

    hangUp(socket);

    await until(async () => (await listFiles("uploading")).length === 0);
    const [file] = await listFiles("failed");
    assert.equal(file?.name, name);
    assert.equal(file.size, 0);
    assert.match(file.error, /^It broke off after \d+ bytes where 5000000 were announced\.$/);
    socket.destroy();
  });
}

test("a body without a length is refused, and HEAD tells the length without the body", async () => {
  const headers = { authorization: `Bearer ${key}` };
  const stream = { method: "POST", headers, body: new Blob(["hello"]).stream(), duplex: "half" };
  const chunked = await fetch(new URL("/v1/files", worker.url), stream);
  assert.equal(chunked.status, 411);

  const made = await fetch(new URL("/v1/files", worker.url), { method: "POST", headers, body: "hello" });
  const { id } = (await made.json()) as { id: string };
  const head = await fetch(new URL(`/v1/files/${id}/content`, worker.url), { method: "HEAD", headers });

  assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [200, "5", ""]);
});
