import { and, desc, eq, isNull, type SQL, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustAllExist, own, shown, withinLimit } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { domains, inboxes } from "./schema";

export type AutoReply = { text: string; subject?: string | null | undefined; hours?: number | undefined };
export type InboxSettings = {
  localPart?: string | undefined;
  name?: string | null | undefined;
  isCatchall?: boolean | undefined;
  plusAddressing?: boolean | undefined;
  autoReply?: AutoReply | null | undefined;
};
export type NewInbox = InboxSettings & { domainId: string; localPart: string };

const { deletedAt: _, autoReplyText, autoReplySubject, autoReplyHours, ...columns } = shown(inboxes);

const live = isNull(inboxes.deletedAt);
export const ownInbox = (id: string, ...more: (SQL | undefined)[]): SQL => own(inboxes, id, live, ...more);
export const inboxMustExist = (id: string) =>
  refuseUnless(sql`exists (select 1 from ${inboxes} where ${ownInbox(id)})`, "not_found");

/** An inbox in the eyes of the acting user: all of them to a server. */
const seen = sql`works_in_inbox(${inboxes.tenantId}, ${inboxes.id}, current_user_id())`;
export const mustSeeInbox = (id: string) =>
  refuseUnless(sql`exists (select 1 from ${inboxes} where ${ownInbox(id, seen)})`, "not_found");
/** What a closed inbox received stays, for those who worked in it. */
export const mustSeeMailOf = (id: string) =>
  refuseUnless(sql`exists (select 1 from ${inboxes} where ${own(inboxes, id, seen)})`, "not_found");

const selectInboxes = () =>
  db
    .select({
      ...columns,
      address: sql<string>`${inboxes.localPart} || '@' || ${domains.name}`,
      autoReply: sql<Required<AutoReply> | null>`case when ${autoReplyText} is not null
        then jsonb_build_object('text', ${autoReplyText}, 'subject', ${autoReplySubject}, 'hours', ${autoReplyHours}) end`,
    })
    .from(inboxes)
    .innerJoin(domains, and(eq(domains.tenantId, inboxes.tenantId), eq(domains.id, inboxes.domainId)));

const stored = ({ autoReply, ...rest }: InboxSettings) =>
  changes({
    ...rest,
    ...(autoReply === null && { autoReplyText: null }),
    ...(autoReply && {
      autoReplyText: autoReply.text,
      autoReplySubject: autoReply.subject ?? null,
      ...changes({ autoReplyHours: autoReply.hours }),
    }),
  });

export async function createInbox(ctx: Context, input: NewInbox) {
  const id = newId();
  const { tenantId } = ctx;
  const { domainId, localPart } = input;
  const batch = await asTenant(ctx, [
    mustAllExist(domains, [{ id: domainId, path: "domainId" }]),
    refuseUnless(
      sql`exists (select 1 from ${domains} where ${own(domains, domainId, isNull(domains.deletedAt))} for share)`,
      "not_found",
    ),
    db.insert(inboxes).values({ tenantId, id, ...stored(input), domainId, localPart }),
    audit(ctx, "inbox.created", { type: "inbox", id }, input),
    ...withinLimit("inboxes", ctx.snapshot?.limits),
    selectInboxes().where(own(inboxes, id)),
  ]);
  return found(batch.at(-1) as Inbox[]);
}

export type Inbox = Awaited<ReturnType<typeof selectInboxes>>[number];

export async function listInboxes(ctx: Context, { domainId, ...page }: Page & { domainId?: string | undefined }) {
  const where = and(
    eq(inboxes.tenantId, ctx.tenantId),
    live,
    seen,
    domainId === undefined ? undefined : eq(inboxes.domainId, domainId),
    after(page, [inboxes.id]),
  );
  const [rows] = await asTenant(ctx, [
    selectInboxes()
      .where(where)
      .orderBy(desc(inboxes.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getInbox(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectInboxes().where(ownInbox(id, seen))]);
  return found(rows);
}

export async function updateInbox(ctx: Context, id: string, patch: InboxSettings) {
  const batch = await asTenant(ctx, [
    inboxMustExist(id),
    auditChange(ctx, "inbox.updated", { type: "inbox", id }, inboxes, stored(patch)),
    db
      .update(inboxes)
      .set({ ...stored(patch), updatedAt: sql<string>`now()` })
      .where(ownInbox(id)),
    selectInboxes().where(ownInbox(id)),
  ]);
  return found(batch[3]);
}

/** It takes no more mail, and its address is free; what it received stays. */
export async function deleteInbox(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    inboxMustExist(id),
    audit(ctx, "inbox.deleted", { type: "inbox", id }),
    db.update(inboxes).set({ deletedAt: sql`now()` }).where(ownInbox(id)),
  ]);
}
