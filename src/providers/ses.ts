import { utf8 } from "../lib/crypto";
import { z } from "../lib/validate";
import { askAws, awsCredentials, awsHost, awsRegion } from "./aws";
import { withBase64 } from "./base64";
import { emailOf } from "./email";
import { type Account, type Identity, type Io, type Provider, ProviderError } from "./provider";
import { refusalBy } from "./refusals";
import { DELIVERY_TAG, readSesCallback } from "./ses-callbacks";
import { topicArn } from "./sns";

const config = z.strictObject({
  region: awsRegion,
  configurationSet: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "A configuration set's name.")
    .optional(),
  eventTopicArn: topicArn.optional().openapi({
    description: "The topic that SES tells of deliveries: of a configuration set, or of an identity's feedback",
  }),
  mailFrom: z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, "One label of a domain name.")
    .optional()
    .openapi({ description: "Bounces of a domain return to this name below it" }),
});
type SesAccount = Account<z.output<typeof config>, z.output<typeof awsCredentials>>;

type Told = { answer: Response; told: Record<string, unknown> };

async function ask(account: SesAccount, io: Io, method: string, path: string, body?: Uint8Array<ArrayBuffer>) {
  const { region } = account.config;
  const url = `https://${awsHost("email", region)}/v2/email/${path}`;
  const call = { service: "ses" as const, region, method, url, ...(body && { body }) };
  const answer = await askAws(call, account.credentials, io);
  return { answer, told: (await answer.json().catch(() => ({}))) as Record<string, unknown> };
}

const askJson = (account: SesAccount, io: Io, method: string, path: string, body: unknown) =>
  ask(account, io, method, path, utf8(JSON.stringify(body)));

/** Replies name the mail by the id that SES puts in place of ours. */
const rfcIdOf = (messageId: string, region: string): string =>
  `${messageId}@${region === "us-east-1" ? "email" : region}.amazonses.com`;

/** Amazon Simple Email Service, version 2. */
export const ses = {
  name: "ses",
  media: ["email"],
  config,
  credentials: awsCredentials,

  async send([outgoing], account, io) {
    const { from, envelopeFrom } = emailOf(outgoing);
    const rest = {
      FromEmailAddress: from.address,
      Destination: { ToAddresses: [outgoing.recipient] },
      ...(envelopeFrom !== "" && { FeedbackForwardingEmailAddress: envelopeFrom }),
      ...(account.config.configurationSet && { ConfigurationSetName: account.config.configurationSet }),
      EmailTags: [{ Name: DELIVERY_TAG, Value: outgoing.id }],
    };
    const after = `"}},${JSON.stringify(rest).slice(1)}`;
    const body = withBase64('{"Content":{"Raw":{"Data":"', await outgoing.mail(), after);
    const { answer, told } = await ask(account, io, "POST", "outbound-emails", body);
    if (!answer.ok) throw refusalOf(answer, told);
    const messageId = String(told.MessageId);
    return { providerMessageId: messageId, rfcId: rfcIdOf(messageId, account.config.region) };
  },

  readCallback: (request, account, io) => readSesCallback(request, account.config, io),

  async check(account, io) {
    const { answer, told } = await ask(account, io, "GET", "account");
    if (!answer.ok) return { ok: false, detail: refusalOf(answer, told).message };
    return told.SendingEnabled === false
      ? { ok: false, detail: "SES has paused sending for this account." }
      : { ok: true, detail: null };
  },

  domains: {
    async add(domain, account, io) {
      const made = await askJson(account, io, "POST", "identities", { EmailIdentity: domain });
      const isThere = errorOf(made) === "AlreadyExistsException";
      const { answer, told } = isThere ? await ask(account, io, "GET", `identities/${domain}`) : made;
      if (!answer.ok) throw refusalOf(answer, told);
      const tokens = (told.DkimAttributes as { Tokens?: string[] } | undefined)?.Tokens ?? [];
      if (tokens.length === 0) throw new ProviderError("retry", "SES has no DKIM tokens for this domain yet.");
      const { mailFrom } = account.config;
      const returnPath = mailFrom && (await nameReturnPath(domain, `${mailFrom}.${domain}`, account, io));
      return {
        reference: domain,
        records: [
          ...tokens.map((token) => ({
            purpose: "dkim" as const,
            type: "CNAME" as const,
            name: `${token}._domainkey.${domain}`,
            value: `${token}.dkim.amazonses.com`,
          })),
          { purpose: "spf", mechanism: "include:amazonses.com" },
          ...(returnPath || []),
        ],
      };
    },
    async remove({ reference }, account, io) {
      const { answer, told } = await ask(account, io, "DELETE", `identities/${reference}`);
      if (!answer.ok && answer.status !== 404) throw refusalOf(answer, told);
    },
  },
} satisfies Provider<typeof config, typeof awsCredentials>;

/** MAIL FROM below the domain, so that SPF is aligned; without its records SES uses its own. */
async function nameReturnPath(domain: string, name: string, account: SesAccount, io: Io): Promise<Identity["records"]> {
  const { answer, told } = await askJson(account, io, "PUT", `identities/${domain}/mail-from`, {
    MailFromDomain: name,
    BehaviorOnMxFailure: "USE_DEFAULT_VALUE",
  });
  if (!answer.ok) throw refusalOf(answer, told);
  const value = `feedback-smtp.${account.config.region}.amazonses.com`;
  return [
    { purpose: "return_path", type: "MX", name, value, priority: 10 },
    { purpose: "return_path", type: "TXT", name, value: "v=spf1 include:amazonses.com ~all" },
  ];
}

/** `MessageRejected`, out of `x-amzn-ErrorType: MessageRejected:http://…` or `__type: com.amazonaws…#MessageRejected`. */
function errorOf({ answer, told }: Told): string {
  const named = answer.headers.get("x-amzn-ErrorType") ?? (typeof told.__type === "string" ? told.__type : "");
  return /([A-Za-z]+)(?::.*)?$/.exec(named.replace(/^.*#/, ""))?.[1] ?? String(answer.status);
}

const ACCOUNT = new Set([
  "MailFromDomainNotVerifiedException",
  "AccountSuspendedException",
  "SendingPausedException",
  "LimitExceededException",
  "NotFoundException",
]);

function refusalOf(answer: Response, told: Record<string, unknown>): ProviderError {
  const error = errorOf({ answer, told });
  const text = told.message ?? told.Message;
  const why = `SES refuses: ${error} ${typeof text === "string" ? text : ""}`.trim();
  const isUnverified = error === "MessageRejected" && /not verified/i.test(why);
  return refusalBy(answer, why, ACCOUNT.has(error) || isUnverified);
}
