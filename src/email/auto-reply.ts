import { sql } from "drizzle-orm";
import { folded } from "../contacts/service";
import { announceDeliveries, recordDeliveries } from "../deliveries/service";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import type { Job, Step } from "../lib/job";
import { sendableAddress } from "../lib/mailboxes";
import { compose } from "../mail/compose";
import type { Verdicts } from "../mail/facts";
import { domainOf, headerValue, type Mail } from "../mail/mail";
import type { EmailContent } from "../providers/email";
import { rawKey } from "./arrival";
import type { ClaimedRaw } from "./consumer";
import { recipientOf } from "./outgoing";
import type { Clues } from "./recording";
import { outboundRaw } from "./schema";

/** RFC 3834: no machine, no list and nobody who is nobody is answered. */
function isAnswered(
  mail: Mail,
  raw: ClaimedRaw,
  sender: string,
  flags: Record<string, boolean>,
  verdicts: Verdicts,
): boolean {
  const [name = ""] = sender.split("@");
  const machine =
    /^(mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?|listserv|majordomo|owner-.*|.*-(request|owner|bounces?))$/i;
  const suppressed = /\b(all|oof|autoreply)\b/i.test(headerValue(mail, "x-auto-response-suppress") ?? "");
  // Whoever is named in From by somebody else has not written, and would get what that one wishes.
  const isTheirs = raw.envelopeFrom.toLowerCase() === sender || !verdicts.unauthenticated;
  return (
    isTheirs &&
    raw.envelopeFrom !== "" &&
    sender.includes("@") &&
    sender !== raw.address &&
    !machine.test(name) &&
    !suppressed &&
    !flags.autoReply &&
    !flags.bounce &&
    !flags.list &&
    !flags.spam
  );
}

export type Answer = ReturnType<typeof answerLater>;

/** Stands in the batch that makes the mail a message: of one that does not become one there is nothing to answer. */
export function answerLater(
  ctx: Context,
  raw: ClaimedRaw,
  mail: Mail,
  { messageId, sender, written, flags, verdicts }: Clues,
) {
  const address = sendableAddress(written ?? sender.address);
  if (address === null || !isAnswered(mail, raw, sender.address, flags, verdicts)) return null;
  return scheduleJob(ctx, {
    type: "email.auto-reply",
    payload: { messageId, inboxId: raw.inboxId, address, from: raw.address },
    uniqueKey: `auto-reply ${raw.inboxId} ${folded(address)}`,
  });
}

type Payload = { messageId: string; inboxId: string; address: string; from: string };
type Found = {
  channelId: string;
  rfcId: string;
  subject: string;
  references: string[];
  text: string;
  ownSubject: string | null;
  name: string | null;
  integrationId: string | null;
};

/** Once per sender in the inbox's time; from the null sender, so that nothing ever comes back. */
export async function sendAutoReply(ctx: Context, job: Job): Promise<Step> {
  const { messageId, inboxId, address, from } = job.payload as Payload;
  const [found] = await asTenant(ctx, [
    db.execute<{
      found: Found | null;
    }>(sql`select jsonb_build_object('channelId', m.channel_id, 'rfcId', e.rfc_id, 'subject', e.subject,
        'references', array(select f.referenced_id from message_references f where f.tenant_id = m.tenant_id and f.message_id = m.id
          and f.kind = 'reference' order by f.position),
        'text', i.auto_reply_text, 'ownSubject', i.auto_reply_subject, 'name', i.name,
        'integrationId', account_of_domain(i.domain_id)) as found
      from messages m join emails e on e.tenant_id = m.tenant_id and e.message_id = m.id
        join inboxes i on i.tenant_id = m.tenant_id and i.id = ${inboxId}::uuid and i.auto_reply_text is not null and i.deleted_at is null
      where m.tenant_id = current_tenant() and m.id = ${messageId}::uuid
        and not exists (select 1 from auto_replies a where a.tenant_id = m.tenant_id and a.inbox_id = i.id and a.address = ${folded(address)}
          and a.replied_at > now() - make_interval(hours => i.auto_reply_hours))
        and suppressed_reason(${address}, 'transactional') is null`),
  ]);
  const mail = found.rows[0]?.found;
  if (!mail) return { done: true };
  const rawId = newId();
  const key = rawKey(ctx.tenantId, rawId);
  const { raw, subject } = composed(mail, from, address);
  const content: EmailContent = {
    ...{ from: { address: from, name: mail.name }, subject, envelopeFrom: "", kind: "to", rawKey: key, headers: {} },
    stream: "transactional",
  };
  const { channelId, integrationId } = mail;
  const delivery = {
    ...{ id: newId(), channelId, messageId, medium: "email" as const, ...recipientOf(address, content) },
    integrationId,
  };
  await ctx.env.FILES.put(key, raw, { httpMetadata: { contentType: "message/rfc822" } });
  await asTenant(ctx, [
    db.execute(sql`insert into auto_replies (tenant_id, inbox_id, address) values (${ctx.tenantId}::uuid, ${inboxId}::uuid, ${folded(address)})
      on conflict (tenant_id, inbox_id, address) do update set replied_at = now()`),
    db.insert(outboundRaw).values({ tenantId: ctx.tenantId, id: rawId, messageId }),
    ...recordDeliveries(ctx, [delivery]),
    job.save({ done: true }),
  ]);
  announceDeliveries(ctx, [delivery]);
  return { done: true };
}

/** From the null sender, and marked so that no machine answers it. */
function composed({ rfcId, subject, references, text, ownSubject, name }: Found, from: string, to: string) {
  const title = ownSubject ?? `Auto: ${subject}`;
  const raw = compose({
    ...{
      messageId: `${newId()}@${domainOf(from)}`,
      date: new Date(),
      from: { name: name ?? "", address: from },
      replyTo: [],
    },
    ...{ to: [{ name: "", address: to }], cc: [], subject: title, text, html: null, enclosed: [] },
    ...{ inReplyTo: rfcId, references: [...references, rfcId] },
    headers: [
      { name: "Auto-Submitted", value: "auto-replied" },
      { name: "Precedence", value: "bulk" },
      { name: "X-Auto-Response-Suppress", value: "All" },
    ],
  });
  return { raw, subject: title };
}
