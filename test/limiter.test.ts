import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Limiter } from "../durable-objects/limiter";
import { type Lease, type LeaseAsk, newLeases, type TokenAnswer } from "../src/lib/limits";
import { simulateTime } from "./setup/simulated-time";

const ISOLATES = 50;
const WINDOW = 60_000;
const NOON = Date.UTC(2026, 10, 20, 12);

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

type Arrival = { at: number; isolate: number };
type Answered = TokenAnswer & Arrival & { answeredAt: number };
type World = {
  limit: number;
  arrivals: Arrival[];
  latency?: () => number;
  skew?: number;
  crashes?: Arrival[];
  /** The object did it, the isolate never hears of it. */
  losesAnswer?: () => boolean;
};

/** Isolates in simulated time before one real object; calls take their time, clocks differ, isolates die. */
async function play({ limit, arrivals, latency = () => 0, skew = 0, crashes = [], losesAnswer = () => false }: World) {
  const answers: Answered[] = [];
  let calls = 0;
  await runInDurableObject(env.LIMITER.getByName(crypto.randomUUID()), async (object: Limiter) => {
    const time = simulateTime(NOON);
    const born = () => {
      const life = { dead: false };
      const lease = async (ask: LeaseAsk): Promise<Lease> => {
        if (life.dead) return new Promise(() => undefined);
        calls++;
        const sent = structuredClone(ask);
        await time.sleep(latency());
        const lent = time.skewed(skew, () => object.lease(sent));
        await time.sleep(latency());
        if (losesAnswer()) throw Object.assign(new Error("moved"), { retryable: true });
        return life.dead ? new Promise(() => undefined) : lent;
      };
      return { life, leases: newLeases(), env: { LIMITER: { getByName: () => ({ lease }) } } as unknown as Env };
    };
    const isolates = Array.from({ length: ISOLATES }, born);
    for (const { at, isolate } of crashes) {
      time.at(NOON + at, () => {
        isolates[isolate]!.life.dead = true;
        isolates[isolate] = born();
      });
    }
    for (const arrival of arrivals) {
      time.at(NOON + arrival.at, async () => {
        const { leases, env, life } = isolates[arrival.isolate]!;
        const ask = { limiter: "any", class: "default", perMinute: limit };
        const answer = await leases.takeToken(env, () => undefined, ask).catch(() => undefined);
        if (answer && !life.dead) answers.push({ ...answer, ...arrival, answeredAt: Date.now() - NOON });
      });
    }
    await time.passes();
    time.stop();
  });
  return { answers, calls };
}

/** Numbers that look random, and are the same for the same seed. */
function dice(seed: number): (sides: number) => number {
  let state = seed | 1;
  return (sides) => {
    state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 374_761_393;
    return ((state ^ (state >>> 13)) >>> 0) % sides;
  };
}

const every = (ms: number, from: number, to: number, isolate: number): Arrival[] =>
  Array.from({ length: Math.ceil((to - from) / ms) }, (_, i) => ({ at: from + i * ms, isolate }));

const allowed = (answers: Answered[], isolate?: number): number =>
  answers.filter((answer) => answer.allowed && (isolate === undefined || answer.isolate === isolate)).length;

const worlds = fc.record({
  limit: fc.integer({ min: 1, max: 1_000 }),
  phases: fc.array(
    fc.record({
      from: fc.integer({ min: 0, max: 90_000 }),
      length: fc.integer({ min: 1, max: 60_000 }),
      requests: fc.integer({ min: 1, max: 800 }),
      isolates: fc.integer({ min: 1, max: ISOLATES }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  slowest: fc.constantFrom(1, 5, 50, 400, 1_500),
  lost: fc.constantFrom(0, 0, 5, 40),
  skew: fc.integer({ min: -90_000, max: 90_000 }),
  crashes: fc.integer({ min: 0, max: 30 }),
  seed: fc.integer(),
});

it("the limit is never exceeded in a window, with slow and lost calls, wrong clocks and isolates that die", async () => {
  const judge = fc.asyncProperty(worlds, async ({ limit, phases, slowest, lost, skew, crashes, seed }) => {
    const roll = dice(seed);
    const somewhen = (from: number, length: number, isolates: number) => () => ({
      at: from + roll(length),
      isolate: roll(isolates),
    });
    const { answers } = await play({
      limit,
      skew,
      latency: () => roll(slowest),
      losesAnswer: () => roll(100) < lost,
      arrivals: phases.flatMap((p) => Array.from({ length: p.requests }, somewhen(p.from, p.length, p.isolates))),
      crashes: Array.from({ length: crashes }, somewhen(0, 150_000, ISOLATES)),
    });
    const windows = new Map<number, number>();
    for (const { answeredAt } of answers.filter((answer) => answer.allowed)) {
      const window = Math.floor((NOON + answeredAt + skew) / WINDOW);
      windows.set(window, (windows.get(window) ?? 0) + 1);
    }
    expect(Math.max(0, ...windows.values())).toBeLessThanOrEqual(limit);
  });
  await fc.assert(judge, { numRuns: 60, endOnFailure: true });
}, 60_000);

it("with all isolates active at most 1 % of what the limit allows is refused", async () => {
  const judge = fc.asyncProperty(
    fc.integer({ min: 500, max: 3_000 }),
    fc.integer({ min: 2_000, max: 59_000 }),
    fc.double({ min: 0.5, max: 2, noNaN: true }),
    fc.integer(),
    async (limit, length, load, seed) => {
      const roll = dice(seed);
      const requests = Math.round(limit * load);
      const arrivals = Array.from({ length: requests }, () => ({ at: roll(length), isolate: roll(ISOLATES) }));
      const { answers } = await play({ limit, latency: () => roll(15), arrivals });
      const due = answers.sort((a, b) => a.at - b.at).slice(0, limit);
      expect(due.filter((answer) => !answer.allowed).length).toBeLessThanOrEqual(limit / 100);
      expect(allowed(answers)).toBeGreaterThanOrEqual(Math.min(limit, requests) * 0.99);
    },
  );
  await fc.assert(judge, { numRuns: 40, endOnFailure: true });
}, 60_000);

it("a burst over all isolates that are new gets the whole limit", async () => {
  const roll = dice(7);
  const arrivals = Array.from({ length: 3_000 }, () => ({ at: roll(1_000), isolate: roll(ISOLATES) }));

  const { answers } = await play({ limit: 3_000, latency: () => roll(15), arrivals });

  expect(allowed(answers)).toBe(3_000);
});

describe("a lease", () => {
  // One isolate shows a need of ten a second and holds nine tokens, of which it uses one.
  const holder = [...every(20, 0, 40, 0)];

  it("that is not used lapses after a second and serves others", async () => {
    const greedy = every(5, 100, 900, 1);
    const later = every(5, 1_100, 2_500, 1);

    const { answers } = await play({ limit: 100, arrivals: [...holder, ...greedy, ...later] });

    const early = answers.filter(({ at }) => at < 1_000);
    expect(allowed(early, 1)).toBeLessThan(95);
    expect(allowed(answers)).toBe(100);
  });

  it("of an isolate that died counts as used until the next window", async () => {
    const greedy = every(100, 100, 70_000, 1);

    const { answers } = await play({ limit: 100, arrivals: [...holder, ...greedy], crashes: [{ at: 50, isolate: 0 }] });

    const [first, second] = [answers.filter(({ at }) => at < WINDOW), answers.filter(({ at }) => at >= WINDOW)];
    expect(allowed(first)).toBeLessThan(95);
    expect(allowed(first)).toBeGreaterThan(85);
    expect(allowed(second)).toBe(100);
  });

  it("is renewed before it runs dry: a busy isolate waits for a call once a minute, and makes few", async () => {
    const { answers, calls } = await play({ limit: 90_000, latency: () => 10, arrivals: every(1, 5_000, 25_000, 0) });

    expect(allowed(answers)).toBe(20_000);
    expect(answers.filter(({ at, answeredAt }) => answeredAt > at && at > 5_200)).toEqual([]);
    expect(calls / answers.length).toBeLessThan(0.01);
  });

  it("costs one call where requests are rare", async () => {
    const { calls } = await play({ limit: 600, arrivals: every(5_000, 0, 59_000, 0) });

    expect(calls).toBe(12);
  });

  it("is asked for once by requests that come together", async () => {
    const together = Array.from({ length: 100 }, () => ({ at: 0, isolate: 0 }));

    const { answers, calls } = await play({ limit: 1_000, latency: () => 10, arrivals: together });

    expect(allowed(answers)).toBe(100);
    expect(calls).toBeLessThanOrEqual(3);
  });
});

it("refused requests ask again once a second, not each", async () => {
  const { answers, calls } = await play({ limit: 1, arrivals: every(1, 0, 10_000, 0) });

  expect(allowed(answers)).toBe(1);
  expect(calls).toBeLessThanOrEqual(12);
});

describe("with the real calls", () => {
  const ask = (limiter: string, perMinute: number) => ({ limiter, class: "default", perMinute });
  const ignore = () => undefined;

  /** In the middle of a minute, so that no test meets the end of its window. */
  const halt = () => vi.spyOn(Date, "now").mockReturnValue(NOON + 30_000);

  it("50 isolates at once get exactly the limit", async () => {
    halt();
    const limiter = crypto.randomUUID();
    const isolates = Array.from({ length: ISOLATES }, newLeases);
    const awake = Promise.withResolvers<void>();
    const stays = runInDurableObject(env.LIMITER.getByName(limiter), () => awake.promise);

    const answers = await Promise.all(
      Array.from({ length: 800 }, (_, i) => isolates[i % ISOLATES]!.takeToken(env, ignore, ask(limiter, 500))),
    );
    awake.resolve();
    await stays;

    expect(answers.filter((answer) => answer.allowed)).toHaveLength(500);
  });

  it("the answer says what is left and when the window ends", async () => {
    halt();
    const { takeToken } = newLeases();
    const limiter = crypto.randomUUID();
    const answers: TokenAnswer[] = [];
    for (let i = 0; i < 4; i++) answers.push(await takeToken(env, ignore, ask(limiter, 3)));

    expect(answers).toEqual(
      [2, 1, 0, 0].map((remaining, i) => ({ allowed: i < 3, limit: 3, remaining, resetSeconds: 30 })),
    );
  });

  it("classes of endpoints are counted apart", async () => {
    const { takeToken } = newLeases();
    const limiter = crypto.randomUUID();

    await takeToken(env, ignore, ask(limiter, 1));
    const other = await takeToken(env, ignore, { ...ask(limiter, 1), class: "upload" });

    expect(other.allowed).toBe(true);
  });

  it("an object that was evicted still knows what it lent", async () => {
    halt();
    const limiter = crypto.randomUUID();
    for (let i = 0; i < 3; i++) await newLeases().takeToken(env, ignore, ask(limiter, 5));

    await evictDurableObject(env.LIMITER.getByName(limiter));

    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await newLeases().takeToken(env, ignore, ask(limiter, 5)));
    expect(answers.map((answer) => answer.allowed)).toEqual([true, true, false, false]);
  });

  it("a limit that was changed holds from the next lease on", async () => {
    halt();
    const limiter = crypto.randomUUID();
    const { takeToken } = newLeases();
    for (let i = 0; i < 3; i++) await takeToken(env, ignore, ask(limiter, 5));

    expect(await newLeases().takeToken(env, ignore, ask(limiter, 3))).toMatchObject({ allowed: false, remaining: 0 });
    expect(await newLeases().takeToken(env, ignore, ask(limiter, 4))).toMatchObject({ allowed: true, remaining: 0 });
  });

  it("a clock that is set back opens no window again", async () => {
    const clock = halt();
    const limiter = crypto.randomUUID();
    const take = () => newLeases().takeToken(env, ignore, ask(limiter, 1));
    clock.mockReturnValue(NOON + WINDOW);
    await take();
    clock.mockReturnValue(NOON + WINDOW - 5);

    expect((await take()).allowed).toBe(false);
  });
});

describe("when a call fails", () => {
  const ask = { limiter: crypto.randomUUID(), class: "default", perMinute: 10 };

  /** The real object behind a connection that does `what` with the n-th call. */
  function through(what: (n: number, call: () => Promise<Lease>) => Promise<Lease>, limiter = ask.limiter): Env {
    let n = 0;
    const lease = (words: LeaseAsk) => what(n++, async () => env.LIMITER.getByName(limiter).lease(words));
    return { LIMITER: { getByName: () => ({ lease }) } } as unknown as Env;
  }

  it("an object that moved is asked once more, and what it may have lent counts as used", async () => {
    vi.spyOn(Date, "now").mockReturnValue(NOON + 30_000);
    const broken = through(async (n, call) => {
      const lease = await call();
      if (n === 0) throw Object.assign(new Error("moved"), { retryable: true });
      return lease;
    });

    const answer = await newLeases().takeToken(broken, () => undefined, ask);

    expect(answer).toMatchObject({ allowed: true, remaining: 8 });
  });

  it("unused tokens are given back once", async () => {
    const clock = vi.spyOn(Date, "now").mockReturnValue(NOON);
    const whole = { ...ask, limiter: crypto.randomUUID(), perMinute: 100 };
    const broken = through(async (n, call) => {
      const lease = await call();
      if (n === 2) throw Object.assign(new Error("moved"), { retryable: true });
      return lease;
    }, whole.limiter);
    const { takeToken } = newLeases();
    for (const at of [0, 20, 1_100]) {
      clock.mockReturnValue(NOON + at);
      await takeToken(broken, () => undefined, whole);
    }

    const others = newLeases();
    const answers = [];
    for (let i = 0; i < 100; i++) answers.push(await others.takeToken(env, () => undefined, whole));

    expect(answers.filter((answer) => answer.allowed)).toHaveLength(100 - 3 - 1);
  });

  it("the request fails, for it must not pass uncounted", async () => {
    const broken = through(() => Promise.reject(new Error("broken")));

    await expect(newLeases().takeToken(broken, () => undefined, ask)).rejects.toThrow("broken");
  });

  it("a request that waits for another's call makes its own when that one died", async () => {
    const time = simulateTime(NOON);
    const { takeToken } = newLeases();
    const lent: Lease = { window: NOON / WINDOW, tokens: 1, block: 1, left: 9, resetMs: WINDOW };
    const dying = through((n) => (n === 0 ? new Promise(() => undefined) : Promise.resolve(lent)));
    const answers: TokenAnswer[] = [];

    for (const at of [0, 100]) {
      time.at(NOON + at, async () => answers.push(await takeToken(dying, () => undefined, ask)));
    }
    await time.passes();

    expect(answers).toMatchObject([{ allowed: true }]);
  });
});
