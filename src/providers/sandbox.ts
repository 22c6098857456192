import { equalBytes, hmac, toHex, utf8 } from "../lib/crypto";
import { z } from "../lib/validate";
import {
  BadCallback,
  BadSignature,
  type Heard,
  type Outgoing,
  PROVIDER_MEDIA,
  type Provider,
  ProviderError,
  SAID,
  type Said,
} from "./provider";

type Script = {
  /** A telephone number that ends in 55500 and these two digits. */
  digits: string;
  says: readonly Said[];
  details?: Record<string, unknown>;
  replies?: true;
  refuses?: (attempt: number) => ProviderError | null;
};

const userUnknown = {
  hard: true,
  status: "5.1.1",
  reason: "userUnknown",
  diagnostic: "550 5.1.1 There is no such user here",
};
const mailboxFull = {
  hard: false,
  status: "4.2.2",
  reason: "mailboxFull",
  diagnostic: "452 4.2.2 The mailbox is full",
};
const busy = () => new ProviderError("retry", "451 The sandbox pretends to be busy.", { retryAfterSeconds: 1 });

/**
 * What a recipient does is told by its name: an address `bounced@…` or `bounced+anything@…`, a handle `bounced`,
 * or a telephone number that ends in 55500 and the script's digits. All others deliver.
 */
export const SCRIPTS = {
  silent: { digits: "00", says: [] },
  delivered: { digits: "01", says: ["delivered"] },
  opened: { digits: "02", says: ["delivered", "opened"] },
  clicked: { digits: "03", says: ["delivered", "opened", "clicked"] },
  deferred: { digits: "04", says: ["deferred"] },
  bounced: { digits: "05", says: ["bounced"], details: userUnknown },
  "soft-bounced": { digits: "06", says: ["bounced"], details: mailboxFull },
  "late-bounced": { digits: "07", says: ["delivered", "bounced"], details: userUnknown },
  complained: { digits: "08", says: ["delivered", "complained"] },
  unsubscribed: { digits: "09", says: ["delivered", "unsubscribed"] },
  replied: { digits: "10", says: ["delivered"], replies: true },
  "fail-retry": { digits: "11", says: ["delivered"], refuses: (attempt) => (attempt <= 2 ? busy() : null) },
  "fail-always": { digits: "12", says: [], refuses: busy },
  "fail-permanent": {
    digits: "13",
    says: [],
    refuses: () => new ProviderError("giveUp", "554 The sandbox refuses this recipient."),
  },
  suppressed: {
    digits: "14",
    says: [],
    refuses: () => new ProviderError("suppress", "The recipient is on the sandbox's suppression list."),
  },
} as const satisfies Record<string, Script>;

const scripts: Record<string, Script> = SCRIPTS;

function scriptOf(recipient: string): Script {
  const number = /55500(\d\d)$/.exec(recipient.replaceAll(/[\s().-]/g, ""));
  const name = /^[^@+]*/.exec(recipient.toLowerCase())![0];
  const named = Object.hasOwn(scripts, name) ? scripts[name] : undefined;
  return named ?? Object.values(scripts).find(({ digits }) => digits === number?.[1]) ?? SCRIPTS.delivered;
}

const PREFIX = "sandbox-";
export const sandboxId = (deliveryId: string): string => `${PREFIX}${deliveryId}`;

/** What a vendor would call back with some seconds after it got this; the same each time it is asked. */
export function playBack({ id, recipient }: Pick<Outgoing, "id" | "recipient">): Heard {
  const { says, details, replies } = scriptOf(recipient);
  const providerMessageId = sandboxId(id);
  return {
    receipts: says.map((status) => ({
      eventId: `${providerMessageId} ${status}`,
      providerMessageId,
      status,
      ...(status === "bounced" && { details }),
    })),
    replies: replies
      ? [
          {
            eventId: `${providerMessageId} reply`,
            providerMessageId,
            from: recipient,
            text: "This is what the sandbox replies.",
          },
        ]
      : [],
  };
}

const Callback = z.object({
  receipts: z
    .array(
      z.object({
        eventId: z.string().min(1).max(500),
        messageId: z.string().max(500),
        status: z.enum(SAID),
        details: z.record(z.string(), z.unknown()).optional(),
      }),
    )
    .max(100),
});

const TOLERANCE_SECONDS = 300;

/** `Sandbox-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. */
export async function signCallback(
  secret: string,
  body: string,
  seconds = Math.floor(Date.now() / 1000),
): Promise<string> {
  return `t=${seconds},v1=${toHex(await hmac(utf8(secret), `${seconds}.${body}`))}`;
}

/** Takes everything, sends nothing, and plays back what its recipients' names ask for. */
export const sandbox = {
  name: "sandbox",
  media: PROVIDER_MEDIA,
  config: z.strictObject({
    delaySeconds: z
      .int()
      .min(0)
      .max(900)
      .default(1)
      .openapi({ description: "How long after a send its statuses come back" }),
    healthy: z.boolean().default(true).openapi({ description: "What a health check finds" }),
  }),
  credentials: z.strictObject({
    signingSecret: z
      .string()
      .min(16)
      .max(255)
      .optional()
      .openapi({ description: "Without it no callback is believed" }),
  }),

  async send([outgoing], account, io) {
    const { says, replies, refuses } = scriptOf(outgoing.recipient);
    const refusal = refuses?.(outgoing.attempt);
    if (refusal) throw refusal;
    if (says.length > 0 || replies) io.callBackIn(account.config.delaySeconds);
    return { providerMessageId: sandboxId(outgoing.id) };
  },

  async readCallback(request, account) {
    const body = await request.text();
    const header = request.headers.get("Sandbox-Signature") ?? "";
    const seconds = Number(/^t=(\d{1,12}),v1=/.exec(header)?.[1]);
    const { signingSecret } = account.credentials;
    if (!signingSecret || !(Math.abs(Date.now() / 1000 - seconds) <= TOLERANCE_SECONDS)) throw new BadSignature();
    if (!equalBytes(utf8(header), utf8(await signCallback(signingSecret, body, seconds)))) throw new BadSignature();
    const said = Callback.safeParse(readJson(body));
    if (!said.success) throw new BadCallback(said.error.message);
    const receipts = said.data.receipts.map(({ messageId, ...receipt }) => ({
      ...receipt,
      providerMessageId: messageId,
    }));
    return { receipts, replies: [] };
  },

  async check(account) {
    return account.config.healthy
      ? { ok: true, detail: null }
      : { ok: false, detail: "The sandbox was told to be unwell." };
  },

  domains: {
    async add(domain, { tenantId }) {
      const seed = toHex(await hmac(utf8(tenantId), domain));
      const tokens = [seed.slice(0, 20), seed.slice(20, 40), seed.slice(40, 60)];
      return {
        reference: `${PREFIX}${domain}`,
        records: [
          ...tokens.map((token) => ({
            purpose: "dkim" as const,
            type: "CNAME" as const,
            name: `${token}._domainkey.${domain}`,
            value: `${token}.dkim.sandbox.parley.dev`,
          })),
          { purpose: "spf", mechanism: "include:spf.sandbox.parley.dev" },
        ],
      };
    },
    async remove() {},
  },
} satisfies Provider<SandboxConfig, SandboxCredentials>;

type SandboxConfig = z.ZodType<{ delaySeconds: number; healthy: boolean }>;
type SandboxCredentials = z.ZodType<{ signingSecret?: string | undefined }>;

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
