import type { Medium } from "../providers/provider";

/** Seconds before each further attempt: a day and a half in all. */
const RETRY_SECONDS = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800, 43_200] as const;

/** A notification that is a quarter of an hour late is news no more. */
const PUSH_ATTEMPTS_MOST = 5;
export const attemptsMost = (medium: Medium): number =>
  medium === "push" ? PUSH_ATTEMPTS_MOST : RETRY_SECONDS.length + 1;

/** The wait after so many attempts, ±20 %, or null when that was the last. A provider may stretch it to a day. */
export function retryDelay(
  medium: Medium,
  attempts: number,
  retryAfter: number | null,
  random = Math.random(),
): number | null {
  const base = RETRY_SECONDS[attempts - 1];
  if (base === undefined || attempts >= attemptsMost(medium)) return null;
  return Math.max(base * (0.8 + 0.4 * random), Math.min(retryAfter ?? 0, 86_400));
}
