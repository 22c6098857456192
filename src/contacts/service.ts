import { and, desc, eq, type SQL, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mergedJson, mustExist, newJson, own, shown, withinLimit } from "../lib/rows";
import type { OUTSIDE_MEDIA } from "../providers/provider";
import { audit, auditChange } from "../tenants/audit";
import { contactIdentities, contacts } from "./schema";

type Medium = (typeof OUTSIDE_MEDIA)[number];
export type Identity = { medium: Medium; value: string };
export type ContactInput = {
  displayName?: string | null | undefined;
  avatarUrl?: string | null | undefined;
  metadata?: Record<string, unknown> | undefined;
};
export type NewContact = ContactInput & { identities: Identity[] };

/** One form of each address or handle, so that the same finds the same contact. */
export const folded = (value: string): string => value.trim().toLowerCase();

/** An address to compare by, and as it was written, where that is not the same. */
export function asWritten(given: string): { address: string; written: string | null } {
  const address = folded(given);
  return { address, written: address === given.trim() ? null : given.trim() };
}

const selectContacts = () =>
  db
    .select({
      ...shown(contacts),
      identities: sql<
        Identity[]
      >`coalesce((select jsonb_agg(jsonb_build_object('medium', i.medium, 'value', i.value) order by i.medium, i.value)
        from contact_identities i where i.tenant_id = contacts.tenant_id and i.contact_id = contacts.id), '[]')`,
    })
    .from(contacts);
export type Contact = Awaited<ReturnType<typeof selectContacts>>[number];

export async function createContact(ctx: Context, { identities, ...input }: NewContact) {
  const contactId = newId();
  const { tenantId } = ctx;
  const rows = identities.map(({ medium, value }) => ({
    tenantId,
    id: newId(),
    contactId,
    medium,
    value: folded(value),
  }));
  const batch = await asTenant(ctx, [
    db.insert(contacts).values({ tenantId, id: contactId, ...changes(input), metadata: newJson(input.metadata) }),
    ...(rows.length > 0 ? [db.insert(contactIdentities).values(rows)] : []),
    ...withinLimit("contacts", ctx.snapshot?.limits),
    audit(ctx, "contact.created", { type: "contact", id: contactId }, input),
    selectContacts().where(own(contacts, contactId)),
  ]);
  return found(batch.at(-1) as Contact[]);
}

export type ContactFilters = Page & { medium?: Medium | undefined; value?: string | undefined };

export async function listContacts(ctx: Context, { medium, value, ...page }: ContactFilters) {
  const reachedBy: SQL = sql`exists (select 1 from ${contactIdentities} i where i.tenant_id = ${contacts.tenantId} and i.contact_id = ${contacts.id}
    ${medium === undefined ? sql`` : sql`and i.medium = ${medium}`} ${value === undefined ? sql`` : sql`and i.value = ${folded(value)}`})`;
  const where = and(
    eq(contacts.tenantId, ctx.tenantId),
    medium === undefined && value === undefined ? undefined : reachedBy,
    after(page, [contacts.id]),
  );
  const [rows] = await asTenant(ctx, [
    selectContacts()
      .where(where)
      .orderBy(desc(contacts.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getContact(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectContacts().where(own(contacts, id))]);
  return found(rows);
}

export async function updateContact(ctx: Context, id: string, { metadata, ...rest }: ContactInput) {
  const set = {
    ...changes(rest),
    updatedAt: sql<string>`now()`,
    ...(metadata && { metadata: mergedJson(contacts.metadata, metadata) }),
  };
  const batch = await asTenant(ctx, [
    mustExist(contacts, id),
    auditChange(ctx, "contact.updated", { type: "contact", id }, contacts, changes({ metadata, ...rest })),
    db.update(contacts).set(set).where(own(contacts, id)),
    selectContacts().where(own(contacts, id)),
  ]);
  return found(batch[3]);
}

/** What it wrote stays, without its name. */
export async function deleteContact(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(contacts, id),
    audit(ctx, "contact.deleted", { type: "contact", id }),
    db.delete(contacts).where(own(contacts, id)),
  ]);
}

const theIdentity = (ctx: Context, contactId: string, { medium, value }: Identity) =>
  and(
    eq(contactIdentities.tenantId, ctx.tenantId),
    eq(contactIdentities.contactId, contactId),
    eq(contactIdentities.medium, medium),
    eq(contactIdentities.value, folded(value)),
  );

/** 409 where another contact has it. */
export async function addIdentity(ctx: Context, contactId: string, { medium, value }: Identity): Promise<Contact> {
  const row = { tenantId: ctx.tenantId, id: newId(), contactId, medium, value: folded(value) };
  const batch = await asTenant(ctx, [
    mustExist(contacts, contactId),
    db.insert(contactIdentities).values(row),
    audit(ctx, "contact.identity_added", { type: "contact", id: contactId }, { medium, value }),
    selectContacts().where(own(contacts, contactId)),
  ]);
  return found(batch[3]);
}

export async function removeIdentity(ctx: Context, contactId: string, identity: Identity): Promise<void> {
  await asTenant(ctx, [
    mustExist(contacts, contactId),
    db.delete(contactIdentities).where(theIdentity(ctx, contactId, identity)),
    audit(ctx, "contact.identity_removed", { type: "contact", id: contactId }, identity),
  ]);
}
