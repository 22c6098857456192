import { z } from "../lib/validate";
import { emailOf } from "./email";
import { BadCallback, type Provider, ProviderError } from "./provider";

const nothing = z.strictObject({});
const MOST_BYTES = 26_214_400;

/**
 * The deployment's own Cloudflare account, by its `send_email` binding: for domains of that account, 50 recipients a mail
 * (we send to each by itself) and 5 MiB, 25 MiB to addresses that are verified there. What bounces is told by mail.
 */
export const cloudflare = {
  name: "cloudflare",
  media: ["email"],
  config: nothing,
  credentials: nothing,

  async send([outgoing], _, { env }) {
    if (!env.EMAIL)
      throw new ProviderError("retry", "The deployment has no send_email binding.", { accountFault: true });
    const mail = await outgoing.mail();
    if (mail.length > MOST_BYTES) throw new ProviderError("giveUp", "Cloudflare takes 25 MiB at most.");
    const { EmailMessage } = await import("cloudflare:email");
    // It takes no other sender than the one in From.
    const message = new EmailMessage(emailOf(outgoing).from.address, outgoing.recipient, new Response(mail).body!);
    const sent = await env.EMAIL.send(message).catch(refuse);
    const id = sent?.messageId?.replaceAll(/[<>\s]/g, "") || outgoing.id;
    return { providerMessageId: id, ...(id.includes("@") && { rfcId: id }) };
  },

  async readCallback() {
    throw new BadCallback("Cloudflare does not call back: bounces come by mail.");
  },

  async check(_, { env }) {
    return env.EMAIL ? { ok: true, detail: null } : { ok: false, detail: "The deployment has no send_email binding." };
  },
} satisfies Provider<typeof nothing, typeof nothing>;

const SUPPRESS = new Set(["E_RECIPIENT_SUPPRESSED"]);
const GIVE_UP = new Set([
  "E_VALIDATION_ERROR",
  "E_FIELD_MISSING",
  "E_TOO_MANY_RECIPIENTS",
  "E_RECIPIENT_NOT_ALLOWED",
  "E_CONTENT_TOO_LARGE",
]);
const OF_ACCOUNT = new Set([
  "E_SENDER_NOT_VERIFIED",
  "E_SENDER_DOMAIN_NOT_AVAILABLE",
  "E_DAILY_LIMIT_EXCEEDED",
  "E_SENDING_DISABLED",
]);

function refuse(error: unknown): never {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  const why = `Cloudflare refuses: ${code} ${message}`.replaceAll(/\s+/g, " ").trim();
  if (SUPPRESS.has(code)) throw new ProviderError("suppress", why);
  if (GIVE_UP.has(code) || code.startsWith("E_HEADER_")) throw new ProviderError("giveUp", why);
  throw new ProviderError("retry", why, { accountFault: OF_ACCOUNT.has(code) });
}
