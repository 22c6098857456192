import { ProviderError } from "./provider";

export const retryAfterOf = (headers: Headers): { retryAfterSeconds?: number } => {
  const seconds = Number(headers.get("Retry-After") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds > 0 ? { retryAfterSeconds: seconds } : {};
};

/** What a status means with every vendor. `isAccount`: what it says blames the account, whatever the status. */
export function refusalBy(
  { status, headers }: Pick<Response, "status" | "headers">,
  why: string,
  isAccount = false,
): ProviderError {
  if (isAccount || status === 401 || status === 403)
    return new ProviderError("retry", why, { accountFault: true, ...retryAfterOf(headers) });
  if (status === 429 || status >= 500) return new ProviderError("retry", why, retryAfterOf(headers));
  return new ProviderError("giveUp", why);
}
