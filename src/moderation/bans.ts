import { and, desc, eq, type SQL, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { mustOutrank as mustOutrankInTenant } from "../auth/grants";
import { liveSockets } from "../auth/schema";
import { endingSockets, socketsInChannels, socketsOfUser } from "../auth/sockets";
import { mustBeAllowed } from "../channels/access";
import { mustOutrank } from "../channels/members";
import { announce, itemsOf, NOBODY, RECORDED, recordEvents, recordedIn } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { type ShadowedPlace, shadowTyping } from "../lib/objects";
import { after, type Page, paged } from "../lib/page";
import { found, mustExist, own, shown } from "../lib/rows";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { bans } from "./schema";

/** So many of the newest messages go with a ban, at most. */
export const MOST_DELETED = 500;

export type BanInput = {
  shadow?: boolean | undefined;
  reason?: string | null | undefined;
  expiresAt?: string | null | undefined;
  deleteMessagesSince?: string | undefined;
};

const columns = shown(bans);
export type Ban = Omit<typeof bans.$inferSelect, "tenantId">;

const holds: SQL = sql`(${bans.expiresAt} is null or ${bans.expiresAt} > now())`;

/** Of a channel, or with null of the tenant as a whole. */
type Place = string | null;

const within = (ctx: Context, channelId: Place) =>
  and(eq(bans.tenantId, ctx.tenantId), channelId ? eq(bans.channelId, channelId) : sql`${bans.channelId} is null`);

/** Nobody bans those who stand above them, nor themselves. */
const mayBan = (ctx: Context, userId: string, channelId: Place): BatchItem<"pg">[] => [
  ...(channelId ? [mustBeAllowed(ctx, channelId, "moderation.ban")] : []),
  mustExist(users, userId),
  ...(channelId ? [mustOutrank(ctx, channelId, userId)] : mustOutrankInTenant(ctx, own(users, userId))),
];

const notThemselves = (userId: string) =>
  refuseUnless(sql`current_user_id() is distinct from ${userId}::uuid`, "not_allowed");

const streamOf = (ctx: Context, channelId: Place) =>
  channelId ? { kind: "channel" as const, id: channelId } : { kind: "tenant" as const, id: ctx.tenantId };

const socketsWithin = (userId: string, channelId: Place): SQL =>
  channelId ? sql`${socketsInChannels(userId)} and ${liveSockets.placeId} = ${channelId}::uuid` : socketsOfUser(userId);

/** Where a user watches, and until when they are shadowed there: asked last, when the batch has changed it. */
export const watchedPlaces = (userId: string | SQL) =>
  db
    .select({
      channelId: liveSockets.placeId,
      until: sql<
        number | null
      >`(extract(epoch from shadowed_until(${liveSockets.placeId}, ${userId}::uuid)) * 1000)::float8`,
    })
    .from(liveSockets)
    .where(
      sql`${liveSockets.tenantId} = current_tenant() and ${liveSockets.userId} = ${userId} and ${liveSockets.place} = 'channel'`,
    );

export function tellShadows(
  { env, tenantId, waitUntil }: Context,
  userId: string,
  places: readonly ShadowedPlace[],
): void {
  if (places.length > 0) waitUntil(shadowTyping(env, tenantId, userId, places));
}

function deletingMessages(ctx: Context, userId: string, channelId: Place, since: string) {
  const hooks = candidatesByType(ctx.snapshot, ["message.deleted", "message.pending", "message.shadowed"]);
  return db
    .select(RECORDED)
    .from(
      sql`delete_messages_of(${userId}::uuid, ${channelId}::uuid, ${since}::timestamptz, ${JSON.stringify(hooks)}::jsonb, ${MOST_DELETED})`,
    );
}

/** A new ban takes the place of the one before. It is told in the channel, or in the tenant's stream; a shadow ban to webhooks alone. */
export async function ban(ctx: Context, userId: string, channelId: Place, input: BanInput): Promise<Ban> {
  const { shadow = false, reason = null, expiresAt = null, deleteMessagesSince } = input;
  const told = {
    type: "user.banned" as const,
    stream: streamOf(ctx, channelId),
    data: { userId, channelId, shadow, expiresAt, reason },
    ...(shadow && { audience: NOBODY }),
  };
  const ended = { where: shadow ? sql`false` : socketsWithin(userId, channelId), code: "banned" };
  const batch = await endingSockets(ctx, ended, [
    notThemselves(userId),
    ...mayBan(ctx, userId, channelId),
    ...(deleteMessagesSince ? [deletingMessages(ctx, userId, channelId, deleteMessagesSince)] : []),
    recordEvents(ctx, [told]),
    audit(ctx, "user.banned", { type: "user", id: userId }, { channelId, ...input }),
    db.execute(
      sql`select put_ban(${newId()}::uuid, ${userId}::uuid, ${channelId}::uuid, ${JSON.stringify({ shadow, reason, expiresAt })}::jsonb)`,
    ),
    db
      .select(columns)
      .from(bans)
      .where(and(within(ctx, channelId), eq(bans.userId, userId))),
    watchedPlaces(userId),
  ]);
  announce(ctx, recordedIn(batch));
  tellShadows(ctx, userId, batch.at(-1) as ShadowedPlace[]);
  return found(batch.at(-2) as Ban[]);
}

/** Before its time; a ban that has ended by itself is not found. */
export async function unban(ctx: Context, userId: string, channelId: Place): Promise<void> {
  const [item] = itemsOf(ctx, [
    { type: "user.unbanned", stream: streamOf(ctx, channelId), data: { userId, channelId } },
  ]);
  const batch = await endingSockets(ctx, { where: sql`false`, code: "banned" }, [
    notThemselves(userId),
    ...mayBan(ctx, userId, channelId),
    db.select(RECORDED).from(sql`lift_ban(${userId}::uuid, ${channelId}::uuid, ${JSON.stringify(item)}::jsonb)`),
    audit(ctx, "user.unbanned", { type: "user", id: userId }, { channelId }),
    watchedPlaces(userId),
  ]);
  announce(ctx, recordedIn(batch));
  tellShadows(ctx, userId, batch.at(-1) as ShadowedPlace[]);
}

export type BanFilters = Page & { userId?: string | undefined; shadow?: boolean | undefined };

/** Those that hold now, the newest first: of a channel, or with null the tenant's own. */
export async function listBans(ctx: Context, channelId: Place, filters: BanFilters) {
  const { userId, shadow } = filters;
  const where = and(
    within(ctx, channelId),
    holds,
    after(filters, [bans.id]),
    userId === undefined ? undefined : eq(bans.userId, userId),
    shadow === undefined ? undefined : eq(bans.shadow, shadow),
  );
  const batch = await asTenant(ctx, [
    channelId ? mustBeAllowed(ctx, channelId, "moderation.ban") : db.execute(sql`select true`),
    db
      .select(columns)
      .from(bans)
      .where(where)
      .orderBy(desc(bans.id))
      .limit(filters.limit + 1),
  ]);
  return paged(batch[1], filters, (row) => [row.id]);
}
