import { and, eq, inArray } from "drizzle-orm";
import { files } from "../files/schema";
import type { Context } from "../lib/context";
import { askDoor, asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { type BlockList, hitsIn, type Matcher, newMatcher, type Ruling, rule } from "./matcher";

type Known = { version: number; matcher: Matcher | null; letters: number };

const MOST_KNOWN_LETTERS = 200_000;
const known = new Map<string, Known>();
const NONE: Known = { version: 0, matcher: null, letters: 0 };

/** The isolate's copy, as long as the tenant's settings do not say that there is a newer one. */
async function listsOf({ env, tenantId, snapshot }: Context): Promise<Known> {
  const wanted = snapshot?.blockVersion ?? 1;
  const copy = known.get(tenantId) ?? NONE;
  if (copy.version >= wanted) return copy;
  type Found = { version: number; lists: BlockList[] };
  const row = await askDoor<{ b: Found | null }>(env, "select door.block_lists($1) as b", [tenantId]);
  const { version, lists } = row?.b ?? { version: 0, lists: [] };
  const letters = lists.reduce((sum, { entries }) => sum + entries.reduce((all, entry) => all + entry.length, 0), 0);
  const fresh = { version, letters, matcher: letters > 0 ? newMatcher(lists) : null };
  keep(tenantId, fresh);
  return fresh;
}

function keep(tenantId: string, fresh: Known): void {
  known.delete(tenantId);
  known.set(tenantId, fresh);
  let held = [...known.values()].reduce((sum, { letters }) => sum + letters + 1, 0);
  for (const [oldest, { letters }] of known) {
    if (held <= MOST_KNOWN_LETTERS || oldest === tenantId) break;
    known.delete(oldest);
    held -= letters + 1;
  }
}

type Said = { text: string; beside?: readonly string[]; urls?: readonly string[]; fileIds?: readonly string[] };
/** By the channel's type, which the database knows; `*` for types that name no lists of their own. */
export type Rulings = Record<string, Ruling>;

/** What becomes of a text, and the version of the lists that say so: the call that records it goes back where they are not the newest. */
export async function rulingsFor(
  ctx: Context,
  { text, beside = [], urls = [], fileIds = [] }: Said,
): Promise<{ rulings: Rulings | null; blockVersion: number }> {
  const { matcher, version: blockVersion } = await listsOf(ctx);
  const names = matcher && fileIds.length > 0 ? await namesOf(ctx, fileIds) : [];
  const hits = matcher && hitsIn(matcher, { text, beside: [...beside, ...names], urls, ip: ctx.ip });
  if (!hits || hits.size === 0) return { rulings: null, blockVersion };
  const rulings: Rulings = { "*": rule(matcher, hits, text, ({ everywhere }) => everywhere) };
  for (const { name, settings } of ctx.snapshot?.channelTypes ?? []) {
    const own = settings.blockLists as string[] | undefined;
    if (own) rulings[name] = rule(matcher, hits, text, ({ id, everywhere }) => everywhere || own.includes(id));
  }
  return { rulings, blockVersion };
}

/** A file is shown by the name that it was uploaded with. Only a tenant with block lists asks for it. */
async function namesOf(ctx: Context, fileIds: readonly string[]): Promise<string[]> {
  const [rows] = await asTenant({ ...ctx, once: undefined }, [
    db
      .select({ name: files.name })
      .from(files)
      .where(and(eq(files.tenantId, ctx.tenantId), inArray(files.id, [...fileIds]))),
  ]);
  return rows.map(({ name }) => name);
}

/** Says which list refuses a text, and never the word. */
export function refusedBy(rulings: Rulings | undefined, listId: string): ApiError {
  const list = Object.values(rulings ?? {}).find(({ block }) => block?.id === listId)?.block;
  return new ApiError(list?.kind === "ip" ? "address_blocked" : "content_blocked", undefined, { list });
}
