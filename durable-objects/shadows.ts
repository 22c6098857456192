const LATE_MS = 60_000;

type Shadow = { until: number; at: number };

/** Whose typing is for themselves alone, and until when. */
export function newShadows({ storage: { kv } }: DurableObjectState) {
  const shadows = new Map<string, Shadow>(kv.get<[string, Shadow][]>("shadows"));

  /** As the ban or its end says. */
  function set(userId: string, until: number | null): void {
    if (until === null && !shadows.has(userId)) return;
    const now = Date.now();
    for (const [other, { until: ends }] of shadows) if (ends <= now) shadows.delete(other);
    if (until === null) shadows.delete(userId);
    else shadows.set(userId, { until, at: now });
    if (shadows.size > 0) kv.put("shadows", [...shadows]);
    else kv.delete("shadows");
  }

  /** As the user was let in: a ban that this object has heard of since may be younger than what they were let in by. */
  function admit(userId: string, until: number | null): void {
    if (until !== null || (shadows.get(userId)?.at ?? 0) < Date.now() - LATE_MS) set(userId, until);
  }

  const has = (userId: string): boolean => (shadows.get(userId)?.until ?? 0) > Date.now();

  return { set, admit, has };
}
