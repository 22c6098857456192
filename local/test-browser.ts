import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const program = PROGRAMS.find((path) => existsSync(path));

/** On a developer's machine a browser is a matter of luck; in CI it is not. */
export const withoutBrowser =
  program || process.env.CI ? false : "Chromium is not installed here (Debian: apt-get install chromium)";

// No drawing hardware, little shared memory and no way out are what a container has: a browser that looks for them
// may end itself over what it does not find.
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const LAUNCH_MS = 60_000;

/** A browser with an empty profile that has shown `first` already. One that dies before is started once more. */
export async function startBrowser(first: URL, attempts = 2): Promise<Browser> {
  if (!program) throw new Error("Chromium is not installed");
  let browser: Browser | undefined;
  try {
    browser = await chromium.launch({ executablePath: program, args: ARGS, timeout: LAUNCH_MS });
    const page = await browser.newPage();
    await page.goto(first.href, { waitUntil: "networkidle" });
    await page.close();
    return browser;
  } catch (error) {
    const died = !browser?.isConnected();
    await browser?.close().catch(() => {});
    if (died && attempts > 1) return startBrowser(first, attempts - 1);
    throw error;
  }
}
