import { eq, getTableColumns, type SQL, sql } from "drizzle-orm";
import { mustOutrank } from "../auth/grants";
import { currentTenant } from "../lib/columns";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { changes, mustAllExist, shown, withinLimit } from "../lib/rows";
import { teams } from "../teams/schema";
import { auditEach } from "../tenants/audit";
import { users } from "./schema";

const { tokensRevokedAt: _, searchText: _s, ...columns } = shown(users);

// Names written out: in a select from one table drizzle leaves the table's away, and the inner tenant_id would be meant.
export const teamIds = sql<string[]>`coalesce((select jsonb_agg(tm.team_id order by tm.team_id) from team_members tm
  where tm.tenant_id = users.tenant_id and tm.user_id = users.id), '[]'::jsonb)`;

export const selectUsers = () => db.select({ ...columns, teamIds }).from(users);

export type User = Awaited<ReturnType<typeof selectUsers>>[number];

export type UserInput = {
  externalId?: string | undefined;
  username?: string | null | undefined;
  displayName?: string | null | undefined;
  avatarUrl?: string | null | undefined;
  bio?: string | null | undefined;
  email?: string | null | undefined;
  type?: "regular" | "guest" | "anonymous" | undefined;
  role?: "viewer" | "editor" | "admin" | null | undefined;
  metadata?: Record<string, unknown> | undefined;
  teamIds?: string[] | undefined;
};

const TEXTS = ["username", "displayName", "avatarUrl", "bio", "email", "type", "role"] as const;
const nameOf = (field: (typeof TEXTS)[number]) => sql.identifier(getTableColumns(users)[field].name);

/**
 * A known externalId means the same user: what is given is set, what is not stays. Whoever comes first inserts, rows
 * are locked in the order of their external ids, and the answer stands in the order of the question.
 */
export async function upsertUsers(ctx: Context, inputs: UserInput[], pathOf: (n: number) => string): Promise<User[]> {
  refuseRepeated(inputs, pathOf);
  const rows = inputs.map(({ externalId, ...given }, n) => ({
    n,
    id: newId(),
    external_id: externalId,
    given: changes(given),
  }));
  const asked = sql`jsonb_to_recordset(current_setting('app.asked')::jsonb) as i(n int, id uuid, external_id text, given jsonb)`;
  const same = sql`${eq(users.tenantId, currentTenant)} and (${users.id} = i.id or ${users.externalId} = i.external_id)`;
  const given = (field: string) => sql`i.given ->> ${field}`;
  const storedOf = (field: (typeof TEXTS)[number]) =>
    field === "type" ? sql`coalesce(${given(field)}, 'regular')` : given(field);
  const set = TEXTS.map(
    (field) => sql`${nameOf(field)} = case when i.given ? ${field} then ${storedOf(field)} else ${users[field]} end`,
  );
  const batch = await asTenant(ctx, [
    db.execute(sql`select set_config('app.asked', ${JSON.stringify(rows)}, true)`),
    ...mustOutrank(
      ctx,
      sql`exists (select 1 from ${asked} where ${same})`,
      inputs.map(({ role }) => role),
    ),
    ...teamsMustExist(inputs, (n) => `${pathOf(n)}teamIds`),
    db.execute(sql`insert into users (tenant_id, id, external_id, ${sql.join(TEXTS.map(nameOf), sql`, `)}, metadata)
      select ${currentTenant}, i.id, i.external_id, ${sql.join(TEXTS.map(storedOf), sql`, `)},
        merged_json('{}', coalesce(i.given -> 'metadata', '{}')) from ${asked} order by i.external_id
      on conflict (tenant_id, external_id) do update set updated_at = now()`),
    ...withinLimit("users", ctx.snapshot?.limits),
    auditEach(ctx, "user", {
      action: sql`case when ${users.id} = i.id then 'user.created' else 'user.updated' end`,
      id: sql`${users.id}`,
      before: sql`case when ${users.id} <> i.id then (select coalesce(jsonb_object_agg(f.key, f.value), '{}')
        from jsonb_each(${everyField}) f where i.given ? f.key) end`,
      after: sql`i.given || jsonb_strip_nulls(jsonb_build_object('externalId', i.external_id))`,
      from: sql`${asked} join ${users} on ${same}`,
    }),
    db.execute(sql`update users set ${sql.join(set, sql`, `)},
        metadata = merged_json(${users.metadata}, coalesce(i.given -> 'metadata', '{}'))
      from ${asked} where ${same} and ${users.id} <> i.id`),
    ...(inputs.some((input) => input.teamIds)
      ? setTeams(sql`(select *, given -> 'teamIds' as teams from ${asked}) i`, same)
      : []),
    selectUsers().innerJoin(asked, same).orderBy(sql`i.n`),
  ]);
  return batch.at(-1) as User[];
}

const everyField = sql`jsonb_build_object(${sql.join(
  [...TEXTS, "metadata" as const].map((field) => sql`${field}::text, ${users[field]}`),
  sql`, `,
)}, 'teamIds', ${teamIds})`;

function refuseRepeated(inputs: UserInput[], pathOf: (n: number) => string): void {
  const seen = new Set<string>();
  for (const [n, { externalId }] of inputs.entries()) {
    if (externalId !== undefined && seen.has(externalId)) {
      const errors = [{ path: `${pathOf(n)}externalId`, message: "It stands here twice." }];
      throw new ApiError("invalid_request", undefined, { errors });
    }
    if (externalId !== undefined) seen.add(externalId);
  }
}

export function teamsMustExist(inputs: { teamIds?: string[] | undefined }[], pathOf: (n: number) => string) {
  const named = inputs.flatMap((input, n) => (input.teamIds ?? []).map((id, i) => ({ id, path: `${pathOf(n)}.${i}` })));
  return named.length > 0 ? [mustAllExist(teams, named)] : [];
}

/** `asked` is a table i whose column teams lists the teams of a user, or is null where they stay as they are. */
export const setTeams = (asked: SQL, same: SQL) => [
  db.execute(sql`delete from team_members m using ${users}, ${asked}
    where ${same} and i.teams is not null and m.tenant_id = ${users.tenantId} and m.user_id = ${users.id} and not i.teams ? m.team_id::text`),
  db.execute(sql`insert into team_members (tenant_id, team_id, user_id)
    select distinct ${users.tenantId}, t.id::uuid, ${users.id} from ${asked} join ${users} on ${same}
      cross join jsonb_array_elements_text(coalesce(i.teams, '[]')) t(id)
    on conflict do nothing`),
];
