import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { gzipSync } from "node:zlib";
import { atMost, type Bench } from "../figure.ts";
import { median } from "../load.ts";
import { CLASSES, ENTRY } from "../stack.ts";

const WORKERD: string = createRequire(import.meta.url)("workerd").default;
const EMPTY = 'export default { fetch: () => new Response("ok") };';
const VARIABLES = {
  APP_DATABASE_URL: "postgresql://a:b@localhost/c",
  MASTER_SECRETS: "1:AAAA",
  VERSION: "bench",
  DEPLOYMENT_URL: "http://parley.bench",
};

/** workerd's own configuration: nothing but the Worker, so that nothing else is timed. */
function configuration(port: number, classes: Record<string, string>): string {
  const list = (items: string[]) => `[${items.join(", ")}]`;
  const bindings = [
    ...Object.entries(VARIABLES).map(([name, text]) => `(name = "${name}", text = "${text}")`),
    ...Object.entries(classes).map(
      ([name, className]) => `(name = "${name}", durableObjectNamespace = "${className}")`,
    ),
  ];
  const namespaces = Object.values(classes).map(
    (className) => `(className = "${className}", uniqueKey = "${className}", enableSql = true)`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const main :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "index.js")],
  compatibilityDate = "${ENTRY.compatibilityDate}", compatibilityFlags = ${list(ENTRY.compatibilityFlags.map((flag) => `"${flag}"`))},
  bindings = ${list(bindings)}, durableObjectNamespaces = ${list(namespaces)}, durableObjectStorage = (inMemory = void)
);`;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function millisecondsToFirstAnswer(contents: string, classes: Record<string, string>): Promise<number> {
  const folder = await mkdtemp(`${tmpdir()}/parley-startup-`);
  const port = await freePort();
  await writeFile(`${folder}/index.js`, contents);
  await writeFile(`${folder}/config.capnp`, configuration(port, classes));
  const started = performance.now();
  const child = spawn(WORKERD, ["serve", `${folder}/config.capnp`, "--experimental"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    for (;;) {
      if (child.exitCode !== null) throw new Error("workerd did not start.");
      const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
      if (answer?.ok) return performance.now() - started;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  } finally {
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

export const size: Bench = {
  names: ["bundle_gzip_kib", "startup_ms"],
  async measure({ built }) {
    const contents = readFileSync(`${built}/index.js`, "utf8");
    const mine: number[] = [];
    const empty: number[] = [];
    for (let round = 0; round < 7; round++) {
      mine.push(await millisecondsToFirstAnswer(contents, CLASSES));
      empty.push(await millisecondsToFirstAnswer(EMPTY, {}));
    }
    const [own, bare] = [median(mine), median(empty)];
    return {
      bundle_gzip_kib: atMost(gzipSync(contents).length / 1024, 900, "KiB"),
      startup_ms: atMost(own - bare, 100, "ms", `${own.toFixed(0)} ms against an empty Worker's ${bare.toFixed(0)} ms`),
    };
  },
};
