import { equalBytes, toBase64, utf8 } from "../lib/crypto";
import { z } from "../lib/validate";
import { judge } from "../mail/bounce-verdict";
import { emailOf } from "./email";
import { mailboxText, mailParts } from "./mail-parts";
import {
  type Account,
  BadSignature,
  type Heard,
  type Identity,
  type Io,
  type Provider,
  ProviderError,
} from "./provider";
import { refusalBy } from "./refusals";
import { readJson } from "./sns";

const stream = z.string().regex(/^[a-z0-9-]{1,30}$/, "A message stream's id.");
const config = z.strictObject({
  transactionalStream: stream.default("outbound"),
  broadcastStream: stream.default("broadcast").openapi({ description: "For every stream but transactional" }),
});
const token = z.string().regex(/^[A-Za-z0-9-]{16,64}$/, "A token of Postmark.");
const secret = z.string().min(8).max(255);
const credentials = z.strictObject({
  serverToken: token,
  accountToken: token.optional().openapi({ description: "For domains" }),
  webhookUsername: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[^:]+$/, "Without a colon.")
    .optional(),
  webhookPassword: secret.optional().openapi({
    description: "Postmark signs nothing: what it sends bears these, and without them no callback is believed",
  }),
});
type PostmarkAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;
type Told = { ErrorCode?: number; Message?: string; MessageID?: string };

async function ask<T extends object>(
  { credentials: { serverToken, accountToken } }: PostmarkAccount,
  io: Io,
  method: string,
  path: string,
  json?: unknown,
) {
  const isOfAccount = path.startsWith("domains");
  if (isOfAccount && accountToken === undefined)
    throw new ProviderError("giveUp", "Domains need the account's token.", { accountFault: true });
  const answer = await io.fetch(`https://api.postmarkapp.com/${path}`, {
    method,
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      ...(isOfAccount ? { "X-Postmark-Account-Token": accountToken! } : { "X-Postmark-Server-Token": serverToken }),
    },
    body: json === undefined ? null : JSON.stringify(json),
    signal: io.signal,
  });
  return { answer, told: (await answer.json().catch(() => ({}))) as T & Told };
}

export const postmark = {
  name: "postmark",
  media: ["email"],
  config,
  credentials,
  together: true,

  async send(outgoing, account, io) {
    const { from, to, cc, bcc, replyTo, subject, text, html, headers, attachments, messageId } =
      await mailParts(outgoing);
    const { transactionalStream, broadcastStream } = account.config;
    const kept =
      messageId === null
        ? []
        : [
            { name: "Message-ID", value: `<${messageId}>` },
            { name: "X-PM-KeepID", value: "true" },
          ];
    const { answer, told } = await ask(account, io, "POST", "email", {
      From: mailboxText(from),
      To: to.map(mailboxText).join(", "),
      ...(cc.length > 0 && { Cc: cc.map(mailboxText).join(", ") }),
      ...(bcc.length > 0 && { Bcc: bcc.map(mailboxText).join(", ") }),
      ...(replyTo.length > 0 && { ReplyTo: replyTo.map(mailboxText).join(", ") }),
      Subject: subject,
      ...(text !== null && { TextBody: text }),
      ...(html !== null && { HtmlBody: html }),
      Headers: [...kept, ...headers].map(({ name, value }) => ({ Name: name, Value: value })),
      Attachments: attachments.map(({ filename, contentType, contentId, content }) => ({
        ...{ Name: filename, Content: toBase64(content), ContentType: contentType },
        ...(contentId !== null && { ContentID: `cid:${contentId}` }),
      })),
      MessageStream: emailOf(outgoing[0]).stream === "transactional" ? transactionalStream : broadcastStream,
    });
    if (!answer.ok || told.MessageID === undefined) throw refusalOf(answer, told);
    return { providerMessageId: told.MessageID, suppressed: inactiveIn(told.Message ?? "") };
  },

  readCallback: (request, account) => readCallback(request, account.credentials),

  async check(account, io) {
    const { answer, told } = await ask(account, io, "GET", "server");
    return answer.ok ? { ok: true, detail: null } : { ok: false, detail: refusalOf(answer, told).message };
  },

  domains: {
    async add(domain, account, io) {
      const made = await ask<PostmarkDomain>(account, io, "POST", "domains", {
        Name: domain,
        ReturnPathDomain: `pm-bounces.${domain}`,
      });
      const known = made.answer.ok ? made : await find(domain, account, io, made);
      if (!known.answer.ok || known.told.ID === undefined) throw refusalOf(known.answer, known.told);
      return { reference: String(known.told.ID), records: recordsOf(known.told) };
    },
    async remove({ reference }, account, io) {
      const { answer, told } = await ask(account, io, "DELETE", `domains/${reference}`);
      if (!answer.ok && answer.status !== 404) throw refusalOf(answer, told);
    },
  },
} satisfies Provider<typeof config, typeof credentials>;

type PostmarkDomain = {
  ID?: number;
  DKIMHost?: string;
  DKIMTextValue?: string;
  DKIMPendingHost?: string;
  DKIMPendingTextValue?: string;
  ReturnPathDomain?: string;
  ReturnPathDomainCNAMEValue?: string;
};
type Answered = { answer: Response; told: PostmarkDomain & Told };

/** One that was made before, by a call whose answer was lost or by hand. */
async function find(domain: string, account: PostmarkAccount, io: Io, refused: Answered): Promise<Answered> {
  const { told } = await ask<{ Domains?: { ID: number; Name: string }[] }>(
    account,
    io,
    "GET",
    "domains?count=500&offset=0",
  );
  const there = told.Domains?.find(({ Name }) => Name.toLowerCase() === domain);
  return there ? ask<PostmarkDomain>(account, io, "GET", `domains/${there.ID}`) : refused;
}

function recordsOf(told: PostmarkDomain): Identity["records"] {
  const [host, value] = [told.DKIMPendingHost || told.DKIMHost, told.DKIMPendingTextValue || told.DKIMTextValue];
  const { ReturnPathDomain: name, ReturnPathDomainCNAMEValue: target } = told;
  return [
    ...(host && value ? [{ purpose: "dkim" as const, type: "TXT" as const, name: host, value }] : []),
    ...(name && target ? [{ purpose: "return_path" as const, type: "CNAME" as const, name, value: target }] : []),
  ];
}

/** Sender not known or confirmed, credits used up, account not approved, stream or server off. */
const OF_ACCOUNT = new Set([10, 400, 401, 405, 412, 1235, 1236]);
const INACTIVE = 406;

/** It takes a mail for the others, and says in words alone whom it leaves out. */
function inactiveIn(message: string): string[] {
  const [, addresses = ""] = /inactive addresses: (.*?)\.?(?:\s+Inactive recipients\b.*)?$/s.exec(message) ?? [];
  return addresses.toLowerCase().split(/\s*,\s*/);
}

function refusalOf(answer: Response, { ErrorCode, Message }: Told): ProviderError {
  const why = `Postmark refuses: ${ErrorCode ?? answer.status} ${Message ?? ""}`.trim();
  if (ErrorCode === INACTIVE) return new ProviderError("suppress", why);
  return refusalBy(answer, why, OF_ACCOUNT.has(ErrorCode ?? 0));
}

const Callback = z.looseObject({
  RecordType: z.string(),
  ID: z.number().optional(),
  MessageID: z.string().optional(),
  Recipient: z.string().optional(),
  Email: z.string().optional(),
  Type: z.string().optional(),
  Details: z.string().nullish(),
  Description: z.string().nullish(),
  DeliveredAt: z.string().optional(),
  BouncedAt: z.string().optional(),
  ReceivedAt: z.string().optional(),
  ChangedAt: z.string().optional(),
  OriginalLink: z.string().optional(),
  UserAgent: z.string().optional(),
  SuppressSending: z.boolean().optional(),
  SuppressionReason: z.string().nullish(),
});
type Callback = z.output<typeof Callback>;

async function readCallback(
  request: Request,
  { webhookUsername, webhookPassword }: z.output<typeof credentials>,
): Promise<Heard> {
  if (webhookUsername === undefined || webhookPassword === undefined) throw new BadSignature();
  const expected = utf8(`Basic ${toBase64(utf8(`${webhookUsername}:${webhookPassword}`))}`);
  if (!equalBytes(utf8(request.headers.get("Authorization") ?? ""), expected)) throw new BadSignature();
  const told = readJson(Callback, await request.text());
  const [recipient, said] = [told.Recipient ?? told.Email, saidBy(told)];
  if (!said || !told.MessageID || !recipient) return { receipts: [], replies: [] };
  const at = told.DeliveredAt ?? told.BouncedAt ?? told.ReceivedAt ?? told.ChangedAt ?? "";
  const eventId = [told.RecordType, told.MessageID, recipient, told.ID ?? "", at, told.OriginalLink ?? ""].join(" ");
  return { receipts: [{ eventId, providerMessageId: told.MessageID, recipient, ...said }], replies: [] };
}

function saidBy(told: Callback): Pick<Heard["receipts"][number], "status" | "details"> | null {
  const { RecordType, Type = "", OriginalLink, UserAgent, SuppressSending, SuppressionReason } = told;
  if (RecordType === "Delivery") return { status: "delivered", details: { diagnostic: told.Details ?? null } };
  if (RecordType === "SpamComplaint") return { status: "complained", details: { type: "abuse" } };
  if (RecordType === "Open") return { status: "opened", details: { userAgent: UserAgent } };
  if (RecordType === "Click") return { status: "clicked", details: { link: OriginalLink, userAgent: UserAgent } };
  if (RecordType === "SubscriptionChange")
    return SuppressSending && SuppressionReason === "ManualSuppression" ? { status: "unsubscribed" } : null;
  if (RecordType !== "Bounce" || /^(AutoResponder|Subscribe|ChallengeVerification|SpamComplaint)$/.test(Type))
    return null;
  if (Type === "Unsubscribe") return { status: "unsubscribed" };
  const isLate = Type === "Transient";
  const diagnostic = told.Details || told.Description || null;
  const action = isLate ? ("delayed" as const) : ("failed" as const);
  const verdict = judge({ recipient: null, action, status: null, diagnostic, remote: true });
  const { status, reason } = verdict;
  const isNobody = Type === "BadEmailAddress" || (Type === "HardBounce" && reason === "unknown");
  return {
    status: isLate ? "deferred" : "bounced",
    details: {
      hard: isNobody || (verdict.hard && Type === "HardBounce"),
      reason: isNobody ? "userUnknown" : reason,
      ...{ status, diagnostic, bounceType: Type },
    },
  };
}
