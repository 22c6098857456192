import { z } from "../lib/validate";
import { type Account, BadCallback, type Io, type Provider, ProviderError } from "./provider";
import { contentOf, deadToken, fitting, newKeep, type PushContent, pem, signJwt, TTL_SECONDS } from "./push";
import { refusalBy } from "./refusals";

const TOKEN_URL = "https://oauth2.googleapis.com/token";
const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const MOST_BYTES = 4_096;

const config = z.strictObject({ projectId: z.string().regex(/^[a-z][a-z0-9-]{4,62}$/, "A Firebase project's id.") });
const credentials = z.strictObject({
  clientEmail: z.email().openapi({ description: "client_email of the service account" }),
  privateKey: pem.openapi({ description: "private_key of the service account" }),
});
type FcmAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

const accessTokens = newKeep();
const keyOf = ({ id, credentials: { clientEmail, privateKey } }: FcmAccount) => `${id} ${clientEmail} ${privateKey}`;

/** A service account's assertion against an access token, which is good for an hour. */
const accessToken = (account: FcmAccount, io: Io) =>
  accessTokens.get(keyOf(account), async () => {
    const { clientEmail, privateKey } = account.credentials;
    const claims = { issuer: clientEmail, audience: TOKEN_URL, lifetime: 3600, more: { scope: SCOPE } };
    const assertion = await signJwt(privateKey, { alg: "RS256" }, claims);
    const answer = await io.fetch(TOKEN_URL, {
      method: "POST",
      body: new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion }),
      signal: io.signal,
    });
    const told = (await answer.json().catch(() => ({}))) as {
      access_token?: string;
      expires_in?: number;
      error?: string;
    };
    if (!answer.ok || !told.access_token) {
      const accountFault = answer.status >= 400 && answer.status < 500;
      throw new ProviderError("retry", `Google gives no access token: ${told.error ?? answer.status}.`, {
        accountFault,
      });
    }
    return { value: told.access_token, seconds: Math.max(60, (told.expires_in ?? 3600) - 120) };
  });

const messageOf = ({ token, title, body, data, collapse }: PushContent) => ({
  message: {
    token,
    notification: { title, body },
    data,
    android: { ttl: `${TTL_SECONDS}s`, priority: "HIGH", collapse_key: collapse, notification: { tag: collapse } },
    apns: { headers: { "apns-collapse-id": collapse }, payload: { aps: { sound: "default" } } },
    webpush: { headers: { TTL: String(TTL_SECONDS) } },
  },
});

type Refusal = {
  error?: {
    message?: string;
    status?: string;
    details?: { errorCode?: string; fieldViolations?: { field?: string }[] }[];
  };
};

/** Firebase Cloud Messaging, HTTP v1. */
export const fcm = {
  name: "fcm",
  media: ["push"],
  config,
  credentials,

  async send([outgoing], account, io) {
    const token = await accessToken(account, io);
    const answer = await io.fetch(`https://fcm.googleapis.com/v1/projects/${account.config.projectId}/messages:send`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(fitting(contentOf(outgoing), MOST_BYTES, messageOf)),
      signal: io.signal,
    });
    const told = (await answer.json().catch(() => ({}))) as Refusal & { name?: string };
    if (answer.ok) return { providerMessageId: told.name ?? outgoing.id };
    throw refusalOf(answer, told, () => accessTokens.forget(keyOf(account)));
  },

  async readCallback() {
    throw new BadCallback("Firebase does not call back.");
  },

  async check(account, io) {
    accessTokens.forget(keyOf(account));
    try {
      await accessToken(account, io);
      return { ok: true, detail: null };
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : "Google could not be asked." };
    }
  },
} satisfies Provider<typeof config, typeof credentials>;

function refusalOf(answer: Response, { error }: Refusal, forgetToken: () => void): ProviderError {
  const code = error?.details?.find(({ errorCode }) => errorCode)?.errorCode ?? error?.status ?? String(answer.status);
  const blamesToken = error?.details?.some(({ fieldViolations }) =>
    fieldViolations?.some(({ field }) => field === "message.token"),
  );
  if (code === "UNREGISTERED" || code === "SENDER_ID_MISMATCH" || blamesToken) return deadToken(code);
  const why = `Firebase refuses: ${code} ${error?.message ?? ""}`.trim();
  if (answer.status === 401 || answer.status === 403) forgetToken();
  return refusalBy(answer, why);
}
