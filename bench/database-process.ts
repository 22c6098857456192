import { startBridge } from "../local/bridge.ts";
import { migrate } from "../local/migrate.ts";
import { createPGlite, embeddedBackend, PGLITE_OWNER } from "../local/pglite.ts";
import { connect, postgresBackend, withLogin } from "../local/postgres.ts";
import { createDatabase, findPostgres, startScratchPostgres } from "../local/scratch-postgres.ts";
import { watched } from "./watched-backend.ts";

/** The database and its bridge, in a process of their own so that the load client does not slow them. */
export type Started = { url: string; app: string; owner: string; server: string };

const app = { user: "parley_app", password: "bench" };

let isWatching = false;
process.on("message", (wish) => {
  isWatching = wish === "watch";
});

async function start(): Promise<Started> {
  if (!findPostgres()) {
    const backend = await embeddedBackend(await createPGlite());
    await backend.exclusively((owner) => migrate(owner));
    const { url } = await startBridge(backend);
    const at = url.replace("http:", "postgresql:");
    return {
      url,
      app: withLogin(at, { ...app, database: "postgres" }),
      owner: withLogin(at, { ...app, user: PGLITE_OWNER, database: "postgres" }),
      server: "PGlite",
    };
  }
  const scratch = await startScratchPostgres({ isDurable: true });
  const ownerUrl = await createDatabase((await scratch.createOwner("parley_owner")).url, "parley_bench");
  const session = await connect(ownerUrl);
  await migrate(session, { appPassword: app.password });
  await session.end();
  process.once("SIGTERM", () => void scratch.stop().then(() => process.exit(0)));
  const { url } = await startBridge(
    watched(
      postgresBackend(ownerUrl),
      () => isWatching,
      (cost) => process.send!(cost),
    ),
    {
      maxRequestBytes: 64 << 20,
      maxResponseBytes: 64 << 20,
    },
  );
  const at = url.replace("http:", "postgresql:");
  const login = new URL(ownerUrl);
  const database = "parley_bench";
  const owner = { user: login.username, password: login.password, database };
  return { url, app: withLogin(at, { ...app, database }), owner: withLogin(at, owner), server: "PostgreSQL" };
}

start().then(
  (started) => process.send!(started),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
