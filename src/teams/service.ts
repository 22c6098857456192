import { and, asc, desc, eq, sql } from "drizzle-orm";
import { endingSockets, socketsInChannels } from "../auth/sockets";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mergedJson, mustExist, newJson, own, shown, withinLimit } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { users } from "../users/schema";
import { teamMembers, teams } from "./schema";

const columns = shown(teams);
export type TeamInput = { name: string; metadata?: Record<string, unknown> | undefined };

export async function createTeam(ctx: Context, input: TeamInput) {
  const id = newId();
  // What is counted comes last: from there on others who create one wait for the commit.
  const [, rows] = await asTenant(ctx, [
    audit(ctx, "team.created", { type: "team", id }, input),
    db
      .insert(teams)
      .values({ tenantId: ctx.tenantId, id, ...input, metadata: newJson(input.metadata) })
      .returning(columns),
    ...withinLimit("teams", ctx.snapshot?.limits),
  ]);
  return found(rows as Team[]);
}

type Team = Awaited<ReturnType<typeof getTeam>>;

export async function listTeams(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(teams)
      .where(and(eq(teams.tenantId, ctx.tenantId), after(page, [teams.id])))
      .orderBy(desc(teams.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getTeam(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [db.select(columns).from(teams).where(own(teams, id))]);
  return found(rows);
}

export async function updateTeam(ctx: Context, id: string, { metadata, ...rest }: Partial<TeamInput>) {
  const set = {
    ...changes(rest),
    updatedAt: sql<string>`now()`,
    ...(metadata && { metadata: mergedJson(teams.metadata, metadata) }),
  };
  const [, , rows] = await asTenant(ctx, [
    mustExist(teams, id),
    auditChange(ctx, "team.updated", { type: "team", id }, teams, changes({ metadata, ...rest })),
    db.update(teams).set(set).where(own(teams, id)).returning(columns),
  ]);
  return found(rows);
}

const membership = (ctx: Context, teamId: string, userId?: string) =>
  and(
    eq(teamMembers.tenantId, ctx.tenantId),
    eq(teamMembers.teamId, teamId),
    userId === undefined ? undefined : eq(teamMembers.userId, userId),
  );

export async function deleteTeam(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(teams, id),
    refuseUnless(sql`not exists (select 1 from ${teamMembers} where ${membership(ctx, id)})`, "team_in_use"),
    audit(ctx, "team.deleted", { type: "team", id }),
    db.delete(teams).where(own(teams, id)),
  ]);
}

export async function listTeamMembers(ctx: Context, teamId: string, page: Page) {
  const [, rows] = await asTenant(ctx, [
    mustExist(teams, teamId),
    db
      .select({ userId: teamMembers.userId, createdAt: teamMembers.createdAt })
      .from(teamMembers)
      .where(and(membership(ctx, teamId), after(page, [teamMembers.userId], "asc")))
      .orderBy(asc(teamMembers.userId))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.userId]);
}

export async function addTeamMember(ctx: Context, teamId: string, userId: string): Promise<void> {
  await endingSockets(ctx, { where: socketsInChannels(userId), code: "teams_changed" }, [
    mustExist(teams, teamId),
    mustExist(users, userId),
    db.insert(teamMembers).values({ tenantId: ctx.tenantId, teamId, userId }).onConflictDoNothing(),
    audit(ctx, "team.member_added", { type: "team", id: teamId }, { userId }),
  ]);
}

export async function removeTeamMember(ctx: Context, teamId: string, userId: string): Promise<void> {
  await endingSockets(ctx, { where: socketsInChannels(userId), code: "teams_changed" }, [
    mustExist(teams, teamId),
    refuseUnless(sql`exists (select 1 from ${teamMembers} where ${membership(ctx, teamId, userId)})`, "not_found"),
    db.delete(teamMembers).where(membership(ctx, teamId, userId)),
    audit(ctx, "team.member_removed", { type: "team", id: teamId }, { userId }),
  ]);
}
