export type WaitUntil = (work: Promise<unknown>) => void;
export type SharedCall = { at: number; ended: boolean; failure?: { error: unknown } };

/** A call dies with the request that made it: others wait this long for it, then make their own. */
export const SHARED_CALL_MS = 2_000;
const LOOK_MOST_MS = 32;

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

/**
 * One call in flight for all who need it. Who did not make it looks for its end by timers of its own: what goes on by
 * another request's promise may go on in that request's name.
 */
export async function share(
  slot: { call?: SharedCall },
  waitUntil: WaitUntil,
  make: () => Promise<void>,
): Promise<void> {
  const now = Date.now();
  const { call: running } = slot;
  if (running && now < running.at + SHARED_CALL_MS) return endOf(running);
  const call: SharedCall = { at: now, ended: false };
  slot.call = call;
  const made = make()
    .catch((error) => {
      call.failure = { error };
      throw error;
    })
    .finally(() => {
      call.ended = true;
      if (slot.call === call) slot.call = undefined;
    });
  waitUntil(made.catch(() => undefined));
  return made;
}

async function endOf(call: SharedCall): Promise<void> {
  for (let pause = 2, waited = 0; !call.ended && waited < SHARED_CALL_MS; pause = Math.min(1.5 * pause, LOOK_MOST_MS)) {
    await sleep(pause);
    waited += pause;
  }
  if (call.failure) throw call.failure.error;
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
