import { and, asc, desc, eq, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustBeSelf, mustExist, shown } from "../lib/rows";
import { userBlocks, userDevices, users } from "./schema";

const { pushToken: _, ...columns } = shown(userDevices);
const hasPushToken = sql<boolean>`${userDevices.pushToken} is not null`;
const ofDevice = (ctx: Context, userId: string, deviceId?: string) =>
  and(
    eq(userDevices.tenantId, ctx.tenantId),
    eq(userDevices.userId, userId),
    deviceId === undefined ? undefined : eq(userDevices.deviceId, deviceId),
  );

export type DeviceInput = {
  pushProvider?: "fcm" | "apns" | "webpush" | null | undefined;
  pushToken?: string | null | undefined;
  platform?: "android" | "ios" | "web" | null | undefined;
};

export async function putDevice(ctx: Context, userId: string, deviceId: string, input: DeviceInput) {
  const set = { ...changes(input), lastActiveAt: sql<string>`now()` };
  const [, , rows] = await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    db
      .insert(userDevices)
      .values({ tenantId: ctx.tenantId, id: newId(), userId, deviceId, ...set })
      .onConflictDoUpdate({ target: [userDevices.tenantId, userDevices.userId, userDevices.deviceId], set })
      .returning({ ...columns, hasPushToken }),
  ]);
  return found(rows);
}

export async function listDevices(ctx: Context, userId: string, page: Page) {
  const [, , rows] = await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    db
      .select({ ...columns, hasPushToken })
      .from(userDevices)
      .where(and(ofDevice(ctx, userId), after(page, [userDevices.id])))
      .orderBy(desc(userDevices.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function deleteDevice(ctx: Context, userId: string, deviceId: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    refuseUnless(sql`exists (select 1 from ${userDevices} where ${ofDevice(ctx, userId, deviceId)})`, "not_found"),
    db.delete(userDevices).where(ofDevice(ctx, userId, deviceId)),
  ]);
}

const ofBlock = (ctx: Context, userId: string, blockedUserId?: string) =>
  and(
    eq(userBlocks.tenantId, ctx.tenantId),
    eq(userBlocks.userId, userId),
    blockedUserId === undefined ? undefined : eq(userBlocks.blockedUserId, blockedUserId),
  );

export async function blockUser(ctx: Context, userId: string, blockedUserId: string): Promise<void> {
  if (userId === blockedUserId) {
    throw new ApiError("invalid_request", undefined, {
      errors: [{ path: "path.blockedUserId", message: "Users cannot block themselves." }],
    });
  }
  await asTenant(ctx, [
    mustExist(users, userId),
    mustExist(users, blockedUserId),
    mustBeSelf(userId),
    db.insert(userBlocks).values({ tenantId: ctx.tenantId, userId, blockedUserId }).onConflictDoNothing(),
  ]);
}

export async function listBlocks(ctx: Context, userId: string, page: Page) {
  const [, , rows] = await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    db
      .select({ blockedUserId: userBlocks.blockedUserId, createdAt: userBlocks.createdAt })
      .from(userBlocks)
      .where(and(ofBlock(ctx, userId), after(page, [userBlocks.blockedUserId], "asc")))
      .orderBy(asc(userBlocks.blockedUserId))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.blockedUserId]);
}

export async function unblockUser(ctx: Context, userId: string, blockedUserId: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    refuseUnless(sql`exists (select 1 from ${userBlocks} where ${ofBlock(ctx, userId, blockedUserId)})`, "not_found"),
    db.delete(userBlocks).where(ofBlock(ctx, userId, blockedUserId)),
  ]);
}
