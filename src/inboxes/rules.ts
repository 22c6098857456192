import { and, desc, eq, isNull } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import { after, type Page, paged } from "../lib/page";
import { found, mustExist, own, shown } from "../lib/rows";
import { audit } from "../tenants/audit";
import { type RULE_ACTIONS, senderRules } from "./schema";
import { inboxMustExist } from "./service";

const columns = shown(senderRules);

/** Of all the tenant's inboxes where none is named. */
export type RuleInput = { pattern: string; action: (typeof RULE_ACTIONS)[number]; inboxId?: string | undefined };

export async function createRule(ctx: Context, input: RuleInput) {
  const id = newId();
  const insert = db
    .insert(senderRules)
    .values({ tenantId: ctx.tenantId, id, ...input, inboxId: input.inboxId ?? null })
    .returning(columns);
  const log = audit(ctx, "sender_rule.created", { type: "sender_rule", id }, input);
  if (input.inboxId === undefined) return found((await asTenant(ctx, [insert, log]))[0]);
  return found((await asTenant(ctx, [inboxMustExist(input.inboxId), insert, log]))[1]);
}

export type RuleFilters = Page & { inboxId?: string | undefined };

/** Of one inbox, or, where none is named, of all of them together. */
export async function listRules(ctx: Context, { inboxId, ...page }: RuleFilters) {
  const where = and(
    eq(senderRules.tenantId, ctx.tenantId),
    inboxId === undefined ? isNull(senderRules.inboxId) : eq(senderRules.inboxId, inboxId),
    after(page, [senderRules.id]),
  );
  const [rows] = await asTenant(ctx, [
    db
      .select(columns)
      .from(senderRules)
      .where(where)
      .orderBy(desc(senderRules.id))
      .limit(page.limit + 1),
  ]);
  return paged(rows, page, (row) => [row.id]);
}

export async function deleteRule(ctx: Context, id: string): Promise<void> {
  await asTenant(ctx, [
    mustExist(senderRules, id),
    audit(ctx, "sender_rule.deleted", { type: "sender_rule", id }),
    db.delete(senderRules).where(own(senderRules, id)),
  ]);
}
