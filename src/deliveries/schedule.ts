import { longestOf } from "../providers/patience";
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

/** What became of all that was claimed is recorded at the end. */
const RECORDING_MS = 20_000;

/** Milliseconds until nothing of a claim may be under way any more: whoever claims it next would send it again. */
export const claimLeft = (claim: string, now = Date.now()): number => Date.parse(claim) - RECORDING_MS - now;

/** Whether a mail of so many bytes is surely done with by then, however slow its server is. */
export const isTimeFor = (bytes: number, claim: string, now = Date.now()): boolean =>
  longestOf(bytes) <= claimLeft(claim, now);
