import { sql } from "drizzle-orm";
import { snapshotOf } from "../auth/snapshots";
import { ruleOf } from "../channels/access";
import { systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";

export type WatcherStanding = { sees: boolean; types: boolean };

/** What each of these users may still see and do at a channel. */
export async function judgeWatchers(
  env: Env,
  tenantId: string,
  channelId: string,
  users: readonly string[],
  waitUntil: (work: Promise<unknown>) => void,
): Promise<Map<string, WatcherStanding>> {
  if (users.length === 0) return new Map();
  const snapshot = await snapshotOf(env, tenantId, waitUntil);
  const ctx = systemContext(env, tenantId, waitUntil);
  const [rows] = await asTenant(ctx, [
    db
      .select({
        reader: sql<string>`reader`.as("reader"),
        sees: sql<boolean>`sees`.as("sees"),
        types: sql<boolean>`types`.as("types"),
      })
      .from(
        sql`standings_at(${channelId}::uuid, array(select value::uuid from jsonb_array_elements_text(${JSON.stringify(users)}::jsonb)),
          ${JSON.stringify(ruleOf({ ...ctx, snapshot }, "message.send"))}::jsonb)`,
      ),
  ]);
  return new Map(rows.map(({ reader, ...standing }) => [reader, standing]));
}
