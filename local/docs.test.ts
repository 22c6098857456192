import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { buildDocs } from "./build-docs.ts";
import { type BuiltWorker, builtWorker, startBuiltWorker } from "./built-worker.ts";
import { ROOT } from "./place.ts";
import { withoutBrowser as skip, startBrowser } from "./test-browser.ts";

const folder = mkdtempSync(`${tmpdir()}/parley-docs-test-`);

type Operation = { summary: string; tags: string[]; "x-scope": string };

let worker: BuiltWorker;
let browser: Browser;
let operations: Operation[];
let events: Operation[];

before(async () => {
  if (skip) return;
  buildDocs();
  worker = await startBuiltWorker({ root: ROOT, built: await builtWorker(`${folder}/built`) });
  const description = await (await fetch(new URL("/openapi.json", worker.url))).json();
  const all = (part: Record<string, Record<string, Operation>>) => Object.values(part).flatMap(Object.values);
  operations = all(description.paths);
  events = all(description.webhooks);
  browser = await startBrowser(new URL("/docs", worker.url));
});

after(async () => {
  await browser?.close();
  await worker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Visit = { page: Page; complaints: string[]; foreign: string[] };

/** Opens the reference and writes down what the page asks of other origins, and what the console says. */
async function visit(size: { width: number; height: number }): Promise<Visit> {
  const page = await browser.newPage({ viewport: size });
  const complaints: string[] = [];
  const foreign: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("response", (answer) => {
    if (answer.status() >= 400) complaints.push(`${answer.status()} ${answer.url()}`);
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== worker.url.origin && !["data:", "blob:"].includes(protocol)) foreign.push(request.url());
  });
  await page.goto(new URL("/docs", worker.url).href);
  await page.getByRole("heading", { name: "Error codes" }).waitFor();
  return { page, complaints, foreign };
}

const isWiderThanScreen = (page: Page) =>
  page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth");

test("the reference lists every operation and event, and asks nothing of any other origin", { skip }, async () => {
  const { page, complaints, foreign } = await visit({ width: 1400, height: 900 });
  const listed = [...operations, ...events];

  for (const tag of new Set(listed.flatMap(({ tags }) => tags))) {
    await page.getByText(tag, { exact: true }).first().dispatchEvent("click");
    const own = listed.filter(({ tags }) => tags.includes(tag));
    for (const { summary } of own) await page.getByText(summary, { exact: true }).first().waitFor();
  }

  assert.ok(operations.length > 50);
  assert.ok(events.length > 20);
  assert.deepEqual(foreign, []);
  assert.deepEqual(complaints, []);
  await page.close();
});

for (const [where, size] of [
  ["a desktop", { width: 1400, height: 900 }],
  ["a phone", { width: 390, height: 844 }],
] as const)
  test(`an operation shows its path, scope and fields on ${where}, no wider than the screen`, { skip }, async () => {
    const { page, complaints, foreign } = await visit(size);
    const tooWide = await isWiderThanScreen(page);

    await page.goto(new URL("/docs/#/users/upsertuser", worker.url).href);
    await page.getByText("displayName", { exact: true }).first().waitFor();
    const shown = await page.evaluate("document.body.innerText");

    assert.match(String(shown), /users:write/);
    assert.match(String(shown), /\/v1\/users/);
    assert.equal(tooWide || (await isWiderThanScreen(page)), false);
    assert.deepEqual(foreign, []);
    assert.deepEqual(complaints, []);
    await page.close();
  });

test("the browser is told to refuse other origins", { skip }, async () => {
  const answer = await fetch(new URL("/docs/", worker.url));

  const policy = answer.headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /https?:|\*|unsafe-eval/);
});
