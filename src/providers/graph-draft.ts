import { toBase64 } from "../lib/crypto";
import type { Mailbox } from "../mail/mail";
import { withBase64 } from "./base64";
import { ask, DRAFTING, type GraphAccount, MOST_BYTES, refusalOf } from "./graph-api";
import { type MailParts, mailParts } from "./mail-parts";
import { ANSWER_MS } from "./patience";
import { type Group, type Io, ProviderError, type Sent } from "./provider";
import { retryAfterOf } from "./refusals";

type Attachment = MailParts["attachments"][number];

/** Graph refuses upload sessions for what is smaller, and everything else for what is not. */
const SESSION_BYTES = 3 * 1024 * 1024;
/** A multiple of 320 KiB, at most 4 MiB. */
const RANGE_BYTES = 12 * 320 * 1024;
const HEADERS_MOST = 5;
/** What is said of an attachment next to its content. */
const ABOUT_BYTES = 1_000;
const REMOVAL_MS = 5_000;
const DRAFTS = "me/messages";

/**
 * For mails that are too large for one request: nobody has anything of them before the last one. Until then a failure
 * leaves a draft at most, which is taken away again.
 */
export async function sendAsDraft(outgoing: Group, mail: Uint8Array, account: GraphAccount, io: Io): Promise<Sent> {
  const parts = await mailParts(outgoing, mail);
  const { message, left } = draftOf(parts);
  const draft = await asked<Draft>(account, io, DRAFTS, JSON.stringify(message));
  if (!draft.id) throw new ProviderError("retry", "Microsoft does not say which draft it made.");
  const path = `${DRAFTS}/${encodeURIComponent(draft.id)}`;
  try {
    for (const one of left) await attach(one, parts, path, account, io);
    io.allow(ANSWER_MS);
    await asked(account, io, `${path}/send`);
  } catch (error) {
    await remove(path, account, io);
    throw error;
  }
  // Microsoft puts a Message-ID of its own in the place of ours.
  const rfcId = draft.internetMessageId?.replaceAll(/[<>\s]/g, "");
  return { providerMessageId: outgoing[0].id, ...(rfcId && { rfcId }) };
}

type Draft = { id?: string; internetMessageId?: string };

async function asked<T>(
  account: GraphAccount,
  io: Io,
  path: string,
  json?: string | Uint8Array<ArrayBuffer>,
): Promise<T> {
  const init = { method: "POST", ...(json && { headers: { "Content-Type": "application/json" }, body: json }) };
  const answer = await ask(account, io, path, init, DRAFTING);
  if (answer.status === 404 && path !== DRAFTS) throw new ProviderError("retry", "Microsoft lost the draft it made.");
  if (!answer.ok) throw await refusalOf(answer);
  return (await answer.json().catch(() => ({}))) as T;
}

/** With as many of its attachments as the request has room for; `left` are the others. */
function draftOf(parts: MailParts) {
  const { from, to, cc, bcc, replyTo, subject, text, html, headers } = parts;
  const own = headers.filter(({ name }) => /^x-/i.test(name)).slice(0, HEADERS_MOST);
  const properties = propertiesOf(headers);
  const message = {
    subject,
    body: html === null ? { contentType: "text", content: text ?? "" } : { contentType: "html", content: html },
    from: mailboxOf(from),
    toRecipients: to.map(mailboxOf),
    ccRecipients: cc.map(mailboxOf),
    bccRecipients: bcc.map(mailboxOf),
    replyTo: replyTo.map(mailboxOf),
    // An empty list is refused.
    ...(own.length > 0 && { internetMessageHeaders: own }),
    ...(properties.length > 0 && { singleValueExtendedProperties: properties }),
  };
  let room = MOST_BYTES - new TextEncoder().encode(JSON.stringify(message)).length;
  const [within, left]: [Attachment[], Attachment[]] = [[], []];
  for (const one of parts.attachments) {
    const bytes = 4 * Math.ceil(one.content.length / 3) + ABOUT_BYTES;
    const fits = one.content.length < SESSION_BYTES && bytes <= room;
    (fits ? within : left).push(one);
    if (fits) room -= bytes;
  }
  const attachments = within.map((one) => ({ ...fileOf(one, parts), contentBytes: toBase64(one.content) }));
  return { message: { ...message, attachments }, left };
}

const mailboxOf = ({ name, address }: Mailbox) => ({ emailAddress: { address, ...(name !== "" && { name }) } });

/** Headers that are not x-… go by the properties that Exchange keeps them in. */
const PROPERTIES: Record<string, string> = {
  "in-reply-to": "String 0x1042",
  references: "String 0x1039",
  "list-unsubscribe": "String 0x1045",
  "list-unsubscribe-post": "String {00020386-0000-0000-C000-000000000046} Name List-Unsubscribe-Post",
};

const propertiesOf = (headers: MailParts["headers"]) =>
  Object.entries(PROPERTIES).flatMap(([property, id]) => {
    const value = headers.find(({ name }) => name.toLowerCase() === property)?.value.trim();
    return value ? [{ id, value }] : [];
  });

/** What the body shows in its midst is inline; anything else would be hidden from the reader by that. */
function describe({ filename, contentType, contentId }: Attachment, { html }: MailParts) {
  const isInline = contentId !== null && (html ?? "").includes(`cid:${contentId}`);
  return { name: filename, contentType, isInline, ...(contentId !== null && { contentId }) };
}

const fileOf = (one: Attachment, parts: MailParts) => ({
  "@odata.type": "#microsoft.graph.fileAttachment",
  ...describe(one, parts),
});

async function attach(one: Attachment, parts: MailParts, path: string, account: GraphAccount, io: Io): Promise<void> {
  if (one.content.length < SESSION_BYTES) {
    const before = `${JSON.stringify(fileOf(one, parts)).slice(0, -1)},"contentBytes":"`;
    await asked(account, io, `${path}/attachments`, withBase64(before, one.content, '"}'));
    return;
  }
  const item = { attachmentType: "file", size: one.content.length, ...describe(one, parts) };
  const session = await asked<{ uploadUrl?: string }>(
    ...([account, io, `${path}/attachments/createUploadSession`, JSON.stringify({ AttachmentItem: item })] as const),
  );
  await upload(uploadUrl(session.uploadUrl), one.content, io);
}

const UPLOAD_HOSTS = /^(graph\.microsoft\.com|outlook\.office365\.com|([a-z0-9-]+\.)+(outlook|office)\.com)$/;

/** It is a secret by itself, and what is sent there is the tenant's: to Microsoft and to nobody else. */
function uploadUrl(text = ""): string {
  const url = URL.parse(text);
  const isSound = url?.protocol === "https:" && url.port === "" && url.username === "" && url.password === "";
  if (!isSound || !UPLOAD_HOSTS.test(url.hostname))
    throw new ProviderError("giveUp", `Microsoft names a place for attachments that is not its own: ${url?.host}.`);
  return text;
}

async function upload(url: string, content: Uint8Array<ArrayBuffer>, io: Io): Promise<void> {
  for (let start = 0; start < content.length; start += RANGE_BYTES) {
    const end = Math.min(start + RANGE_BYTES, content.length);
    const answer = await io.fetch(url, {
      method: "PUT",
      headers: {
        "Content-Type": "application/octet-stream",
        "Content-Range": `bytes ${start}-${end - 1}/${content.length}`,
      },
      body: content.subarray(start, end),
      // Who was checked is not to pass the bytes on.
      redirect: "manual",
      signal: io.signal,
    });
    if (!answer.ok) throw await uploadRefusal(answer);
    await answer.body?.cancel();
    if (end === content.length && answer.status !== 201)
      throw new ProviderError("retry", "Microsoft does not have the whole of an attachment.");
  }
}

/** A session that has gone is nobody's fault: the next attempt has one of its own. */
async function uploadRefusal(answer: Response): Promise<ProviderError> {
  const refusal = await refusalOf(answer);
  return answer.status === 413 ? refusal : new ProviderError("retry", refusal.message, retryAfterOf(answer.headers));
}

/** In a time of its own, as the mail's may be over. What went wrong before is told, whatever becomes of this. */
async function remove(path: string, account: GraphAccount, io: Io): Promise<void> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), REMOVAL_MS);
  io.allow(2 * REMOVAL_MS);
  try {
    const answer = await ask(account, { ...io, signal: controller.signal }, path, { method: "DELETE" }, DRAFTING);
    await answer.body?.cancel();
  } catch {
  } finally {
    clearTimeout(timer);
  }
}
