import type { Header, Mailbox } from "../mail/mail";
import { emailOf } from "./email";
import type { Group } from "./provider";

export type MailParts = {
  from: Mailbox;
  to: Mailbox[];
  cc: Mailbox[];
  bcc: Mailbox[];
  replyTo: Mailbox[];
  messageId: string | null;
  subject: string;
  text: string | null;
  html: string | null;
  /** Those that the vendors take by name are not among them. */
  headers: { name: string; value: string }[];
  attachments: { filename: string; contentType: string; contentId: string | null; content: Uint8Array<ArrayBuffer> }[];
};

/** A mail in pieces, for vendors that put mails together themselves. The raw mail alone says what is in it. */
export async function mailParts(outgoing: Group, raw?: Uint8Array): Promise<MailParts> {
  const { readMail } = await import("../mail/read");
  const mail = await readMail(raw ?? (await outgoing[0].mail()));
  const { from } = emailOf(outgoing[0]);
  const { to, cc, bcc } = recipientsOf(outgoing, [...mail.to, ...mail.cc]);
  return {
    from: { name: from.name ?? "", address: from.address },
    ...{ to, cc, bcc },
    replyTo: mail.replyTo,
    messageId: mail.messageId,
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    headers: mail.headers.filter(isOwn).map(({ name, value }) => ({ name, value: value.replaceAll(/\s+/g, " ") })),
    attachments: mail.attachments.map(({ filename, contentType, contentId, content }, i) => ({
      filename: filename ?? `attachment-${i + 1}`,
      ...{ contentType, contentId, content },
    })),
  };
}

const TAKEN_BY_NAME =
  /^(from|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|sender|return-path|received)$/i;
const isOwn = ({ name }: Header): boolean => !TAKEN_BY_NAME.test(name);

/** Under the names that the mail gives them. A mail has somebody in To, whoever of its recipients is left. */
function recipientsOf(outgoing: Group, named: readonly Mailbox[]) {
  const names = new Map(named.map(({ address, name }) => [address.toLowerCase(), name]));
  const of = (kind: string): Mailbox[] =>
    outgoing
      .filter((one) => emailOf(one).kind === kind)
      .map(({ recipient }) => ({ address: recipient, name: names.get(recipient.toLowerCase()) ?? "" }));
  const [to, cc, bcc] = [of("to"), of("cc"), of("bcc")];
  if (to.length > 0) return { to, cc, bcc };
  return cc.length > 0 ? { to: cc, cc: [], bcc } : { to: bcc, cc: [], bcc: [] };
}

/** `"Ann, the first" <ann@example.org>`. */
export function mailboxText({ name, address }: Mailbox): string {
  const sound = name.replaceAll(/[\r\n\0]+/g, " ").trim();
  if (sound === "") return address;
  return /^[\p{L}\p{N} !#$%&'*+/=?^_`{|}~-]+$/u.test(sound)
    ? `${sound} <${address}>`
    : `"${sound.replaceAll(/(["\\])/g, "\\$1")}" <${address}>`;
}
