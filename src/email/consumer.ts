import { sql } from "drizzle-orm";
import { asSystem } from "../auth/system";
import { announce, recordEvents, recordedIn } from "../events/service";
import { described, objectKey } from "../files/objects";
import type { Context } from "../lib/context";
import { askDoor, asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { logFault } from "../lib/log";
import { headerValues, type Mail } from "../mail/mail";
import { readMail } from "../mail/read";
import { type InboundMessage, rawKey } from "./arrival";
import { answerLater } from "./auto-reply";
import { cluesOf, filesOf, type MailFile, type Read, recordInbound } from "./recording";
import { hearReports } from "./reports";
import type { RAW_SOURCES } from "./schema";

/** As `door.claim_inbound` hands it over. */
export type ClaimedRaw = {
  tenantId: string;
  id: string;
  inboxId: string;
  source: (typeof RAW_SOURCES)[number];
  envelopeFrom: string;
  envelopeTo: string;
  tag: string | null;
  route: string;
  size: number;
  sha256: string;
  attempt: number;
  /** The inbox's own. */
  address: string;
  /** Of the servers that hand in its domain's mail. */
  authServers: string[];
  autoReply: boolean;
};

const CLAIM_MOST = 20;
const QUEUE_MS = 60_000;
const SWEEP_MS = 20_000;
const ATTEMPTS_MOST = 8;
/** So many groups of small mails are read at a time; of larger mails one, as an isolate has 128 MB. */
const LANES = 2;
const GROUP_MOST = 10;
const GROUP_BYTES = 2_000_000;
const SMALL_BYTES = 500_000;

/** Consumer of the inbound queue. */
export async function readQueued(env: Env, bodies: InboundMessage[], ctx: ExecutionContext): Promise<void> {
  const places = bodies.map(({ tenantId, rawId }) => ({ t: tenantId, id: rawId }));
  const end = Date.now() + QUEUE_MS;
  for (let i = 0; i < places.length && Date.now() < end; i += CLAIM_MOST)
    await readSome(env, places.slice(i, i + CLAIM_MOST), ctx);
}

/** Each minute: what a crash or a lost message left behind. */
export async function sweepInbound(env: Env, ctx: ExecutionContext): Promise<void> {
  const end = Date.now() + SWEEP_MS;
  while (Date.now() < end && (await readSome(env, null, ctx)) === CLAIM_MOST);
}

async function readSome(env: Env, places: { t: string; id: string }[] | null, ctx: ExecutionContext): Promise<number> {
  const row = await askDoor<{ claimed: ClaimedRaw[] }>(env, "select door.claim_inbound($1::jsonb, $2) as claimed", [
    places && JSON.stringify(places),
    CLAIM_MOST,
  ]);
  const claimed = row?.claimed ?? [];
  const groups = groupsOf(claimed).values();
  const lane = async () => {
    for (const group of groups) await readTogether(env, group, ctx);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  // In another order each time, so that one which ends the isolate does not always keep the same ones from being read.
  const alone = claimed.filter(isAlone).map((raw) => ({ raw, turn: Math.random() }));
  for (const { raw } of alone.toSorted((a, b) => a.turn - b.turn)) await readTogether(env, [raw], ctx);
  return claimed.length;
}

/** What failed before may take an isolate with it, and with that one those that are read beside it. */
const isAlone = ({ size, attempt }: ClaimedRaw) => size > SMALL_BYTES || attempt > 2;

/** Small mails of one tenant, few enough to be held at a time. */
function groupsOf(claimed: readonly ClaimedRaw[]): ClaimedRaw[][] {
  const groups: ClaimedRaw[][] = [];
  const open = new Map<string, { group: ClaimedRaw[]; bytes: number }>();
  for (const raw of claimed) {
    if (isAlone(raw)) continue;
    let last = open.get(raw.tenantId);
    if (!last || last.group.length === GROUP_MOST || last.bytes + raw.size > GROUP_BYTES) {
      last = { group: [], bytes: 0 };
      open.set(raw.tenantId, last);
      groups.push(last.group);
    }
    last.group.push(raw);
    last.bytes += raw.size;
  }
  return groups;
}

/**
 * Mails of a tenant become messages in one transaction; where one cannot, each by itself. What fails then is tried again
 * when its claim has lapsed, and given up in the end, with the raw mail kept.
 */
async function readTogether(env: Env, group: readonly ClaimedRaw[], ctx: ExecutionContext): Promise<void> {
  const waitUntil = (work: Promise<unknown>) => ctx.waitUntil(work);
  const [raw] = group;
  const { tenantId } = raw!;
  try {
    const mails = await Promise.all(group.map((one) => mailOf(env, one)));
    await asSystem(env, tenantId, waitUntil, (system) => settle(system, group, mails));
  } catch (error) {
    if (group.length > 1) {
      for (const one of group) await readTogether(env, [one], ctx);
      return;
    }
    logFault("inbound", error);
    if (raw!.attempt < ATTEMPTS_MOST) return;
    await asSystem(env, tenantId, waitUntil, (system) => fail(system, raw!, "attempts_exhausted")).catch((second) =>
      logFault("inbound", second),
    );
  }
}

/** It was begun so often and never ended, not even with an error: it is not begun again. */
const isExhausted = ({ attempt }: ClaimedRaw) => attempt > ATTEMPTS_MOST;

async function mailOf(env: Env, raw: ClaimedRaw): Promise<Mail | null> {
  if (isExhausted(raw)) return null;
  const { tenantId, id, envelopeFrom } = raw;
  const object = await env.FILES.get(rawKey(tenantId, id));
  // Who wrote it could have put in any Return-Path; whoever handed it over knows the sender.
  return object && { ...(await readMail(await object.bytes())), returnPath: envelopeFrom };
}

async function settle(ctx: Context, group: readonly ClaimedRaw[], mails: readonly (Mail | null)[]): Promise<void> {
  const reads: Read[] = [];
  for (const [i, raw] of group.entries()) {
    const mail = mails[i]!;
    if (isExhausted(raw)) await fail(ctx, raw, "attempts_exhausted");
    else if (!mail) await fail(ctx, raw, "raw_lost");
    else if (mail.failure) await fail(ctx, raw, mail.failure);
    else if (goesRound(mail, raw)) await asTenant(ctx, [settled(raw, "looping", null)]);
    else reads.push(await readyRead(ctx, raw, mail));
  }
  if (reads.length === 0) return;
  const refused = await recorded(ctx, reads);
  for (const { raw, files } of reads) if (refused.has(raw.id)) await forgetAttachments(ctx, files);
}

async function readyRead(ctx: Context, raw: ClaimedRaw, mail: Mail): Promise<Read> {
  const clues = await cluesOf(ctx, raw, mail);
  await hearReports(ctx, raw, mail, clues);
  const files = await storeAttachments(ctx, raw, mail);
  return { raw, mail, files, clues, answer: raw.autoReply ? answerLater(ctx, raw, mail, clues) : null };
}

const TRIES = 5;

/** Once more, where another mail joined conversations meanwhile. */
async function recorded(ctx: Context, reads: readonly Read[]): Promise<Set<string>> {
  for (let tries = 1; ; tries++) {
    try {
      return await recordInbound(ctx, reads);
    } catch (error) {
      const passing = error instanceof ApiError && ["conflict", "unavailable"].includes(error.code);
      if (!passing || tries === TRIES) throw error;
    }
  }
}

const OWN_HOPS = 4;
const HOPS = 60;

/** A mail that has been here again and again, or anywhere too often. */
function goesRound(mail: Mail, { address, envelopeTo }: ClaimedRaw): boolean {
  const received = headerValues(mail, "received");
  const isOurs = (to: string | undefined) => [address, envelopeTo.toLowerCase()].includes(to?.toLowerCase() ?? "");
  const own = headerValues(mail, "delivered-to").filter((to) => isOurs(/^\s*<?([^<>\s]+)>?\s*$/.exec(to)?.[1])).length;
  const forUs = received.filter((hop) => isOurs(/\sfor <?([^<>\s;]+)/i.exec(hop)?.[1])).length;
  return Math.max(own, forUs) > OWN_HOPS || received.length > HOPS;
}

async function storeAttachments(ctx: Context, raw: ClaimedRaw, mail: Mail): Promise<MailFile[]> {
  const files = await filesOf(raw, mail);
  for (const [i, file] of files.entries())
    await ctx.env.FILES.put(objectKey(ctx.tenantId, file.id), mail.attachments[i]!.content, described(file));
  return files;
}

/** Of a mail that never becomes a message, nothing but its bytes is kept. */
async function forgetAttachments(ctx: Context, files: MailFile[]): Promise<void> {
  if (files.length > 0) await ctx.env.FILES.delete(files.map(({ id }) => objectKey(ctx.tenantId, id)));
}

const settled = (raw: ClaimedRaw, status: "failed" | "looping", error: string | null) =>
  db.execute(sql`select settle_inbound(${raw.id}::uuid, ${status}, ${error}, null)`);

async function fail(ctx: Context, raw: ClaimedRaw, reason: string): Promise<void> {
  const batch = await asTenant(ctx, [
    settled(raw, "failed", reason),
    recordEvents(ctx, [
      {
        type: "email.failed",
        stream: { kind: "tenant", id: ctx.tenantId },
        data: { rawId: raw.id, inboxId: raw.inboxId, reason },
        about: { medium: "email", inboxId: raw.inboxId },
      },
    ]),
  ]);
  announce(ctx, recordedIn(batch));
}
