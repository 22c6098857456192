import { GuardedFetchError, guardedFetch } from "../lib/guard";
import { newId } from "../lib/ids";
import { logFault } from "../lib/log";
import { openSecrets, type SealedSecret } from "./secrets";
import { webhookHeaders } from "./signature";

export type Target = {
  tenantId: string;
  webhookId: string;
  url: string;
  headers: Record<string, string>;
  timeoutMs: number;
  secrets: SealedSecret[];
};

/** One try: what was sent, and what came back or why nothing did. */
export type Attempt = {
  id: string;
  url: string;
  ok: boolean;
  status: number | null;
  ms: number;
  requestHeaders: Record<string, string>;
  responseHeaders: Record<string, string> | null;
  responseBody: string | null;
  error: string | null;
  address: string | null;
};

const ANSWER_MOST = 16_384;
const OWN_HEADERS = ["content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature"];

/** Signs with every live secret and posts; a secret that does not open is a failure like any other. `id` is the event's, the same for each attempt. */
export async function attempt(
  env: Env,
  target: Target,
  id: string,
  body: string,
  most = ANSWER_MOST,
): Promise<Attempt> {
  const made = { id: newId(), url: target.url };
  const sent = { ...target.headers, "content-type": "application/json", "user-agent": "Parley-Webhooks/1" };
  const failed = { ...made, ok: false, responseHeaders: null, responseBody: null };
  let keys: string[];
  try {
    keys = await openSecrets(env, target.tenantId, target.webhookId, target.secrets);
  } catch (error) {
    logFault("webhooks", error);
    return { ...failed, status: null, ms: 0, requestHeaders: loggable(sent), error: "secret", address: null };
  }
  const signed = await webhookHeaders(keys, id, Math.floor(Date.now() / 1000), body);
  const headers = { ...sent, ...signed };
  const requestHeaders = loggable(headers);
  try {
    const answer = await guardedFetch(
      env,
      target.url,
      { method: "POST", headers, body },
      { timeoutMs: target.timeoutMs, maxBytes: most },
    );
    return {
      ...made,
      requestHeaders,
      ok: answer.status >= 200 && answer.status < 300,
      status: answer.status,
      ms: answer.ms,
      responseHeaders: Object.fromEntries(
        [...answer.headers].slice(0, 50).map(([name, value]) => [name, value.slice(0, 1024)]),
      ),
      responseBody: storable(answer.body),
      error: answer.status >= 300 && answer.status < 400 ? "redirect" : null,
      address: answer.address,
    };
  } catch (error) {
    if (!(error instanceof GuardedFetchError)) throw error;
    const { status, ms, kind, address } = error;
    return { ...failed, requestHeaders, status, ms, error: kind, address };
  }
}

/** Why an endpoint that answered so gets nothing more. */
export function endingOf({ status, responseHeaders }: Attempt): string | null {
  if (status === 410) return "The endpoint answered 410 Gone.";
  return wishOf(responseHeaders) === "disable" ? "The endpoint asked to be disabled." : null;
}

export const wishOf = (responseHeaders: Attempt["responseHeaders"]) => responseHeaders?.["webhook-delivery"]?.trim();

const decoder = new TextDecoder();
/** PostgreSQL stores no NUL. */
const storable = (body: Uint8Array): string => decoder.decode(body).replaceAll("\0", "\ufffd");

/** The tenant's own headers may hold credentials: the log says only that they were sent. */
const loggable = (headers: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, OWN_HEADERS.includes(name.toLowerCase()) ? value : "[sent]"]),
  );
