import { z } from "../lib/validate";
import { type Account, type Io, ProviderError } from "./provider";
import { newKeep } from "./push";
import { refusalBy, retryAfterOf } from "./refusals";

export const config = z.strictObject({
  directory: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,255}$/, "A directory's id or domain, or common.")
    .default("common")
    .openapi({ description: "The Microsoft Entra tenant of the app" }),
});
export const credentials = z.strictObject({
  clientId: z.uuid(),
  clientSecret: z.string().min(1).max(255),
  refreshToken: z.string().min(1).max(8_192).openapi({
    description: "Of a user who let the app send (Mail.Send, offline_access; Mail.ReadWrite for mails over 3 MB)",
  }),
});
export type GraphAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

const SENDING = "https://graph.microsoft.com/Mail.Send https://graph.microsoft.com/User.Read offline_access";
/** Asked for where it is needed alone: users who let the app send and no more go on sending what is small. */
export const DRAFTING = `https://graph.microsoft.com/Mail.ReadWrite ${SENDING}`;
/** How it is said that the user did not grant all of that, at work and at home. */
const NOT_GRANTED = /AADSTS65001\b|consent_required|scopes requested are unauthorized/;
/** What a request may hold, in base64. */
export const MOST_BYTES = 4_000_000;

const accessTokens = newKeep();
/** Not of the refresh token, which changes with its use. */
const keyOf = ({ tenantId, id, credentials: { clientId, clientSecret } }: GraphAccount, scope: string) =>
  [tenantId, id, clientId, clientSecret, scope].join(" ");

const accessToken = (account: GraphAccount, io: Io, scope: string): Promise<string> =>
  accessTokens.get(keyOf(account, scope), async () => {
    const { clientId, clientSecret, refreshToken } = account.credentials;
    const answer = await io.fetch(`https://login.microsoftonline.com/${account.config.directory}/oauth2/v2.0/token`, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "refresh_token",
        client_id: clientId,
        client_secret: clientSecret,
        refresh_token: refreshToken,
        scope,
      }),
      signal: io.signal,
    });
    const told = (await answer.json().catch(() => ({}))) as Grant;
    if (!answer.ok || !told.access_token) {
      if (scope === DRAFTING && NOT_GRANTED.test(`${told.suberror} ${told.error_description}`))
        throw new ProviderError("giveUp", "For mails over 3 MB the account's user must grant Mail.ReadWrite as well.");
      const accountFault = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
      throw new ProviderError("retry", `Microsoft gives no access token: ${told.error ?? answer.status}.`, {
        ...{ accountFault },
        ...retryAfterOf(answer.headers),
      });
    }
    if (told.refresh_token && told.refresh_token !== refreshToken)
      io.keepCredentials({ ...account.credentials, refreshToken: told.refresh_token });
    return { value: told.access_token, seconds: Math.max(60, (told.expires_in ?? 3600) - 120) };
  });

type Grant = {
  access_token?: string;
  refresh_token?: string;
  expires_in?: number;
  error?: string;
  suberror?: string;
  error_description?: string;
};

export async function ask(
  account: GraphAccount,
  io: Io,
  path: string,
  init: RequestInit = {},
  scope = SENDING,
): Promise<Response> {
  const token = await accessToken(account, io, scope);
  const answer = await io.fetch(`https://graph.microsoft.com/v1.0/${path}`, {
    ...init,
    headers: { ...(init.headers as Record<string, string>), Authorization: `Bearer ${token}` },
    signal: io.signal,
  });
  if (answer.status === 401) accessTokens.forget(keyOf(account, scope));
  return answer;
}

export async function refusalOf(answer: Response): Promise<ProviderError> {
  const told = (await answer.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
  const code = told.error?.code ?? String(answer.status);
  const why = `Microsoft refuses: ${code} ${told.error?.message ?? ""}`.trim();
  return refusalBy(answer, why, code === "ErrorMessageLimitExceeded" || code === "ErrorExceededMessageLimit");
}
