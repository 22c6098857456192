import { askDoor } from "../lib/db";
import { objectKey } from "./objects";
import { abandonParts } from "./parts";

type Unused = { tenantId: string; id: string; uploadId: string | null };

const GROUP = 500;
const GROUPS = 10;

/**
 * What nothing refers to a day after it was made, and what never came to its end. The door marks it first, so that it
 * cannot be attached meanwhile; rows go after their objects, so that a crash leaves nothing that the next run misses.
 */
export async function removeUnusedFiles(env: Env, _ctx?: ExecutionContext): Promise<void> {
  for (let group = 0; group < GROUPS; group++) {
    const row = await askDoor<{ unused: Unused[] }>(env, "select door.claim_unused_files($1) as unused", [GROUP]);
    const unused = row?.unused ?? [];
    if (unused.length === 0) return;
    for (const { tenantId, id, uploadId } of unused) {
      if (uploadId) await abandonParts(env, objectKey(tenantId, id), uploadId);
    }
    await env.FILES.delete(unused.map(({ tenantId, id }) => objectKey(tenantId, id)));
    await askDoor(env, "select door.forget_unused_files($1::jsonb)", [JSON.stringify(unused)]);
    if (unused.length < GROUP) return;
  }
}
