import { sql } from "drizzle-orm";
import { boundsOf, type Context } from "./context";
import { asTenant, confirmFresh, db } from "./db";
import { ApiError } from "./errors";
import type { ResourceKind } from "./scopes";
import type { Named } from "./validate";

const OF_A_MESSAGE = ["message", "scheduledMessage", "scheduledEmail"];

/**
 * A credential bound to some resources of a kind names no others, and has no business where that kind is listed or made.
 * Conversations are of their inbox: who is bound to inboxes goes no further among channels.
 */
export async function mustBeWithinBounds(
  ctx: Context,
  kind: ResourceKind | undefined,
  inPath: Named[],
  named: Named[],
): Promise<void> {
  const bounds = boundsOf(ctx.actor);
  if (Object.keys(bounds).length === 0) return;
  const foreign = named.some(({ resource, id }) => bounds[resource]?.includes(id) === false);
  const unnamed = kind !== undefined && bounds[kind] && !inPath.some(({ resource }) => resource === kind);
  if (foreign || unnamed) {
    await confirmFresh(ctx);
    throw new ApiError("resource_not_allowed");
  }
  if (kind === "channel" && bounds.inbox) await mustBeOfInboxes(ctx, inPath, bounds.inbox);
}

export async function mustBeOfInboxes(ctx: Context, named: Named[], inboxes: string[]): Promise<void> {
  const ids = (wanted: string[]) =>
    JSON.stringify(named.flatMap(({ resource, id }) => (wanted.includes(resource) ? [id] : [])));
  const [channels, messages] = [ids(["channel"]), ids(OF_A_MESSAGE)];
  const [rows] = await asTenant({ ...ctx, scope: "any", once: undefined }, [
    db
      .select({ ok: sql<boolean>`ok`.as("ok") })
      .from(sql`lie_in_inboxes(${channels}::jsonb, ${messages}::jsonb, ${JSON.stringify(inboxes)}::jsonb) ok`),
  ]);
  const isNamed = channels !== "[]" || messages !== "[]";
  if (!isNamed || !rows[0]!.ok) throw new ApiError("resource_not_allowed");
}
