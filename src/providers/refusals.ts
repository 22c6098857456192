import { readRetryAfter } from "../lib/retry-after";
import { ProviderError } from "./provider";

export const retryAfterOf = (headers: Headers): { retryAfterSeconds?: number } => {
  const seconds = readRetryAfter(headers.get("Retry-After"));
  return seconds === null ? {} : { retryAfterSeconds: seconds };
};

/** Too slow, too early, too many. */
const PASSING = [408, 425, 429];

/** What a status means with every vendor. `isAccount`: what it says blames the account, whatever the status. */
export function refusalBy(
  { status, headers }: Pick<Response, "status" | "headers">,
  why: string,
  isAccount = false,
): ProviderError {
  if (isAccount || status === 401 || status === 403)
    return new ProviderError("retry", why, { accountFault: true, ...retryAfterOf(headers) });
  if (PASSING.includes(status) || status >= 500) return new ProviderError("retry", why, retryAfterOf(headers));
  return new ProviderError("giveUp", why);
}
