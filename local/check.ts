import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { buildDocs } from "./build-docs.ts";
import { buildWorker, startBuiltWorker } from "./built-worker.ts";
import { ROOT } from "./place.ts";

type Check = { name: string; run: () => Promise<void> };

const OUT = `${ROOT}/dist/client`;

const checks: Check[] = [
  { name: "API description and client", run: checkDescription },
  { name: "types: Worker and tests", run: () => run("tsc", "-p", "tsconfig.json") },
  { name: "import rules", run: () => run("vitest", "run", "--config", "local/import-rules.config.ts") },
  { name: "types: local tools", run: () => run("tsc", "-p", "local/tsconfig.json") },
  {
    name: "types of bindings are current",
    run: () => run("wrangler", "types", "--check", "--include-runtime=false", "--strict-vars=false"),
  },
  { name: "lint and format", run: () => run("biome", "ci", "--colors=off") },
];

/** The built Worker is asked for its description; linters and a client's compiler judge that. */
async function checkDescription(): Promise<void> {
  buildDocs();
  mkdirSync(OUT, { recursive: true });
  await buildWorker(ROOT, `${ROOT}/dist/check`);
  const worker = await startBuiltWorker({
    root: ROOT,
    built: `${ROOT}/dist/check`,
    vars: { DEPLOYMENT_URL: "https://parley.invalid" },
  });
  try {
    const response = await fetch(new URL("/openapi.json", worker.url));
    if (!response.ok) throw new Error(`/openapi.json: ${response.status} ${await response.text()}`);
    const description = (await response.json()) as Description;
    writeFileSync(`${OUT}/openapi.json`, JSON.stringify(description, null, 2));
    console.log(`open to everybody: ${openRoutes(description).join(", ")}`);
  } finally {
    await worker.stop();
  }
  // The linter asks its maker for a newer version and reports its use unless told not to.
  await run("redocly", "lint", "--format=stylish", "--max-problems=1000", `${OUT}/openapi.json`);
  await run("openapi-typescript", `${OUT}/openapi.json`, "--output", `${OUT}/parley.d.ts`);
  await run("tsc", "-p", "test/client/tsconfig.json");
}

type Description = { paths: Record<string, Record<string, { "x-scope"?: string }>> };

const openRoutes = ({ paths }: Description): string[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation["x-scope"] === "public")
      .map(([method]) => `${method.toUpperCase()} ${path}`),
  );

const QUIET = {
  REDOCLY_TELEMETRY: "off",
  REDOCLY_SUPPRESS_UPDATE_NOTICE: "true",
  WRANGLER_SEND_METRICS: "false",
  NO_COLOR: "1",
};

function run(command: string, ...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...QUIET },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ${args.join(" ")}\n${output.trim()}`)),
    );
  });
}

const failures: { name: string; error: Error }[] = [];
const waiting = [...checks];

async function work(): Promise<void> {
  for (let check = waiting.shift(); check; check = waiting.shift()) {
    const startedAt = performance.now();
    const error = await check.run().then(
      () => null,
      (thrown: Error) => thrown,
    );
    if (error) failures.push({ name: check.name, error });
    console.log(`${error ? "✗" : "✓"} ${check.name} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
  }
}

// Two at a time: more would only wait for each other on a small machine.
await Promise.all([work(), work()]);
for (const { name, error } of failures) console.log(`\n✗ ${name}\n${error.message}`);
console.log(`\n${checks.length - failures.length} of ${checks.length} checks passed`);
process.exit(failures.length ? 1 : 0);
