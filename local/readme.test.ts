import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { startBuiltStack } from "./built-stack.ts";
import { ROOT } from "./place.ts";

const folder = mkdtempSync(`${tmpdir()}/parley-readme-`);
after(() => rmSync(folder, { recursive: true, force: true }));

type Verify = (secret: string, headers: Record<string, string>, body: string) => boolean;

/** The README's block of this name. */
function codeInReadme(name: string): string {
  const code = new RegExp(`\`\`\`ts ${name}\\n([\\s\\S]*?)\`\`\``).exec(readFileSync(`${ROOT}/README.md`, "utf8"))?.[1];
  assert.ok(code, `The README has no block "${name}".`);
  return code;
}

/** The block as a module. */
async function blockOfReadme<T>(name: string): Promise<T> {
  writeFileSync(`${folder}/${name}.ts`, codeInReadme(name));
  return (await import(`${folder}/${name}.ts`)) as T;
}

test("the README's lines accept what is signed with the secret, and nothing else", async () => {
  const { verify } = await blockOfReadme<{ verify: Verify }>("verify");
  const secret = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
  const other = `whsec_${Buffer.alloc(32, 6).toString("base64")}`;
  const body = '{"type":"message.new","data":{"text":"héllo"}}';
  const now = new Date();
  const headersAt = (at: Date) => ({
    "webhook-id": "evt_1",
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": `${new Webhook(other).sign("evt_1", at, body)} ${new Webhook(secret).sign("evt_1", at, body)}`,
  });

  assert.equal(verify(secret, headersAt(now), body), true);
  assert.equal(verify(secret, headersAt(now), body.replace("é", "e")), false);
  assert.equal(verify(`whsec_${Buffer.alloc(32, 7).toString("base64")}`, headersAt(now), body), false);
  assert.equal(verify(secret, headersAt(new Date(now.getTime() - 600_000)), body), false);
});

test("verifying a delivery takes at most ten lines in the README", () => {
  assert.ok(codeInReadme("verify").trim().split("\n").length <= 10);
});

type Post = (credential: string, path: string, body?: object) => Promise<unknown>;
type Chat = (post: Post, api: string, key: string, show: (text: string) => void) => Promise<WebSocket>;

test("the README's chat of ten lines says something and hears it", async () => {
  assert.ok(codeInReadme("chat").trim().split("\n").length <= 10);
  const { chat } = await blockOfReadme<{ chat: Chat }>("chat");
  const { poster } = await blockOfReadme<{ poster(api: string): Post }>("post");
  const stack = await startBuiltStack(`${folder}/built`);
  after(() => stack.stop());

  const shown = await new Promise<string>((resolve, reject) => {
    const { origin } = stack.url;
    chat(poster(origin), origin, stack.key, resolve).then((socket) => {
      socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
      after(() => socket.close());
    }, reject);
  });

  assert.equal(shown, "Hello, Grace!");
});
