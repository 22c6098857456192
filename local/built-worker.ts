import { spawn } from "node:child_process";
import { createTestHarness } from "wrangler";
import { ROOT } from "./place.ts";

// No look-ups of the caller's place, no metrics, no banner: a build must work without a network.
const QUIET = { CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" };

/** Builds the Worker of a checkout as a deployment would. Returns what wrangler printed. */
export function buildWorker(root: string, outdir: string, config = `${root}/wrangler.toml`): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("wrangler", ["deploy", "--dry-run", "--outdir", outdir, "--config", config], {
      cwd: root,
      env: { ...process.env, ...QUIET, WRANGLER_LOG: "log" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`The Worker cannot be built:\n${output}`)),
    );
  });
}

/** Names the folder of this checkout's Worker where the run of all tests has built it for each of them. */
export const BUILT_ELSEWHERE = "PARLEY_BUILT_WORKER";

/** Where this checkout's Worker lies, built into `outdir` where nobody has built it yet. */
export async function builtWorker(outdir: string): Promise<string> {
  const elsewhere = process.env[BUILT_ELSEWHERE];
  if (elsewhere) return elsewhere;
  await buildWorker(ROOT, outdir);
  return outdir;
}

export type BuiltWorker = { url: URL; stop(): Promise<void> };

export type BuiltWorkerOptions = {
  /** The checkout whose wrangler.toml names the bindings. */
  root: string;
  /** Where `buildWorker` put the Worker. */
  built: string;
  vars?: Record<string, string>;
  secrets?: Record<string, string>;
};

/** Runs a built Worker in workerd with the bindings of its own wrangler.toml. */
export async function startBuiltWorker({
  root,
  built,
  vars = {},
  secrets = {},
}: BuiltWorkerOptions): Promise<BuiltWorker> {
  Object.assign(process.env, QUIET, { WRANGLER_LOG: "warn" });
  const harness = createTestHarness({
    workers: [
      { configPath: `${root}/wrangler.toml`, prebuiltWorkerDir: built, vars, secrets: { ...NO_SECRETS, ...secrets } },
    ],
  });
  const { url } = await harness.listen();
  return { url, stop: () => harness.close() };
}

const NO_SECRETS = {
  APP_DATABASE_URL: "postgresql://parley_app:none@localhost/none",
  MASTER_SECRETS: `1:${Buffer.alloc(32).toString("base64")}`,
};
