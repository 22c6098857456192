import { and, asc, sql } from "drizzle-orm";
import { liveSockets } from "../auth/schema";
import { endingSockets, socketsOfUser } from "../auth/sockets";
import { mustSee } from "../channels/access";
import { channelMembers } from "../channels/schema";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { channelObject, userObject } from "../lib/objects";
import { after, type Page, paged, placeOf } from "../lib/page";
import { mustBeSelf, mustExist } from "../lib/rows";
import { users } from "../users/schema";

/** A user's own sockets, as their object holds them. */
export async function listSessions(ctx: Context, userId: string) {
  await asTenant(ctx, [mustExist(users, userId), mustBeSelf(userId)]);
  return { data: await userObject(ctx.env, ctx.tenantId, userId).sessions() };
}

/** One of them, or every socket of the user, those in channels included. What is gone already is no error. */
export async function endSessions(ctx: Context, userId: string, sessionId?: string): Promise<void> {
  const own = socketsOfUser(userId);
  const where =
    sessionId === undefined
      ? own
      : sql`${own} and ${liveSockets.place} = 'user' and ${liveSockets.id} = ${sessionId}::uuid`;
  await endingSockets(ctx, { where, code: "session_ended" }, [mustExist(users, userId), mustBeSelf(userId)]);
}

type Present = { userId: string; presence: "online" | "away" };

/** Who looks at a channel now, members or not. */
export async function listWatchers(ctx: Context, channelId: string, page: Page) {
  const from = placeOf(page, [users.id])?.[0] as string | undefined;
  await asTenant(ctx, [mustSee(channelId)]);
  const present = await channelObject(ctx.env, ctx.tenantId, channelId).online();
  const rows = present
    .filter(({ userId }) => from === undefined || userId > from)
    .sort((a, b) => (a.userId < b.userId ? -1 : 1));
  return paged(rows.slice(0, page.limit + 1), page, ({ userId }) => [userId]);
}

/** Members with a socket anywhere, as it may be shown: the database knows where to ask, the objects know the answer. */
export async function listOnline(ctx: Context, channelId: string, page: Page) {
  const { env, tenantId } = ctx;
  const [, rows] = await asTenant(ctx, [
    mustSee(channelId),
    db
      .select({ userId: channelMembers.userId })
      .from(channelMembers)
      .where(
        and(
          sql`${channelMembers.tenantId} = current_tenant() and ${channelMembers.channelId} = ${channelId}::uuid`,
          sql`exists (select 1 from live_sockets s where s.tenant_id = ${channelMembers.tenantId} and s.user_id = ${channelMembers.userId} and s.until > now())`,
          after(page, [channelMembers.userId], "asc"),
        ),
      )
      .orderBy(asc(channelMembers.userId))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, ({ userId }) => [userId]);
  const watching = await channelObject(env, tenantId, channelId).online();
  const here = new Map(watching.map((one) => [one.userId, one]));
  const shown = await Promise.all(
    data.map(async ({ userId }): Promise<Present | null> => {
      const presence = here.get(userId)?.presence ?? (await userObject(env, tenantId, userId).presence());
      return presence === "offline" ? null : { userId, presence };
    }),
  );
  return { data: shown.filter((one) => one !== null), nextCursor };
}
