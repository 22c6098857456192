type State = { failures: number; openUntil: number };

const FAILURES = 5;
const FIRST_MS = 5000;
const LONGEST_MS = 60_000;
const states = new Map<string, State>();

/** Of endpoints that somebody waits for: after five failures in a row nobody waits for them, but for one probe now and then. */
export function isOpen(hookId: string, now = Date.now()): boolean {
  const state = states.get(hookId);
  if (!state || state.failures < FAILURES) return false;
  if (now < state.openUntil) return true;
  state.openUntil = now + FIRST_MS;
  return false;
}

export function report(hookId: string, ok: boolean, now = Date.now()): void {
  if (ok) {
    states.delete(hookId);
    return;
  }
  const failures = (states.get(hookId)?.failures ?? 0) + 1;
  if (states.size > 10_000) states.clear();
  states.set(hookId, {
    failures,
    openUntil: now + Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - FAILURES)),
  });
}
