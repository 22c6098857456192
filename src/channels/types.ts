import { and, asc, eq, sql } from "drizzle-orm";
import { liveSockets } from "../auth/schema";
import { judgingSockets, tellEnded } from "../auth/sockets";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { found, mustAllExist } from "../lib/rows";
import { blockLists } from "../moderation/schema";
import { audit } from "../tenants/audit";
import { PERMISSIONS } from "./permissions";
import { channels, channelTypes, type TypeSettings } from "./schema";

export type TypeInput = { settings?: TypeSettings | undefined; permissions?: Record<string, string[]> | undefined };

const ofType = (ctx: Context, name: string) =>
  and(eq(channelTypes.tenantId, ctx.tenantId), eq(channelTypes.name, name));
const columns = {
  name: channelTypes.name,
  settings: channelTypes.settings,
  permissions: channelTypes.permissions,
  updatedAt: channelTypes.updatedAt,
};

/** The tenant's own, each with every line of its permissions, replaced or not. */
export async function listTypes(ctx: Context) {
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(channelTypes)
      .where(eq(channelTypes.tenantId, ctx.tenantId))
      .orderBy(asc(channelTypes.name)),
  ]);
  return rows.map((row) => ({
    ...row,
    permissions: { ...(PERMISSIONS as unknown as Record<string, string[]>), ...row.permissions },
  }));
}

/** Watchers of channels of this type who do not see them any more, such as of one that is public no longer. */
const shutOut = (name: string) =>
  sql`${liveSockets.place} = 'channel' and exists (select 1 from channels c where c.tenant_id = ${liveSockets.tenantId}
    and c.id = ${liveSockets.placeId} and c.type = ${name} and not sees_channel(c, ${liveSockets.userId}))`;

export async function putType(ctx: Context, name: string, { settings = {}, permissions = {} }: TypeInput) {
  const lists = (settings.blockLists ?? []).map((id, i) => ({ id, path: `settings.blockLists.${i}` }));
  const { lock, ended } = judgingSockets(shutOut(name));
  const [, , , rows, places] = await asTenant(ctx, [
    mustAllExist(blockLists, lists),
    lock,
    audit(ctx, "channel_type.put", { type: "channel_type", id: name }, { settings, permissions }),
    db
      .insert(channelTypes)
      .values({ tenantId: ctx.tenantId, name, settings, permissions })
      .onConflictDoUpdate({
        target: [channelTypes.tenantId, channelTypes.name],
        set: { settings, permissions, updatedAt: sql<string>`now()` },
      })
      .returning(columns),
    ended,
  ]);
  tellEnded(ctx, ctx.tenantId, places, "not_a_member");
  return found(rows);
}

export async function deleteType(ctx: Context, name: string): Promise<void> {
  await asTenant(ctx, [
    refuseUnless(sql`exists (select 1 from ${channelTypes} where ${ofType(ctx, name)})`, "not_found"),
    refuseUnless(
      sql`not exists (select 1 from ${channels} where ${channels.tenantId} = ${ctx.tenantId} and ${channels.type} = ${name} and ${channels.deletedAt} is null)`,
      "channel_type_in_use",
    ),
    audit(ctx, "channel_type.deleted", { type: "channel_type", id: name }),
    db.delete(channelTypes).where(ofType(ctx, name)),
  ]);
}
