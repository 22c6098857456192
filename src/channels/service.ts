import { and, eq, isNull, type SQL, sql } from "drizzle-orm";
import { announce, recordEvents, recordedIn } from "../events/service";
import { scheduleJob } from "../jobs/service";
import { currentUser } from "../lib/columns";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mergedJson, newJson, own, shown, withinLimit } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { actsForUser, mustBeAllowed, seen } from "./access";
import { insertMembers, type NewMember } from "./members";
import type { MemberRole } from "./permissions";
import { channels, type TypeSettings } from "./schema";

const { distinctKey: _d, truncatedSeq: _s, deletedAt: _x, ...columns } = shown(channels);

export type ChannelInput = {
  type?: string | undefined;
  name?: string | null | undefined;
  description?: string | null | undefined;
  avatarUrl?: string | null | undefined;
  teamId?: string | null | undefined;
  frozen?: boolean | undefined;
  slowMode?: number | undefined;
  cooldown?: number | undefined;
  language?: string | undefined;
  metadata?: Record<string, unknown> | undefined;
  settings?: TypeSettings | undefined;
};
export type NewChannel = ChannelInput & { members?: NewMember[] | undefined; distinct?: boolean | undefined };
export type Channel = Awaited<ReturnType<typeof selectChannels>>[number];

const selectChannels = () => db.select(columns).from(channels);

/** The acting user becomes its owner. Of a distinct channel there is one for the same members, however many ask at once. */
export async function createChannel(ctx: Context, { members = [], distinct, ...input }: NewChannel): Promise<Channel> {
  const type = input.type ?? "messaging";
  const ids = JSON.stringify(members.map(({ userId }) => userId));
  const distinctKey = distinct
    ? sql<string>`distinct_key(${type}, array(select jsonb_array_elements_text(${ids}::jsonb)::uuid))`
    : null;
  try {
    return await insertChannel(ctx, { ...input, type }, members, distinctKey);
  } catch (error) {
    if (distinctKey === null || !(error instanceof ApiError && error.code === "conflict")) throw error;
    const [rows] = await asTenant(ctx, [
      selectChannels().where(and(eq(channels.tenantId, ctx.tenantId), eq(channels.distinctKey, distinctKey), seen)),
    ]);
    return found(rows);
  }
}

async function insertChannel(
  ctx: Context,
  input: ChannelInput & { type: string },
  members: NewMember[],
  distinctKey: SQL<string> | null,
): Promise<Channel> {
  const { tenantId } = ctx;
  const id = newId();
  const now = new Date().toISOString();
  const creator = ctx.actor.kind !== "system" && ctx.actor.user && "id" in ctx.actor.user ? ctx.actor.user.id : null;
  const channel = { ...DEFAULTS, ...changes(input), id, createdBy: creator, createdAt: now, updatedAt: now } as Channel;
  const batch = await asTenant(ctx, [
    db
      .insert(channels)
      .values({ tenantId, ...channel, metadata: newJson(input.metadata), distinctKey, createdBy: currentUser }),
    recordEvents(ctx, [
      {
        type: "channel.created",
        stream: { kind: "channel", id },
        data: { channel: { ...channel } },
      },
    ]),
    ...insertMembers(ctx, id, members),
    audit(ctx, "channel.created", { type: "channel", id }, input),
    ...withinLimit("channels", ctx.snapshot?.limits),
    selectChannels().where(own(channels, id)),
  ]);
  announce(ctx, recordedIn(batch));
  return found(batch.at(-1) as Channel[]);
}

const DEFAULTS = {
  medium: "chat",
  name: null,
  description: null,
  avatarUrl: null,
  teamId: null,
  inboxId: null,
  mergedInto: null,
  frozen: false,
  slowMode: 0,
  cooldown: 0,
  language: "simple",
  metadata: {},
  settings: {},
  truncatedAt: null,
  trashedAt: null,
};

export type ChannelFilters = Page & {
  type?: string | undefined;
  teamId?: string | undefined;
  memberId?: string | undefined;
  frozen?: boolean | undefined;
  metadata?: Record<string, unknown> | undefined;
  hidden?: boolean | undefined;
  archived?: boolean | undefined;
};

const member = sql`channel_members.user_id is not null`;
const latest = sql<string>`coalesce(streams.last_message_at, streams.created_at)`;

export type OwnState = {
  role: MemberRole;
  muted: boolean;
  pinnedAt: string | null;
  archivedAt: string | null;
  hidden: boolean;
  readSeq: number;
  readAt: string | null;
  unread: number;
  unreadMentions: number;
};
type MemberPreview = { userId: string; role: MemberRole; displayName: string | null; avatarUrl: string | null };

/** For the channels of a user they are looked up one by one: joined, all of the tenant's would be read beside them. */
const streamsOf = (oneByOne: boolean): [SQL, SQL] => {
  const same = sql`streams.tenant_id = channels.tenant_id and streams.kind = 'channel' and streams.id = channels.id`;
  return oneByOne
    ? [sql`lateral (select * from streams where ${same} offset 0) streams`, sql`true`]
    : [sql`streams`, same];
};

/** What a list shows of a channel beside itself; what is counted is counted for the page alone. */
const selectOverviews = (where: SQL | undefined, most: number, beginsWithUser = false) => {
  const page = db.$with("page").as(
    db
      .select({
        ...columns,
        lastSeq: sql<number>`coalesce(streams.last_seq, 0)`.mapWith(Number).as("last_seq"),
        lastMessageAt: sql<string | null>`iso(streams.last_message_at)`.as("last_message_at"),
        own: sql<Omit<
          OwnState,
          "unread" | "unreadMentions"
        > | null>`case when ${member} then jsonb_build_object('role', channel_members.role, 'muted', channel_members.muted,
          'pinnedAt', iso(channel_members.pinned_at), 'archivedAt', iso(channel_members.archived_at),
          'hidden', coalesce(channel_members.hidden_ordinal >= coalesce(streams.last_ordinal, 0), false),
          'readSeq', channel_members.read_seq, 'readAt', iso(channel_members.read_at)) end`.as("own"),
        exactly: sql<string>`to_char(${latest} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`.as("exactly"),
      })
      .from(channels)
      .leftJoin(
        sql`channel_members`,
        sql`channel_members.tenant_id = channels.tenant_id and channel_members.channel_id = channels.id and channel_members.user_id = current_user_id()`,
      )
      .innerJoin(...streamsOf(beginsWithUser))
      .where(where)
      .orderBy(sql`${latest} desc, channels.id desc`)
      .limit(most),
  );
  return db
    .with(page)
    .select({
      channel: page._.selectedFields,
      lastMessage: sql<Record<string, unknown> | null>`o.last_message`,
      memberCount: sql<number>`o.member_count`,
      members: sql<MemberPreview[]>`o.members`,
      unread: sql<number>`o.unread`,
      unreadMentions: sql<number>`o.unread_mentions`,
    })
    .from(page)
    .innerJoin(sql`channel_overviews(array(select id from page)) o`, sql`o.channel = page.id`)
    .orderBy(sql`page.exactly desc, page.id desc`);
};

type Overview = Awaited<ReturnType<typeof selectOverviews>>[number];
const flat = ({ channel: { exactly: _, own, ...channel }, unread, unreadMentions, ...rest }: Overview) => ({
  ...channel,
  ...rest,
  own: own && { ...own, unread, unreadMentions },
});

/** A user's own channels, the ones with the newest message first; for a server, all of the tenant's. */
export async function listChannels(ctx: Context, filters: ChannelFilters) {
  const { type, teamId, memberId, frozen, metadata, hidden = false, archived = false } = filters;
  const where = and(
    eq(channels.tenantId, ctx.tenantId),
    isNull(channels.deletedAt),
    actsForUser(ctx) ? sql`${member} and ${seen}` : undefined,
    after(filters, [{ expression: latest, type: "timestamptz" }, channels.id]),
    sql`coalesce(channel_members.hidden_ordinal >= coalesce(streams.last_ordinal, 0), false) = ${hidden}`,
    sql`(channel_members.archived_at is not null) = ${archived}`,
    type === undefined ? undefined : eq(channels.type, type),
    teamId === undefined ? undefined : eq(channels.teamId, teamId),
    frozen === undefined ? undefined : eq(channels.frozen, frozen),
    metadata === undefined ? undefined : sql`${channels.metadata} @> ${JSON.stringify(metadata)}::jsonb`,
    memberId === undefined
      ? undefined
      : sql`exists (select 1 from channel_members x where x.tenant_id = channels.tenant_id and x.channel_id = channels.id and x.user_id = ${memberId})`,
  );
  const [rows] = await asTenant(ctx, [selectOverviews(where, filters.limit + 1, actsForUser(ctx))]);
  const { data, nextCursor } = paged(rows, filters, ({ channel }) => [channel.exactly, channel.id]);
  return { data: data.map(flat), nextCursor };
}

export async function getChannel(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectOverviews(own(channels, id, seen), 1)]);
  return flat(found(rows));
}

export async function updateChannel(ctx: Context, id: string, patch: ChannelInput): Promise<Channel> {
  const { metadata, settings, ...rest } = patch;
  const merged = {
    ...(metadata && { metadata: mergedJson(channels.metadata, metadata) }),
    ...(settings && { settings: mergedJson(channels.settings, settings) }),
  };
  const reindexing = scheduleJob(ctx, { type: "messages.reindex", payload: { channelId: id } });
  const batch = await asTenant(ctx, [
    mustBeAllowed(
      ctx,
      id,
      patch.frozen === undefined || Object.keys(changes(patch)).length > 1 ? "channel.update" : "channel.freeze",
    ),
    auditChange(ctx, "channel.updated", { type: "channel", id }, channels, changes(patch)),
    db
      .update(channels)
      .set({ ...changes(rest), ...merged, updatedAt: sql<string>`now()` })
      .where(own(channels, id)),
    recordEvents(ctx, [
      { type: "channel.updated", stream: { kind: "channel", id }, data: { channelId: id, changed: changes(patch) } },
    ]),
    ...(patch.language === undefined ? [] : [reindexing.query]),
    selectChannels().where(own(channels, id)),
  ]);
  announce(ctx, recordedIn(batch));
  if (patch.language !== undefined) reindexing.announce(batch.at(-2) as never);
  return found(batch.at(-1) as Channel[]);
}

const REMOVED_AT_ONCE = 200;

/** Seen by nobody at once; a large one is removed piece by piece. */
export async function deleteChannel(ctx: Context, id: string): Promise<void> {
  const removal = scheduleJob(ctx, { type: "channels.removal", payload: { channelId: id } });
  const batch = await asTenant(ctx, [
    mustBeAllowed(ctx, id, "channel.delete"),
    // What it was goes on in another, whose readers it leads there.
    refuseUnless(
      sql`not exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = ${id}::uuid and c.merged_into is not null)`,
      "channel_merged",
    ),
    recordEvents(ctx, [{ type: "channel.deleted", stream: { kind: "channel", id }, data: { channelId: id } }]),
    audit(ctx, "channel.deleted", { type: "channel", id }),
    db.update(channels).set({ deletedAt: sql<string>`now()`, distinctKey: null }).where(own(channels, id)),
    db.execute(sql`delete from channels c where c.tenant_id = current_tenant() and c.id = ${id}::uuid
      and not exists (select 1 from messages m where m.tenant_id = c.tenant_id and m.channel_id = c.id offset ${REMOVED_AT_ONCE})`),
    removal.query,
  ]);
  announce(ctx, recordedIn(batch));
  removal.announce(batch.at(-1) as never);
}
