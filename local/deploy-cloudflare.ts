import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Target } from "./deploy-target.ts";
import { plain } from "./fail.ts";
import { ROOT } from "./place.ts";

type Answer = { code: number | null; stdout: string; output: string };

/** Everything is asked of Cloudflare through its own program, which also knows how to log in. */
function wrangler(args: string[], env: Record<string, string> = {}): Promise<Answer> {
  return new Promise((done, reject) => {
    const quiet = { WRANGLER_HIDE_BANNER: "true", WRANGLER_SEND_METRICS: "false", NO_COLOR: "1" };
    const child = spawn("wrangler", args, {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...quiet, ...env },
    });
    const answer = { stdout: "", output: "" };
    child.stdout.on("data", (chunk) => {
      answer.stdout += chunk;
      answer.output += chunk;
    });
    child.stderr.on("data", (chunk) => (answer.output += chunk));
    child.once("error", reject);
    child.once("close", (code) => done({ code, ...answer }));
  });
}

const refused = (args: string[], { output }: Answer) => plain(`wrangler ${args.join(" ")} failed:\n${output.trim()}`);

async function must(args: string[], env?: Record<string, string>): Promise<Answer> {
  const answer = await wrangler(args, env);
  if (answer.code !== 0) throw refused(args, answer);
  return answer;
}

export async function requireLogin(): Promise<string> {
  const { code, stdout } = await wrangler(["whoami", "--json"]);
  if (code !== 0)
    throw plain("Nobody is logged in to Cloudflare: run npx wrangler login, or set CLOUDFLARE_API_TOKEN.");
  const { accounts = [] } = JSON.parse(stdout) as { accounts?: { id: string; name: string }[] };
  const wanted = process.env.CLOUDFLARE_ACCOUNT_ID;
  if (accounts.length > 1 && !wanted)
    throw plain(
      `This login reaches ${accounts.length} accounts: set CLOUDFLARE_ACCOUNT_ID to one of\n${accounts.map(({ id, name }) => `  ${id}  ${name}`).join("\n")}`,
    );
  return accounts.find(({ id }) => id === wanted)?.name ?? accounts[0]?.name ?? wanted ?? "logged in";
}

// As wrangler says it of a queue, a bucket (10006) and a Worker (10007, 10090); any other failure is one.
const MISSING = /Queue ".+" does not exist|bucket does not exist|Worker ".+" not found|code: 100(?:06|07|90)\b/;

async function ensure(look: string[], create: string[]): Promise<string> {
  const found = await wrangler(look);
  if (found.code === 0) return "there";
  if (!MISSING.test(found.output)) throw refused(look, found);
  await must(create);
  return "created";
}

export const ensureQueue = (name: string): Promise<string> =>
  ensure(["queues", "info", name], ["queues", "create", name]);

export const ensureBucket = (name: string): Promise<string> =>
  ensure(["r2", "bucket", "info", name], ["r2", "bucket", "create", name]);

/** Their names: Cloudflare never shows a secret again. A Worker that is not there yet has none. */
export async function secretsOf({ worker }: Target): Promise<Set<string>> {
  const args = ["secret", "list", "--name", worker, "--format", "json"];
  const answer = await wrangler(args);
  if (answer.code === 0) return new Set((JSON.parse(answer.stdout) as { name: string }[]).map(({ name }) => name));
  if (MISSING.test(answer.output)) return new Set();
  throw refused(args, answer);
}

export type Upload = { vars: Record<string, string>; secrets: Record<string, string>; domain?: string | undefined };

/** Code and new secrets in one step; secrets not named here stay. Returns the addresses it answers at. */
export async function upload({ config }: Target, { vars, secrets, domain }: Upload): Promise<string[]> {
  const folder = mkdtempSync(`${tmpdir()}/parley-deploy-`);
  try {
    const args = ["deploy", "--config", config];
    for (const [name, value] of Object.entries(vars)) args.push("--var", `${name}:${value}`);
    if (domain) args.push("--domain", domain);
    if (Object.keys(secrets).length) {
      writeFileSync(`${folder}/secrets.json`, JSON.stringify(secrets), { mode: 0o600 });
      args.push("--secrets-file", `${folder}/secrets.json`);
    }
    await must(args, { WRANGLER_OUTPUT_FILE_PATH: `${folder}/output.ndjson` });
    const lines = readFileSync(`${folder}/output.ndjson`, "utf8").trim().split("\n");
    const entries = lines.map((line) => JSON.parse(line) as { type: string; targets?: string[] });
    return (entries.find(({ type }) => type === "deploy")?.targets ?? []).filter((target) => /^https?:/.test(target));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
