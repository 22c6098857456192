import { and, desc, eq, isNotNull, isNull, type SQL, sql } from "drizzle-orm";
import { mustOutrank } from "../auth/grants";
import { endingSockets, socketsInChannels, socketsOfUser } from "../auth/sockets";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { after, type Page, paged, placeOf } from "../lib/page";
import { changes, found, mergedJson, mustExist, own } from "../lib/rows";
import { teamMembers } from "../teams/schema";
import { audit, auditChange } from "../tenants/audit";
import { userBlocks, userDevices, users } from "./schema";
import { selectUsers, setTeams, teamIds, teamsMustExist, type User, type UserInput } from "./upsert";

export async function getUser(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectUsers().where(own(users, id))]);
  return found(rows);
}

export type UserFilters = Page & {
  type?: string | undefined;
  role?: string | undefined;
  teamId?: string | undefined;
  externalId?: string | undefined;
  email?: string | undefined;
  deactivated?: boolean | undefined;
  search?: string | undefined;
};

/** Further filters are looked for among so many of the newest hits. */
const MOST_HITS = 10_000;

/** An array, so that the rows are looked up one by one: joined, all of the tenant's would be read beside them. */
const isOneOf = (ids: SQL) => sql`${users.id} = any (array(select ${ids}))`;

function isHit(filters: UserFilters, search: string): SQL {
  const { limit, cursor: _, search: _s, ...others } = filters;
  const alone = Object.values(others).every((filter) => filter === undefined);
  const [below = null] = placeOf(filters, [users.id]) ?? [];
  return isOneOf(sql`door.find_users(${search}, ${below}::uuid, ${alone ? limit + 1 : MOST_HITS}::int)`);
}

export async function listUsers(ctx: Context, filters: UserFilters) {
  const { type, role, teamId, externalId, email, deactivated, search } = filters;
  const where = and(
    eq(users.tenantId, ctx.tenantId),
    after(filters, [users.id]),
    type === undefined ? undefined : sql`${users.type} = ${type}`,
    role === undefined ? undefined : sql`${users.role} = ${role}`,
    externalId === undefined ? undefined : eq(users.externalId, externalId),
    email === undefined ? undefined : isOneOf(sql`door.users_with_email(${email})`),
    deactivated === undefined ? undefined : deactivated ? isNotNull(users.deactivatedAt) : isNull(users.deactivatedAt),
    teamId === undefined
      ? undefined
      : sql`exists (select 1 from team_members m where m.tenant_id = ${users.tenantId} and m.team_id = ${teamId} and m.user_id = ${users.id})`,
    search === undefined ? undefined : isHit(filters, search),
  );
  const [rows] = await asTenant(ctx, [
    selectUsers()
      .where(where)
      .orderBy(desc(users.id))
      .limit(filters.limit + 1),
  ]);
  return paged(rows, filters, (row) => [row.id]);
}

export async function updateUser(ctx: Context, id: string, patch: UserInput) {
  const { teamIds: teams, metadata, ...rest } = patch;
  const set = { ...changes(rest), ...(metadata && { metadata: mergedJson(users.metadata, metadata) }) };
  const moved = { where: teams ? socketsInChannels(id) : null, code: "teams_changed" };
  const batch = await endingSockets(ctx, moved, [
    mustExist(users, id),
    ...mustOutrank(ctx, own(users, id), [patch.role]),
    ...teamsMustExist([patch], () => "teamIds"),
    auditChange(ctx, "user.updated", { type: "user", id }, users, changes(patch), { teamIds }),
    db
      .update(users)
      .set({ ...set, updatedAt: sql<string>`now()` })
      .where(own(users, id)),
    ...(teams
      ? setTeams(
          sql`jsonb_to_recordset(${JSON.stringify([{ id, teams }])}::jsonb) as i(id uuid, teams jsonb)`,
          sql`${own(users, id)} and ${users.id} = i.id`,
        )
      : []),
    selectUsers().where(own(users, id)),
  ]);
  return found(batch.at(-1) as User[]);
}

export async function setDeactivated(ctx: Context, id: string, deactivated: boolean) {
  const [, , , rows] = await endingSockets(
    ctx,
    { where: deactivated ? socketsOfUser(id) : null, code: "user_deactivated" },
    [
      mustExist(users, id),
      audit(ctx, deactivated ? "user.deactivated" : "user.reactivated", { type: "user", id }),
      db
        .update(users)
        .set({
          deactivatedAt: deactivated ? sql<string>`coalesce(${users.deactivatedAt}, now())` : null,
          updatedAt: sql<string>`now()`,
        })
        .where(own(users, id)),
      selectUsers().where(own(users, id)),
      ...mustOutrank(ctx, own(users, id)),
    ],
  );
  return found(rows);
}

const FORGOTTEN = {
  externalId: null,
  username: null,
  displayName: null,
  avatarUrl: null,
  bio: null,
  email: null,
  role: null,
  metadata: {},
  lastSeenAt: null,
};

/** Anonymised, the user's messages stay and name nobody; hard, they go with the user. */
export async function deleteUser(ctx: Context, id: string, mode: "anonymise" | "hard"): Promise<void> {
  const ofUser = (column: typeof userDevices.userId | typeof userBlocks.userId | typeof teamMembers.userId) =>
    eq(column, id);
  const gone =
    mode === "hard"
      ? [db.execute(sql`select remove_messages_of(${id}::uuid)`), db.delete(users).where(own(users, id))]
      : [
          db.delete(userDevices).where(and(eq(userDevices.tenantId, ctx.tenantId), ofUser(userDevices.userId))),
          db.delete(userBlocks).where(and(eq(userBlocks.tenantId, ctx.tenantId), ofUser(userBlocks.userId))),
          db.delete(teamMembers).where(and(eq(teamMembers.tenantId, ctx.tenantId), ofUser(teamMembers.userId))),
          db
            .update(users)
            .set({
              ...FORGOTTEN,
              deactivatedAt: sql<string>`coalesce(${users.deactivatedAt}, now())`,
              tokensRevokedAt: sql<string>`now()`,
              updatedAt: sql<string>`now()`,
            })
            .where(own(users, id)),
        ];
  const allowed = mustOutrank(ctx, own(users, id));
  await endingSockets(ctx, { where: socketsOfUser(id), code: "user_deactivated" }, [
    mustExist(users, id),
    ...allowed,
    audit(ctx, "user.deleted", { type: "user", id }, { mode }),
    ...gone,
  ]);
}
