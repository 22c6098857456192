import { type Context, systemContext } from "../lib/context";
import { StaleSnapshot } from "../lib/db";
import { forget, snapshotOf } from "./snapshots";

/** Runs as the tenant itself, with its settings as they are: for consumers, alarms and jobs. */
export async function asSystem<T>(
  env: Env,
  tenantId: string,
  waitUntil: (work: Promise<unknown>) => void,
  run: (ctx: Context) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const snapshot = await snapshotOf(env, tenantId, waitUntil);
    try {
      return await run({ ...systemContext(env, tenantId, waitUntil), snapshot });
    } catch (error) {
      if (!(error instanceof StaleSnapshot) || tries === 3) throw error;
      forget(tenantId);
    }
  }
}
