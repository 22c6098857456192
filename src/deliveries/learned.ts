import { sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";

/** The Message-ID that a provider gave a mail of ours. */
export type Learned = { messageId: string; rfcId: string };

/** By it replies find the mail, as by its own. */
export function learn(learned: readonly Learned[]): BatchItem<"pg">[] {
  if (learned.length === 0) return [];
  return [
    db.execute(sql`insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind)
      select e.tenant_id, e.message_id, e.inbox_id, x."rfcId", 'provider'
        from jsonb_to_recordset(${JSON.stringify(learned)}::jsonb) x("messageId" uuid, "rfcId" text)
        join emails e on e.tenant_id = current_tenant() and e.message_id = x."messageId"
      on conflict do nothing`),
  ];
}

export async function recordLearned(ctx: Context, learned: readonly Learned[]): Promise<void> {
  const work = learn(learned);
  if (work.length > 0) await asTenant(ctx, work as [BatchItem<"pg">]);
}
