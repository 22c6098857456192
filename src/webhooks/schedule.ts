/** Seconds before each retry: 75 hours in all. */
export const RETRY_SECONDS = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;

const THROTTLING = [429, 502, 503, 504];
const PAUSE_MOST = 300;

/** The wait before the next attempt, ±20 %, or null when that was the last. Retry-After may stretch it to twice, or to an hour. */
export function retryDelay(
  attemptsBefore: number,
  retryCount: number,
  retryAfter: number | null,
  random = Math.random(),
): number | null {
  const base = RETRY_SECONDS[attemptsBefore];
  if (base === undefined || attemptsBefore >= retryCount) return null;
  const spread = base * (0.8 + 0.4 * random);
  return retryAfter === null ? spread : Math.min(Math.max(spread, retryAfter), Math.max(2 * base, 3600));
}

/** A receiver that is too busy gets a rest, for all of its events. */
export function pauseAfter(status: number | null, retryAfter: number | null): number | null {
  if (status === null || !THROTTLING.includes(status)) return null;
  return Math.min(Math.max(retryAfter ?? 10, 1), PAUSE_MOST);
}
