import { masterSecrets, newestMaster, toHex } from "../lib/crypto";
import { askDoor } from "../lib/db";
import type { JobStep } from "../lib/job";
import { logFault } from "../lib/log";
import { bytesOfHex, rewrapKey } from "./vault";

/** Something that lies in the database under a master secret. `ownerId` is what it belongs to. */
export type SealedRow = {
  kind: string;
  tenantId: string;
  id: string;
  ownerId: string;
  sealed: Uint8Array<ArrayBuffer>;
  masterVersion: string;
};
export type Reseal = (env: Env, row: SealedRow) => Promise<Uint8Array<ArrayBuffer>>;
export type RewrapPlace = { kind: string; tenantId: string; id: string };
export type RewrapStep = { done: boolean; count: number; failed: number; after: RewrapPlace | null };

const integrationKey: Reseal = async (env, { tenantId, id, sealed, masterVersion }) =>
  (await rewrapKey(env, { tenantId, id }, { dataKey: sealed, masterVersion })).dataKey;

/**
 * One bounded step of a rotation: what is sealed under an older master secret is sealed under the newest. Sends go on
 * meanwhile, as long as the Worker holds both. `others` says how the rows of further tables are sealed anew.
 */
export async function rewrapStep(
  env: Env,
  limit: number,
  after: RewrapPlace | null,
  others: Record<string, Reseal>,
): Promise<RewrapStep> {
  const { version } = newestMaster(env);
  const older = [...masterSecrets(env).keys()].filter((one) => one !== version);
  const rows = older.length > 0 ? await sealedUnder(env, older, after, limit) : [];
  const reseals: Record<string, Reseal> = { integrations: integrationKey, ...others };
  const resealed = await Promise.all(rows.map((row) => sealAnew(env, row, version, reseals[row.kind]!)));
  const sealed = resealed.filter((one) => one !== null);
  const row =
    sealed.length > 0 &&
    (await askDoor<{ n: number }>(env, "select door.reseal($1::jsonb) as n", [JSON.stringify(sealed)]));
  const last = rows.at(-1);
  return {
    done: rows.length < limit,
    count: row ? row.n : 0,
    failed: rows.length - sealed.length,
    after: last ? { kind: last.kind, tenantId: last.tenantId, id: last.id } : after,
  };
}

async function sealedUnder(
  env: Env,
  versions: string[],
  after: RewrapPlace | null,
  limit: number,
): Promise<SealedRow[]> {
  type Raw = Omit<SealedRow, "sealed"> & { sealed: string };
  const row = await askDoor<{ rows: Raw[] | null }>(
    env,
    `select jsonb_agg(jsonb_build_object('kind', kind, 'tenantId', tenant_id, 'id', id, 'ownerId', owner_id, 'sealed', encode(sealed, 'hex'),
       'masterVersion', master_version)) as rows from door.sealed_under($1, $2::jsonb, $3)`,
    [versions, after && JSON.stringify(after), limit],
  );
  return (row?.rows ?? []).map((raw) => ({ ...raw, sealed: bytesOfHex(raw.sealed) }));
}

/** What does not open stays as it is, and is told of: a later run finds it again. */
async function sealAnew(env: Env, row: SealedRow, version: string, reseal: Reseal) {
  try {
    const { kind, tenantId: t, id, sealed } = row;
    return { kind, t, id, was: toHex(sealed), sealed: toHex(await reseal(env, row)), version };
  } catch (error) {
    logFault(`rewrap ${row.kind} ${row.tenantId}/${row.id}`, error);
    return null;
  }
}

/** The job that goes through all of it; a cursor says how far it has come. */
export function rewrapJob(others: Record<string, Reseal>, limit = 100): JobStep {
  return async ({ env }, { cursor, progress }) => {
    const reached = (cursor?.after ?? null) as RewrapPlace | null;
    const { done, count, failed, after } = await rewrapStep(env, limit, reached, others);
    const failedBefore = Number(cursor?.failed ?? 0);
    return {
      done,
      progress: progress + count,
      cursor: { after, failed: failedBefore + failed },
      result: { failed: failedBefore + failed },
    };
  };
}
