import { equalBytes, hmac, toBase64, toHex, utf8 } from "../lib/crypto";
import { z } from "../lib/validate";
import { judge } from "../mail/bounce-verdict";
import { emailOf } from "./email";
import {
  type Account,
  BadSignature,
  type Heard,
  type Identity,
  type Io,
  type Provider,
  type ProviderError,
  type Receipt,
} from "./provider";
import { refusalBy } from "./refusals";
import { readJson } from "./sns";

const config = z.strictObject({ region: z.enum(["us", "eu"]).default("us") });
const credentials = z.strictObject({
  apiKey: z.string().regex(/^[A-Za-z0-9-]{16,100}$/, "A key of Mailgun."),
  signingKey: z
    .string()
    .regex(/^[A-Za-z0-9-]{16,100}$/, "The HTTP webhook signing key.")
    .optional()
    .openapi({ description: "Without it no callback is believed" }),
});
type MailgunAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;
type Told = { id?: string; message?: string };

/** The variable by which Mailgun tells of a delivery under our own id. */
const DELIVERY = "parley_delivery";

async function ask<T extends object>(account: MailgunAccount, io: Io, method: string, path: string, form?: FormData) {
  const host = account.config.region === "eu" ? "api.eu.mailgun.net" : "api.mailgun.net";
  const answer = await io.fetch(`https://${host}/${path}`, {
    method,
    headers: { Authorization: `Basic ${toBase64(utf8(`api:${account.credentials.apiKey}`))}` },
    body: form ?? null,
    signal: io.signal,
  });
  return { answer, told: (await answer.json().catch(() => ({}))) as T & Told };
}

const formOf = (fields: Record<string, string | Blob>): FormData => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields))
    if (typeof value === "string") form.set(name, value);
    else form.set(name, value, "mail.eml");
  return form;
};
const domainOf = (address: string) => address.slice(address.lastIndexOf("@") + 1);

export const mailgun = {
  name: "mailgun",
  media: ["email"],
  config,
  credentials,

  async send([outgoing], account, io) {
    const domain = domainOf(emailOf(outgoing).from.address);
    const message = new Blob([await outgoing.mail()], { type: "message/rfc822" });
    const form = formOf({ to: outgoing.recipient, message, [`v:${DELIVERY}`]: outgoing.id });
    const { answer, told } = await ask(account, io, "POST", `v3/${encodeURIComponent(domain)}/messages.mime`, form);
    if (!answer.ok || told.id === undefined) throw refusalOf(answer, told);
    const id = bare(told.id);
    return { providerMessageId: id, rfcId: id };
  },

  readCallback: (request, account) => readCallback(request, account.credentials.signingKey),

  async check(account, io) {
    const { answer, told } = await ask(account, io, "GET", "v4/domains?limit=1");
    return answer.ok ? { ok: true, detail: null } : { ok: false, detail: refusalOf(answer, told).message };
  },

  domains: {
    async add(domain, account, io) {
      const made = await ask<MailgunDomain>(account, io, "POST", "v4/domains", formOf({ name: domain }));
      const known = made.answer.ok ? made : await ask<MailgunDomain>(account, io, "GET", `v4/domains/${domain}`);
      if (!known.answer.ok) throw refusalOf(made.answer, made.told);
      return { reference: domain, records: (known.told.sending_dns_records ?? []).flatMap(recordOf) };
    },
    async remove({ reference }, account, io) {
      const { answer, told } = await ask(account, io, "DELETE", `v3/domains/${reference}`);
      if (!answer.ok && answer.status !== 404) throw refusalOf(answer, told);
    },
  },
} satisfies Provider<typeof config, typeof credentials>;

const bare = (id: string) => id.replaceAll(/[<>\s]/g, "");

type MailgunRecord = { name?: string; record_type?: string; value?: string };
type MailgunDomain = { sending_dns_records?: MailgunRecord[] };

/** Its CNAME is for following clicks, which is done here without it. */
function recordOf({ name = "", record_type: type, value = "" }: MailgunRecord): Identity["records"] {
  if (type !== "TXT") return [];
  if (/\._domainkey\./.test(name)) return [{ purpose: "dkim", type, name, value }];
  const [mechanism] = /include:\S+/.exec(value) ?? [];
  return /^v=spf1\b/i.test(value) && mechanism ? [{ purpose: "spf", mechanism }] : [];
}

function refusalOf(answer: Response, { message }: Told): ProviderError {
  const why = `Mailgun refuses: ${answer.status} ${message ?? ""}`.trim();
  // 404: the domain is none of the account's; 402: it is not paid for.
  return refusalBy(answer, why, answer.status === 404 || answer.status === 402);
}

const Callback = z.object({
  signature: z.object({ timestamp: z.string(), token: z.string().min(1), signature: z.string() }),
  "event-data": z.looseObject({
    event: z.string(),
    id: z.string(),
    severity: z.string().optional(),
    reason: z.string().optional(),
    recipient: z.string().optional(),
    url: z.string().optional(),
    "user-variables": z.record(z.string(), z.unknown()).optional(),
    "client-info": z.looseObject({ "user-agent": z.string().optional(), bot: z.string().optional() }).optional(),
    message: z.looseObject({ headers: z.looseObject({ "message-id": z.string().optional() }).optional() }).optional(),
    "delivery-status": z
      .looseObject({
        code: z.number().optional(),
        message: z.string().nullish(),
        description: z.string().nullish(),
        "enhanced-code": z.string().nullish(),
      })
      .optional(),
  }),
});
type Event = z.output<typeof Callback>["event-data"];

/** It tries for eight hours. */
const TOLERANCE_SECONDS = 43_200;

async function readCallback(request: Request, signingKey: string | undefined): Promise<Heard> {
  if (signingKey === undefined) throw new BadSignature();
  const { signature, "event-data": event } = readJson(Callback, await request.text());
  const own = utf8(toHex(await hmac(utf8(signingKey), signature.timestamp + signature.token)));
  const isFresh = Math.abs(Date.now() / 1000 - Number(signature.timestamp)) <= TOLERANCE_SECONDS;
  if (!isFresh || !equalBytes(own, utf8(signature.signature))) throw new BadSignature();
  const said = saidBy(event);
  const id = bare(event.message?.headers?.["message-id"] ?? "");
  const deliveryId = z.uuid().safeParse(event["user-variables"]?.[DELIVERY]).data;
  // Of timestamp and token as they are signed: between them nothing tells where one ends.
  const once = `mailgun ${signature.signature}`;
  if (!said || (id === "" && !deliveryId)) return { receipts: [], replies: [], once };
  const { recipient } = event;
  const about = { eventId: event.id, providerMessageId: id, ...(deliveryId ? { deliveryId } : { recipient }) };
  return { receipts: [{ ...about, ...said }], replies: [], once };
}

function saidBy(event: Event): Pick<Receipt, "status" | "details"> | null {
  const client = event["client-info"];
  switch (event.event) {
    case "delivered":
      return { status: "delivered" };
    case "opened":
      return { status: "opened", details: { userAgent: client?.["user-agent"], bot: client?.bot } };
    case "clicked":
      return { status: "clicked", details: { link: event.url, userAgent: client?.["user-agent"], bot: client?.bot } };
    case "complained":
      return { status: "complained", details: { type: "abuse" } };
    case "unsubscribed":
      return { status: "unsubscribed" };
    case "failed":
    case "rejected":
      return { status: event.severity === "temporary" ? "deferred" : "bounced", details: failureOf(event) };
    default:
      return null;
  }
}

function failureOf({ severity, reason: why = "", recipient, "delivery-status": told }: Event) {
  const { code, message, description, "enhanced-code": status } = told ?? {};
  const text = message || description || why || null;
  const diagnostic = text && code && !/^\d{3}\b/.test(text) ? `${code} ${text}` : text;
  const action = severity === "temporary" ? ("delayed" as const) : ("failed" as const);
  const said = judge({ recipient: recipient ?? null, action, status: status || null, diagnostic, remote: true });
  // It was not even tried: Mailgun has a list of its own.
  const isSuppressed = why.startsWith("suppress-");
  const isNobody = why === "suppress-bounce";
  return {
    hard: isNobody || (said.hard && !isSuppressed),
    status: said.status,
    reason: isNobody ? "userUnknown" : isSuppressed ? "policy" : said.reason,
    diagnostic,
  };
}
