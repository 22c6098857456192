import { z } from "../lib/validate";
import { withBase64 } from "./base64";
import { emailOf } from "./email";
import { type Account, BadCallback, type Group, type Io, type Provider, ProviderError } from "./provider";
import { newKeep } from "./push";
import { withRecipients } from "./recipient-headers";
import { refusalBy, retryAfterOf } from "./refusals";

const config = z.strictObject({
  directory: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,255}$/, "A directory's id or domain, or common.")
    .default("common")
    .openapi({ description: "The Microsoft Entra tenant of the app" }),
});
const credentials = z.strictObject({
  clientId: z.uuid(),
  clientSecret: z.string().min(1).max(255),
  refreshToken: z
    .string()
    .min(1)
    .max(8_192)
    .openapi({ description: "Of a user who let the app send (Mail.Send, offline_access)" }),
});
type GraphAccount = Account<z.output<typeof config>, z.output<typeof credentials>>;

const SCOPE = "https://graph.microsoft.com/Mail.Send https://graph.microsoft.com/User.Read offline_access";
/** What a request may hold, in base64. */
const MOST_BYTES = 4_000_000;

const accessTokens = newKeep();
/** Not of the refresh token, which changes with its use. */
const keyOf = ({ tenantId, id, credentials: { clientId, clientSecret } }: GraphAccount) =>
  [tenantId, id, clientId, clientSecret].join(" ");

const accessToken = (account: GraphAccount, io: Io): Promise<string> =>
  accessTokens.get(keyOf(account), async () => {
    const { clientId, clientSecret, refreshToken } = account.credentials;
    const answer = await io.fetch(`https://login.microsoftonline.com/${account.config.directory}/oauth2/v2.0/token`, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "refresh_token",
        client_id: clientId,
        client_secret: clientSecret,
        refresh_token: refreshToken,
        scope: SCOPE,
      }),
      signal: io.signal,
    });
    const told = (await answer.json().catch(() => ({}))) as Grant;
    if (!answer.ok || !told.access_token) {
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

type Grant = { access_token?: string; refresh_token?: string; expires_in?: number; error?: string };

async function ask(account: GraphAccount, io: Io, path: string, init: RequestInit = {}): Promise<Response> {
  const token = await accessToken(account, io);
  const answer = await io.fetch(`https://graph.microsoft.com/v1.0/${path}`, {
    ...init,
    headers: { ...(init.headers as Record<string, string>), Authorization: `Bearer ${token}` },
    signal: io.signal,
  });
  if (answer.status === 401) accessTokens.forget(keyOf(account));
  return answer;
}

/** Microsoft Graph, as the user of an Outlook account. It takes the recipients out of the mail's own headers. */
export const graph = {
  name: "graph",
  media: ["email"],
  config,
  credentials,
  together: true,

  async send(outgoing, account, io) {
    const body = withBase64("", withRecipients(await outgoing[0].mail(), recipientsOf(outgoing)), "");
    if (body.length > MOST_BYTES) throw new ProviderError("giveUp", "Microsoft Graph takes mails of 3 MB at most.");
    const init = { method: "POST", headers: { "Content-Type": "text/plain" }, body };
    const answer = await ask(account, io, "me/sendMail", init);
    if (!answer.ok) throw await refusalOf(answer);
    return { providerMessageId: outgoing[0].id };
  },

  async readCallback() {
    throw new BadCallback("Microsoft Graph does not call back: bounces come by mail.");
  },

  async check(account, io) {
    try {
      const answer = await ask(account, io, "me");
      return answer.ok ? { ok: true, detail: null } : { ok: false, detail: (await refusalOf(answer)).message };
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : "Microsoft could not be asked." };
    }
  },
} satisfies Provider<typeof config, typeof credentials>;

function recipientsOf(outgoing: Group) {
  const of = (kind: string) => outgoing.filter((one) => emailOf(one).kind === kind).map(({ recipient }) => recipient);
  return { to: of("to"), cc: of("cc"), bcc: of("bcc") };
}

async function refusalOf(answer: Response): Promise<ProviderError> {
  const told = (await answer.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
  const code = told.error?.code ?? String(answer.status);
  const why = `Microsoft refuses: ${code} ${told.error?.message ?? ""}`.trim();
  return refusalBy(answer, why, code === "ErrorMessageLimitExceeded" || code === "ErrorExceededMessageLimit");
}
