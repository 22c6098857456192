import { getTableColumns, type SQL, sql } from "drizzle-orm";
import type { AnyPgColumn, PgTable } from "drizzle-orm/pg-core";
import { currentTenant, currentUser } from "../lib/columns";
import type { Actor, Context } from "../lib/context";
import { db } from "../lib/db";
import { newId } from "../lib/ids";

type Target = { type: string; id: string };
type Values = Record<string, unknown>;

/** Never in the log, whatever table they stand in, and however deep; `redacted_json` in the database knows the same. */
const SECRET = /secret|hash|token|password|credential/i;

function redacted(values: Values): Values {
  const shown = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(shown.map(([name, value]) => [name, SECRET.test(name) ? "[redacted]" : within(value)]));
}

function within(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(within);
  return value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype
    ? redacted(value as Values)
    : value;
}

const actorId = (actor: Actor): string | null =>
  actor.kind === "key" ? actor.key.id : actor.kind === "token" ? actor.authKeyId : null;

const insertInto = sql`insert into audit_logs
  (tenant_id, id, actor_kind, actor_id, user_id, action, target_type, target_id, before, after, ip, user_agent, request_id)`;

function who(ctx: Context, action: string, type: string): SQL {
  return sql`${currentTenant}, ${newId()}::uuid, ${ctx.actor.kind}, ${actorId(ctx.actor)}::uuid, ${currentUser}, ${action}, ${type}`;
}

const where = (ctx: Context): SQL => sql`${ctx.ip}::inet, ${ctx.userAgent}, ${ctx.requestId}`;

/** Written in the batch of the change itself. */
export function audit({ actor, ip, userAgent, requestId }: Context, action: string, target: Target, after?: Values) {
  const entry = {
    ...{ id: newId(), actorKind: actor.kind, actorId: actorId(actor), action, targetType: target.type },
    ...{ targetId: target.id, ...(after && { after: redacted(after) }), ip, userAgent, requestId },
  };
  return db.execute(sql`select record_audit(${JSON.stringify(entry)}::jsonb)`);
}

/** Stands before the change in its batch, so that it sees what was there; `beside` is what other tables hold of it. */
export function auditChange(
  ctx: Context,
  action: string,
  target: Target,
  table: PgTable,
  change: Values,
  beside: Record<string, SQL> = {},
) {
  const columns: Record<string, AnyPgColumn | SQL> = { ...getTableColumns(table), ...beside };
  const after = redacted(change);
  const before = Object.keys(after)
    .filter((name) => columns[name] && !SECRET.test(name))
    .map((name) => sql`${name}::text, ${columns[name]}`);
  const id = columns.id!;
  const inTenant = columns.tenantId ? sql` and ${columns.tenantId} = ${currentTenant}` : sql``;
  return db.execute(sql`${insertInto} select ${who(ctx, action, target.type)}, ${target.id},
    redacted_json(jsonb_build_object(${sql.join(before, sql`, `)})), ${JSON.stringify(after)}::jsonb, ${where(ctx)}
    from ${table} where ${id} = ${target.id}::uuid${inTenant}`);
}

/** One entry for each of many rows; `each` yields action, target, before and after. */
export function auditEach(
  ctx: Context,
  type: string,
  each: { action: SQL; id: SQL; before: SQL; after: SQL; from: SQL },
) {
  return db.execute(sql`${insertInto} select ${currentTenant}, gen_random_uuid(), ${ctx.actor.kind}, ${actorId(ctx.actor)}::uuid,
    ${currentUser}, ${each.action}, ${type}, ${each.id}::text, redacted_json(${each.before}), redacted_json(${each.after}), ${where(ctx)} from ${each.from}`);
}
