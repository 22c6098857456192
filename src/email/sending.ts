import { sql } from "drizzle-orm";
import { mustBeAllowed } from "../channels/access";
import { boundsOf, type Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError, type ErrorCode } from "../lib/errors";
import { lackingFor, spend } from "../lib/quota";
import { withinLimit } from "../lib/rows";
import { violations } from "../lib/validate";
import type { Message } from "../messages/input";
import { type EmailAnswer, NewEmail } from "./input";
import { type Answered, answering, finished, letterOf, refused } from "./letters";
import { forget, forgetRefused, type Outcome, type Place, type Posted, post, recipientsOf, tellOf } from "./outgoing";
import { forgetPlace, mustFitPlan, placeOf, posting, reading, recordedBefore, unlessDone } from "./posting";
import { scheduledBefore, scheduleEmail } from "./scheduled";

/** A mail that begins a conversation. */
export async function sendEmail(ctx: Context, inboxId: string, { sendAt, ...input }: NewEmail): Promise<Message> {
  mustNotBeBoundToChannels(ctx);
  return once(ctx, sendAt, async () => {
    const letter = finished(letterOf(input));
    if (sendAt === undefined) await mustFitPlan(ctx, letter);
    await spend(ctx, "messages", 1);
    if (sendAt !== undefined) return scheduleEmail(ctx, { inboxId, letter, sendAt });
    return posting(ctx, await placeOf(ctx, inboxId), (place) => ({ letter, place }));
  });
}

/** One that goes on in a conversation. */
export async function answerEmail(
  ctx: Context,
  channelId: string,
  { sendAt, ...input }: EmailAnswer,
): Promise<Message> {
  return once(ctx, sendAt, async () => {
    const { answered, place } = await answeredIn(ctx, channelId, input.quotedId);
    const letter = finished(answering(answered, input));
    if (sendAt === undefined) await mustFitPlan(ctx, letter);
    await spend(ctx, "messages", 1);
    if (sendAt !== undefined) return scheduleEmail(ctx, { inboxId: answered.inboxId, channelId, letter, sendAt });
    return posting(ctx, place, (fresh) => ({ letter, place: fresh, channelId }));
  });
}

async function once(ctx: Context, sendAt: string | undefined, work: () => Promise<Message>): Promise<Message> {
  if (ctx.once?.answer) return sendAt === undefined ? recordedBefore(ctx) : scheduledBefore(ctx);
  return unlessDone(ctx, work);
}

/** Who may write into some conversations alone begins none. */
function mustNotBeBoundToChannels({ actor }: Context): void {
  if (boundsOf(actor).channel) throw new ApiError("resource_not_allowed");
}

async function answeredIn(ctx: Context, channelId: string, named: string | undefined) {
  const ofInbox = sql`(select c.inbox_id from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid)`;
  const [, , , rows] = await reading(ctx, [
    mustBeAllowed(ctx, channelId, "message.send"),
    refuseUnless(sql`${ofInbox} is not null`, "no_conversation"),
    refuseUnless(
      sql`not exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = ${channelId}::uuid and c.merged_into is not null)`,
      "channel_merged",
    ),
    db
      .select({ answered: sql<Answered | null>`a`.as("a"), place: sql<Place>`sending_place(${ofInbox})`.as("p") })
      .from(sql`answered_mail(${channelId}::uuid, ${named ?? null}::uuid) a`),
  ] as const);
  const { answered, place } = rows[0]!;
  if (!answered) throw refused({ path: "quotedId", message: "There is no such mail in this conversation." });
  return { answered, place };
}

type Given = { path: string; message: string }[];
export type Result = {
  message: Message | null;
  error: { code: string; detail: string; errors?: Given | undefined } | null;
};

const asRefusal = (error: unknown): Result => {
  if (!(error instanceof ApiError)) throw error;
  const { errors } = error.facts as { errors?: Given };
  return { message: null, error: { code: error.code, detail: error.message, errors } };
};

type Recorded = { n: number } & (Outcome | { refused: { code: ErrorCode } });

/** As many are composed at a time, for each may hold files in memory. */
const LANES = 4;

/** Each with an answer of its own; all in one batch, which keeps what was refused before it too. */
export async function sendEmails(ctx: Context, inboxId: string, given: readonly unknown[]): Promise<Result[]> {
  mustNotBeBoundToChannels(ctx);
  const made = ctx.once?.answer ? [] : await unlessDone(ctx, () => postAll(ctx, inboxId, given));
  const mails = made.flatMap((one, n) => ("mail" in one ? [{ n, ...one.mail }] : []));
  const refused = made.map((one) => ("mail" in one ? null : one));
  const [recorded, kept] = await asTenant(ctx, [
    db.select({ answers: sql<Recorded[]>`r`.as("r") }).from(sql`record_outbounds(${JSON.stringify(mails)}::jsonb) r`),
    db
      .select({ results: sql<(Result | null)[]>`x.results`.as("results") })
      .from(sql`(select ${JSON.stringify(refused)}::jsonb as results) x`),
    ...withinLimit("storageBytes", ctx.snapshot?.limits),
  ]).catch(async (error) => {
    await forgetAll(ctx, made, error);
    throw error;
  });
  const answers = new Map(recorded[0]!.answers.map((one) => [one.n, one]));
  return Promise.all(
    (kept[0]?.results ?? given.map(() => null)).map(async (result, n) => {
      const answer = answers.get(n);
      const one = made[n];
      if (!answer) return result ?? asRefusal(new ApiError("internal"));
      if ("refused" in answer) {
        if (one && "mail" in one) await forget(ctx, one);
        const { code, ...facts } = answer.refused;
        return asRefusal(new ApiError(code, undefined, facts));
      }
      if (one) tellOf(ctx, answer);
      return { message: answer.message, error: null };
    }),
  );
}

async function postAll(ctx: Context, inboxId: string, given: readonly unknown[]): Promise<(Posted | Result)[]> {
  forgetPlace(ctx, inboxId);
  const place = await placeOf(ctx, inboxId);
  await spend(ctx, "messages", given.length);
  const made: (Posted | Result)[] = [];
  for (let n = 0; n < given.length; n += LANES) {
    const lane = given.slice(n, n + LANES).map((one) => postOne(ctx, place, one).catch(asRefusal));
    const ended = await Promise.allSettled(lane);
    made.push(...ended.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])));
    // Nothing is recorded then: what lies in the bucket for its neighbours has no mail.
    const failed = ended.find((one) => one.status === "rejected");
    if (failed) {
      await forgetAll(ctx, made);
      throw failed.reason;
    }
  }
  return made;
}

/** Where the batch failed, unless it may have come through. */
async function forgetAll(ctx: Context, made: readonly (Posted | Result)[], error?: unknown): Promise<void> {
  for (const one of made)
    if ("mail" in one) await (error === undefined ? forget(ctx, one) : forgetRefused(ctx, one, error));
}

async function postOne(ctx: Context, place: Place, given: unknown): Promise<Posted> {
  const parsed = NewEmail.safeParse(given);
  if (!parsed.success) throw refused(...violations({ error: parsed.error }));
  const { sendAt, ...input } = parsed.data;
  if (sendAt !== undefined) throw refused({ path: "sendAt", message: "Mails of a batch go out at once." });
  const letter = finished(letterOf(input));
  const lacking = await lackingFor(ctx, "emailDeliveries", recipientsOf(letter).length);
  if (lacking) throw new ApiError("plan_limit_reached", undefined, lacking);
  return post(ctx, { letter, place });
}
