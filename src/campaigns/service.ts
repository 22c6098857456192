import { and, desc, eq, inArray, type SQL, sql } from "drizzle-orm";
import { files } from "../files/schema";
import { attachFiles } from "../files/service";
import { scheduleJob } from "../jobs/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustAllExist, mustExist, own, shown } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { users } from "../users/schema";
import { type CAMPAIGN_STATUSES, campaigns } from "./schema";
import { countsOf } from "./targets";

export type CampaignStatus = (typeof CAMPAIGN_STATUSES)[number];
export type CampaignInput = {
  name: string;
  message: Record<string, unknown>;
  senderId?: string | null | undefined;
  channelType?: string | undefined;
};

const columns = shown(campaigns);
export type Campaign = Awaited<ReturnType<typeof row>>[number];
const row = (id: string) => db.select(columns).from(campaigns).where(own(campaigns, id));

type Attachments = { fileId?: string }[];

/** What it names is the tenant's own. */
function mustKnow({ senderId, message }: Partial<CampaignInput>) {
  const attachments = (message?.attachments ?? []) as Attachments;
  const named = attachments.flatMap(({ fileId }, i) =>
    fileId === undefined ? [] : [{ id: fileId, path: `message.attachments.${i}.fileId` }],
  );
  return [
    ...(senderId ? [mustAllExist(users, [{ id: senderId, path: "senderId" }])] : []),
    // Kept until it is sent, however much later that is.
    ...(named.length > 0 ? [mustAllExist(files, named), attachFiles(named.map((file) => file.id))] : []),
  ];
}

export async function createCampaign(ctx: Context, input: CampaignInput): Promise<Campaign> {
  const id = newId();
  const batch = await asTenant(ctx, [
    audit(ctx, "campaign.created", { type: "campaign", id }, input),
    ...mustKnow(input),
    db
      .insert(campaigns)
      .values({ tenantId: ctx.tenantId, id, ...changes(input) } as typeof campaigns.$inferInsert)
      .returning(columns),
  ]);
  return found(batch.at(-1) as Campaign[]);
}

export async function listCampaigns(ctx: Context, { status, ...page }: Page & { status?: CampaignStatus | undefined }) {
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(campaigns)
      .where(
        and(eq(campaigns.tenantId, ctx.tenantId), after(page, [campaigns.id]), status && eq(campaigns.status, status)),
      )
      .orderBy(desc(campaigns.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (one) => [one.id]);
}

export async function getCampaign(ctx: Context, id: string) {
  const [rows, counts] = await asTenant(ctx, [row(id), countsOf(id)]);
  return { ...found(rows), counts: found(counts) };
}

const EDITABLE: CampaignStatus[] = ["draft", "scheduled"];

/** Ends the batch with 404 or, in another state, with 409. */
const mustBe = (id: string, states: readonly CampaignStatus[], more?: SQL) =>
  refuseUnless(
    sql`exists (select 1 from ${campaigns} where ${own(campaigns, id, inArray(campaigns.status, [...states]), more)})`,
    "conflict",
    { is: states.join(" or ") },
  );

export async function updateCampaign(ctx: Context, id: string, patch: Partial<CampaignInput>): Promise<Campaign> {
  const batch = await asTenant(ctx, [
    mustExist(campaigns, id),
    mustBe(id, EDITABLE),
    ...mustKnow(patch),
    auditChange(ctx, "campaign.updated", { type: "campaign", id }, campaigns, changes(patch)),
    db
      .update(campaigns)
      .set({ ...changes(patch), updatedAt: sql<string>`now()` })
      .where(own(campaigns, id)),
    row(id),
  ]);
  return found(batch.at(-1) as Campaign[]);
}

export async function deleteCampaign(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(campaigns, id),
    mustBe(id, ["draft", "completed", "failed", "cancelled"]),
    audit(ctx, "campaign.deleted", { type: "campaign", id }),
    db.delete(campaigns).where(own(campaigns, id)),
  ]);
}

const now = sql`now()`;

type Values = { [K in keyof typeof campaigns.$inferInsert]?: (typeof campaigns.$inferInsert)[K] | SQL };
type Move = { from: readonly CampaignStatus[]; set: Values & { status: CampaignStatus }; runAt?: string };

/** One step of a campaign's life: from one of these states, or not at all. */
async function move(ctx: Context, id: string, action: string, { from, set, runAt }: Move): Promise<Campaign> {
  // A job for each moment: one that comes too early or too late finds nothing to do.
  const job = scheduleJob(ctx, {
    type: "campaign.send",
    payload: { campaignId: id },
    runAt,
    uniqueKey: `campaign.send ${id} ${runAt ?? newId()}`,
  });
  const starts = set.status === "sending" || set.status === "scheduled";
  const batch = await asTenant(ctx, [
    mustExist(campaigns, id),
    mustBe(id, from),
    auditChange(ctx, `campaign.${action}`, { type: "campaign", id }, campaigns, { status: set.status }),
    db
      .update(campaigns)
      .set({ ...set, updatedAt: now } as never)
      .where(own(campaigns, id)),
    ...(starts ? [job.query] : []),
    row(id),
  ]);
  if (starts) job.announce(batch.at(-2) as never);
  return found(batch.at(-1) as Campaign[]);
}

export const startCampaign = (ctx: Context, id: string) =>
  move(ctx, id, "started", {
    from: EDITABLE,
    set: { status: "sending", scheduledFor: null, error: null, startedAt: now },
  });

export async function scheduleCampaign(ctx: Context, id: string, at: string): Promise<Campaign> {
  if (Date.parse(at) <= Date.now())
    throw new ApiError("invalid_request", undefined, { errors: [{ path: "at", message: "It lies in the past." }] });
  return move(ctx, id, "scheduled", { from: EDITABLE, set: { status: "scheduled", scheduledFor: at }, runAt: at });
}

export const pauseCampaign = (ctx: Context, id: string) =>
  move(ctx, id, "paused", { from: ["sending"], set: { status: "paused" } });

/** Goes on where it was; what failed as a whole is tried once more. */
export const resumeCampaign = (ctx: Context, id: string) =>
  move(ctx, id, "resumed", { from: ["paused", "failed"], set: { status: "sending", error: null, finishedAt: null } });

/** What is sent stays sent. */
export const cancelCampaign = (ctx: Context, id: string) =>
  move(ctx, id, "cancelled", {
    from: ["scheduled", "sending", "paused", "failed"],
    set: { status: "cancelled", finishedAt: now },
  });
