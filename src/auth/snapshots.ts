import type { Snapshot } from "../lib/context";
import { askDoor } from "../lib/db";
import { ApiError } from "../lib/errors";

type WaitUntil = (work: Promise<unknown>) => void;

/** Refreshed in the background after the first, before use after the second: a plan changes within 60 s. */
const REFRESH_MS = 25_000;
const TOO_OLD_MS = 55_000;

export const KNOWN_MOST = 10_000;
const snapshots = new Map<string, { snapshot: Snapshot; at: number; isRefreshing: boolean }>();

export function forget(tenantId: string): void {
  snapshots.delete(tenantId);
}

/** A slow answer must not put an older copy in place of a newer one. */
export function keep(snapshot: Snapshot): Snapshot {
  const known = snapshots.get(snapshot.tenantId);
  if (known && known.snapshot.version > snapshot.version) return known.snapshot;
  if (snapshots.size >= KNOWN_MOST) snapshots.clear();
  snapshots.set(snapshot.tenantId, { snapshot, at: Date.now(), isRefreshing: false });
  return snapshot;
}

export async function loadSnapshot(env: Env, tenantId: string): Promise<Snapshot> {
  const row = await askDoor<{ s: Snapshot | null }>(env, "select door.tenant_snapshot($1) as s", [tenantId]);
  if (!row?.s) throw new ApiError("unknown_credential");
  return keep(row.s);
}

/** The copy at hand, if it is not too old. */
export function knownSnapshot(env: Env, tenantId: string, waitUntil: WaitUntil): Snapshot | undefined {
  const known = snapshots.get(tenantId);
  const age = known ? Date.now() - known.at : Number.POSITIVE_INFINITY;
  if (!known || age > TOO_OLD_MS) return undefined;
  if (age > REFRESH_MS && !known.isRefreshing) {
    known.isRefreshing = true;
    const done = () => {
      known.isRefreshing = false;
    };
    waitUntil(loadSnapshot(env, tenantId).then(done, done));
  }
  return known.snapshot;
}

export const snapshotOf = async (env: Env, tenantId: string, waitUntil: WaitUntil): Promise<Snapshot> =>
  knownSnapshot(env, tenantId, waitUntil) ?? loadSnapshot(env, tenantId);
