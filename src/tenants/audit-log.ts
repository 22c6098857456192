import { and, desc, eq, gte, lt, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { utf8 } from "../lib/crypto";
import { asTenant, db } from "../lib/db";
import { after, exactly, type Page, paged } from "../lib/page";
import { shown } from "../lib/rows";
import { auditLogs } from "./schema";

export type AuditFilters = {
  actorId?: string | undefined;
  userId?: string | undefined;
  action?: string | undefined;
  targetType?: string | undefined;
  targetId?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
};

const columns = { ...shown(auditLogs), ip: sql<string | null>`host(${auditLogs.ip})` };

function matching(ctx: Context, filters: AuditFilters, page: Page) {
  const { actorId, userId, action, targetType, targetId, from, to } = filters;
  return and(
    eq(auditLogs.tenantId, ctx.tenantId),
    after(page, [auditLogs.createdAt, auditLogs.id]),
    actorId === undefined ? undefined : eq(auditLogs.actorId, actorId),
    userId === undefined ? undefined : eq(auditLogs.userId, userId),
    action === undefined ? undefined : eq(auditLogs.action, action),
    targetType === undefined ? undefined : eq(auditLogs.targetType, targetType),
    targetId === undefined ? undefined : eq(auditLogs.targetId, targetId),
    from === undefined ? undefined : gte(auditLogs.createdAt, from),
    to === undefined ? undefined : lt(auditLogs.createdAt, to),
  );
}

async function pageOf(ctx: Context, filters: AuditFilters, page: Page) {
  const [rows] = await asTenant(ctx, [
    db
      .select({ ...columns, at: exactly(auditLogs.createdAt) })
      .from(auditLogs)
      .where(matching(ctx, filters, page))
      .orderBy(desc(auditLogs.createdAt), desc(auditLogs.id))
      .limit(page.limit + 1),
  ]);
  const { data, nextCursor } = paged(rows, page, (row) => [row.at, row.id]);
  return { data: data.map(({ at: _, ...row }) => row), nextCursor };
}

export const listAuditLogs = (ctx: Context, query: AuditFilters & Page) => pageOf(ctx, query, query);

/** Page by page as the reader takes it, so that a long log needs no memory; the first page answers for permission. */
export async function exportAuditLogs(ctx: Context, filters: AuditFilters): Promise<ReadableStream> {
  let next = await pageOf(ctx, filters, { limit: 1000 });
  // Settings may change while somebody reads; nothing here depends on them.
  const later = { ...ctx, snapshot: null };
  return new ReadableStream({
    async pull(controller) {
      if (next.data.length > 0) controller.enqueue(utf8(next.data.map((row) => `${JSON.stringify(row)}\n`).join("")));
      if (next.nextCursor === null) return controller.close();
      next = await pageOf(later, filters, { limit: 1000, cursor: next.nextCursor });
    },
  });
}
