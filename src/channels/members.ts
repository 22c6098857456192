import { and, asc, eq, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { liveSockets } from "../auth/schema";
import { announce, recordEvents, recordedIn } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { beginHistory } from "../lib/objects";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustAllExist } from "../lib/rows";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { mustBeAllowed, mustSee } from "./access";
import type { MemberRole } from "./permissions";
import { channelMembers, channels } from "./schema";

export type NewMember = { userId: string; role?: MemberRole | undefined };

const ofMember = (ctx: Context, channelId: string, userId: string | SQL): SQL =>
  and(
    eq(channelMembers.tenantId, ctx.tenantId),
    eq(channelMembers.channelId, channelId),
    sql`${channelMembers.userId} = ${userId}`,
  )!;

/** A new member starts with what is there read, so that an old channel is not full of unread. */
const caughtUp = (channelId: string, what: "last_seq" | "last_ordinal", lock = sql``) =>
  sql<number>`coalesce((select s.${sql.raw(what)} from streams s where s.tenant_id = current_tenant() and s.kind = 'channel' and s.id = ${channelId} ${lock}), 0)`;

/** The acting user as owner, and these; each told as member.added. */
export function insertMembers(ctx: Context, channelId: string, members: readonly NewMember[]): BatchItem<"pg">[] {
  const { tenantId } = ctx;
  return [
    db.execute(sql`insert into channel_members (tenant_id, channel_id, user_id, role)
      select ${tenantId}::uuid, ${channelId}::uuid, current_user_id(), 'owner' where current_user_id() is not null`),
    ...addQueries(ctx, channelId, members),
  ];
}

export const insertMember = (ctx: Context, channelId: string, userId: string, role: MemberRole = "member") =>
  db
    .insert(channelMembers)
    .values({
      tenantId: ctx.tenantId,
      channelId,
      userId,
      role,
      readSeq: caughtUp(channelId, "last_seq"),
      readOrdinal: caughtUp(channelId, "last_ordinal"),
    })
    .onConflictDoNothing();

function addQueries(ctx: Context, channelId: string, members: readonly NewMember[]): BatchItem<"pg">[] {
  if (members.length === 0) return [];
  const added = members.map(({ userId, role = "member" }) => ({
    type: "member.added" as const,
    stream: { kind: "channel" as const, id: channelId },
    data: { channelId, userId, role },
  }));
  return [
    mustAllExist(
      users,
      members.map(({ userId }, i) => ({ id: userId, path: `members.${i}.userId` })),
    ),
    ...members.map(({ userId, role }) => insertMember(ctx, channelId, userId, role)),
    recordEvents(ctx, added),
  ];
}

/** A distinct channel is its members: nobody is added to it, and nobody leaves. */
export const mustNotBeDistinct = (ctx: Context, channelId: string) =>
  refuseUnless(
    sql`exists (select 1 from ${channels} where ${channels.tenantId} = ${ctx.tenantId} and ${channels.id} = ${channelId} and ${channels.distinctKey} is null)`,
    "distinct_members",
  );

export async function addMembers(ctx: Context, channelId: string, members: readonly NewMember[]) {
  const batch = await asTenant(ctx, [
    mustBeAllowed(ctx, channelId, "member.add"),
    mustNotBeDistinct(ctx, channelId),
    ...addQueries(ctx, channelId, members),
    audit(ctx, "channel.members_added", { type: "channel", id: channelId }, { members }),
  ]);
  announce(ctx, recordedIn(batch));
}

const shownMember = {
  userId: channelMembers.userId,
  role: channelMembers.role,
  joinedAt: channelMembers.joinedAt,
  displayName: users.displayName,
  avatarUrl: users.avatarUrl,
};

export async function listMembers(ctx: Context, channelId: string, page: Page & { role?: string | undefined }) {
  const [, rows] = await asTenant(ctx, [
    mustSee(channelId),
    db
      .select(shownMember)
      .from(channelMembers)
      .innerJoin(users, and(eq(users.tenantId, channelMembers.tenantId), eq(users.id, channelMembers.userId)))
      .where(
        and(
          eq(channelMembers.tenantId, ctx.tenantId),
          eq(channelMembers.channelId, channelId),
          after(page, [channelMembers.userId], "asc"),
          page.role === undefined ? undefined : sql`${channelMembers.role} = ${page.role}`,
        ),
      )
      .orderBy(asc(channelMembers.userId))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.userId]);
}

/** Nobody takes a role from, or gives one to, somebody who stands above them; an owner stays. */
export const mustOutrank = (ctx: Context, channelId: string, userId: string, role?: MemberRole) => {
  const rank = (of: SQL) => sql`array_position(array['member', 'moderator', 'admin', 'owner'], ${of})`;
  const mine = sql`(select ${rank(sql`x.role`)} from channel_members x where x.tenant_id = ${ctx.tenantId} and x.channel_id = ${channelId} and x.user_id = current_user_id())`;
  const theirs = sql`coalesce((select ${rank(sql`x.role`)} from channel_members x where x.tenant_id = ${ctx.tenantId} and x.channel_id = ${channelId} and x.user_id = ${userId}), 0)`;
  const given = role === undefined ? sql`0` : rank(sql`${role}`);
  return refuseUnless(
    sql`current_user_id() is null or current_user_id() = ${userId} and ${given} <= ${mine} or greatest(${theirs}, ${given}) <= ${mine} and ${theirs} < 4`,
    "not_allowed",
  );
};

const mustBeMember = (ctx: Context, channelId: string, userId: string | SQL) =>
  refuseUnless(sql`exists (select 1 from ${channelMembers} where ${ofMember(ctx, channelId, userId)})`, "not_found");

export async function setRole(ctx: Context, channelId: string, userId: string, role: MemberRole): Promise<void> {
  const batch = await asTenant(ctx, [
    mustBeAllowed(ctx, channelId, "member.role"),
    mustBeMember(ctx, channelId, userId),
    mustOutrank(ctx, channelId, userId, role),
    db
      .update(channelMembers)
      .set({ role })
      .where(ofMember(ctx, channelId, userId)),
    recordEvents(ctx, [
      { type: "member.updated", stream: { kind: "channel", id: channelId }, data: { channelId, userId, role } },
    ]),
    audit(ctx, "channel.role_set", { type: "channel", id: channelId }, { userId, role }),
  ]);
  announce(ctx, recordedIn(batch));
}

const removed = (ctx: Context, channelId: string, userId: string) =>
  recordEvents(ctx, [
    { type: "member.removed", stream: { kind: "channel", id: channelId }, data: { channelId, userId } },
  ]);

/** Removing oneself is leaving, which every member may where members come and go. */
export async function removeMember(ctx: Context, channelId: string, userId: string): Promise<void> {
  const batch = await asTenant(ctx, [
    mustSee(channelId),
    mustBeMember(ctx, channelId, userId),
    db.execute(
      sql`select case when current_user_id() = ${userId}::uuid then true else (${mustBeAllowed(ctx, channelId, "member.remove").getSQL()}) end`,
    ),
    mustOutrank(ctx, channelId, userId),
    mustNotBeDistinct(ctx, channelId),
    db.delete(channelMembers).where(ofMember(ctx, channelId, userId)),
    removed(ctx, channelId, userId),
    audit(ctx, "channel.member_removed", { type: "channel", id: channelId }, { userId }),
  ]);
  announce(ctx, recordedIn(batch));
}

/** Into a public channel, without being asked. */
export async function joinChannel(ctx: Context, channelId: string): Promise<void> {
  const userId = actingUser(ctx);
  const batch = await asTenant(ctx, [
    mustSee(channelId),
    mustNotBeDistinct(ctx, channelId),
    mustBeAllowed(ctx, channelId, "channel.join"),
    ...addQueries(ctx, channelId, [{ userId }]),
  ]);
  announce(ctx, recordedIn(batch));
}

export function actingUser(ctx: Context): string {
  const { actor } = ctx;
  if (actor.kind !== "system" && actor.user && "id" in actor.user) return actor.user.id;
  throw new ApiError(
    "not_allowed",
    "Only a user can do this: act for one with Parley-User and an id, or use a user token.",
  );
}

export type OwnPatch = {
  muted?: boolean | undefined;
  pinned?: boolean | undefined;
  archived?: boolean | undefined;
  hidden?: boolean | undefined;
  clearHistory?: boolean | undefined;
};

/** Whether the acting user watches the channel: a row if so. */
const ownWatching = (channelId: string) =>
  db
    .select({ id: liveSockets.id })
    .from(liveSockets)
    .where(
      sql`${liveSockets.tenantId} = current_tenant() and ${liveSockets.userId} = current_user_id() and ${liveSockets.placeId} = ${channelId}`,
    )
    .limit(1);

/** What one member sees of the channel: nobody else is told. Hidden lasts until the next message. */
export async function updateOwnMembership(
  ctx: Context,
  channelId: string,
  { muted, pinned, archived, hidden, clearHistory }: OwnPatch,
) {
  const me = sql`current_user_id()`;
  const time = (on: boolean | undefined) => (on === undefined ? undefined : on ? sql<string>`now()` : null);
  const set = changes({
    muted,
    pinnedAt: time(pinned),
    archivedAt: time(archived),
    hiddenOrdinal: hidden === undefined ? undefined : hidden ? caughtUp(channelId, "last_ordinal") : null,
    // Whoever opens a socket holds the row: it is there and told when this looks for it, or it opens behind this.
    historySeq: clearHistory ? caughtUp(channelId, "last_seq", sql`for no key update`) : undefined,
  });
  const [, , rows, watching] = await asTenant(ctx, [
    mustSee(channelId),
    mustBeMember(ctx, channelId, me),
    db
      .update(channelMembers)
      .set({ ...set, userId: sql`${channelMembers.userId}` })
      .where(ofMember(ctx, channelId, me))
      .returning({
        muted: channelMembers.muted,
        pinnedAt: channelMembers.pinnedAt,
        archivedAt: channelMembers.archivedAt,
        hidden: sql<boolean>`${channelMembers.hiddenOrdinal} is not null`,
        userId: channelMembers.userId,
        historySeq: channelMembers.historySeq,
      }),
    ...(clearHistory ? [ownWatching(channelId)] : []),
  ]);
  const { userId, historySeq, ...own } = found(rows);
  if (watching && watching.length > 0) await beginHistory(ctx.env, ctx.tenantId, channelId, userId, historySeq);
  return own;
}
