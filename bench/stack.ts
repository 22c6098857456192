import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { neon, neonConfig } from "@neondatabase/serverless";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { buildWorker } from "../local/built-worker.ts";
import { newApiKey } from "../src/lib/ids.ts";
import type { Started } from "./database-process.ts";
import type { Cost } from "./watched-backend.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";

export type Stack = {
  worker: URL;
  /** The same Worker; its answers say how many calls of objects were made for them. */
  counted: URL;
  floor: URL;
  built: string;
  server: string;
  adminKey: string;
  miniflare: Miniflare;
  /** Runs one statement as the owner. */
  sql(query: string, params?: unknown[]): Promise<Record<string, unknown>[]>;
  calls(): Promise<number>;
  /** As autovacuum does within a minute of the first rows: until then plans rest on nothing, and sessions keep them. */
  analyze(): Promise<unknown>;
  /** What each call of the database costs that comes of this. */
  costs(work: () => Promise<unknown>): Promise<Cost[]>;
  stop(): Promise<void>;
};

/** The bindings of the Worker's Durable Objects. */
export const CLASSES = { LIMITER: "Limiter", CHANNEL: "Channel", USER: "User" };

/** Without addresses of clients each request comes from nowhere, and so may be from anybody. */
export const ENTRY = {
  compatibilityDate: "2026-10-01",
  compatibilityFlags: ["nodejs_compat", "queue_consumer_no_wait_for_wait_until"],
};

/** Stands before the Worker and counts each call of an object's stub. */
const COUNTED = `import parley from "./index.js";
export * from "./index.js";
const each = (target, change) => new Proxy(target, { get: (_, name) =>
  typeof target[name] === "function" ? (...args) => change(name, target[name](...args)) : target[name] });
export default {
  async fetch(request, env, ctx) {
    let calls = 0;
    const counting = (stub) => each(stub, (_, result) => (calls++, result));
    const objects = ${JSON.stringify(Object.keys(CLASSES))}.map((name) =>
      [name, each(env[name], (verb, result) => (verb.startsWith("get") ? counting(result) : result))]);
    const response = await parley.fetch(request, { ...env, ...Object.fromEntries(objects) }, ctx);
    const answer = new Response(response.body, response);
    answer.headers.set("Object-Calls", String(calls));
    return answer;
  },
};`;

export async function buildFloor(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${ROOT}/bench/${name}.ts`],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
  });
  return outputFiles[0]!.text;
}

/** The built Worker and its floor, both directly in one workerd, before one database. */
export async function startStack(): Promise<Stack> {
  const folder = await mkdtemp(`${tmpdir()}/parley-bench-`);
  await buildWorker(ROOT, folder);
  const { process: database, started } = await startDatabase();
  const bindings = {
    APP_DATABASE_URL: started.app,
    OWNER_DATABASE_URL: started.owner,
    DATABASE_ENDPOINT: `${started.url}/sql`,
    MASTER_SECRETS: `1:${Buffer.alloc(32, 7).toString("base64")}`,
    DEPLOYMENT_URL: "http://parley.bench",
    LOCAL_MODE: "1",
    VERSION: "bench",
    RELEASE: "",
    DOH_URL: "",
    AUTHSERV_IDS: "",
    MX_HOSTS: "",
    SNS_ORIGIN: "",
  };
  const built = readFileSync(`${folder}/index.js`, "utf8");
  const durableObjects = Object.fromEntries(
    Object.entries(CLASSES).map(([name, className]) => [name, { className, useSQLite: true }]),
  );
  const queueProducers = {
    WEBHOOKS: "parley-webhooks",
    OUTBOUND: "parley-outbound",
    JOBS: "parley-jobs",
    INBOUND: "parley-inbound",
  };
  const direct = { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] };
  const queues = ["parley-webhooks", "parley-outbound", "parley-jobs", "parley-inbound", "parley-dead"];
  const consumer = { maxBatchSize: 100, maxBatchTimeout: 0, maxRetries: 1 };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      telemetry: { enabled: false },
      // A line for each request is the log of a deployment, not of a benchmark.
      handleStructuredLogs: ({ level, message }: { level: string; message: string }) => {
        if (level === "error") console.error(message);
      },
      workers: [
        {
          name: "parley",
          modules: [{ type: "ESModule", path: "index.js", contents: built }],
          ...ENTRY,
          bindings,
          durableObjects,
          r2Buckets: { FILES: "files" },
          queueProducers,
          queueConsumers: Object.fromEntries(queues.map((name) => [name, consumer])),
          ...direct,
        },
        {
          name: "counted",
          modules: [
            { type: "ESModule", path: "counted.js", contents: COUNTED },
            { type: "ESModule", path: "index.js", contents: built },
          ],
          ...ENTRY,
          bindings,
          durableObjects,
          r2Buckets: { FILES: "counted" },
          queueProducers,
          ...direct,
        },
        {
          name: "floor",
          modules: [{ type: "ESModule", path: "index.js", contents: await buildFloor("floor-worker") }],
          ...ENTRY,
          bindings,
          durableObjects: {
            ECHO: { className: "Echo", useSQLite: true },
            COALESCE: { className: "Coalesce", useSQLite: true },
          },
          r2Buckets: { FILES: "floor" },
          queueProducers: { WEBHOOKS: "parley-webhooks", JOBS: "parley-jobs", INBOUND: "parley-inbound" },
          ...direct,
        },
      ],
    } as never),
  );
  neonConfig.fetchEndpoint = () => `${started.url}/sql`;
  const owner = neon(started.owner);
  const sql = async (query: string, params: unknown[] = []) =>
    (await owner.query(query, params)) as Record<string, unknown>[];
  return {
    worker: await miniflare.unsafeGetDirectURL("parley"),
    counted: await miniflare.unsafeGetDirectURL("counted"),
    floor: await miniflare.unsafeGetDirectURL("floor"),
    built: folder,
    server: started.server,
    adminKey: await registerAdminKey(sql),
    miniflare,
    sql,
    analyze: () => sql("analyze"),
    calls: async () => ((await (await fetch(`${started.url}/calls`)).json()) as { calls: number }).calls,
    async costs(work) {
      const costs: Cost[] = [];
      const note = (cost: unknown) => void costs.push(cost as Cost);
      database.on("message", note).send("watch");
      await sql("select 1");
      costs.length = 0;
      await work();
      database.send("done");
      await sql("select 1");
      database.off("message", note);
      return costs;
    },
    async stop() {
      await miniflare.dispose();
      database.kill("SIGTERM");
      await new Promise((resolve) => database.once("exit", resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startDatabase() {
  const child = fork(`${ROOT}/bench/database-process.ts`, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const started = await new Promise<Started>((resolve, reject) => {
    child.once("message", (message) => resolve(message as Started));
    child.once("exit", (code) => reject(new Error(`The database process ended with ${code}.`)));
  });
  return { process: child, started };
}

async function registerAdminKey(sql: Stack["sql"]): Promise<string> {
  const key = newApiKey("admin", crypto.getRandomValues(new Uint8Array(64)));
  const id = crypto.randomUUID();
  await sql(
    "insert into api_keys (tenant_id, id, name, kind, hash, hint) values ($1, $2, 'bench', 'admin', sha256($3::text::bytea), 'test')",
    [DEPLOYMENT, id, key],
  );
  await sql(
    "insert into api_key_scopes (tenant_id, key_id, scope) select $1, $2, unnest(array['deployment:admin', 'jobs:read', 'jobs:write'])",
    [DEPLOYMENT, id],
  );
  return key;
}

/** A tenant without any limit of its plan, and a key of it. */
export async function newTenant(stack: Stack): Promise<{ id: string; key: string }> {
  const call = async (path: string, body: unknown) => {
    const response = await fetch(new URL(path, stack.worker), {
      method: "POST",
      headers: { Authorization: `Bearer ${stack.adminKey}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.status !== 201) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { id: string; apiKey: { secret: string } };
  };
  const plan = await call("/v1/plans", {
    name: `bench ${crypto.randomUUID()}`,
    tier: "bench",
    limits: { requestsPerMinute: 100_000_000 },
  });
  const tenant = await call("/v1/tenants", { name: "Bench", planId: plan.id });
  return { id: tenant.id, key: tenant.apiKey.secret };
}
