import { and, asc, eq, sql } from "drizzle-orm";
import { channels } from "../channels/schema";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { after, type Page, paged } from "../lib/page";
import { mustAllExist, mustExist, own } from "../lib/rows";
import { teams } from "../teams/schema";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { campaigns, campaignTargets, type TARGET_STATUSES } from "./schema";

export type NewTargets = {
  channelIds: string[];
  userIds: string[];
  teamIds: string[];
  everybody: boolean;
};

/** Who is named twice, or named already, is a target once. Users are written to by somebody: the campaign has a sender. */
export async function addTargets(ctx: Context, id: string, { channelIds, userIds, teamIds, everybody }: NewTargets) {
  const place = (name: string, ids: string[]) => ids.map((one, i) => ({ id: one, path: `${name}.${i}` }));
  const needsSender = userIds.length > 0 || teamIds.length > 0 || everybody;
  const open = sql`exists (select 1 from ${campaigns} where ${own(campaigns, id, sql`${campaigns.status} in ('draft', 'scheduled')`)})`;
  const sender = sql`exists (select 1 from ${campaigns} where ${own(campaigns, id, sql`${campaigns.senderId} is not null`)})`;
  const batch = await asTenant(ctx, [
    mustExist(campaigns, id),
    refuseUnless(open, "conflict"),
    ...(needsSender
      ? [
          refuseUnless(sender, "invalid_request", {
            errors: [{ path: "userIds", message: "Users are written to by the campaign's sender, and it has none." }],
          }),
        ]
      : []),
    mustAllExist(channels, place("channelIds", channelIds)),
    mustAllExist(users, place("userIds", userIds)),
    mustAllExist(teams, place("teamIds", teamIds)),
    audit(
      ctx,
      "campaign.targets_added",
      { type: "campaign", id },
      {
        channels: channelIds.length,
        users: userIds.length,
        teamIds,
        everybody,
      },
    ),
    db.execute(sql`with named as (
        select null::uuid as user_id, value::uuid as channel_id from jsonb_array_elements_text(${JSON.stringify(channelIds)}::jsonb)
        union select value::uuid, null from jsonb_array_elements_text(${JSON.stringify(userIds)}::jsonb)
        union select t.user_id, null from team_members t where t.tenant_id = current_tenant()
          and t.team_id in (select value::uuid from jsonb_array_elements_text(${JSON.stringify(teamIds)}::jsonb))
        union select u.id, null from users u where ${everybody}::boolean and u.tenant_id = current_tenant() and u.type = 'regular'),
      added as (insert into campaign_targets (tenant_id, id, campaign_id, user_id, channel_id)
        select current_tenant(), gen_random_uuid(), ${id}::uuid, n.user_id, n.channel_id from named n
          left join users u on u.tenant_id = current_tenant() and u.id = n.user_id
         where u.deactivated_at is null and (n.user_id is null or n.user_id is distinct from (select c.sender_id from campaigns c where c.tenant_id = current_tenant() and c.id = ${id}::uuid))
        on conflict do nothing returning 1)
      select set_config('app.targets_added', count(*)::text, true) from added`),
    // What a repetition is to get has to come out of a select.
    db.select({ added: sql<number>`current_setting('app.targets_added')::int`.as("added") }).from(sql`(values (1)) v`),
  ]);
  const [row] = batch.at(-1) as unknown as { added: number }[];
  return { added: row!.added };
}

const columns = {
  id: campaignTargets.id,
  userId: campaignTargets.userId,
  channelId: campaignTargets.channelId,
  status: campaignTargets.status,
  code: campaignTargets.code,
  messageId: campaignTargets.messageId,
  sentAt: campaignTargets.sentAt,
};

export type TargetFilter = Page & { status?: (typeof TARGET_STATUSES)[number] | undefined };

export async function listTargets(ctx: Context, campaignId: string, { status, ...page }: TargetFilter) {
  const [, rows] = await asTenant(ctx, [
    mustExist(campaigns, campaignId),
    db
      .select(columns)
      .from(campaignTargets)
      .where(
        and(
          eq(campaignTargets.tenantId, ctx.tenantId),
          eq(campaignTargets.campaignId, campaignId),
          status && eq(campaignTargets.status, status),
          after(page, [campaignTargets.id], "asc"),
        ),
      )
      .orderBy(asc(campaignTargets.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

/**
 * From the targets, each time anew. Delivered is what somebody was connected for, was pushed for, or has read; read is
 * what somebody other than the sender has read.
 */
export const countsOf = (campaignId: string) =>
  db
    .select({
      targets: sql<number>`count(*)::int`.as("targets"),
      pending: sql<number>`(count(*) filter (where t.status = 'pending'))::int`.as("pending"),
      sent: sql<number>`(count(*) filter (where t.status = 'sent'))::int`.as("sent"),
      failed: sql<number>`(count(*) filter (where t.status = 'failed'))::int`.as("failed"),
      delivered: sql<number>`(count(*) filter (where t.reached or t.was_read or t.pushed))::int`.as("delivered"),
      read: sql<number>`(count(*) filter (where t.was_read))::int`.as("read"),
    })
    .from(
      sql`(select x.status, x.reached,
          exists (select 1 from channel_members m where m.tenant_id = x.tenant_id and m.channel_id = x.channel_id
            and m.read_seq >= x.seq and m.user_id is distinct from c.sender_id and (x.user_id is null or m.user_id = x.user_id)) as was_read,
          exists (select 1 from deliveries d where d.tenant_id = x.tenant_id and d.message_id = x.message_id and d.medium = 'push'
            and d.status not in ('pending', 'failed', 'suppressed', 'cancelled')) as pushed
        from campaign_targets x join campaigns c on c.tenant_id = x.tenant_id and c.id = x.campaign_id
       where x.tenant_id = current_tenant() and x.campaign_id = ${campaignId}::uuid) t`,
    );
