import { addressInRange, callerAddress } from "../lib/addresses";
import type { Context, KeyFacts, Once } from "../lib/context";
import { confirmFresh, StaleSnapshot } from "../lib/db";
import { ApiError } from "../lib/errors";
import { type TokenAnswer, takeToken } from "../lib/limits";
import { beginOnce } from "../lib/once";
import { spend } from "../lib/quota";
import type { Demand } from "../lib/route";
import { isClientScope, rolesWith } from "../lib/scopes";
import { DEFAULT_LIMITS } from "../tenants/metrics";
import { identify } from "./credentials";
import { forget } from "./snapshots";

export type Caller = {
  env: Env;
  request: Request;
  requestId: string;
  waitUntil(work: Promise<unknown>): void;
  /** The body as text, read once however often it is asked for. */
  body(): Promise<string>;
  onIdentified(ctx: Context): void;
  onAllowance(allowance: TokenAnswer): void;
  paid: Paid;
};

/** What a request has been charged already: one that is tried again, because settings changed, pays nothing twice. */
export type Paid = { limiters: Set<string>; counted: boolean };
export const newPaid = (): Paid => ({ limiters: new Set(), counted: false });

/** Who is asking, whether they may ask this, and whether it is not too often. */
export async function admit(caller: Caller, demand: Demand): Promise<Context> {
  for (let tries = 1; ; tries++) {
    const ctx = await contextOf(caller, demand);
    caller.onIdentified(ctx);
    try {
      await charge(ctx, caller);
      const refusal = refusalOf(ctx, caller.request.headers.get("Origin"));
      if (refusal) {
        await confirmFresh(ctx);
        throw refusal;
      }
      return { ...ctx, once: await onceOf(ctx, caller, demand) };
    } catch (error) {
      if (!(error instanceof StaleSnapshot) || tries === 3) throw error;
      forget(ctx.tenantId);
    }
  }
}

async function contextOf({ env, request, requestId, waitUntil }: Caller, { scope, reads }: Demand): Promise<Context> {
  const { headers } = request;
  const { actor, snapshot } = await identify(env, headers, waitUntil);
  const ip = callerAddress(headers);
  const userAgent = headers.get("User-Agent")?.slice(0, 512).toWellFormed() ?? null;
  return {
    env,
    tenantId: snapshot.tenantId,
    actor,
    snapshot,
    scope,
    ...(reads && { reads }),
    requestId,
    ip,
    userAgent,
    waitUntil,
  };
}

/** Two callers who choose the same Idempotency-Key do not meet. */
async function onceOf({ env, actor }: Context, { request, body }: Caller, demand: Demand): Promise<Once | undefined> {
  const key = request.headers.get("Idempotency-Key");
  if (!demand.once || key === null) return undefined;
  const { pathname, search } = new URL(request.url);
  const asked = [request.method, pathname + search, request.headers.get("Parley-User") ?? "", await body()];
  const who =
    actor.kind === "key"
      ? actor.key.id
      : `${actor.kind === "token" ? actor.authKeyId : ""}/${"user" in actor ? actor.user?.id : ""}`;
  return beginOnce(env, who, key, asked);
}

/** What cached facts speak against; they are looked at once more before it is said. */
function refusalOf(ctx: Context, origin: string | null): ApiError | null {
  const { actor, scope, ip } = ctx;
  const foreign = refusalOfOrigin(ctx, origin);
  if (foreign) return foreign;
  if (actor.kind === "key" && !worksFrom(actor.key, ip)) return new ApiError("address_not_allowed");
  if (!may(ctx)) return new ApiError("missing_scope", `The scope ${scope} is needed.`, { scope });
  if (actor.kind === "key" && actor.user && !mayActFor(actor.key, actor.user)) {
    return new ApiError("resource_not_allowed", "The key may not act for this user.");
  }
  return null;
}

export function refusalOfOrigin({ snapshot }: Context, origin: string | null): ApiError | null {
  const origins = snapshot?.settings.allowedOrigins ?? [];
  if (origin === null || origins.length === 0 || origins.includes(origin)) return null;
  return new ApiError("origin_not_allowed", `${origin} is not among the tenant's allowedOrigins.`);
}

/** What a user's role brings is judged by `door.enter`, which knows the role as it is now. */
function may({ actor, scope }: Context): boolean {
  if (actor.kind === "key" && actor.key.kind === "pub") return scope === "users:guest";
  if (scope === "any") return true;
  if (actor.kind === "key") return actor.key.scopes.includes(scope);
  if (actor.kind === "token") return actor.scopes.includes(scope);
  return isClientScope(scope) || rolesWith(scope).length > 0;
}

/** What a key or a user may take first: what that refuses takes nothing from the tenant's plan for all of it together. */
async function charge(ctx: Context, { onAllowance, paid }: Caller): Promise<void> {
  const { env, actor, tenantId, snapshot, waitUntil } = ctx;
  const limits = { ...DEFAULT_LIMITS, ...snapshot?.limits };
  const user = actor.kind !== "key" && actor.kind !== "system" ? actor.user?.id : undefined;
  const keyId = actor.kind === "key" ? actor.key.id : undefined;
  const own = actor.kind === "key" ? actor.key.requestsPerMinute : user ? limits.userRequestsPerMinute : null;
  const asks = [
    ...(own === null
      ? []
      : [{ limiter: keyId ? `${tenantId}/key/${keyId}` : `${tenantId}/user/${user}`, perMinute: own }]),
    { limiter: `${tenantId}/all`, perMinute: limits.requestsPerMinute },
  ];
  let tightest: TokenAnswer | undefined;
  for (const ask of asks) {
    if (paid.limiters.has(ask.limiter)) continue;
    const answer = await takeToken(env, waitUntil, { ...ask, class: "default" });
    if (!tightest || !answer.allowed || answer.remaining < tightest.remaining) tightest = answer;
    if (!answer.allowed) break;
    paid.limiters.add(ask.limiter);
  }
  if (tightest) onAllowance(tightest);
  if (tightest?.allowed === false) {
    const { limit, remaining, resetSeconds: reset } = tightest;
    throw new ApiError("rate_limited", undefined, { limit, use: limit - remaining, reset });
  }
  if (paid.counted) return;
  await spend(ctx, "apiRequests", 1, { ...(keyId && { keyId }), ...(user && { userId: user }) });
  paid.counted = true;
}

const worksFrom = ({ addresses }: KeyFacts, ip: string | null): boolean =>
  addresses.length === 0 || addresses.some((range) => ip !== null && addressInRange(ip, range));

/** A publishable key acts for nobody; a key bound to some users acts for those, named by their ids. */
const mayActFor = ({ kind, resources }: KeyFacts, user: object): boolean =>
  kind !== "pub" && (!resources.user || ("id" in user && resources.user.includes(String(user.id))));
