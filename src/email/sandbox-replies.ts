import { sql } from "drizzle-orm";
import type { Known } from "../deliveries/receipts";
import type { Context } from "../lib/context";
import { sha256Hex } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { compose } from "../mail/compose";
import type { Reply } from "../providers/provider";
import { takeIn } from "./arrival";

type Sent = { rfcId: string; subject: string; sentAt: string; inboxId: string; address: string; replyTo: string };

/**
 * Whoever answers in the sandbox answers with a mail, which goes the way of all that come in. Made anew it is the same
 * mail, so that it becomes one message however often it is told.
 */
export async function readSandboxReply(ctx: Context, repliedTo: Known, { eventId, from, text }: Reply): Promise<void> {
  const [found] = await asTenant(ctx, [
    db.execute<{
      sent: Sent;
    }>(sql`select jsonb_build_object('rfcId', e.rfc_id, 'subject', e.subject, 'sentAt', iso(e.sent_at), 'inboxId', i.id,
        'address', i.local_part || '@' || d.name, 'replyTo', coalesce((select r.address from message_recipients r
          where r.tenant_id = e.tenant_id and r.message_id = e.message_id and r.kind = 'reply_to' order by r.position limit 1), i.local_part || '@' || d.name)) as sent
      from emails e join inboxes i on i.tenant_id = e.tenant_id and i.id = e.inbox_id and i.deleted_at is null
        join domains d on d.tenant_id = i.tenant_id and d.id = i.domain_id
      where e.tenant_id = current_tenant() and e.message_id = ${repliedTo.messageId}::uuid and e.stream is not null`),
  ]);
  const sent = found.rows[0]?.sent;
  if (!sent) return;
  const { rfcId, subject, sentAt, inboxId: id, address, replyTo } = sent;
  const bytes = compose({
    ...{ messageId: `${await sha256Hex(eventId)}@sandbox.parley`, date: new Date(sentAt) },
    ...{ from: { name: "", address: from }, replyTo: [], to: [{ name: "", address: replyTo }], cc: [] },
    ...{
      subject: `Re: ${subject}`,
      inReplyTo: rfcId,
      references: [rfcId],
      headers: [],
      text,
      html: null,
      enclosed: [],
    },
  });
  const [, tag = null] = /^[^@]*?\+([^@]+)@/.exec(replyTo) ?? [];
  const inbox = {
    tenantId: ctx.tenantId,
    id,
    address,
    route: tag ? ("base" as const) : ("exact" as const),
    tag,
    topic: null,
  };
  const envelope = { from, to: replyTo };
  await takeIn(ctx.env, { source: "http", envelope, inbox }, new Response(bytes).body, bytes.length, ctx.waitUntil);
}
