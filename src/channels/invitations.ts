import { and, desc, eq, sql } from "drizzle-orm";
import { announce, type Recorded, recordEvents, recordedIn } from "../events/service";
import { currentUser } from "../lib/columns";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, mustAllExist, shown } from "../lib/rows";
import { users } from "../users/schema";

import { actsForUser, mustBeAllowed } from "./access";
import { actingUser, insertMember, mustNotBeDistinct } from "./members";
import { channelMembers, invitations } from "./schema";

const columns = shown(invitations);
type Invitation = Awaited<ReturnType<typeof listInvitations>>["data"][number];

/** Asking again while the first invitation is open is a conflict. */
export async function invite(ctx: Context, channelId: string, userId: string) {
  const id = newId();
  const invitedBy = ctx.actor.kind !== "system" && ctx.actor.user && "id" in ctx.actor.user ? ctx.actor.user.id : null;
  const batch = await asTenant(ctx, [
    mustBeAllowed(ctx, channelId, "member.invite"),
    mustNotBeDistinct(ctx, channelId),
    mustAllExist(users, [{ id: userId, path: "userId" }]),
    refuseUnless(
      sql`not exists (select 1 from ${channelMembers} where ${channelMembers.tenantId} = ${ctx.tenantId} and ${channelMembers.channelId} = ${channelId} and ${channelMembers.userId} = ${userId})`,
      "conflict",
    ),
    recordEvents(ctx, [
      {
        type: "invitation.created",
        stream: { kind: "user", id: userId },
        data: { channelId, invitationId: id, userId, invitedBy },
      },
    ]),
    db
      .insert(invitations)
      .values({ tenantId: ctx.tenantId, id, channelId, userId, invitedBy: currentUser })
      .returning(columns),
  ]);
  announce(ctx, recordedIn(batch));
  return found(batch[5] as Invitation[]);
}

/** A user's own; for a server, everybody's. */
export async function listInvitations(
  ctx: Context,
  page: Page & { status?: string | undefined; channelId?: string | undefined },
) {
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(invitations)
      .where(
        and(
          eq(invitations.tenantId, ctx.tenantId),
          actsForUser(ctx) ? sql`${invitations.userId} = current_user_id()` : undefined,
          page.status === undefined ? undefined : sql`${invitations.status} = ${page.status}`,
          page.channelId === undefined ? undefined : eq(invitations.channelId, page.channelId),
          after(page, [invitations.id]),
        ),
      )
      .orderBy(desc(invitations.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

/** Answered once, by the one who was invited; accepting and becoming a member are one step. */
export async function answerInvitation(ctx: Context, channelId: string, accept: boolean) {
  const userId = actingUser(ctx);
  const mine = and(
    eq(invitations.tenantId, ctx.tenantId),
    eq(invitations.channelId, channelId),
    eq(invitations.userId, userId),
    eq(invitations.status, "pending"),
  );
  const stream = { kind: "channel" as const, id: channelId };
  const [, , , added, rows] = await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${invitations} where ${mine})`, "not_found"),
    refuseUnless(sql`not ${accept}::boolean or not is_banned(${channelId}::uuid, current_user_id())`, "banned"),
    recordEvents(ctx, [
      { type: accept ? "invitation.accepted" : "invitation.rejected", stream, data: { channelId, userId } },
    ]),
    accept
      ? recordEvents(ctx, [{ type: "member.added", stream, data: { channelId, userId, role: "member" } }])
      : recordEvents(ctx, []),
    db
      .update(invitations)
      .set({ status: accept ? "accepted" : "rejected", answeredAt: sql<string>`now()` })
      .where(mine)
      .returning(columns),
    ...(accept ? [insertMember(ctx, channelId, userId)] : []),
  ]);
  announce(ctx, added as Recorded[]);
  return found(rows as Invitation[]);
}
