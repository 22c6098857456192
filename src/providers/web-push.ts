import { fromBase64Url, toBase64Url, utf8 } from "../lib/crypto";
import { GuardedFetchError } from "../lib/guard";
import { z } from "../lib/validate";
import { type Account, BadCallback, type Provider, ProviderError } from "./provider";
import { contentOf, deadToken, fitting, newKeep, type PushContent, signJwt, TTL_SECONDS } from "./push";
import { refusalBy } from "./refusals";

type Bytes = Uint8Array<ArrayBuffer>;

/** Services take 4,096 encrypted bytes; what encryption adds is 103 of them. */
const MOST_BYTES = 3_993;
const RECORD_BYTES = 4_096;
const P256 = { name: "ECDH", namedCurve: "P-256" } as const;

const point = z.string().regex(/^[A-Za-z0-9_-]{87}$/, "65 bytes in base64url.");
const config = z.strictObject({
  publicKey: point.openapi({ description: "The VAPID public key, which browsers subscribe with" }),
  subject: z
    .string()
    .max(255)
    .regex(/^(mailto:.+@.+|https:\/\/.+)$/, "mailto: or https://, whom push services may write to."),
});
const credentials = z.strictObject({
  privateKey: z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes in base64url.")
    .openapi({ description: "The VAPID private key" }),
});
type WebPushAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

/** As browsers give it: JSON of `PushSubscription`. */
const Subscription = z.object({
  endpoint: z.url({ protocol: /^https?$/ }).max(2_048),
  keys: z.object({ p256dh: point, auth: z.string().regex(/^[A-Za-z0-9_-]{22}$/) }),
});
export type Subscription = z.infer<typeof Subscription>;

export function subscriptionIn(token: string): Subscription | null {
  try {
    return Subscription.safeParse(JSON.parse(token)).data ?? null;
  } catch {
    return null;
  }
}

/** RFC 8292: who sends, to this push service alone. */
async function vapid(
  { config: { publicKey, subject }, credentials: { privateKey } }: WebPushAccount,
  audience: string,
) {
  const point = fromBase64Url(publicKey);
  const [x, y] = [toBase64Url(point.slice(1, 33)), toBase64Url(point.slice(33))];
  const claims = { audience, subject, lifetime: 43_200 };
  return signJwt({ kty: "EC", crv: "P-256", x, y, d: privateKey }, { alg: "ES256" }, claims);
}

const tokens = newKeep();
const vapidFor = (account: WebPushAccount, audience: string) =>
  tokens.get(`${JSON.stringify([account.id, account.config, account.credentials])} ${audience}`, async () => ({
    value: await vapid(account, audience),
    seconds: 36_000,
  }));

const joined = (...parts: Uint8Array[]): Bytes => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

async function expand(key: Bytes, salt: Bytes, info: Bytes, length: number): Promise<Bytes> {
  const imported = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
  return new Uint8Array(
    await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, imported, length * 8),
  );
}

/** RFC 8291: for the browser alone, in one record of aes128gcm. */
export async function encryptFor({ keys }: Subscription, plain: Bytes): Promise<Bytes> {
  const theirs = fromBase64Url(keys.p256dh);
  const pair = (await crypto.subtle.generateKey(P256, true, ["deriveBits"])) as CryptoKeyPair;
  const ours = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  const publicKey = await crypto.subtle.importKey("raw", theirs, P256, false, []);
  const shared = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "ECDH", public: publicKey } as never, pair.privateKey, 256),
  );
  const key = await expand(shared, fromBase64Url(keys.auth), joined(utf8("WebPush: info\0"), theirs, ours), 32);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const contentKey = await expand(key, salt, utf8("Content-Encoding: aes128gcm\0"), 16);
  const nonce = await expand(key, salt, utf8("Content-Encoding: nonce\0"), 12);
  const aes = await crypto.subtle.importKey("raw", contentKey, "AES-GCM", false, ["encrypt"]);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, aes, joined(plain, new Uint8Array([2])));
  const head = new DataView(new ArrayBuffer(5));
  head.setUint32(0, RECORD_BYTES);
  head.setUint8(4, ours.length);
  return joined(salt, new Uint8Array(head.buffer), ours, new Uint8Array(sealed));
}

const payloadOf = ({ title, body, data, collapse }: PushContent) => ({ title, body, tag: collapse, data });

/** Web Push: to the service that the browser named, by VAPID. */
export const webPush = {
  name: "webpush",
  media: ["push"],
  config,
  credentials,

  async send([outgoing], account, io) {
    const content = contentOf(outgoing);
    const subscription = subscriptionIn(content.token);
    if (!subscription) throw deadToken("it is no push subscription");
    const plain = utf8(JSON.stringify(fitting(content, MOST_BYTES, payloadOf)));
    const body = await encryptFor(subscription, plain).catch(() => {
      throw deadToken("its keys cannot be used");
    });
    const jwt = await vapidFor(account, new URL(subscription.endpoint).origin);
    const headers = {
      Authorization: `vapid t=${jwt}, k=${account.config.publicKey}`,
      "Content-Encoding": "aes128gcm",
      "Content-Type": "application/octet-stream",
      TTL: String(TTL_SECONDS),
      Urgency: "high",
      Topic: content.collapse.replaceAll("-", "").slice(0, 32),
    };
    const answer = await io.guardedFetch(subscription.endpoint, { method: "POST", headers, body }).catch(unreachable);
    if (answer.status >= 200 && answer.status < 300)
      return { providerMessageId: answer.headers.get("Location") ?? outgoing.id };
    if (answer.status === 404 || answer.status === 410) throw deadToken(`status ${answer.status}`);
    throw refusalBy(answer, `The push service answers with status ${answer.status}.`);
  },

  async readCallback() {
    throw new BadCallback("Push services do not call back.");
  },

  async check(account) {
    try {
      await vapid(account, "https://example.org");
      return { ok: true, detail: null };
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : "The VAPID keys are no pair." };
    }
  },
} satisfies Provider<typeof config, typeof credentials>;

function unreachable(error: unknown): never {
  if (!(error instanceof GuardedFetchError)) throw error;
  if (error.kind === "unsafe_url" || error.kind === "unsafe_address") throw deadToken(error.message);
  throw new ProviderError("retry", error.message);
}
