import type { Context } from "../lib/context";
import { askDoor } from "../lib/db";
import type { Job, Step } from "../lib/job";
import { rawKey } from "./arrival";

const STEP_MOST = 500;

/** Raw mails whose time is over, of whatever tenant. Rows go after their objects, so that a crash leaves nothing behind. */
export async function purgeRaws({ env }: Context, _job: Job): Promise<Step> {
  const row = await askDoor<{ raws: { tenantId: string; id: string }[] }>(env, "select door.expired_raws($1) as raws", [
    STEP_MOST,
  ]);
  const raws = row?.raws ?? [];
  if (raws.length === 0) return { done: true };
  await env.FILES.delete(raws.map(({ tenantId, id }) => rawKey(tenantId, id)));
  await askDoor(env, "select door.forget_raws($1::jsonb)", [JSON.stringify(raws)]);
  return { done: raws.length < STEP_MOST };
}
