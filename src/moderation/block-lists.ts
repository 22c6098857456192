import { and, asc, desc, eq, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db, refuseUnless } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { changes, found, mustExist, own, shown } from "../lib/rows";
import { audit, auditChange } from "../tenants/audit";
import { LIST_KINDS, type ListAction, type ListKind } from "./kinds";
import { keyOf } from "./matcher";
import { blockListEntries, blockLists } from "./schema";

const MOST_ACTIVE = 20;
export const MOST_ENTRIES = 10_000;
/** An isolate keeps them as a tree of letters, within the memory that all tenants share. */
export const MOST_LETTERS = 200_000;

export type NewList = {
  name: string;
  kind: ListKind;
  action: ListAction;
  everywhere?: boolean | undefined;
  active?: boolean | undefined;
};
export type ListPatch = Partial<Omit<NewList, "kind">>;

const columns = {
  ...shown(blockLists),
  entryCount: sql<number>`(select count(*)::int from block_list_entries e where e.tenant_id = block_lists.tenant_id and e.list_id = block_lists.id)`,
};
const selectLists = () => db.select(columns).from(blockLists);

const noMaskedAddresses = (id: string) =>
  refuseUnless(
    sql`not exists (select 1 from ${blockLists} where ${own(blockLists, id)} and ${blockLists.kind} = 'ip' and ${blockLists.action} = 'mask')`,
    "invalid_request",
    { errors: [{ path: "action", message: "An address has no words to mask." }] },
  );

const withinMost = refuseUnless(
  sql`(select count(*) from ${blockLists} where ${blockLists.tenantId} = current_tenant() and ${blockLists.active}) <= ${MOST_ACTIVE}`,
  "conflict",
  { errors: [{ path: "active", message: `So many lists may be active: ${MOST_ACTIVE}.` }] },
);

export async function createList(ctx: Context, input: NewList) {
  const id = newId();
  const batch = await asTenant(ctx, [
    db.insert(blockLists).values({ tenantId: ctx.tenantId, id, ...input }),
    noMaskedAddresses(id),
    withinMost,
    audit(ctx, "block_list.created", { type: "block_list", id }, input),
    selectLists().where(own(blockLists, id)),
  ]);
  return found(batch[4]);
}

export async function listLists(ctx: Context, page: Page) {
  const [rows] = await asTenant(ctx, [
    selectLists()
      .where(and(eq(blockLists.tenantId, ctx.tenantId), after(page, [blockLists.id])))
      .orderBy(desc(blockLists.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function getList(ctx: Context, id: string) {
  const [rows] = await asTenant(ctx, [selectLists().where(own(blockLists, id))]);
  return found(rows);
}

export async function updateList(ctx: Context, id: string, patch: ListPatch) {
  const batch = await asTenant(ctx, [
    mustExist(blockLists, id),
    auditChange(ctx, "block_list.updated", { type: "block_list", id }, blockLists, changes(patch)),
    db
      .update(blockLists)
      .set({ ...changes(patch), updatedAt: sql<string>`now()` })
      .where(own(blockLists, id)),
    noMaskedAddresses(id),
    withinMost,
    selectLists().where(own(blockLists, id)),
  ]);
  return found(batch[5]);
}

export async function deleteList(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(blockLists, id),
    audit(ctx, "block_list.deleted", { type: "block_list", id }),
    db.delete(blockLists).where(own(blockLists, id)),
  ]);
}

const inList = (ctx: Context, id: string) =>
  and(eq(blockListEntries.tenantId, ctx.tenantId), eq(blockListEntries.listId, id));

const NOTHING: Record<ListKind, string> = {
  word: "It is no single word.",
  phrase: "There is nothing to look for in it.",
  domain: "It is no domain.",
  ip: "It is no address and no range of addresses.",
};

type Keyed = { key: string | null; entry: string };

/** The list's kind is known to the database alone: the keys of every kind travel there, and one is chosen. */
function keysOf(entries: readonly string[]): { kind: ListKind; rows: Keyed[] }[] {
  return LIST_KINDS.map((kind) => ({
    kind,
    rows: entries.map((entry) => ({ key: keyOf(kind, entry), entry: entry.trim() })),
  }));
}

/** Locks the list, so that its entries are counted one change after the other; its new version makes all copies of it stale. */
const touchList = (id: string) =>
  db.update(blockLists).set({ updatedAt: sql<string>`now()` }).where(own(blockLists, id));

const given = (id: string, keyed: ReturnType<typeof keysOf>) => sql`(select distinct on (r.key) r.key, r.entry
    from ${blockLists} join jsonb_to_recordset(${JSON.stringify(keyed)}::jsonb) k(kind text, rows jsonb) on k.kind = ${blockLists.kind}
      cross join jsonb_to_recordset(k.rows) r(key text, entry text) where ${own(blockLists, id)} and r.key is not null order by r.key) given`;

/** Ends the batch with the place of each entry that cannot be one of the list's kind. */
const allMustHaveKeys = (id: string, keyed: ReturnType<typeof keysOf>) => {
  const wrong = Object.fromEntries(
    keyed.map(({ kind, rows }) => [
      kind,
      rows.flatMap((row, i) => (row.key === null ? [{ path: `entries.${i}`, message: NOTHING[kind] }] : [])),
    ]),
  );
  return db.execute(sql`select refuse('invalid_request', jsonb_build_object('errors', ${JSON.stringify(wrong)}::jsonb -> ${blockLists.kind}))
    from ${blockLists} where ${own(blockLists, id)} and ${JSON.stringify(wrong)}::jsonb -> ${blockLists.kind} <> '[]'`);
};

const counted = (id: string) =>
  db
    .select({ entryCount: sql<number>`count(*)::int` })
    .from(blockListEntries)
    .where(sql`${blockListEntries.tenantId} = current_tenant() and ${blockListEntries.listId} = ${id}::uuid`);

/** Those that are there already, in whatever spelling, stay as they are. */
export async function addEntries(ctx: Context, id: string, entries: readonly string[]) {
  const keyed = keysOf(entries);
  const batch = await asTenant(ctx, [
    mustExist(blockLists, id),
    touchList(id),
    allMustHaveKeys(id, keyed),
    db.execute(sql`insert into ${blockListEntries} (tenant_id, list_id, key, entry)
      select ${ctx.tenantId}::uuid, ${id}::uuid, given.key, given.entry from ${given(id, keyed)} on conflict do nothing`),
    refuseUnless(
      sql`(select count(*) from ${blockListEntries} where ${inList(ctx, id)}) <= ${MOST_ENTRIES}`,
      "invalid_request",
      { errors: [{ path: "entries", message: `A list holds ${MOST_ENTRIES} entries at most.` }] },
    ),
    refuseUnless(
      sql`(select coalesce(sum(length(key)), 0) from ${blockListEntries} where ${blockListEntries.tenantId} = current_tenant()) <= ${MOST_LETTERS}`,
      "invalid_request",
      { errors: [{ path: "entries", message: `All lists together hold ${MOST_LETTERS} characters at most.` }] },
    ),
    audit(ctx, "block_list.entries_added", { type: "block_list", id }, { count: entries.length }),
    counted(id),
  ]);
  return found(batch[7]);
}

export async function removeEntries(ctx: Context, id: string, entries: readonly string[]) {
  const keyed = keysOf(entries);
  const batch = await asTenant(ctx, [
    mustExist(blockLists, id),
    touchList(id),
    db.execute(
      sql`delete from ${blockListEntries} where ${inList(ctx, id)} and ${blockListEntries.key} in (select given.key from ${given(id, keyed)})`,
    ),
    audit(ctx, "block_list.entries_removed", { type: "block_list", id }, { count: entries.length }),
    counted(id),
  ]);
  return found(batch[4]);
}

export async function listEntries(ctx: Context, id: string, page: Page) {
  const [, rows] = await asTenant(ctx, [
    mustExist(blockLists, id),
    db
      .select({ entry: blockListEntries.entry, key: blockListEntries.key, createdAt: blockListEntries.createdAt })
      .from(blockListEntries)
      .where(and(inList(ctx, id), after(page, [blockListEntries.key], "asc")))
      .orderBy(asc(blockListEntries.key))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, (row) => [row.key]);
  return { data: data.map(({ entry, createdAt }) => ({ entry, createdAt })), nextCursor };
}
