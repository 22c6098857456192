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

/** What was recorded under this Idempotency-Key before. */
export async function recordedBefore(ctx: Context): Promise<Message> {
  const [rows] = await asTenant(ctx, [recording({})]);
  return rows[0]!.recorded.message;
}

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
  const recorded = await asTenant(ctx, [
    recording(posted.mail),
    ...withinLimit("storageBytes", ctx.snapshot?.limits),
  ]).then(
    ([rows]) => (rows as { recorded: Outcome }[])[0]!.recorded,
    async (error) => {
      await forgetRefused(ctx, posted, error);
      throw error;
    },
  );
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
  if (!place) throw new ApiError("not_found");
  if (places.size >= PLACES_MOST) places.clear();
  places.set(keyOf(ctx, inboxId), place);
  return place;
}

export const forgetPlace = (ctx: Context, inboxId: string): boolean => places.delete(keyOf(ctx, inboxId));

/** Before what an Idempotency-Key keeps. */
export const reading = <Q extends Parameters<typeof asTenant>[1]>(ctx: Context, queries: Q) =>
  asTenant({ ...ctx, once: undefined }, queries);

const PASSING = new Set<ErrorCode>(["unavailable", "internal"]);

/**
 * What is refused now, because a file or the quoted mail is gone or its time has passed, may have been done under the
 * Idempotency-Key before: then that is the answer.
 */
export async function unlessDone<T>(ctx: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ApiError && ctx.once && !PASSING.has(error.code))
      await asTenant(ctx, [refuseUnless(sql`false`, error.code, error.facts)]).catch((other) => {
        if (!(other instanceof ApiError) || other.code !== error.code) throw other;
      });
    throw error;
  }
}

/** A plan that has no room for its recipients now will have none a moment later, when the mail would go out. */
export async function mustFitPlan(ctx: Context, letter: Letter): Promise<void> {
  const lacking = await lackingFor(ctx, "emailDeliveries", recipientsOf(letter).length);
  if (lacking) throw new ApiError("plan_limit_reached", undefined, lacking);
}
