/** Seconds, or a date. */
export function readRetryAfter(value: string | null, now = Date.now()): number | null {
  if (value === null) return null;
  const seconds = /^\d{1,9}$/.test(value.trim()) ? Number(value) : (Date.parse(value) - now) / 1000;
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
