import { ApiError } from "./errors";
import { cache, lazyId, log, type SharedCall, share, sleep, twice, type WaitUntil } from "./isolate";

/** A lease is good for this long, and never beyond its window. */
export const LEASE_MS = 1_000;
/** A request that got no lease for so long is not kept waiting. */
const PATIENCE_MS = 5_000;

/** `waiting` requests need a token now; `want` is what the isolate would use in a second, `held` what it has of that. */
export type LeaseAsk = {
  isolate: string;
  class: string;
  perMinute: number;
  waiting: number;
  want: number;
  held: number;
  unused: { window: number; tokens: number };
};
export type Lease = { window: number; tokens: number; block: number; left: number; resetMs: number };

/** `limiter` names the object, `class` a group of endpoints with a limit of its own. */
export type TokenAsk = { limiter: string; class: string; perMinute: number };
export type TokenAnswer = { allowed: boolean; limit: number; remaining: number; resetSeconds: number };

type Ticket = { allowed?: boolean };

/** What an isolate holds of one limit: its leases, oldest first, and what it has to give back. */
type Hold = {
  leases: { window: number; tokens: number; renewAt: number; until: number }[];
  unused: { window: number; tokens: number };
  block: number;
  left: number;
  resetAt: number;
  refusedUntil: number;
  waiting: Set<Ticket>;
  askedAt: number;
  usedSince: number;
  call?: SharedCall;
};

const NOTHING = { window: 0, tokens: 0 };
const newHold = (): Hold => ({
  leases: [],
  unused: NOTHING,
  block: 1,
  left: 0,
  resetAt: 0,
  refusedUntil: 0,
  waiting: new Set(),
  askedAt: 0,
  usedSince: 0,
});

/** The isolate's side of rate limits. Its clock is compared with itself alone, so no skew can stretch a lease. */
export function newLeases() {
  const isolate = lazyId();
  const holds = cache(newHold, (hold, now) => hold.resetAt <= now && hold.waiting.size === 0 && !hold.call);

  async function takeToken(env: Env, waitUntil: WaitUntil, ask: TokenAsk): Promise<TokenAnswer> {
    const hold = holds(`${ask.limiter} ${ask.class}`);
    const renewed = () => share(hold, waitUntil, () => renew(env, waitUntil, hold, ask));
    if (take(hold)) {
      if (!hold.call && runsDry(hold)) waitUntil(renewed().catch(log));
      return answer(hold, ask, true);
    }
    const ticket: Ticket = {};
    hold.waiting.add(ticket);
    try {
      for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
        if (Date.now() < hold.refusedUntil) return answer(hold, ask, false);
        await renewed();
        if (ticket.allowed !== undefined) return answer(hold, ask, ticket.allowed);
      }
    } finally {
      hold.waiting.delete(ticket);
    }
    throw new ApiError("unavailable", "The rate limiter does not answer in time.");
  }

  async function renew(env: Env, waitUntil: WaitUntil, hold: Hold, ask: TokenAsk): Promise<void> {
    const sent = Date.now();
    const lease = await askLease(env, hold, ask, hold.waiting.size, Math.ceil(perSecond(hold)));
    const now = Date.now();
    const until = sent + Math.min(LEASE_MS, lease.resetMs);
    // What ends with its window is not worth renewing.
    const renewAt = lease.resetMs > LEASE_MS ? until - LEASE_MS / 2 : until;
    const { window, tokens, block, left, resetMs } = lease;
    if (tokens > 0) hold.leases.push({ window, tokens, renewAt, until });
    else if (left === 0) hold.refusedUntil = until;
    Object.assign(hold, { block, left, resetAt: now + resetMs });
    const spare = tokens > hold.waiting.size;
    serve(hold);
    if (spare)
      waitUntil(
        sleep(until - now + 1)
          .then(() => giveBack(env, hold, ask))
          .catch(log),
      );
  }

  /** A lease that lapses in an idle isolate has no next call that could return it. */
  async function giveBack(env: Env, hold: Hold, ask: TokenAsk): Promise<void> {
    lapse(hold);
    if (hold.leases.length > 0 || hold.call || hold.unused.tokens === 0 || hold.resetAt <= Date.now()) return;
    hold.left = (await askLease(env, hold, ask, 0, 0)).left;
  }

  async function askLease(env: Env, hold: Hold, ask: TokenAsk, waiting: number, want: number): Promise<Lease> {
    lapse(hold);
    const { limiter, perMinute } = ask;
    const { unused } = hold;
    const words = { isolate: isolate(), class: ask.class, perMinute, waiting, want, held: inHand(hold), unused };
    hold.unused = NOTHING;
    hold.askedAt = Date.now();
    hold.usedSince = -waiting;
    // If the first call did arrive, its grant counts as used, and what it returned must not be returned again.
    return twice((first) => env.LIMITER.getByName(limiter).lease(first ? words : { ...words, unused: NOTHING }));
  }

  return { takeToken };
}

/** Those who wait get theirs when it comes, before anybody who asks later. */
function serve(hold: Hold): void {
  for (const ticket of hold.waiting) {
    if (take(hold)) ticket.allowed = true;
    else if (Date.now() < hold.refusedUntil) ticket.allowed = false;
    else return;
    hold.waiting.delete(ticket);
  }
}

function take(hold: Hold): boolean {
  lapse(hold);
  const lease = hold.leases[0];
  if (!lease) return false;
  if (--lease.tokens === 0) hold.leases.shift();
  hold.usedSince++;
  return true;
}

/** Tokens that were not used in time belong to the Limiter again, as long as their window lasts. */
function lapse(hold: Hold): void {
  const now = Date.now();
  for (let lease = hold.leases[0]; lease && lease.until <= now; lease = hold.leases[0]) {
    hold.leases.shift();
    const before = hold.unused.window === lease.window ? hold.unused.tokens : 0;
    hold.unused = { window: lease.window, tokens: before + lease.tokens };
  }
}

const inHand = (hold: Hold): number => hold.leases.reduce((sum, lease) => sum + lease.tokens, 0);

function perSecond(hold: Hold): number {
  return (
    (Math.max(0, hold.usedSince + hold.waiting.size) * LEASE_MS) / Math.max(Date.now() - hold.askedAt, LEASE_MS / 10)
  );
}

/** Less than half of what a second needs will last, or half of what can be had; where tokens are scarce, nobody hoards. */
function runsDry(hold: Hold): boolean {
  if (hold.block === 1) return false;
  const now = Date.now();
  const lasting = hold.leases.reduce((sum, lease) => sum + (now < lease.renewAt ? lease.tokens : 0), 0);
  return lasting < Math.min(perSecond(hold), hold.block) / 2;
}

function answer(hold: Hold, ask: TokenAsk, allowed: boolean): TokenAnswer {
  const remaining = allowed ? hold.left + inHand(hold) : 0;
  const resetSeconds = Math.max(1, Math.ceil((hold.resetAt - Date.now()) / 1_000));
  return { allowed, limit: ask.perMinute, remaining, resetSeconds };
}

export const { takeToken } = newLeases();
