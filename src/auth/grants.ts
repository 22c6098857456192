import { type SQL, sql } from "drizzle-orm";
import { channels } from "../channels/schema";
import { inboxes } from "../inboxes/schema";
import { currentTenant } from "../lib/columns";
import { boundsOf, type Context } from "../lib/context";
import { refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { mustAllExist } from "../lib/rows";
import { type ResourceKind, ROLES, type Role, rolesWith, rolesWithin, SCOPES } from "../lib/scopes";
import { teams } from "../teams/schema";
import { users } from "../users/schema";
import { webhooks } from "../webhooks/schema";
import { apiKeyResources, apiKeyScopes } from "./schema";

// Nobody hands out more than they hold: not by a key, not by a signing key, not by a user's role.

/** What the caller surely holds; a user's role is one of those that bring the scope of this route. */
function heldScopes({ actor, scope }: Context): readonly string[] {
  const byRole = SCOPES.filter((one) => rolesWith(scope).every((role) => rolesWith(one).includes(role)));
  if (actor.kind === "key") return actor.key.scopes;
  if (actor.kind === "token")
    return actor.user ? actor.scopes.filter((one) => byRole.includes(one as never)) : actor.scopes;
  return actor.kind === "user" ? byRole : SCOPES;
}

/** Making guests is less than what any holder of keys may do. */
export function mustHold(ctx: Context, scopes: readonly string[]): void {
  const held = heldScopes(ctx);
  const above = scopes.find((scope) => !held.includes(scope) && scope !== "users:guest");
  if (above)
    throw new ApiError("missing_scope", `${above} cannot be handed on by a caller without it.`, { scope: above });
}

export type Resources = { [Kind in ResourceKind]?: string[] | undefined };

/** A key bound to resources makes keys that are bound to them too. */
export function mustStayWithin(ctx: Context, resources: Resources): void {
  for (const [kind, bound] of Object.entries(boundsOf(ctx.actor))) {
    const given = resources[kind as ResourceKind] ?? [];
    if (given.length === 0 || !given.every((id) => bound?.includes(id.toLowerCase()))) {
      throw new ApiError(
        "resource_not_allowed",
        `The caller is bound to some of the kind ${kind}, and what it makes must be too.`,
      );
    }
  }
}

/** The same for a key whose scopes and resources only the database knows. */
export function mustHoldAllOf(ctx: Context, keyId: string) {
  const bounds = boundsOf(ctx.actor);
  const ofKey = (table: typeof apiKeyScopes | typeof apiKeyResources) =>
    sql`from ${table} where ${table.tenantId} = ${currentTenant} and ${table.keyId} = ${keyId}`;
  const above = sql`exists (select 1 ${ofKey(apiKeyScopes)} and scope <> 'users:guest'
    and not (${JSON.stringify(heldScopes(ctx))}::jsonb) ? scope)`;
  const wider = sql`exists (select 1 from jsonb_each(${JSON.stringify(bounds)}::jsonb) bound(kind, ids)
    where not exists (select 1 ${ofKey(apiKeyResources)} and api_key_resources.kind = bound.kind)
       or exists (select 1 ${ofKey(apiKeyResources)} and api_key_resources.kind = bound.kind and not bound.ids ? resource_id::text))`;
  return [
    refuseUnless(sql`not ${above}`, "missing_scope"),
    ...(Object.keys(bounds).length > 0 ? [refuseUnless(sql`not ${wider}`, "resource_not_allowed")] : []),
  ];
}

const TABLES = { user: users, team: teams, channel: channels, webhook: webhooks, inbox: inboxes } satisfies Record<
  ResourceKind,
  unknown
>;

/** A key is bound to what there is, so that nobody learns of another tenant's ids, nor waits for one to come. */
export const mustBeThere = (resources: Resources) =>
  Object.entries(resources).flatMap(([kind, ids = []]) => {
    const named = ids.map((id, i) => ({ id, path: `resources.${kind}.${i}` }));
    return named.length > 0 ? [mustAllExist(TABLES[kind as ResourceKind], named)] : [];
  });

const ranks = sql.raw(`array[${ROLES.map((role) => `'${role}'`).join(", ")}]`);
const rankOf = (role: SQL) => sql`coalesce(array_position(${ranks}, ${role}), 0)`;

/** Refuses the batch where one of these users has, or is given, a role that brings more than the caller holds. */
export function mustOutrank(ctx: Context, who: SQL, given: (Role | null | undefined)[] = []) {
  const { actor } = ctx;
  const byScopes = actor.kind === "key" || actor.kind === "token" ? rolesWithin(heldBy(actor)).length : ROLES.length;
  const isUser = actor.kind === "user" || (actor.kind === "token" && actor.user !== undefined);
  if (byScopes === ROLES.length && !isUser) return [];
  const own = sql`(select ${rankOf(sql`me.role`)} from users me where me.tenant_id = ${currentTenant} and me.id = current_user_id())`;
  const rank = isUser ? sql`least(${byScopes}::int, ${own})` : sql`${byScopes}::int`;
  const highest = Math.max(0, ...given.map((role) => ROLES.indexOf(role as Role) + 1));
  return [
    refuseUnless(
      sql`${highest}::int <= ${rank} and not exists (select 1 from ${users} where ${who} and ${rankOf(sql`${users.role}`)} > ${rank})`,
      "missing_scope",
    ),
  ];
}

const heldBy = (actor: { kind: "key"; key: { scopes: string[] } } | { kind: "token"; scopes: string[] }) =>
  actor.kind === "key" ? actor.key.scopes : actor.scopes;
