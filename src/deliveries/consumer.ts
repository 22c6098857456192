import { snapshotOf } from "../auth/snapshots";
import { asSystem } from "../auth/system";
import { type Context, systemContext } from "../lib/context";
import { askDoor } from "../lib/db";
import { logFault } from "../lib/log";
import { monthOf } from "../lib/quota";
import { countUse } from "../lib/usage";
import type { Medium } from "../providers/provider";
import { tellLimitReached } from "../tenants/limit-events";
import { playBackTo } from "./playback";
import { type Claimed, type Result, sendAll } from "./sending";
import { enqueueOutbound, type OutboundMessage, outboundBodies } from "./service";
import { settle } from "./settle";

/** As many as a mail has recipients at most: it is claimed whole, with those that a claim is made of. */
const CLAIM_MOST = 50;
/** A consumer lives for 15 minutes: what it has not begun by then is the sweep's. */
const QUEUE_MS = 300_000;
const SWEEP_MS = 20_000;
const HELPERS = 5;
const SOON_SECONDS = 900;

type Place = { t: string; id: string };
const METRIC: Partial<Record<Medium, string>> = {
  email: "emailDeliveries",
  sms: "smsDeliveries",
  push: "pushDeliveries",
};

/** Consumer of the outbound queue. */
export async function sendQueued(env: Env, bodies: OutboundMessage[], ctx: ExecutionContext): Promise<void> {
  const named = bodies.filter((body) => "deliveryIds" in body);
  const places = named
    .filter(({ playBack }) => !playBack)
    .flatMap(({ tenantId, deliveryIds }) => deliveryIds.map((id) => ({ t: tenantId, id })));
  const once = [...new Map(places.map((place) => [`${place.t} ${place.id}`, place])).values()];
  const end = Date.now() + QUEUE_MS;
  for (let i = 0; i < once.length && Date.now() < end; i += CLAIM_MOST)
    await sendSome(env, once.slice(i, i + CLAIM_MOST), ctx);
  const playing = Map.groupBy(
    named.filter(({ playBack }) => playBack),
    ({ tenantId }) => tenantId,
  );
  for (const [tenantId, own] of playing) {
    const ids = own.flatMap(({ deliveryIds }) => deliveryIds);
    await asSystem(
      env,
      tenantId,
      (work) => ctx.waitUntil(work),
      (system) => playBackTo(system, ids),
    ).catch((error) => logFault("outbound", error));
  }
  if (bodies.some((body) => "due" in body)) await sendDue(env, ctx);
}

/** Each minute: retries far off, and what a crash or a lost message left behind. Where there is much, others help. */
export async function sweepOutbound(env: Env, ctx: ExecutionContext): Promise<void> {
  if ((await sendSome(env, null, ctx)) < CLAIM_MOST) return;
  await enqueueOutbound(
    env,
    Array.from({ length: HELPERS }, () => ({ body: { due: true } })),
  );
  await sendDue(env, ctx);
}

async function sendDue(env: Env, ctx: ExecutionContext): Promise<void> {
  const end = Date.now() + SWEEP_MS;
  while (Date.now() < end && (await sendSome(env, null, ctx)) >= CLAIM_MOST);
}

/** One claim, the sends, one record, however many tenants. `null` asks for whatever is due. Tells how many it took. */
async function sendSome(env: Env, places: Place[] | null, ctx: ExecutionContext): Promise<number> {
  const waitUntil = (work: Promise<unknown>) => ctx.waitUntil(work);
  const row = await askDoor<{ c: { taken: number; go: Claimed[] } }>(
    env,
    "select door.claim_outbound($1::jsonb, $2) as c",
    [places && JSON.stringify(places), CLAIM_MOST],
  );
  const { taken, go } = row!.c;
  const results = await sendAll(env, await withinPlans(env, go, waitUntil), waitUntil);
  // Before they are recorded: a crash in between sends again, and the sandbox answers that once.
  await enqueueLater(env, results, { playBack: true }, ({ callBackIn }) => callBackIn);
  const settled = await settle(env, results, waitUntil);
  await enqueueLater(env, settled, {}, (result) =>
    result.outcome === "again" && result.seconds <= SOON_SECONDS ? Math.ceil(result.seconds) : null,
  );
  countSent(env, settled, waitUntil);
  return taken;
}

/** What a tenant's plan leaves no room for this month is given up, and says so. */
async function withinPlans(env: Env, go: readonly Claimed[], waitUntil: Context["waitUntil"]): Promise<Claimed[]> {
  const rooms = new Map<string, { left: number }>();
  const allowed: Claimed[] = [];
  for (const claimed of go) {
    const { tenantId, medium } = claimed;
    const metric = METRIC[medium];
    const key = `${tenantId} ${metric}`;
    const room =
      metric && claimed.refusal === null ? (rooms.get(key) ?? (await roomOf(env, tenantId, metric, waitUntil))) : null;
    if (room) rooms.set(key, room);
    allowed.push(!room || room.left-- > 0 ? claimed : { ...claimed, refusal: "plan_limit_reached" });
  }
  return allowed;
}

async function roomOf(env: Env, tenantId: string, metric: string, waitUntil: Context["waitUntil"]) {
  const month = await snapshotOf(env, tenantId, waitUntil)
    .then((snapshot) => monthOf(env, waitUntil, snapshot, metric))
    .catch((error) => logFault("outbound", error));
  if (!month) return { left: Number.POSITIVE_INFINITY };
  if (month.use >= month.limit)
    waitUntil(tellLimitReached(systemContext(env, tenantId, waitUntil), { metric, ...month }).catch(() => {}));
  return { left: month.limit - month.use };
}

function countSent(env: Env, settled: readonly Result[], waitUntil: (work: Promise<unknown>) => void): void {
  for (const { claimed, outcome } of settled) {
    const metric = METRIC[claimed.medium];
    if (metric && outcome === "sent") countUse(env, waitUntil, claimed.tenantId, { counts: { [metric]: 1 } });
  }
}

async function enqueueLater(
  env: Env,
  results: readonly Result[],
  more: { playBack?: true },
  secondsOf: (result: Result) => number | null,
): Promise<void> {
  const groups = Map.groupBy(
    results.filter((result) => secondsOf(result) !== null),
    (result) => `${result.claimed.tenantId} ${secondsOf(result)}`,
  );
  const bodies = [...groups.values()].flatMap((group) => {
    const ids = group.map(({ claimed }) => claimed.id);
    return outboundBodies(group[0]!.claimed.tenantId, ids, more).map((body) => ({
      body,
      delaySeconds: secondsOf(group[0]!)!,
    }));
  });
  if (bodies.length > 0) await enqueueOutbound(env, bodies).catch((error) => logFault("outbound", error));
}
