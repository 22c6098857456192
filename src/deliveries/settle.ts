import { inArray, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { snapshotOf } from "../auth/snapshots";
import { asSystem } from "../auth/system";
import { announce, recordedIn } from "../events/service";
import { noteHealth } from "../integrations/service";
import { type Context, systemContext } from "../lib/context";
import { enterCredential } from "../lib/credential";
import { asTenant, db } from "../lib/db";
import { logFault } from "../lib/log";
import { type Learned, learn } from "./learned";
import {
  type Attempted,
  type Change,
  change,
  changeDeliveries,
  type Known,
  newEntries,
  recordChanges,
  type Saying,
} from "./receipts";
import { deliveries, deliveryEvents } from "./schema";
import type { Result } from "./sending";
import { ledgerId } from "./service";

type WaitUntil = (work: Promise<unknown>) => void;
type Group = { tenantId: string; results: Result[] };

/** Returns what it recorded. The rest is sent again when its claim has lapsed, under the same id. */
export async function settle(env: Env, results: readonly Result[], waitUntil: WaitUntil): Promise<readonly Result[]> {
  if (results.length === 0) return [];
  const groups = [...Map.groupBy(results, ({ claimed }) => claimed.tenantId)]
    .map(([tenantId, own]): Group => ({ tenantId, results: own }))
    .sort((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
  try {
    await settleTogether(env, groups, waitUntil);
    return results;
  } catch {
    // Somebody's settings or one delivery changed meanwhile: each tenant on its own, with a second look.
    const settled: Result[] = [];
    for (const { tenantId, results: own } of groups) {
      await asSystem(env, tenantId, waitUntil, (ctx) => settleAgain(ctx, own)).then(
        () => settled.push(...own),
        (error) => logFault("outbound", error),
      );
    }
    return settled;
  }
}

/** One transaction in one call: into the first tenant, what happened there, into the next. */
async function settleTogether(env: Env, groups: Group[], waitUntil: WaitUntil): Promise<void> {
  const parts = await Promise.all(
    groups.map(async ({ tenantId, results }) => {
      const ctx: Context = {
        ...systemContext(env, tenantId, waitUntil),
        snapshot: await snapshotOf(env, tenantId, waitUntil),
      };
      const changes = await Promise.all(results.map((result) => changeOf(knownBy(result), result)));
      return {
        ctx,
        work: [
          ...recordChanges(ctx, changes),
          ...healthOf(ctx, results),
          ...deadTokens(ctx, results),
          ...learn(learnedBy(results)),
        ] as BatchItem<"pg">[],
      };
    }),
  );
  const enter = (ctx: Context) => db.execute(sql`select door.enter(${JSON.stringify(enterCredential(ctx))}::jsonb)`);
  const queries = parts.flatMap(({ ctx, work }, i) => [...(i === 0 ? [] : [enter(ctx)]), ...work]);
  const answers: unknown[] = await asTenant(parts[0]!.ctx, queries as [BatchItem<"pg">]);
  let at = 0;
  for (const { ctx, work } of parts) {
    announce(ctx, recordedIn(answers.slice(at, at + work.length)));
    at += work.length + 1;
  }
}

async function settleAgain(ctx: Context, results: readonly Result[]): Promise<void> {
  const of = new Map(results.map((result) => [result.claimed.id, result]));
  const entries = await Promise.all(results.map(({ claimed }) => ledgerId("attempt", eventIdOf(claimed))));
  await changeDeliveries(
    ctx,
    inArray(deliveries.id, [...of.keys()]),
    inArray(deliveryEvents.id, entries),
    (rows, heard) =>
      Promise.all(
        rows.filter((row) => isStillMeant(row, of.get(row.id)!)).map((row) => changeOf(row, of.get(row.id)!, heard)),
      ),
  );
  const rest = [...healthOf(ctx, results), ...deadTokens(ctx, results), ...learn(learnedBy(results))];
  if (rest.length > 0) await asTenant(ctx, rest as [BatchItem<"pg">]);
}

/** "Try again" is worth something only to the one who still holds the claim. What was sent was sent. */
const isStillMeant = (row: Known, { claimed, outcome }: Result) =>
  outcome === "sent" || (row.status === "pending" && Date.parse(row.claimedUntil ?? "") === Date.parse(claimed.claim));

const knownBy = ({ claimed }: Result): Known => ({
  ...claimed,
  integrationId: claimed.account?.id ?? null,
  providerMessageId: null,
  claimedUntil: claimed.claim,
});

const eventIdOf = ({ id, attempt }: { id: string; attempt: number }) => `${id} ${attempt}`;

async function changeOf(row: Known, result: Result, heard = new Set<string>()): Promise<Change> {
  const { claimed, outcome } = result;
  const error = outcome === "sent" ? null : result.error;
  const details = {
    ...(outcome !== "sent" && result.details),
    attempt: claimed.attempt,
    ...(claimed.refusal === null && { provider: claimed.account?.provider ?? "sandbox" }),
    ...(error !== null && { error }),
  };
  const said: Saying = { eventId: eventIdOf(claimed), status: outcome === "again" ? "pending" : outcome, details };
  const attempted: Attempted = {
    claim: row.claimedUntil,
    error,
    ...(outcome === "sent" && { providerMessageId: result.providerMessageId }),
    ...(outcome === "again" && { againInSeconds: result.seconds }),
  };
  return change(row, await newEntries("attempt", [said], heard), attempted);
}

const learnedBy = (results: readonly Result[]): Learned[] =>
  results.flatMap((result) =>
    result.outcome === "sent" && result.rfcId !== undefined
      ? [{ messageId: result.claimed.messageId, rfcId: result.rfcId }]
      : [],
  );

/** Devices whose tokens lead nowhere any more get no further notifications. */
function deadTokens(ctx: Context, results: readonly Result[]): BatchItem<"pg">[] {
  const dead = results.flatMap(({ claimed: { medium, recipient, content }, outcome }) =>
    medium === "push" && outcome === "suppressed" ? [{ user: recipient, token: content.token }] : [],
  );
  if (dead.length === 0) return [];
  return [
    db.execute(sql`update user_devices d set push_token = null from jsonb_to_recordset(${JSON.stringify(dead)}::jsonb) x("user" uuid, token text)
      where d.tenant_id = ${ctx.tenantId} and d.user_id = x."user" and d.push_token = x.token`),
  ];
}

function healthOf(ctx: Context, results: readonly Result[]) {
  const accounts = Map.groupBy(
    results.filter(({ claimed }) => claimed.account),
    ({ claimed }) => claimed.account!.id,
  );
  const works: string[] = [];
  const fails: { id: string; error: string }[] = [];
  for (const [id, own] of accounts) {
    const fault = own.find((result) => result.accountFault);
    const wasFailing = own[0]!.claimed.account!.status === "failing";
    if (own.some(({ outcome }) => outcome === "sent")) wasFailing && works.push(id);
    else if (fault && fault.outcome !== "sent") fails.push({ id, error: fault.error });
  }
  return noteHealth(ctx, { works, fails });
}
