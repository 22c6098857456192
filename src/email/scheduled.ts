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
import { attachmentOf, opened } from "./outgoing";
import { placeOf, posting } from "./posting";
import { TEXT_MOST } from "./recording";
import { scheduledEmails } from "./schema";

type Later = { inboxId: string; channelId?: string | undefined; letter: Letter; sendAt: string };

/** Kept as it was said; all else, the suppressed among it, is looked at when it is sent. */
export async function scheduleEmail(ctx: Context, { inboxId, channelId, letter, sendAt }: Later): Promise<Message> {
  mustLieAhead(sendAt);
  const messageId = newId();
  const chan = channelId ?? newId();
  const files = await opened(ctx, letter.enclosures);
  const fresh = files.filter(({ isNew }) => isNew);
  const { enclosures: _, ...said } = letter;
  const kept = files.map(({ content: _c, sha256: _s, isNew: _n, id, ...rest }): Enclosure => ({ fileId: id, ...rest }));
  const mail = {
    ...{ inboxId, channelId: chan, messageId, begins: channelId === undefined, name: letter.subject || null, sendAt },
    ...{ bound: boundsOf(ctx.actor).inbox ?? null, metadata: letter.metadata, quotedId: letter.quotedId },
    text: letter.written.slice(0, TEXT_MOST).toWellFormed(),
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
  if (!ctx.once?.answer)
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
      if (error instanceof ApiError && error.code !== "unavailable" && fresh.length > 0)
        await ctx.env.FILES.delete(fresh.map(({ id }) => objectKey(ctx.tenantId, id)));
      throw error;
    },
  );
  job.announce(jobs);
  return asShown(found(rows)).message;
}

export async function changeScheduledEmail(ctx: Context, id: string, change: EmailChange) {
  const { to, cc, bcc, text, ...rest } = change;
  const patch = {
    ...rest,
    ...(to && { to: addressees(to, "to") }),
    ...(cc && { cc: addressees(cc, "cc") }),
    ...(bcc && { bcc: addressees(bcc, "bcc") }),
    ...(text !== undefined && { text, written: text }),
  };
  const bound = boundsOf(ctx.actor).inbox ?? null;
  const [, rows] = await asTenant(ctx, [
    db.execute(
      sql`select change_scheduled_email(${id}::uuid, ${JSON.stringify(patch)}::jsonb, ${JSON.stringify(bound)}::jsonb)`,
    ),
    db.select(shown).from(messages).where(own(messages, id)),
  ]);
  return asShown(found(rows));
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
  const kept = draft as unknown as Letter;
  const text = kept.mode === "forward" ? kept.text : message.text.length < TEXT_MOST ? message.text : kept.text;
  const letter = finished({
    ...kept,
    text,
    written: message.text,
    metadata: message.metadata,
    enclosures: enclosuresOf(kept, message),
  });
  const scheduled = { messageId, begins, asOf };
  await posting(writer, await placeOf(writer, inboxId), (place) => ({ letter, place, channelId, scheduled }));
}

type Attachment = { fileId?: string; metadata?: { contentId?: string; disposition?: string } };

const enclosuresOf = ({ enclosures }: Letter, message: Message): Enclosure[] =>
  (message.attachments as Attachment[]).flatMap(({ fileId, metadata }) => {
    if (fileId === undefined) return [];
    const kept = enclosures.find((one) => one.fileId === fileId);
    const contentId = metadata?.contentId ?? null;
    return [kept ?? { fileId, name: null, contentType: null, contentId, inline: metadata?.disposition === "inline" }];
  });
