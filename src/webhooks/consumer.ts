import { type DeliveryMessage, enqueueDeliveries } from "../events/service";
import { askDoor } from "../lib/db";
import { logFault } from "../lib/log";
import { readRetryAfter } from "../lib/retry-after";
import { type Attempt, attempt, endingOf, type Target, wishOf } from "./attempt";
import { applyHealth, type Change, disable, exhaust } from "./health";
import { pauseAfter, retryDelay } from "./schedule";

type Place = { tenantId: string; id: string };
type Claimed = Place &
  Target & {
    eventId: string;
    retryCount: number;
    attempts: number;
    trigger: string;
    slow: boolean;
    ordered: boolean;
    type: string;
    payload: string;
  };
type Claim = { go: Claimed[]; later: (Place & { seconds: number })[] };
type Outcome = "delivered" | "retry" | "exhausted" | "cancelled";
type Settled = {
  claimed: Claimed;
  attempt: Attempt;
  outcome: Outcome;
  seconds: number;
  pause: number | null;
  /** Why the endpoint gets nothing more. */
  ending: string | null;
};

/** A Worker may hold six connections. */
const CONCURRENCY = 6;
/** A batch waits no longer than this; attempts under way go on, and are recorded, behind it. */
const PATIENCE_MS = 2000;
const BEHIND_MS = 15_000;
const SLOW_MS = 1000;
const SOON_SECONDS = 900;
const SWEEP_MOST = 1000;

/** Consumer of the webhook queues: one claim, the attempts, one record, however many tenants. Returns when half is sent. */
export async function deliverQueued(env: Env, bodies: DeliveryMessage[], ctx: ExecutionContext): Promise<void> {
  await deliver(
    env,
    bodies.flatMap(({ tenantId, deliveryIds }) => deliveryIds.map((id) => ({ tenantId, id }))),
    ctx,
  );
}

/** Each minute: whatever a crash or a lost message left behind. */
export async function sweepWebhooks(env: Env, _ctx: ExecutionContext): Promise<void> {
  const row = await askDoor<{ due: Place[] | null }>(
    env,
    `select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'id', id)) as due from door.due_deliveries($1)`,
    [SWEEP_MOST],
  );
  await enqueue(env, row?.due ?? []);
}

async function enqueue(env: Env, places: Place[], delaySeconds = 0): Promise<void> {
  for (const [tenantId, ids] of Map.groupBy(places, (place) => place.tenantId)) {
    await enqueueDeliveries(
      env,
      tenantId,
      ids.map((place) => place.id),
      delaySeconds,
    );
  }
}

async function deliver(env: Env, places: Place[], ctx: ExecutionContext): Promise<void> {
  if (places.length === 0) return;
  const asked = JSON.stringify(places.map(({ tenantId, id }) => ({ t: tenantId, id })));
  const claim = (await askDoor<{ c: Claim }>(env, "select door.claim_deliveries($1::jsonb) as c", [asked]))!.c;
  const soon = claim.later.filter(({ seconds }) => seconds <= SOON_SECONDS);
  for (const [seconds, group] of Map.groupBy(soon, (place) => Math.ceil(place.seconds)))
    await enqueue(env, group, seconds);

  const healthy = sendAll(
    env,
    claim.go.filter(({ slow }) => !slow),
  );
  const slow = claim.go.filter((claimed) => claimed.slow);
  ctx.waitUntil(finish(env, healthy, slow, ctx).catch((error) => logFault("webhooks", error)));
  await Promise.race([healthy.half, sleep(PATIENCE_MS)]);
}

/** `half` of them are done, or all. */
type Lane = {
  done: Settled[];
  half: Promise<void>;
  finished: Promise<unknown>;
  /** Takes away what has not begun. */
  leave: () => Claimed[];
};

/** Six at a time; what has not begun after `ms` is left over. */
function sendAll(env: Env, all: Claimed[], ms = PATIENCE_MS): Lane {
  const until = Date.now() + ms;
  const waiting = all[Symbol.iterator]();
  const { promise: half, resolve } = Promise.withResolvers<void>();
  const done: Settled[] = [];
  let leftOver: Claimed[] = [];
  let over = 0;
  const worker = async () => {
    for (const claimed of waiting) {
      if (Date.now() > until) leftOver.push(claimed);
      else await send(env, claimed).then((one) => done.push(one), fault);
      if (2 * ++over >= all.length) resolve();
    }
  };
  const finished = Promise.all(Array.from({ length: CONCURRENCY }, worker)).finally(resolve);
  const leave = () => {
    const left = [...leftOver, ...waiting];
    leftOver = [];
    return left;
  };
  return { done, half, finished, leave };
}

/** Behind the batch: the next one is claimed and sent meanwhile, and nobody waits for endpoints that are slow or dead. */
async function finish(env: Env, healthy: Lane, slow: Claimed[], ctx: ExecutionContext): Promise<void> {
  await Promise.race([healthy.finished, sleep(PATIENCE_MS)]);
  const settled = settle(env, healthy.done.splice(0), ctx);
  // Whoever waits behind endpoints that have just begun to hang goes with another batch, and does not wait for them.
  const released = release(env, healthy.leave());
  await healthy.finished;
  const behind = sendAll(env, slow, BEHIND_MS);
  await Promise.all([settled, released]);
  await settle(env, healthy.done.splice(0), ctx);
  await release(env, healthy.leave());
  await behind.finished;
  await settle(env, behind.done, ctx);
  await release(env, behind.leave());
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function send(env: Env, claimed: Claimed): Promise<Settled> {
  const result = await attempt(env, claimed, claimed.eventId, claimed.payload);
  const retryAfter = readRetryAfter(result.responseHeaders?.["retry-after"] ?? null);
  const wish = wishOf(result.responseHeaders);
  const ending = endingOf(result);
  const settled = { claimed, attempt: result, seconds: 0, pause: pauseAfter(result.status, retryAfter), ending };
  if (result.ok) return { ...settled, outcome: "delivered" };
  if (ending !== null || wish === "abort" || wish === "abort-message") return { ...settled, outcome: "cancelled" };
  const delay = retryDelay(claimed.attempts, claimed.retryCount, retryAfter);
  return delay === null ? { ...settled, outcome: "exhausted" } : { ...settled, outcome: "retry", seconds: delay };
}

async function settle(env: Env, done: Settled[], ctx: ExecutionContext): Promise<void> {
  if (done.length === 0) return;
  const results = done.map(({ claimed, attempt: made, outcome, seconds, pause }, n) => ({
    n,
    t: claimed.tenantId,
    webhook: claimed.webhookId,
    delivery: claimed.id,
    type: claimed.type,
    trigger: claimed.trigger,
    attempt: made.id,
    url: made.url,
    status: made.status,
    ok: made.ok,
    ms: made.ms,
    request_headers: made.requestHeaders,
    response_headers: made.responseHeaders,
    response_body: made.responseBody,
    error: made.error,
    address: made.address,
    outcome,
    seconds,
    pause,
    failed: !made.ok && claimed.attempts === 0,
    slow: made.ms > SLOW_MS || !made.ok,
  }));
  type Recorded = { health: Change[] };
  const { health } = (await askDoor<{ r: Recorded }>(env, "select door.record_attempts($1::jsonb) as r", [
    JSON.stringify(results),
  ]))!.r;
  const retries = done.filter(({ outcome, seconds }) => outcome === "retry" && seconds <= SOON_SECONDS);
  for (const [seconds, group] of Map.groupBy(retries, (one) => Math.ceil(one.seconds))) {
    await enqueue(
      env,
      group.map(({ claimed }) => claimed),
      seconds,
    );
  }
  for (const change of health) await applyHealth(env, change, ctx).catch(fault);
  for (const { claimed, outcome, ending } of done) {
    const attempts = claimed.attempts + 1;
    if (outcome === "exhausted") await exhaust(env, { ...claimed, attempts }, ctx).catch(fault);
    if (ending !== null) await disable(env, claimed, ending, ctx).catch(fault);
  }
  await enqueueFollowers(env, done);
}

/** Of one delivery or endpoint, a deleted tenant's for example: the others go on, and the sweep finds what is left of it. */
const fault = (error: unknown) => logFault("webhooks", error);

/** An ordered channel goes on with its next event. */
async function enqueueFollowers(env: Env, done: Settled[]): Promise<void> {
  const settled = done.filter(({ claimed, outcome }) => claimed.ordered && outcome !== "retry");
  if (settled.length === 0) return;
  const places = JSON.stringify(settled.map(({ claimed }) => ({ t: claimed.tenantId, id: claimed.id })));
  const row = await askDoor<{ next: Place[] | null }>(
    env,
    `select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'id', id)) as next from door.followers($1::jsonb)`,
    [places],
  );
  await enqueue(env, row?.next ?? []);
}

/** Not begun: free for the next consumer at once. */
async function release(env: Env, leftOver: Claimed[]): Promise<void> {
  if (leftOver.length === 0) return;
  const places = JSON.stringify(leftOver.map(({ tenantId, id }) => ({ t: tenantId, id })));
  await askDoor(env, "select door.release_deliveries($1::jsonb)", [places]);
  await enqueue(env, leftOver);
}
