import { sha256Hex, toBase64 } from "../lib/crypto";
import { z } from "../lib/validate";
import { mailboxText, mailParts } from "./mail-parts";
import { type Account, type Group, type Identity, type Io, type Provider, ProviderError } from "./provider";
import { refusalBy } from "./refusals";
import { DELIVERY_TAG, readResendCallback } from "./resend-callbacks";
import { SVIX_SECRET } from "./svix";

const config = z.strictObject({
  region: z.enum(["us-east-1", "eu-west-1", "sa-east-1", "ap-northeast-1"]).default("us-east-1").openapi({
    description: "Where domains are made",
  }),
});
const credentials = z.strictObject({
  apiKey: z.string().regex(/^re_[A-Za-z0-9_]{8,120}$/, "A key of Resend."),
  webhookSecret: z.string().regex(SVIX_SECRET, "The signing secret of the webhook, whsec_….").optional().openapi({
    description: "Without it no callback is believed",
  }),
});
type ResendAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

type Told = { id?: string; name?: string; message?: string };

async function ask<T extends object>(account: ResendAccount, io: Io, method: string, path: string, more: Ask = {}) {
  const answer = await io.fetch(`https://api.resend.com/${path}`, {
    method,
    headers: {
      Authorization: `Bearer ${account.credentials.apiKey}`,
      "User-Agent": "parley",
      ...(more.json !== undefined && { "Content-Type": "application/json" }),
      ...(more.key !== undefined && { "Idempotency-Key": more.key }),
    },
    body: more.json === undefined ? null : JSON.stringify(more.json),
    signal: io.signal,
  });
  return { answer, told: (await answer.json().catch(() => ({}))) as T & Told };
}
type Ask = { json?: unknown; key?: string };

/** The same for the same recipients, however often they are tried. */
const keyOf = async (outgoing: Group): Promise<string> =>
  outgoing.length === 1 ? outgoing[0].id : sha256Hex([...outgoing.map(({ id }) => id)].sort().join(" "));

export const resend = {
  name: "resend",
  media: ["email"],
  config,
  credentials,
  together: true,

  async send(outgoing, account, io) {
    const { from, to, cc, bcc, replyTo, subject, text, html, headers, attachments } = await mailParts(outgoing);
    const json = {
      from: mailboxText(from),
      to: to.map(mailboxText),
      ...(cc.length > 0 && { cc: cc.map(mailboxText) }),
      ...(bcc.length > 0 && { bcc: bcc.map(mailboxText) }),
      ...(replyTo.length > 0 && { reply_to: replyTo.map(mailboxText) }),
      subject,
      ...(text !== null && { text }),
      ...(html !== null && { html }),
      headers: Object.fromEntries(headers.map(({ name, value }) => [name, value])),
      attachments: attachments.map(({ filename, contentType, contentId, content }) => ({
        ...{ filename, content: toBase64(content), content_type: contentType },
        ...(contentId !== null && { content_id: contentId }),
      })),
      ...(outgoing.length === 1 && { tags: [{ name: DELIVERY_TAG, value: outgoing[0].id }] }),
    };
    const { answer, told } = await ask(account, io, "POST", "emails", { json, key: await keyOf(outgoing) });
    if (!answer.ok || told.id === undefined) throw refusalOf(answer, told);
    return { providerMessageId: told.id };
  },

  readCallback: (request, account) => readResendCallback(request, account.credentials.webhookSecret),

  async check(account, io) {
    const { answer, told } = await ask(account, io, "GET", "domains");
    // A key that may send alone says so: it works.
    if (answer.ok || told.name === "restricted_api_key") return { ok: true, detail: null };
    return { ok: false, detail: refusalOf(answer, told).message };
  },

  domains: {
    async add(domain, account, io) {
      const made = await ask<ResendDomain>(account, io, "POST", "domains", {
        json: { name: domain, region: account.config.region },
      });
      const known = made.answer.ok ? made : await find(domain, account, io, made);
      if (!known.answer.ok || known.told.id === undefined) throw refusalOf(known.answer, known.told);
      // From now on Resend looks at the domain's DNS by itself.
      const looking = await ask(account, io, "POST", `domains/${known.told.id}/verify`);
      if (!looking.answer.ok) throw refusalOf(looking.answer, looking.told);
      return { reference: known.told.id, records: (known.told.records ?? []).flatMap((one) => recordOf(domain, one)) };
    },
    async remove({ reference }, account, io) {
      const { answer, told } = await ask(account, io, "DELETE", `domains/${reference}`);
      if (!answer.ok && answer.status !== 404) throw refusalOf(answer, told);
    },
  },
} satisfies Provider<typeof config, typeof credentials>;

type ResendRecord = { record: string; name: string; type: string; value: string; priority?: number };
type ResendDomain = { records?: ResendRecord[] };
type Answered = { answer: Response; told: ResendDomain & Told };

/** One that was made before, by a call whose answer was lost or by hand. */
async function find(domain: string, account: ResendAccount, io: Io, refused: Answered): Promise<Answered> {
  const { told } = await ask<{ data?: { id: string; name: string }[] }>(account, io, "GET", "domains");
  const there = told.data?.find(({ name }) => name.toLowerCase() === domain);
  return there ? ask<ResendDomain>(account, io, "GET", `domains/${there.id}`) : refused;
}

/** DKIM of the domain; what Resend calls SPF is of the name that bounces return to. */
function recordOf(
  domain: string,
  { record, name: given, type, value, priority = 10 }: ResendRecord,
): Identity["records"] {
  const name = nameIn(domain, given.toLowerCase());
  if (record === "DKIM" && (type === "TXT" || type === "CNAME")) return [{ purpose: "dkim", type, name, value }];
  if (record !== "SPF") return [];
  if (type === "MX") return [{ purpose: "return_path", type, name, value, priority }];
  return type === "TXT" ? [{ purpose: "return_path", type, name, value: value.replace(/^"(.*)"$/, "$1") }] : [];
}

/** Resend names records as registrars do, below the registered domain: `send.mail` for `mail.example.org`. */
function nameIn(domain: string, name: string): string {
  if (name === domain || name.endsWith(`.${domain}`)) return name;
  const labels = domain.split(".");
  for (let count = labels.length - 1; count > 0; count--) {
    const below = labels.slice(0, count).join(".");
    if (name.endsWith(`.${below}`)) return `${name}.${labels.slice(count).join(".")}`;
  }
  return `${name}.${domain}`;
}

function refusalOf(answer: Response, { name, message }: Told): ProviderError {
  const why = `Resend refuses: ${name ?? answer.status} ${message ?? ""}`.trim();
  // Another attempt at the same mail is under way.
  if (name === "concurrent_idempotent_requests") return new ProviderError("retry", why);
  return refusalBy(answer, why, name === "daily_quota_exceeded" || name === "monthly_quota_exceeded");
}
