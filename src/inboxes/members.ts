import { and, asc, eq, type SQL } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { mustExist } from "../lib/rows";
import { teams } from "../teams/schema";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { inboxMembers } from "./schema";
import { inboxMustExist, mustSeeInbox } from "./service";

/** A user, or all of a team. */
export type Somebody = { userId: string } | { teamId: string };

const ofInbox = (ctx: Context, inboxId: string): SQL =>
  and(eq(inboxMembers.tenantId, ctx.tenantId), eq(inboxMembers.inboxId, inboxId))!;
const is = (one: Somebody): SQL =>
  "userId" in one ? eq(inboxMembers.userId, one.userId) : eq(inboxMembers.teamId, one.teamId);
const exists = (one: Somebody) => ("userId" in one ? mustExist(users, one.userId) : mustExist(teams, one.teamId));

export async function listInboxMembers(ctx: Context, inboxId: string, page: Page) {
  const { id, userId, teamId, createdAt } = inboxMembers;
  const [, rows] = await asTenant(ctx, [
    mustSeeInbox(inboxId),
    db
      .select({ id, userId, teamId, createdAt })
      .from(inboxMembers)
      .where(and(ofInbox(ctx, inboxId), after(page, [id], "asc")))
      .orderBy(asc(id))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, (row) => [row.id]);
  return { data: data.map(({ id: _, ...member }) => member), nextCursor };
}

export async function addInboxMember(ctx: Context, inboxId: string, one: Somebody): Promise<void> {
  await asTenant(ctx, [
    inboxMustExist(inboxId),
    exists(one),
    db
      .insert(inboxMembers)
      .values({ tenantId: ctx.tenantId, id: newId(), inboxId, ...one })
      .onConflictDoNothing(),
    audit(ctx, "inbox.member_added", { type: "inbox", id: inboxId }, one),
  ]);
}

export async function removeInboxMember(ctx: Context, inboxId: string, one: Somebody): Promise<void> {
  await asTenant(ctx, [
    inboxMustExist(inboxId),
    exists(one),
    db.delete(inboxMembers).where(and(ofInbox(ctx, inboxId), is(one))),
    audit(ctx, "inbox.member_removed", { type: "inbox", id: inboxId }, one),
  ]);
}
