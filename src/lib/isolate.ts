export type WaitUntil = (work: Promise<unknown>) => void;
export type SharedCall = { at: number; done: Promise<void> };

/** A call dies with the request that made it: others wait this long for it, then make their own. */
export const SHARED_CALL_MS = 2_000;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export function log(error: unknown): void {
  console.error(JSON.stringify({ level: "error", message: "a call to the Limiter failed", error: String(error) }));
}

/** Random numbers are not to be had while a Worker starts. */
export function lazyId(): () => string {
  let id: string | undefined;
  return () => (id ??= crypto.randomUUID());
}

/** An object that moved or was updated refuses a call once. */
export async function twice<T>(call: (first: boolean) => Promise<T>): Promise<T> {
  try {
    return await call(true);
  } catch (error) {
    const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
    if (!retryable || overloaded) throw error;
    return call(false);
  }
}

/** One call in flight for all who need it. */
export function share(slot: { call?: SharedCall }, waitUntil: WaitUntil, make: () => Promise<void>): Promise<void> {
  const now = Date.now();
  if (slot.call && now < slot.call.at + SHARED_CALL_MS) return Promise.race([slot.call.done, sleep(SHARED_CALL_MS)]);
  const end = () => {
    if (slot.call === call) slot.call = undefined;
  };
  const call: SharedCall = { at: now, done: make().finally(end) };
  slot.call = call;
  waitUntil(call.done.catch(() => undefined));
  return call.done;
}

/** Values by name; when they become many, the idle ones are forgotten. */
export function cache<T>(create: () => T, isIdle: (value: T, now: number) => boolean): (name: string) => T {
  const values = new Map<string, T>();
  let room = 1_000;
  return (name) => {
    const known = values.get(name);
    if (known) return known;
    if (values.size >= room) {
      const now = Date.now();
      for (const [old, value] of values) if (isIdle(value, now)) values.delete(old);
      room = Math.max(1_000, 2 * values.size);
    }
    const value = create();
    values.set(name, value);
    return value;
  };
}
