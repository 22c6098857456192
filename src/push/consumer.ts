import { sql } from "drizzle-orm";
import { snapshotOf } from "../auth/snapshots";
import { asSystem } from "../auth/system";
import { sendQueued } from "../deliveries/consumer";
import { enqueueOutbound, type OutboundMessage, outboundBodies } from "../deliveries/service";
import type { Context } from "../lib/context";
import { askDoor, asTenant, db } from "../lib/db";
import { logFault } from "../lib/log";
import type { Frame } from "../lib/objects";
import { noticesOf, type Subject } from "./notices";

type WaitUntil = (work: Promise<unknown>) => void;

/** Devices in one statement. */
const PAGE = 500;
const SWEEP_MOST = 100;

/** After the commit, and a mere speed-up: what is lost here, the sweep finds within a minute. */
export async function announcePush(
  env: Env,
  tenantId: string,
  frames: readonly Frame[],
  waitUntil: WaitUntil,
): Promise<void> {
  const messageIds = frames.flatMap(({ type, payload }) =>
    type === "message.new" ? [(JSON.parse(payload) as { data: { message: { id: string } } }).data.message.id] : [],
  );
  if (messageIds.length === 0) return;
  const { pushes } = await snapshotOf(env, tenantId, waitUntil);
  if (pushes) await enqueueOutbound(env, [{ body: { tenantId, messageIds } }]);
}

/** Consumer of the outbound queue. Who is to be notified, found here, is told by deliveries that come on the same queue. */
export async function sendAndNotify(env: Env, bodies: OutboundMessage[], ctx: ExecutionContext): Promise<void> {
  await Promise.all([sendQueued(env, bodies, ctx), notifyQueued(env, bodies, ctx)]);
}

async function notifyQueued(env: Env, bodies: OutboundMessage[], ctx: ExecutionContext): Promise<void> {
  for (const body of bodies) {
    if (!("messageIds" in body)) continue;
    for (const messageId of body.messageIds) await notify(env, body.tenantId, messageId, ctx);
  }
}

/** Each minute: messages that no queue message led to. */
export async function sweepPush(env: Env, ctx: ExecutionContext): Promise<void> {
  const row = await askDoor<{ due: { tenant_id: string; message_id: string }[] }>(
    env,
    "select coalesce(jsonb_agg(to_jsonb(d)), '[]') as due from door.due_pushes($1) d",
    [SWEEP_MOST],
  );
  for (const { tenant_id, message_id } of row?.due ?? []) await notify(env, tenant_id, message_id, ctx);
}

async function notify(env: Env, tenantId: string, messageId: string, execution: ExecutionContext): Promise<void> {
  const waitUntil: WaitUntil = (work) => execution.waitUntil(work);
  await asSystem(env, tenantId, waitUntil, (ctx) => expand(ctx, messageId)).catch((error) => logFault("push", error));
}

async function expand(ctx: Context, messageId: string): Promise<void> {
  const [[row]] = await asTenant(ctx, [
    db
      .select({ subject: sql<Subject | null>`subject`.as("subject") })
      .from(sql`push_subject(${messageId}::uuid) subject`),
  ]);
  if (!row?.subject) {
    await asTenant(ctx, [db.execute(sql`select no_push(${messageId}::uuid)`)]);
    return;
  }
  const notices = JSON.stringify(noticesOf(row.subject));
  for (let isDone = false; !isDone; ) {
    const [[page]] = await asTenant(ctx, [
      db
        .select({ ids: sql<string[]>`to_jsonb(ids)`.as("ids"), done: sql<boolean>`done`.as("done") })
        .from(sql`expand_push(${messageId}::uuid, ${notices}::jsonb, ${PAGE})`),
    ]);
    const { ids, done } = page!;
    const bodies = outboundBodies(ctx.tenantId, ids).map((body) => ({ body }));
    if (bodies.length > 0) await enqueueOutbound(ctx.env, bodies);
    isDone = done;
  }
}
