type Limit = { burst: number; perSecond: number };
type Bucket = { left: number; at: number; excess: number };

/** Of everything a user's sockets say, and of each command. */
const ALL: Limit = { burst: 40, perSecond: 10 };
const BY_OP: Record<string, Limit> = {
  send: { burst: 30, perSecond: 5 },
  resume: { burst: 20, perSecond: 2 },
  typing: { burst: 10, perSecond: 2 },
  presence: { burst: 5, perSecond: 0.5 },
};
/** So many refusals, and there is no more patience. */
const PATIENCE = 100;

export type Verdict = { ok: true } | { ok: false; retryAfter: number; isFlood: boolean };

/** What each user may say at one object, whatever number of sockets they hold. */
export function newAllowance() {
  const buckets = new Map<string, Bucket>();

  /** Without a command: before it is known what was said. */
  function spend(userId: string, op?: string, now = Date.now()): Verdict {
    const { burst, perSecond } = (op !== undefined && BY_OP[op]) || ALL;
    const key = op === undefined ? userId : `${userId} ${op}`;
    const bucket = buckets.get(key) ?? { left: burst, at: now, excess: 0 };
    buckets.set(key, bucket);
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) * perSecond) / 1000);
    bucket.at = now;
    if (bucket.left < 1) {
      bucket.excess++;
      return {
        ok: false,
        retryAfter: Math.ceil((1 - bucket.left) / perSecond),
        isFlood: op === undefined && bucket.excess > PATIENCE,
      };
    }
    bucket.left--;
    if (bucket.left > burst / 2) bucket.excess = 0;
    return { ok: true };
  }

  /** Who has said nothing for a minute has all of it again. */
  function forget(now: number): void {
    for (const [key, { at }] of buckets) if (at < now - 60_000) buckets.delete(key);
  }

  return { spend, forget };
}
