import { type Opened, openAccount, type Stored, sandboxAccount, useAccount } from "../integrations/accounts";
import { logFault } from "../lib/log";
import { CALL_MS, patienceOf } from "../providers/patience";
import { type Group, type Io, type Outgoing, ProviderError, type Sent } from "../providers/provider";
import { groupsOf } from "./groups";
import { newMails } from "./mails";
import type { Known } from "./receipts";
import { attemptsMost, claimLeft, isTimeFor, retryDelay } from "./schedule";

/** As `door.claim_outbound` hands it over. */
export type Claimed = Omit<Known, "integrationId" | "providerMessageId" | "claimedUntil"> &
  Omit<Outgoing, "mail"> & {
    tenantId: string;
    claim: string;
    /** Why it is given up without an attempt. */
    refusal: string | null;
    /** Because its recipient is sent nothing any more. */
    suppressed: boolean;
    account: ClaimedAccount | null;
  };
type ClaimedAccount = Stored & { status: "active" | "failing" | "disabled" };

export type Result = { claimed: Claimed; callBackIn: number | null; accountFault: boolean } & (
  | ({ outcome: "sent" } & Sent)
  | { outcome: "failed" | "suppressed" | "bounced"; error: string; details?: Record<string, unknown> }
  | { outcome: "again"; error: string; seconds: number; details?: Record<string, unknown> }
);

/** A Worker may hold six connections. */
const CONCURRENCY = 6;

type WaitUntil = (work: Promise<unknown>) => void;

export async function sendAll(env: Env, claimed: readonly Claimed[], waitUntil: WaitUntil): Promise<Result[]> {
  const accounts = new Map<string, Promise<Opened>>();
  const opened = (one: Claimed) => {
    const key = `${one.tenantId} ${one.account?.id}`;
    const known = accounts.get(key) ?? open(env, one);
    accounts.set(key, known);
    return known;
  };
  const refused = claimed.flatMap(refusalOf);
  const going = claimed.filter((one) => refusalOf(one).length === 0);
  const mails = newMails(env.FILES, going);
  const outgoing = (one: Claimed, io: Io): Outgoing => ({
    ...one,
    // The provider has nothing yet, so nothing is doubled by waiting for it or by giving up.
    mail: async () => {
      io.allow(claimLeft(one.claim));
      const mail = await mails.of(one);
      mustBeTimeFor(mail.length, one);
      io.allow(patienceOf(mail.length));
      return mail;
    },
  });
  const waiting = groupsOf(going).values();
  const results = [...refused];
  const lane = async () => {
    for (const group of waiting) {
      results.push(...(await send(env, group, outgoing, opened, waitUntil)));
      for (const one of group) mails.done(one);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return results;
}

async function open(env: Env, { tenantId, account }: Claimed): Promise<Opened> {
  return account ? openAccount(env, tenantId, account) : sandboxAccount(tenantId);
}

/** What is given up without asking anybody. */
function refusalOf(claimed: Claimed): Result[] {
  const error = claimed.refusal ?? (claimed.attempt > attemptsMost(claimed.medium) ? "attempts_exhausted" : null);
  const outcome = claimed.suppressed ? "suppressed" : "failed";
  return error === null ? [] : [{ claimed, callBackIn: null, accountFault: false, outcome, error }];
}

/** One call to a provider, which decides for all that went out by it. */
async function send(
  env: Env,
  group: readonly Claimed[],
  outgoing: (one: Claimed, io: Io) => Outgoing,
  opened: (one: Claimed) => Promise<Opened>,
  waitUntil: WaitUntil,
): Promise<Result[]> {
  let callBackIn: number | null = null;
  const callLater = (seconds: number) => {
    callBackIn = seconds;
  };
  try {
    mustBeTimeFor(0, group[0]!);
    const account = await opened(group[0]!).catch(unreadable);
    const sent = await useAccount(
      env,
      account,
      CALL_MS,
      (provider, own, io) => provider.send(group.map((one) => outgoing(one, io)) as unknown as Group, own, io),
      { waitUntil, callBackIn: callLater },
    );
    return group.map((claimed) => {
      const told = { claimed, callBackIn, accountFault: false };
      return sent.suppressed?.includes(claimed.recipient.toLowerCase())
        ? { ...told, outcome: "suppressed", error: "The recipient is on the provider's suppression list." }
        : { ...told, outcome: "sent", ...sent };
    });
  } catch (error) {
    // Once for all: those who come due by themselves would be another call, which no idempotency key holds back.
    const judged = judge(group[0]!, error);
    return group.map((claimed) => ({ claimed, callBackIn: null, ...judged }));
  }
}

function mustBeTimeFor(bytes: number, { claim }: Claimed): void {
  if (!isTimeFor(bytes, claim)) throw new ProviderError("retry", "Others took so long that there was no time for it.");
}

function unreadable(error: unknown): never {
  logFault("outbound", error);
  throw new ProviderError("retry", "account_unreadable", { accountFault: true });
}

/** What a provider foresaw, it has judged itself; the rest may pass, and its text is for the log alone. */
function judge({ attempt, medium }: Claimed, thrown: unknown) {
  if (!(thrown instanceof ProviderError)) logFault("outbound", thrown);
  const known =
    thrown instanceof ProviderError ? thrown : new ProviderError("retry", "The provider could not be asked.");
  const error = known.message.slice(0, 1000);
  const told = { error, accountFault: known.accountFault, details: known.details };
  if (known.verdict === "suppress") return { outcome: "suppressed" as const, ...told };
  if (known.verdict === "bounce") return { outcome: "bounced" as const, ...told };
  const seconds = known.verdict === "giveUp" ? null : retryDelay(medium, attempt, known.retryAfterSeconds);
  return seconds === null ? { outcome: "failed" as const, ...told } : { outcome: "again" as const, seconds, ...told };
}
