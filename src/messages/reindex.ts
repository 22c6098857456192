import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import type { Job, Step } from "../lib/job";

const STEP_MOST = 500;
const FIRST = "00000000-0000-0000-0000-000000000000";

/** After a channel's language changed, the words of its messages are found by the new one, page by page. */
export async function reindexMessages(ctx: Context, job: Job): Promise<Step> {
  const { channelId } = job.payload as { channelId: string };
  const { after } = (job.cursor ?? { after: FIRST }) as { after: string };
  const [touched] = await asTenant(ctx, [
    db.execute<{ id: string }>(sql`with page as (
        select id from messages where tenant_id = current_tenant() and channel_id = ${channelId}::uuid and id > ${after}::uuid order by id limit ${STEP_MOST}),
      touched as (update messages m set text = m.text from page p where m.tenant_id = current_tenant() and m.id = p.id)
      select id from page order by id desc`),
  ]);
  const last = touched.rows[0]?.id;
  if (last === undefined || touched.rows.length < STEP_MOST) return { done: true };
  return { cursor: { after: last }, progress: job.progress + touched.rows.length };
}
