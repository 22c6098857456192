import { vi } from "vitest";

/** Turns of the microtask queue after which a step of the tested code has come to rest. */
const TURNS = 40;

/** Time in whole milliseconds that passes as fast as the machine can; timers and `Date.now()` follow it. */
export function simulateTime(start: number) {
  let now = start;
  let pending = 0;
  const due = new Map<number, (() => void)[]>();
  const at = (time: number, run: () => void) => {
    const when = Math.max(now, Math.ceil(time));
    due.set(when, [...(due.get(when) ?? []), run]);
    pending++;
  };
  vi.spyOn(Date, "now").mockImplementation(() => now);
  vi.stubGlobal("setTimeout", (run: () => void, ms = 0) => at(now + ms, run));
  return {
    at,
    sleep: (ms: number) => new Promise<void>((resolve) => at(now + ms, resolve)),
    /** Runs what `read` does as a machine would whose clock is off by this much. */
    skewed<T>(ms: number, read: () => T): T {
      now += ms;
      try {
        return read();
      } finally {
        now -= ms;
      }
    },
    /** Until a moment, or until nothing is left to do. */
    async passes(until = Number.POSITIVE_INFINITY): Promise<void> {
      for (; pending > 0 && now <= until; now++) {
        for (let runs = due.get(now); runs; runs = due.get(now)) {
          due.delete(now);
          for (const run of runs) {
            pending--;
            run();
            for (let turn = 0; turn < TURNS; turn++) await null;
          }
        }
      }
    },
    stop(): void {
      vi.restoreAllMocks();
      vi.unstubAllGlobals();
    },
  };
}
