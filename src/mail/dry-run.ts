import { bouncesOf, complaintOf } from "./bounces";
import { readMail } from "./read";
import { replyOf } from "./reply";
import { flagsOf, signalsOf } from "./signals";
import { verdictsOf } from "./verdicts";

/** All that is seen in a mail, and nothing kept of it. */
export async function dryRun(raw: Uint8Array, authservIds: string[] = []) {
  const mail = await readMail(raw);
  const { messageId, inReplyTo, references, from, to, cc, replyTo, subject, date, text, html } = mail;
  return {
    messageId,
    inReplyTo,
    references,
    from,
    to,
    cc,
    replyTo,
    subject,
    date,
    text,
    html,
    replyText: replyOf(mail).text,
    attachments: mail.attachments.map(({ filename, contentType, size, contentId, disposition, method }) => ({
      filename,
      contentType,
      size,
      contentId,
      disposition,
      method,
    })),
    flags: flagsOf(signalsOf(mail)),
    verdicts: verdictsOf(mail, authservIds),
    bounces: bouncesOf(mail).map(({ recipient, status, reason, hard, diagnostic }) => ({
      recipient,
      status,
      reason,
      hard,
      diagnostic,
    })),
    complaint: complaintOf(mail),
  };
}
