import { spawn } from "node:child_process";
import { globSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { buildDocs } from "./build-docs.ts";
import { BUILT_ELSEWHERE, buildWorker } from "./built-worker.ts";
import { MIGRATED_ELSEWHERE, writeMigrated } from "./migrated.ts";
import { ROOT } from "./place.ts";

/** The suite inside workerd, and beside it what can only be tried from outside. Arguments are for the first alone. */
const args = process.argv.slice(2);

// The Workers of the suite speak TLS with a mail server that stands in for others, and are to trust its certificate.
process.env.NODE_EXTRA_CA_CERTS = `${ROOT}/local/test-certificate.pem`;

/** Waiting for the database or for a process to start is most of what either does, so that they run side by side. */
async function runAll(): Promise<boolean> {
  const folder = mkdtempSync(`${tmpdir()}/parley-test-`);
  try {
    buildDocs();
    await Promise.all([buildWorker(ROOT, `${folder}/built`), writeMigrated(`${folder}/migrated`)]);
    const prepared = { [BUILT_ELSEWHERE]: `${folder}/built`, [MIGRATED_ELSEWHERE]: `${folder}/migrated` };
    const outside = run(["--test", "--test-concurrency=2", ...globSync("local/*.test.ts", { cwd: ROOT }).sort()], {
      ...prepared,
      NODE_COMPILE_CACHE: `${folder}/compiled`,
    });
    const inside = process.env.DATABASE_URL ? runInside(args) : runHalves(prepared);
    const results = [await inside, await outside];
    for (const { output } of results) process.stdout.write(output);
    return results.every(({ succeeded }) => succeeded);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const runInside = (given: string[], variables?: Record<string, string>, quiet = false) =>
  run(["node_modules/vitest/vitest.mjs", "run", ...given], variables, quiet);

/** An embedded database keeps one core busy: with one of its own for each half of the suite, two cores are. */
async function runHalves(prepared: Record<string, string>) {
  const size = (file: string) => (SLOWEST.includes(file) ? Number.POSITIVE_INFINITY : statSync(`${ROOT}/${file}`).size);
  const files = globSync("test/*.test.ts", { cwd: ROOT }).sort((a, b) => size(b) - size(a) || a.localeCompare(b));
  const half = (odd: number) => ["--maxWorkers=1", ...files.filter((_, i) => i % 2 === odd)];
  const [one, other] = await Promise.all([runInside(half(0), prepared), runInside(half(1), prepared, true)]);
  return { succeeded: one.succeeded && other.succeeded, output: other.output };
}

/** Short to read, long to run: they go through all operations, or through thousands of steps. */
const SLOWEST = ["test/budget.test.ts", "test/conversations.test.ts", "test/model.test.ts", "test/wall.test.ts"];

/** A quiet one hands over what it said when it has ended. */
function run(given: string[], variables = {}, quiet = true): Promise<{ succeeded: boolean; output: string }> {
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

process.exitCode = (args.length > 0 ? (await runInside(args)).succeeded : await runAll()) ? 0 : 1;
