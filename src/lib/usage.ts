import { cache, lazyId, log, SHARED_CALL_MS, type SharedCall, share, sleep, twice, type WaitUntil } from "./isolate";

/** The month's sums are renewed in the background when they are this old, and waited for when they are that old. */
const RENEW_MS = 30_000;
const AWAIT_MS = 60_000;

/** Sent once or more with the same `seq`, counted once. */
export type UsageReport = {
  isolate: string;
  seq: number;
  counts: Record<string, number>;
  keys: string[];
  /** How often each of the keys came; an older isolate does not say. */
  keyRequests?: Record<string, number>;
  users: string[];
};
/** The sums of the month, and how long to collect before the next report. */
export type UsageAnswer = { month: string; used: Record<string, number>; paceMs: number };
export type Use = { counts?: Record<string, number>; keyId?: string; userId?: string };

/** What an isolate knows of a tenant's month, and what it has not reported yet. */
type Book = UsageAnswer & {
  answeredAt: number;
  counts: Record<string, number>;
  keys: Map<string, number>;
  users: Set<string>;
  seq: number;
  dueAt: number;
  sending?: UsageReport;
  call?: SharedCall;
};

const unreported = () => ({ counts: {}, keys: new Map<string, number>(), users: new Set<string>() });
const newBook = (): Book => ({ month: "", used: {}, paceMs: 1_000, answeredAt: 0, seq: 0, dueAt: 0, ...unreported() });

/** The isolate's side of monthly quantities and last uses: one instance per isolate. */
export function newUsage() {
  const isolate = lazyId();
  const books = cache(newBook, (book, now) => isReported(book) && !book.call && now > book.answeredAt + AWAIT_MS);

  /** Adds to the month's quantities, and notes that a key or a user was there. Never waits. */
  function countUse(env: Env, waitUntil: WaitUntil, tenantId: string, use: Use): void {
    const book = books(tenantId);
    for (const [metric, amount] of Object.entries(use.counts ?? {})) {
      book.counts[metric] = (book.counts[metric] ?? 0) + amount;
    }
    if (use.keyId) book.keys.set(use.keyId, (book.keys.get(use.keyId) ?? 0) + 1);
    if (use.userId) book.users.add(use.userId);
    reportSoon(env, waitUntil, tenantId, book);
  }

  /** What the tenant used this month, at most a minute old; an isolate that knows nothing yet waits for one call. */
  async function monthlyUse(env: Env, waitUntil: WaitUntil, tenantId: string, metric: string): Promise<number> {
    const book = books(tenantId);
    const age = Date.now() - book.answeredAt;
    if (age > AWAIT_MS) await share(book, waitUntil, () => report(env, waitUntil, tenantId, book));
    else if (age > RENEW_MS) reportSoon(env, waitUntil, tenantId, book);
    return knownUse(tenantId, metric);
  }

  /** The same by what is known here, without waiting; whatever is counted keeps it up to date. */
  function knownUse(tenantId: string, metric: string): number {
    const book = books(tenantId);
    const known = book.month === monthOf(Date.now()) ? (book.used[metric] ?? 0) : 0;
    return known + (book.sending?.counts[metric] ?? 0) + (book.counts[metric] ?? 0);
  }

  function reportSoon(env: Env, waitUntil: WaitUntil, tenantId: string, book: Book): void {
    const now = Date.now();
    if (now < book.dueAt + SHARED_CALL_MS) return;
    book.dueAt = now + book.paceMs;
    waitUntil(
      sleep(book.paceMs)
        .then(() => report(env, waitUntil, tenantId, book))
        .catch(log),
    );
  }

  async function report(env: Env, waitUntil: WaitUntil, tenantId: string, book: Book): Promise<void> {
    book.dueAt = 0;
    if (!book.sending) {
      const { counts, keys, users } = book;
      const keyRequests = Object.fromEntries(keys);
      book.sending = {
        isolate: isolate(),
        seq: ++book.seq,
        counts,
        keys: [...keys.keys()],
        keyRequests,
        users: [...users],
      };
      Object.assign(book, unreported());
    }
    const { sending } = book;
    const told = await twice(() => env.LIMITER.getByName(tenantId).report(tenantId, sending));
    if (book.sending === sending) book.sending = undefined;
    Object.assign(book, { month: told.month, used: told.used, paceMs: told.paceMs, answeredAt: Date.now() });
    if (!isReported(book)) reportSoon(env, waitUntil, tenantId, book);
  }

  return { countUse, monthlyUse, knownUse };
}

const isReported = (book: Book): boolean =>
  !book.sending && book.keys.size === 0 && book.users.size === 0 && Object.keys(book.counts).length === 0;

export const monthOf = (time: number): string => new Date(time).toISOString().slice(0, 7);

export const { countUse, monthlyUse, knownUse } = newUsage();
