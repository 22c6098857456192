import { startBridge } from "./bridge.ts";
import { builtWorker, startBuiltWorker } from "./built-worker.ts";
import { migratedBackend } from "./migrated.ts";
import { ROOT } from "./place.ts";
import { seed } from "./seed.ts";

export type BuiltStack = { url: URL; key: string; stop(): Promise<void> };

/** The Worker as it is deployed, before an embedded database with the demo's tenant. */
export async function startBuiltStack(folder: string): Promise<BuiltStack> {
  const built = await builtWorker(folder);
  const backend = await migratedBackend();
  const { demoKey: key } = await backend.exclusively((owner) => seed(owner));
  const bridge = await startBridge(backend);
  const database = `${bridge.url.replace("http:", "postgresql:").replace("//", "//parley_app:local@")}/postgres`;
  const vars = { DATABASE_ENDPOINT: `${bridge.url}/sql` };
  const worker = await startBuiltWorker({ root: ROOT, built, vars, secrets: { APP_DATABASE_URL: database } });
  return {
    url: worker.url,
    key,
    async stop() {
      await worker.stop();
      await bridge.close();
      await backend.close();
    },
  };
}
