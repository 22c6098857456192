import { sql } from "drizzle-orm";
import { mustBeAllowed } from "../channels/access";
import { described, objectKey } from "../files/objects";
import { boundsOf, type Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { found, own, withinLimit } from "../lib/rows";
import type { Message } from "../messages/input";
import { asShown, mustLieAhead, sending, shown } from "../messages/scheduled";
import { messages } from "../messages/schema";
import type { EmailChange } from "./input";
import { addressees, type Enclosure, finished, type Letter } from "./letters";
import { attachmentOf, forgetRefused, opened } from "./outgoing";
import { placeOf, posting } from "./posting";
import { scheduledEmails } from "./schema";
import { shownText, type Worded, worded } from "./wording";

type Later = { inboxId: string; channelId?: string | undefined; letter: Letter; sendAt: string };

/** Kept as it was said; all else, the suppressed among it, is looked at when it is sent. */
export async function scheduleEmail(ctx: Context, { inboxId, channelId, letter, sendAt }: Later): Promise<Message> {
  mustLieAhead(sendAt);
  const messageId = newId();
  const chan = channelId ?? newId();
  const files = await opened(ctx, letter.enclosures);
  const fresh = files.filter(({ isNew }) => isNew);
  const { enclosures: _, text: _t, written: _w, html: _h, ...said } = letter;
  const kept = files.map(({ content: _c, sha256: _s, isNew: _n, id, ...rest }): Enclosure => ({ fileId: id, ...rest }));
  const mail = {
    ...{ inboxId, channelId: chan, messageId, begins: channelId === undefined, name: letter.subject || null, sendAt },
    ...{ bound: boundsOf(ctx.actor).inbox ?? null, metadata: letter.metadata, quotedId: letter.quotedId },
    text: shownText(letter),
    files: fresh.map(({ id, name, contentType, content, sha256 }) => ({
      id,
      name,
      contentType,
      size: content.length,
      sha256,
    })),
    attachments: files.map(attachmentOf),
    draft: { ...said, enclosures: kept },
  };
  for (const file of fresh) await ctx.env.FILES.put(objectKey(ctx.tenantId, file.id), file.content, described(file));
  const job = sending(ctx, messageId, sendAt);
  const [rows, jobs] = await asTenant(ctx, [
    db.execute(sql`select schedule_email(${JSON.stringify(mail)}::jsonb)`),
    job.query,
    mustBeAllowed(ctx, chan, "message.send"),
    ...withinLimit("storageBytes", ctx.snapshot?.limits),
    db.select(shown).from(messages).where(own(messages, messageId)),
  ]).then(
    (batch) =>
      [batch.at(-1), batch[1]] as [{ sendAt: string | null; message: Message }[], Parameters<typeof job.announce>[0]],
    async (error) => {
      await forgetRefused(ctx, { keys: fresh.map(({ id }) => objectKey(ctx.tenantId, id)) }, error);
      throw error;
    },
  );
  job.announce(jobs);
  return asShown(found(rows)).message;
}

/** What was kept under this Idempotency-Key before. */
export async function scheduledBefore(ctx: Context): Promise<Message> {
  const { query } = sending(ctx, "", new Date().toISOString());
  const [, rows] = await asTenant(ctx, [query, db.select(shown).from(messages)]);
  return asShown(found(rows)).message;
}

/** What waits in the draft is what was said; its words are made of that when it is sent. */
type Kept = Omit<Letter, keyof Worded>;

/** Checked as when it was kept: what cannot be sent is refused now, not at its time. */
export async function changeScheduledEmail(ctx: Context, id: string, change: EmailChange) {
  const bound = boundsOf(ctx.actor).inbox ?? null;
  for (let tries = 1; ; tries++) {
    const { draft, message, asOf } = await waiting(ctx, id);
    const letter = finished(changed({ ...draft, enclosures: enclosuresOf(draft, message) }, change));
    const { text: _t, written: _w, html: _h, enclosures: _e, ...kept } = letter;
    const next = JSON.stringify({ ...kept, enclosures: draft.enclosures });
    try {
      const [, rows] = await asTenant(ctx, [
        db.execute(sql`select change_scheduled_email(${id}::uuid, ${asOf}::timestamptz, ${shownText(letter)},
          ${next}::jsonb, ${JSON.stringify(bound)}::jsonb)`),
        db.select(shown).from(messages).where(own(messages, id)),
      ]);
      return asShown(found(rows));
    } catch (error) {
      if (!(error instanceof ApiError && error.facts.overtaken) || tries === 3) throw error;
    }
  }
}

async function waiting(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [
    db
      .select({
        message: shown.message,
        asOf: sql<string>`${messages.updatedAt}::text`.as("as_of"),
        draft: sql<Kept>`(select s.draft from scheduled_emails s where s.tenant_id = current_tenant()
          and s.message_id = ${id}::uuid)`.as("draft"),
      })
      .from(messages)
      .where(
        own(
          messages,
          id,
          sql`${messages.state} = 'scheduled' and (current_user_id() is null or ${messages.userId} = current_user_id())
            and exists (select 1 from scheduled_emails s where s.tenant_id = current_tenant() and s.message_id = ${id}::uuid)`,
        ),
      ),
  ]);
  return found(rows);
}

function changed(draft: Kept, { to, cc, bcc, subject, text, html }: EmailChange): Letter {
  const given = {
    text: text === undefined ? draft.given.text : text,
    html: html === undefined ? draft.given.html : html,
  };
  return {
    ...draft,
    ...worded(given, draft.tail),
    given,
    ...(to && { to: addressees(to, "to") }),
    ...(cc && { cc: addressees(cc, "cc") }),
    ...(bcc && { bcc: addressees(bcc, "bcc") }),
    ...(subject !== undefined && { subject }),
  };
}

/** At its time: whatever was changed of its message since holds for the mail too. */
export async function sendScheduledEmail(writer: Context, message: Message, asOf: string): Promise<void> {
  const { id: messageId, channelId } = message;
  const [rows] = await asTenant(writer, [
    db
      .select({
        draft: scheduledEmails.draft,
        inboxId: scheduledEmails.inboxId,
        begins:
          sql<boolean>`not exists (select 1 from streams s where s.tenant_id = current_tenant() and s.kind = 'channel'
          and s.id = ${channelId}::uuid and s.last_seq > 0)`.as("begins"),
      })
      .from(scheduledEmails)
      .where(sql`${scheduledEmails.tenantId} = current_tenant() and ${scheduledEmails.messageId} = ${messageId}::uuid`),
  ]);
  const { draft, inboxId, begins } = found(rows);
  const kept = draft as unknown as Kept;
  const letter = finished({
    ...kept,
    ...worded(kept.given, kept.tail),
    metadata: message.metadata,
    enclosures: enclosuresOf(kept, message),
  });
  const scheduled = { messageId, begins, asOf };
  await posting(writer, await placeOf(writer, inboxId), (place) => ({ letter, place, channelId, scheduled }));
}

type Attachment = { fileId?: string; metadata?: { contentId?: string; disposition?: string } };

const enclosuresOf = ({ enclosures }: Kept, message: Message): Enclosure[] =>
  (message.attachments as Attachment[]).flatMap(({ fileId, metadata }) => {
    if (fileId === undefined) return [];
    const kept = enclosures.find((one) => one.fileId === fileId);
    const contentId = metadata?.contentId ?? null;
    return [kept ?? { fileId, name: null, contentType: null, contentId, inline: metadata?.disposition === "inline" }];
  });
