import { spawn } from "node:child_process";
import { globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { buildDocs } from "./build-docs.ts";
import { BUILT_ELSEWHERE, buildWorker } from "./built-worker.ts";
import { MIGRATED_ELSEWHERE, writeMigrated } from "./migrated.ts";
import { ROOT } from "./place.ts";

/** The suite inside workerd, and beside it what can only be tried from outside. Arguments are for the first alone. */
const args = process.argv.slice(2);

// The Workers of the suite speak TLS with a mail server that stands in for others, and are to trust its certificate.
process.env.NODE_EXTRA_CA_CERTS = `${ROOT}/local/test-certificate.pem`;

/** Waiting for a process to start is most of what is done outside, so that it runs beside the rest. */
async function runAll(): Promise<boolean> {
  const folder = mkdtempSync(`${tmpdir()}/parley-test-`);
  try {
    // What is tried from outside makes the databases it needs, whatever server is named.
    if (process.env.DATABASE_URL) return told([await runParts({})]);
    await Promise.all([buildWorker(ROOT, `${folder}/built`), writeMigrated(`${folder}/migrated`)]);
    const prepared = { [BUILT_ELSEWHERE]: `${folder}/built`, [MIGRATED_ELSEWHERE]: `${folder}/migrated` };
    const outside = run(["--test", "--test-concurrency=2", ...globSync("local/*.test.ts", { cwd: ROOT }).sort()], {
      ...prepared,
      NODE_COMPILE_CACHE: `${folder}/compiled`,
    });
    return told([await runParts(prepared), await outside]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function told(results: Result[]): boolean {
  for (const { output } of results) process.stdout.write(output);
  return results.every(({ succeeded }) => succeeded);
}

const runInside = (given: string[], variables?: Record<string, string>, quiet = false) =>
  run(["node_modules/vitest/vitest.mjs", "run", ...given], variables, quiet);

/** A part has a database and a workerd of its own, which keep a core busy: more parts than cores make tests wait for each other. */
async function runParts(prepared: Record<string, string>): Promise<Result> {
  const heavy = process.env.HEAVY === "1";
  const parts = Array.from({ length: 2 }, () => ({ files: [] as string[], seconds: 0 }));
  const [first, ...others] = parts as [(typeof parts)[0], ...typeof parts];
  if (heavy) first.seconds = secondsOf(ALONE);
  const files = globSync(heavy ? "test/**/*.test.ts" : "test/*.test.ts", { cwd: ROOT }).filter(
    (file) => file !== ALONE,
  );
  for (const file of files.sort((a, b) => secondsOf(b) - secondsOf(a) || a.localeCompare(b))) {
    const part = parts.reduce((least, one) => (one.seconds < least.seconds ? one : least));
    part.files.push(file);
    part.seconds += secondsOf(file);
  }
  const quiet = others.map(({ files }) => runInside(files, prepared, true));
  const results = [await runInside(first.files, prepared)];
  if (heavy) results.push(await runInside([ALONE], prepared));
  results.push(...(await Promise.all(quiet)));
  return {
    succeeded: results.every(({ succeeded }) => succeeded),
    output: results.map(({ output }) => output).join(""),
  };
}

/** Works in a database of its own, which would be in the way of whoever came after it in its process. */
const ALONE = "test/heavy/query-plans.test.ts";

/** About how long the slowest take, so that the parts are alike. */
const SECONDS: Record<string, number> = {
  [ALONE]: 80,
  "test/heavy/webhooks.test.ts": 270,
  "test/heavy/fuzz.test.ts": 170,
  "test/heavy/search.test.ts": 95,
  "test/heavy/campaigns.test.ts": 50,
  "test/heavy/jobs.test.ts": 45,
  "test/heavy/live.test.ts": 40,
  "test/wall.test.ts": 70,
  ...(process.env.HEAVY === "1" && { "test/conversations.test.ts": 60, "test/model.test.ts": 55 }),
  "test/budget.test.ts": 28,
  "test/deliveries.test.ts": 20,
  "test/smtp.test.ts": 18,
  "test/webhook-crashes.test.ts": 17,
  "test/fuzz.test.ts": 15,
  "test/suppressions.test.ts": 15,
  "test/scheduled.test.ts": 13,
  "test/pagination.test.ts": 12,
  "test/presence.test.ts": 12,
  "test/files.test.ts": 12,
  "test/sending.test.ts": 12,
  "test/replays.test.ts": 11,
  "test/metrics.test.ts": 11,
};
const secondsOf = (file: string): number => SECONDS[file] ?? (file.includes("/heavy/") ? 20 : 4);

type Result = { succeeded: boolean; output: string };

/** A quiet one hands over what it said when it has ended. */
function run(given: string[], variables = {}, quiet = true): Promise<Result> {
  const child = spawn(process.execPath, given, {
    cwd: ROOT,
    stdio: ["inherit", quiet ? "pipe" : "inherit", quiet ? "pipe" : "inherit"],
    env: { ...process.env, ...variables },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ succeeded: code === 0, output }));
  });
}

buildDocs();
process.exitCode = (await (args.length > 0 ? runInside(args).then(({ succeeded }) => succeeded) : runAll())) ? 0 : 1;
