import { and, desc, eq, sql } from "drizzle-orm";
import { mustSee } from "../channels/access";
import { actingUser } from "../channels/members";
import { announce, recordEvents } from "../events/service";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found } from "../lib/rows";
import type { NewMessage } from "./input";
import { messageDrafts } from "./schema";

export type DraftPlace = { channelId: string; parentId?: string | undefined; deviceId?: string | undefined };
export type DraftInput = Pick<NewMessage, "text" | "mentions" | "attachments"> & { quotedId?: string | undefined };

const { channelId, parentId, quotedId, text, mentions, attachments, updatedAt } = messageDrafts;
const shown = { channelId, parentId, quotedId, text, mentions, attachments, updatedAt };

const at = (ctx: Context, place: DraftPlace) =>
  and(
    eq(messageDrafts.tenantId, ctx.tenantId),
    eq(channelId, place.channelId),
    sql`${messageDrafts.userId} = current_user_id() and ${parentId} is not distinct from ${place.parentId ?? null}::uuid`,
  );

/** The user's own stream alone hears of it; the device that wrote it has its number skipped. */
const told = (ctx: Context, type: "draft.updated" | "draft.deleted", { deviceId, ...place }: DraftPlace, more = {}) =>
  recordEvents(ctx, [
    {
      type,
      stream: { kind: "user", id: actingUser(ctx) },
      data: { ...place, parentId: place.parentId ?? null, deviceId: deviceId ?? null, ...more } as never,
    },
  ]);

/** One for each channel, and one for each thread. */
export async function putDraft(ctx: Context, place: DraftPlace, input: DraftInput) {
  const userId = actingUser(ctx);
  const draft = { ...input, quotedId: input.quotedId ?? null };
  const now = new Date().toISOString();
  const named = JSON.stringify({ ...input, parentId: place.parentId });
  const [, , recorded, rows] = await asTenant(ctx, [
    mustSee(place.channelId),
    db.execute(sql`select must_refer(${place.channelId}::uuid, ${named}::jsonb)`),
    told(ctx, "draft.updated", place, { ...draft, updatedAt: now }),
    db
      .insert(messageDrafts)
      .values({
        tenantId: ctx.tenantId,
        id: newId(),
        channelId: place.channelId,
        userId,
        parentId: place.parentId ?? null,
        ...draft,
        updatedAt: now,
      })
      .onConflictDoUpdate({
        target: [messageDrafts.tenantId, channelId, messageDrafts.userId, parentId],
        set: { ...draft, updatedAt: now },
      })
      .returning(shown),
  ]);
  announce(ctx, recorded);
  return found(rows);
}

export async function getDraft(ctx: Context, place: DraftPlace) {
  actingUser(ctx);
  const [, rows] = await asTenant(ctx, [
    mustSee(place.channelId),
    db.select(shown).from(messageDrafts).where(at(ctx, place)),
  ]);
  return found(rows);
}

export async function deleteDraft(ctx: Context, place: DraftPlace): Promise<void> {
  actingUser(ctx);
  const [, , recorded] = await asTenant(ctx, [
    mustSee(place.channelId),
    refuseUnless(sql`exists (select 1 from ${messageDrafts} where ${at(ctx, place)})`, "not_found"),
    told(ctx, "draft.deleted", place),
    db.delete(messageDrafts).where(at(ctx, place)),
  ]);
  announce(ctx, recorded);
}

/** All of the acting user's, where they still see the channel; the one changed last comes first. */
export async function listDrafts(ctx: Context, page: Page) {
  const below = after(page, [updatedAt, messageDrafts.id]);
  const userId = actingUser(ctx);
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...shown, id: messageDrafts.id })
      .from(messageDrafts)
      .where(
        and(
          eq(messageDrafts.tenantId, ctx.tenantId),
          eq(messageDrafts.userId, userId),
          sql`exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = ${channelId} and sees_channel(c, current_user_id()))`,
          below,
        ),
      )
      .orderBy(desc(updatedAt), desc(messageDrafts.id))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, (row) => [row.updatedAt, row.id]);
  return { data: data.map(({ id: _, ...draft }) => draft), nextCursor };
}
