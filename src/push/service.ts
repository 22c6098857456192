import { and, asc, eq, isNull, sql } from "drizzle-orm";
import { mustSee } from "../channels/access";
import { channels } from "../channels/schema";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { mustBeSelf, mustExist } from "../lib/rows";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { defaultOf, type NoticeKind, type Template } from "./notices";
import { NOTICE_KINDS, type PUSH_LEVELS, pushPreferences, pushTemplates } from "./schema";

export type Wish = {
  channelId?: string | null | undefined;
  level: (typeof PUSH_LEVELS)[number] | null;
  snoozedUntil?: string | null | undefined;
};

const columns = {
  id: pushPreferences.id,
  channelId: pushPreferences.channelId,
  level: pushPreferences.level,
  snoozedUntil: pushPreferences.snoozedUntil,
  updatedAt: pushPreferences.updatedAt,
};

const ofUser = (ctx: Context, userId: string) =>
  and(eq(pushPreferences.tenantId, ctx.tenantId), eq(pushPreferences.userId, userId));

export async function listPreferences(ctx: Context, userId: string, page: Page) {
  const [, , rows] = await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    db
      .select(columns)
      .from(pushPreferences)
      .where(and(ofUser(ctx, userId), after(page, [pushPreferences.id], "asc")))
      .orderBy(asc(pushPreferences.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

/** For one channel, or for all that have none of their own. Without a level, what is more general holds again. */
export async function setPreference(
  ctx: Context,
  userId: string,
  { channelId = null, level, snoozedUntil = null }: Wish,
) {
  const { tenantId } = ctx;
  const place = channelId === null ? isNull(pushPreferences.channelId) : eq(pushPreferences.channelId, channelId);
  const { target, targetWhere } =
    channelId === null
      ? { target: [pushPreferences.tenantId, pushPreferences.userId], targetWhere: isNull(pushPreferences.channelId) }
      : {
          target: [pushPreferences.tenantId, pushPreferences.userId, pushPreferences.channelId],
          targetWhere: sql`${pushPreferences.channelId} is not null`,
        };
  await asTenant(ctx, [
    mustExist(users, userId),
    mustBeSelf(userId),
    ...(channelId === null ? [] : [mustExist(channels, channelId), mustSee(channelId)]),
    level === null
      ? db.delete(pushPreferences).where(and(ofUser(ctx, userId), place))
      : db
          .insert(pushPreferences)
          .values({ tenantId, id: newId(), userId, channelId, level, snoozedUntil })
          .onConflictDoUpdate({ target, targetWhere, set: { level, snoozedUntil, updatedAt: sql<string>`now()` } }),
  ]);
}

export async function listTemplates(ctx: Context) {
  const [rows] = await asTenant(ctx, [db.select().from(pushTemplates).where(eq(pushTemplates.tenantId, ctx.tenantId))]);
  const own = new Map(rows.map((row) => [row.kind, row]));
  return NOTICE_KINDS.map((kind) => {
    const { title, body } = own.get(kind) ?? defaultOf(kind);
    return { kind, title, body, isDefault: !own.has(kind) };
  });
}

export async function putTemplate(ctx: Context, kind: NoticeKind, template: Template): Promise<void> {
  await asTenant(ctx, [
    audit(ctx, "push_template.put", { type: "push_template", id: kind }, template),
    db
      .insert(pushTemplates)
      .values({ tenantId: ctx.tenantId, kind, ...template })
      .onConflictDoUpdate({
        target: [pushTemplates.tenantId, pushTemplates.kind],
        set: { ...template, updatedAt: sql<string>`now()` },
      }),
  ]);
}

export async function resetTemplate(ctx: Context, kind: NoticeKind): Promise<void> {
  await asTenant(ctx, [
    audit(ctx, "push_template.reset", { type: "push_template", id: kind }),
    db.delete(pushTemplates).where(and(eq(pushTemplates.tenantId, ctx.tenantId), eq(pushTemplates.kind, kind))),
  ]);
}
