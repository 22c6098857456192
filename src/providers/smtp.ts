import { DnsError } from "../lib/doh";
import { UnsafeUrl } from "../lib/guard";
import { z } from "../lib/validate";
import { judge } from "../mail/bounce-verdict";
import type { Reason } from "../mail/facts";
import { dotStuffed } from "./dot-stuffing";
import { emailOf } from "./email";
import { ANSWER_MS, CALL_MS, patienceOf } from "./patience";
import { type Account, BadCallback, type Io, type Provider, ProviderError } from "./provider";
import { openSession, Refused, type Session, Unspeakable } from "./smtp-session";

const config = z.strictObject({
  host: z.string().min(1).max(253).toLowerCase(),
  port: z.int().min(1).max(65_535).default(587).openapi({ description: "465 (encrypted at once) or 587 (STARTTLS)" }),
  security: z.enum(["tls", "starttls"]).optional().openapi({ description: "By the port where it is not said" }),
  name: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,253}$/, "A host's name.")
    .optional()
    .openapi({ description: "By which we greet; the sender's domain where it is not said" }),
});
const noBreak = /^[^\r\n\0]+$/;
const credentials = z
  .strictObject({
    username: z.string().max(255).regex(noBreak, "One line.").optional(),
    password: z.string().max(1_000).regex(noBreak, "One line.").optional(),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    path: ["password"],
    message: "Name both or neither.",
  });
type SmtpAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

/** Any mail server that takes mail in for others: RFC 5321 and 6409. */
export const smtp = {
  name: "smtp",
  media: ["email"],
  config,
  credentials,

  async send([outgoing], account, io) {
    const { from, envelopeFrom } = emailOf(outgoing);
    const mail = await outgoing.mail();
    const [sender, recipient] = [envelopeFrom, outgoing.recipient].map(inAscii) as [string, string];
    await inSession(account, io, account.config.name ?? domainOf(inAscii(from.address)), recipient, async (session) => {
      await session.say("mail", `MAIL FROM:<${sender}>${parameters(session, mail, sender + recipient)}`, 2);
      await session.say("rcpt", `RCPT TO:<${recipient}>`, 2);
      await session.say("data", "DATA", 3);
      io.allow(patienceOf(mail.length));
      await session.content(dotStuffed(mail), () => io.allow(ANSWER_MS));
    });
    return { providerMessageId: outgoing.id };
  },

  async readCallback() {
    throw new BadCallback("Mail servers do not call back: bounces come by mail.");
  },

  async check(account, io) {
    const name = account.config.name ?? "localhost";
    return inSession(account, io, name, "", async () => {}).then(
      () => ({ ok: true, detail: null }),
      (error) => ({ ok: false, detail: error instanceof Error ? error.message : "The server could not be asked." }),
    );
  },
} satisfies Provider<typeof config, typeof credentials>;

async function inSession(
  { config: { host, port, security }, credentials: { username, password } }: SmtpAccount,
  io: Io,
  name: string,
  recipient: string,
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const isSecure = (security ?? (port === 465 ? "tls" : "starttls")) === "tls";
  const login = username === undefined || password === undefined ? null : { username, password };
  // Until there is a mail to be had, a server that is slow is given up soon: nothing is doubled by it.
  io.allow(CALL_MS);
  try {
    const socket = await io.guardedConnect(host, port, isSecure ? "on" : "starttls");
    const close = () => void socket.close().catch(() => {});
    // A socket that nobody waits for any more ends what is done with it.
    io.signal.addEventListener("abort", close);
    socket.closed.catch(() => {});
    try {
      const session = await openSession(socket, isSecure, name, login);
      await run(session);
      await session.quit();
      await session.close();
    } finally {
      close();
    }
  } catch (error) {
    throw refusalOf(error, host, recipient);
  }
}

/** What of the mail is to be announced; a server that does not know of it cannot have it. */
function parameters(session: Session, mail: Uint8Array, addresses: string): string {
  const headEnd = endOfHead(mail);
  const international = !isAscii(addresses) || mail.subarray(0, headEnd).some((byte) => byte > 127);
  if (international && !session.has("SMTPUTF8"))
    throw new ProviderError("giveUp", "The server takes no addresses or headers beyond ASCII.");
  const eightBit = international || mail.some((byte) => byte > 127);
  if (eightBit && !session.has("8BITMIME")) throw new ProviderError("giveUp", "The server takes mail of 7 bits alone.");
  return [
    session.has("SIZE") ? ` SIZE=${mail.length}` : "",
    eightBit ? " BODY=8BITMIME" : "",
    international ? " SMTPUTF8" : "",
  ].join("");
}

function endOfHead(mail: Uint8Array): number {
  for (let at = mail.indexOf(10); at >= 0; at = mail.indexOf(10, at + 1))
    if (mail[at + 1] === 10 || (mail[at + 1] === 13 && mail[at + 2] === 10)) return at;
  return mail.length;
}

const isAscii = (text: string) => /^\p{ASCII}*$/u.test(text);
const domainOf = (address: string) => address.slice(address.lastIndexOf("@") + 1);

/** With its domain in ASCII; the name before it has no such form. */
function inAscii(address: string): string {
  if (/[\r\n<>\0]/.test(address)) throw new ProviderError("giveUp", "The address cannot be written to.");
  const domain = domainOf(address);
  const ascii = isAscii(domain) ? domain : URL.parse(`http://${domain}`)?.hostname;
  return ascii === undefined ? address : address.slice(0, address.length - domain.length) + ascii;
}

/** Servers say the enhanced code again in each line. */
function onceSaid(text: string): string {
  const [, status] = /^([245]\.\d{1,3}\.\d{1,3}) /.exec(text) ?? [];
  return status ? text.replaceAll(`\n${status} `, " ") : text;
}

/** Reasons that another mail by the same account would be refused for as well. */
const OF_ACCOUNT = new Set<Reason>(["relayDenied", "rateLimited"]);
const LIMITED_SECONDS = 900;

function refusalOf(error: unknown, host: string, recipient: string): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof Unspeakable || error instanceof UnsafeUrl)
    return new ProviderError("retry", error.message, { accountFault: true });
  if (error instanceof DnsError) return new ProviderError("retry", error.message);
  if (!(error instanceof Refused))
    return new ProviderError("retry", `The connection with ${host} could not be made or was lost.`);
  const { step, answer } = error;
  const why = `${answer.code} ${onceSaid(answer.text).replaceAll(/\s+/g, " ")}`.trim();
  const { hard, status, reason, diagnostic } = judge({
    ...{ recipient, action: "failed", status: null, remote: true },
    diagnostic: why,
  });
  const details = { hard: hard && step === "rcpt", status, reason, diagnostic };
  if (step === "auth" || answer.code === 530) {
    // 4xx: the server cannot tell at the moment.
    return new ProviderError("retry", why, { accountFault: answer.code >= 500 });
  }
  if (reason === "rateLimited")
    return new ProviderError("retry", why, { accountFault: true, retryAfterSeconds: LIMITED_SECONDS, details });
  if (answer.code < 500) return new ProviderError("retry", why, { details });
  if (OF_ACCOUNT.has(reason)) return new ProviderError("retry", why, { accountFault: true, details });
  return new ProviderError(details.hard ? "bounce" : "giveUp", why, { details });
}
