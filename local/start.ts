import { parseArgs } from "node:util";
import { startBridge } from "./bridge.ts";
import { buildDocs } from "./build-docs.ts";
import { eachMinute, fireCron } from "./cron.ts";
import { plain, report } from "./fail.ts";
import { migrate } from "./migrate.ts";
import { readMigrationFiles } from "./migration-files.ts";
import { openEmbedded, openServer } from "./open-database.ts";
import { takePlace } from "./place.ts";
import { withLogin } from "./postgres.ts";
import { type Keys, seed } from "./seed.ts";
import { requireFreePort, startWorker } from "./worker.ts";

const USAGE = `npm start -- [options]
  --port <n>        where the API listens (8787)
  --reset           begin anew, without the local data and keys
  --folder <path>   where data and keys are kept (.parley)
  --new-password    with DATABASE_URL: give parley_app a new password`;

const closings: (() => Promise<unknown> | unknown)[] = [];
let stoppingSince = 0;

/** In the reverse order of opening. Ctrl-C may reach us twice, by the terminal and by npm; a later one does not wait. */
async function stop(code: number): Promise<void> {
  if (stoppingSince) {
    if (Date.now() - stoppingSince > 1_000) process.exit(1);
    return;
  }
  stoppingSince = Date.now();
  for (const close of closings.reverse()) await close();
  process.exit(code);
}

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  process.stdout.write(`  ${what} … `);
  const startedAt = performance.now();
  try {
    const result = await work();
    console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    return result;
  } catch (error) {
    console.log(stoppingSince ? "stopped" : "failed");
    throw error;
  }
}

async function start() {
  const options = readOptions();
  const databaseUrl = process.env.DATABASE_URL;
  if (options.reset && databaseUrl)
    throw plain("--reset is for the embedded database; DATABASE_URL has npm run db:reset.");
  await requireFreePort(options.port);
  const place = takePlace(options);
  closings.push(place.release);

  console.log("Starting Parley");
  const database = await step(databaseUrl ? "connecting to PostgreSQL" : "opening the embedded PostgreSQL", () =>
    databaseUrl
      ? openServer(databaseUrl, place, { ...options, appUrl: process.env.APP_DATABASE_URL })
      : openEmbedded(place),
  );
  closings.push(database.close);
  const { appPassword } = database;
  await step("applying migrations", () =>
    database.asOwner((owner) => migrate(owner, appPassword ? { appPassword } : {})),
  );
  const keys = await step("looking after the demo tenant", () =>
    database.asOwner((owner) => seed(owner, place.secrets)),
  );
  Object.assign(place.secrets, keys);
  place.saveSecrets();

  buildDocs();
  const bridge = database.backend && (await startBridge(database.backend));
  if (bridge) closings.push(bridge.close);
  const origin = `http://localhost:${options.port}`;
  const worker = startWorker(place, options.port, {
    APP_DATABASE_URL: database.appUrl ?? withLogin(bridge!.url.replace("http:", "postgresql:"), database.app),
    DATABASE_ENDPOINT: bridge ? `${bridge.url}/sql` : "",
    MASTER_SECRETS: place.secrets.masterSecrets,
    DEPLOYMENT_URL: origin,
    RELEASE: readMigrationFiles().release,
    LOCAL_MODE: "1",
  });
  process.on("exit", worker.kill);
  closings.push(worker.stop);
  await step("starting the Worker", () => worker.ready);
  worker.exited.then(() => {
    if (!stoppingSince) console.error("The Worker has ended.");
    return stop(1);
  });
  eachMinute(async () => {
    const failure = await fireCron(options.port);
    if (failure && !stoppingSince) console.error(failure);
  });
  console.log(welcome(origin, database.name, keys));
}

const welcome = (origin: string, databaseName: string, keys: Keys) => `
Parley runs at ${origin} on ${databaseName}.

  docs       ${origin}/docs
  demo key   ${keys.demoKey}
  admin key  ${keys.adminKey}

Try it:

  curl ${origin}/v1/users -H 'Authorization: Bearer ${keys.demoKey}'

Ctrl-C stops everything; data and keys stay. --reset begins anew, --port chooses another port.
`;

function readOptions() {
  const { values } = readArguments();
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const port = Number(values.port ?? 8787);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw plain(`--port ${values.port} is no port.`);
  return { port, reset: values.reset, folder: values.folder, newPassword: values["new-password"] };
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        port: { type: "string" },
        folder: { type: "string" },
        reset: { type: "boolean", default: false },
        "new-password": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw plain(`${(error as Error).message.split(".")[0]}. See npm start -- --help.`);
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop(0));

start().catch(async (error) => {
  if (stoppingSince) return;
  report(error);
  await stop(1);
});
