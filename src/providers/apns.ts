import { z } from "../lib/validate";
import { type Account, BadCallback, type Group, type Io, type Provider } from "./provider";
import { contentOf, deadToken, fitting, newKeep, type PushContent, pem, signJwt, TTL_SECONDS } from "./push";
import { refusalBy } from "./refusals";

const MOST_BYTES = 4_096;
/** Apple refuses tokens older than an hour, and who makes a new one more often than every 20 minutes. */
const TOKEN_SECONDS = 45 * 60;

const identifier = (what: string) => z.string().regex(/^[A-Z0-9]{10}$/, `${what}: ten letters and digits.`);
const config = z.strictObject({
  topic: z.string().min(1).max(255).openapi({ description: "The app's bundle id" }),
  development: z.boolean().default(false).openapi({ description: "Apple's sandbox, for builds not from a store" }),
});
const credentials = z.strictObject({
  keyId: identifier("The key's id"),
  teamId: identifier("The team's id"),
  privateKey: pem,
});
type ApnsAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

const tokens = newKeep();
const keyOf = ({ id, credentials: c }: ApnsAccount) => `${id} ${c.teamId} ${c.keyId} ${c.privateKey}`;

const providerToken = (account: ApnsAccount) =>
  tokens.get(keyOf(account), async () => {
    const { keyId, teamId, privateKey } = account.credentials;
    return {
      value: await signJwt(privateKey, { alg: "ES256", kid: keyId }, { issuer: teamId }),
      seconds: TOKEN_SECONDS,
    };
  });

const payloadOf = ({ title, body, data }: PushContent) => ({
  aps: { alert: { title, body }, sound: "default", "thread-id": data.channelId, "mutable-content": 1 },
  ...data,
});

async function ask(
  account: ApnsAccount,
  token: string,
  id: string,
  headers: Record<string, string>,
  body: string,
  io: Io,
) {
  const host = account.config.development ? "api.sandbox.push.apple.com" : "api.push.apple.com";
  const answer = await io.fetch(`https://${host}/3/device/${encodeURIComponent(token)}`, {
    method: "POST",
    headers: {
      Authorization: `bearer ${await providerToken(account)}`,
      "apns-topic": account.config.topic,
      "apns-push-type": "alert",
      "apns-id": id,
      ...headers,
    },
    body,
    signal: io.signal,
  });
  const reason = answer.ok
    ? null
    : (((await answer.json().catch(() => ({}))) as { reason?: string }).reason ?? String(answer.status));
  return { answer, reason };
}

const DEAD = new Set(["Unregistered", "BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken"]);
const ACCOUNT = new Set([
  "ExpiredProviderToken",
  "InvalidProviderToken",
  "MissingProviderToken",
  "TopicDisallowed",
  "BadTopic",
]);

/** Apple Push Notification service, by token. */
export const apns = {
  name: "apns",
  media: ["push"],
  config,
  credentials,

  async send([outgoing]: Group, account, io) {
    const content = contentOf(outgoing);
    const headers = {
      "apns-priority": "10",
      "apns-collapse-id": content.collapse,
      "apns-expiration": String(Math.floor(Date.now() / 1000) + TTL_SECONDS),
    };
    const body = JSON.stringify(fitting(content, MOST_BYTES, payloadOf));
    const { answer, reason } = await ask(account, content.token, outgoing.id, headers, body, io);
    if (reason === null) return { providerMessageId: answer.headers.get("apns-id") ?? outgoing.id };
    if (answer.status === 410 || DEAD.has(reason)) throw deadToken(reason);
    const why = `Apple refuses: ${reason}.`;
    const isAccount = ACCOUNT.has(reason);
    if (isAccount) tokens.forget(keyOf(account));
    throw refusalBy(answer, why, isAccount);
  },

  async readCallback() {
    throw new BadCallback("Apple does not call back.");
  },

  /** Asked for a device that cannot be, Apple blames the device where the account is in order. */
  async check(account, io) {
    const { reason } = await ask(account, "0".repeat(64), crypto.randomUUID(), {}, '{"aps":{}}', io);
    return reason === null || DEAD.has(reason)
      ? { ok: true, detail: null }
      : { ok: false, detail: `Apple refuses: ${reason}.` };
  },
} satisfies Provider<typeof config, typeof credentials>;
