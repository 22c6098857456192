import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError, type ErrorCode } from "../lib/errors";
import { lackingFor } from "../lib/quota";
import { withinLimit } from "../lib/rows";
import type { Message } from "../messages/input";
import type { Letter } from "./letters";
import {
  forget,
  forgetRefused,
  type Outcome,
  type Place,
  type Posted,
  type Posting,
  post,
  recipientsOf,
  recording,
  tellOf,
} from "./outgoing";

/** Once more, where what the inbox's mail bears is not what it was. */
export async function posting(ctx: Context, first: Place, make: (place: Place) => Posting): Promise<Message> {
  let place = first;
  for (let tries = 1; ; tries++) {
    const posted = await post(ctx, make(place));
    try {
      return await record(ctx, posted);
    } catch (error) {
      const isStale = error instanceof ApiError && error.facts.stale === true;
      if (!isStale || tries === 3) throw error;
      forgetPlace(ctx, place.inboxId);
      place = await placeOf(ctx, place.inboxId);
    }
  }
}

async function record(ctx: Context, posted: Posted): Promise<Message> {
  const recorded = await asTenant(ctx, [recording(posted), ...withinLimit("storageBytes", ctx.snapshot?.limits)]).then(
    ([rows]) => (rows as { recorded: Outcome }[])[0]!.recorded,
    async (error) => {
      await forgetRefused(ctx, posted, error);
      throw error;
    },
  );
  if (ctx.once?.answer) return recorded.message;
  if (!recorded.isNew) await forget(ctx, posted);
  tellOf(ctx, recorded);
  return recorded.message;
}

const PLACES_MOST = 1_000;
/** A hint alone: the batch that records a mail holds it against what is so by then. */
const places = new Map<string, Place>();
const keyOf = ({ tenantId, actor }: Context, inboxId: string) =>
  `${tenantId} ${inboxId} ${"user" in actor && actor.user ? JSON.stringify(actor.user) : ""}`;

export async function placeOf(ctx: Context, inboxId: string): Promise<Place> {
  const known = places.get(keyOf(ctx, inboxId));
  if (known) return known;
  const [rows] = await reading(ctx, [
    db.select({ place: sql<Place | null>`p`.as("p") }).from(sql`sending_place(${inboxId}::uuid) p`),
  ] as const);
  const place = rows[0]?.place;
  if (!place) return fail(ctx, "not_found");
  if (places.size >= PLACES_MOST) places.clear();
  places.set(keyOf(ctx, inboxId), place);
  return place;
}

export const forgetPlace = (ctx: Context, inboxId: string): boolean => places.delete(keyOf(ctx, inboxId));

/** Before what an Idempotency-Key keeps. What refuses here may have been done under the key before: then that is the answer. */
export async function reading<Q extends Parameters<typeof asTenant>[1]>(ctx: Context, queries: Q) {
  try {
    return await asTenant({ ...ctx, once: undefined }, queries);
  } catch (error) {
    if (error instanceof ApiError && ctx.once && !ctx.once.answer) await fail(ctx, error.code, error.facts);
    throw error;
  }
}

/** A plan that has no room for its recipients now will have none a moment later, when the mail would go out. */
export async function mustFitPlan(ctx: Context, letter: Letter): Promise<void> {
  const lacking = ctx.once?.answer ? null : await lackingFor(ctx, "emailDeliveries", recipientsOf(letter).length);
  if (lacking) await fail(ctx, "plan_limit_reached", lacking);
}

async function fail(ctx: Context, code: ErrorCode, facts: Record<string, unknown> = {}): Promise<never> {
  if (ctx.once && !ctx.once.answer) await asTenant(ctx, [refuseUnless(sql`false`, code, facts)]);
  throw new ApiError(code, undefined, facts);
}
