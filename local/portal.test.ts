import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { newApiKey } from "../src/lib/ids.ts";
import { startBridge } from "./bridge.ts";
import { type BuiltWorker, buildWorker, startBuiltWorker } from "./built-worker.ts";
import { queryRows } from "./migrate.ts";
import { migratedBackend } from "./migrated.ts";
import { ROOT } from "./place.ts";
import { withLogin } from "./postgres.ts";
import { withoutBrowser as skip, startBrowser } from "./test-browser.ts";
import { startReceiver } from "./test-receiver.ts";

const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";
const folder = mkdtempSync(`${tmpdir()}/parley-portal-test-`);
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];

let worker: BuiltWorker;
let browser: Browser;
let link: URL;

async function call(key: string, path: string, body: unknown) {
  const response = await fetch(new URL(path, worker.url), {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

/** A customer's endpoint that failed once, and a link to what happened to it. */
async function prepare(key: string): Promise<URL> {
  const receiver = await startReceiver();
  closing.push(receiver.close);
  await fetch(`${receiver.url}/replies/shop`, {
    method: "PUT",
    body: JSON.stringify([{ status: 500, body: `{"error":"${"the till is closed ".repeat(30)}"}` }, {}]),
  });
  const { apiKey } = await call(key, "/v1/tenants", { name: "Acme" });
  const hook = await call(apiKey.secret, "/v1/webhooks", {
    name: "Orders of the shop",
    url: `${receiver.url}/box/shop`,
    events: ["channel.created"],
  });
  for (const name of ["one", "two", "three"]) await call(apiKey.secret, "/v1/channels", { name });
  const received = async () => (await (await fetch(`${receiver.url}/received/shop`)).json()) as unknown[];
  while ((await received()).length < 3) await new Promise((resolve) => setTimeout(resolve, 50));
  const made = await call(apiKey.secret, `/v1/webhooks/${hook.id}/portal-links`, {
    allow: ["url", "events", "secret"],
  });
  return new URL(new URL(made.url).pathname, worker.url);
}

before(async () => {
  if (skip) return;
  const backend = await migratedBackend();
  const bridge = await startBridge(backend);
  closing.push(bridge.close, backend.close);
  const key = newApiKey("admin", crypto.getRandomValues(new Uint8Array(64)));
  await backend.exclusively(async (owner) => {
    await queryRows(
      owner,
      "insert into api_keys (tenant_id, id, name, kind, hash, hint) values ($1, gen_random_uuid(), 'test', 'admin', sha256($2::text::bytea), 'test')",
      [DEPLOYMENT, key],
    );
    await queryRows(
      owner,
      "insert into api_key_scopes (tenant_id, key_id, scope) select tenant_id, id, 'deployment:admin' from api_keys where tenant_id = $1",
      [DEPLOYMENT],
    );
  });
  await buildWorker(ROOT, `${folder}/built`);
  const login = { user: "parley_app", password: "local", database: "postgres" };
  worker = await startBuiltWorker({
    root: ROOT,
    built: `${folder}/built`,
    vars: { DATABASE_ENDPOINT: `${bridge.url}/sql`, LOCAL_MODE: "1" },
    secrets: { APP_DATABASE_URL: withLogin(bridge.url.replace("http:", "postgresql:"), login) },
  });
  closing.push(() => worker.stop());
  link = await prepare(key);
  browser = await startBrowser(link);
  closing.push(() => browser.close());
});

after(async () => {
  for (const close of closing.reverse()) await close();
});

type AxNode = { role?: { value: string }; name?: { value: string }; ignored: boolean };

const CONTROLS = ["button", "link", "textbox", "combobox", "checkbox"];

/** What a screen reader is told, from the browser itself. */
async function accessible(page: Page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = (await session.send("Accessibility.getFullAXTree")) as unknown as { nodes: AxNode[] };
  await session.detach();
  const shown = nodes.filter(({ ignored }) => !ignored);
  const count = (role: string) => shown.filter((node) => node.role?.value === role).length;
  return {
    nameless: shown.filter(({ role, name }) => CONTROLS.includes(role?.value ?? "") && !name?.value.trim()),
    mains: count("main"),
    controls: CONTROLS.reduce((sum, role) => sum + count(role), 0),
    headers: count("columnheader"),
  };
}

/** Texts whose contrast with what is behind them is below 4.5 : 1, as the page itself computes its colours. */
const FAINT = `(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "")).filter((element) => {
      const [a, b] = [luminance(numbers(getComputedStyle(element).color)), luminance(behind(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((element) => element.outerHTML.slice(0, 120));
})()`;

const LAYOUT = `({
  lang: document.documentElement.lang,
  title: document.title,
  headings: [...document.querySelectorAll("h1, h2, h3")].map((heading) => Number(heading.tagName[1])),
  tooWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  tooSmall: [...document.querySelectorAll("button, select, input:not([type=checkbox])")].filter((one) => one.getBoundingClientRect().height < 24).length,
})`;

type Layout = { lang: string; title: string; headings: number[]; tooWide: boolean; tooSmall: number };

async function inspect(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await page.evaluate(FAINT), [], `${name}, ${colorScheme}`);
  }
  if (process.env.SCREENSHOTS)
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });
  const tree = await accessible(page);
  const layout = (await page.evaluate(LAYOUT)) as Layout;
  assert.deepEqual(tree.nameless, [], name);
  assert.equal(tree.mains, 1, name);
  assert.equal(layout.lang, "en");
  assert.notEqual(layout.title, "");
  assert.equal(layout.headings.filter((level) => level === 1).length, 1, name);
  assert.ok(
    layout.headings.every((level, i) => level <= (layout.headings[i - 1] ?? 0) + 1),
    `${name}: ${layout.headings}`,
  );
  assert.equal(layout.tooWide, false, name);
  assert.equal(layout.tooSmall, 0, name);
}

/** As somebody does who has no pointer: forward until the control with this name has the focus. */
async function tabTo(page: Page, name: RegExp, most = 80): Promise<void> {
  for (let i = 0; i < most; i++) {
    await page.keyboard.press("Tab");
    const focused = (await page.evaluate(
      "(document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()",
    )) as string;
    if (name.test(focused)) return;
  }
  assert.fail(`No Tab leads to ${name}`);
}

async function visit(context: BrowserContext, where: string): Promise<void> {
  const page = await context.newPage();
  await page.goto(link.href);
  await inspect(page, `${where}-deliveries`);
  assert.equal((await accessible(page)).headers, 4);

  await tabTo(page, /^channel\.created$/);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Attempts" }).waitFor();
  await inspect(page, `${where}-delivery`);
  await tabTo(page, /^Deliver again$/);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Attempts" }).waitFor();

  await page.goto(`${link.href}/settings`);
  await inspect(page, `${where}-settings`);
  await page.getByRole("textbox", { name: "URL" }).fill("http://169.254.169.254/");
  await tabTo(page, /^Save$/);
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await inspect(page, `${where}-refused`);
  await tabTo(page, /^Make a new secret$/);
  await page.keyboard.press("Enter");
  await page.getByText("whsec_").waitFor();
  await inspect(page, `${where}-secret`);
  await page.close();
}

for (const [where, viewport] of [
  ["desktop", { width: 1280, height: 900 }],
  ["phone", { width: 390, height: 844 }],
] as const)
  test(`the portal can be read and used at ${where} width, by keyboard and without scripts`, { skip }, async () => {
    const context = await browser.newContext({ viewport, javaScriptEnabled: false });
    await visit(context, where);
    await context.close();
  });
