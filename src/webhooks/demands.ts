import { isNull, sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { channels } from "../channels/schema";
import { CATALOGUE, type EventType } from "../events/catalogue";
import { inboxes } from "../inboxes/schema";
import type { Context } from "../lib/context";
import { db, refuseUnless } from "../lib/db";
import { ApiError, SnapshotError, type Violation } from "../lib/errors";
import { isReservedHeader, locate } from "../lib/guard";
import { mustExist, own } from "../lib/rows";
import { webhookScopes, webhookSubscriptions } from "./schema";

export type WebhookInput = {
  name: string;
  url: string;
  description?: string | null | undefined;
  kind: "push" | "before_message_send" | "custom_action";
  action?: string | undefined;
  /** "*", a type, or a category as "message.*". */
  events?: string[] | undefined;
  scopes?:
    | { channels?: string[] | undefined; inboxes?: string[] | undefined; media?: string[] | undefined }
    | undefined;
  filter?: Record<string, unknown> | null | undefined;
  headers?: Record<string, string> | undefined;
  enabled?: boolean | undefined;
  retryCount?: number | undefined;
  timeoutMs?: number | undefined;
  perSecond?: number | null | undefined;
  ordered?: boolean | undefined;
  failOpen?: boolean | undefined;
  shadow?: boolean | undefined;
};

export const refused = (...errors: Violation[]) => new ApiError("invalid_request", undefined, { errors });

/** What a webhook may not be, whichever way it came to be so. */
export async function check(ctx: Context, input: Partial<WebhookInput>): Promise<void> {
  if (input.url !== undefined) {
    await locate(ctx.env, input.url).catch((error: Error) => {
      throw refused({ path: "url", message: error.message });
    });
  }
  const reserved = Object.keys(input.headers ?? {}).find(
    (name) => isReservedHeader(name) || /^(webhook-|content-type$|user-agent$)/i.test(name),
  );
  if (reserved)
    throw refused({ path: `headers.${reserved}`, message: "This header is set by Parley or by the connection." });
  for (const [i, name] of (input.events ?? []).entries()) {
    const wrong = whyUnknown(ctx, name);
    if (wrong)
      throw new SnapshotError("invalid_request", undefined, { errors: [{ path: `events.${i}`, message: wrong }] });
  }
}

export const typeOf = (ctx: Context, name: string): { active: boolean } | undefined =>
  CATALOGUE[name as EventType] ?? ctx.snapshot?.customTypes.find((custom) => custom.name === name);

export function whyUnknown(ctx: Context, name: string): string | null {
  if (name === "*" || name === "custom.*") return null;
  if (name.endsWith(".*")) {
    const known = Object.values(CATALOGUE).some(({ category }) => `${category}.*` === name);
    return known ? null : "There is no such category.";
  }
  return typeOf(ctx, name) ? null : "There is no such event type. GET /v1/event-types lists them.";
}

/** Types of the tenant's own, held fast until this is over: whoever takes one away meanwhile waits, and then sees who hears of it. */
export function mustStayRegistered({ events = [] }: Partial<WebhookInput>): BatchItem<"pg">[] {
  const named = events
    .map((name, i) => ({ name, path: `events.${i}` }))
    .filter(({ name }) => name.startsWith("custom.") && !name.endsWith(".*"));
  if (named.length === 0) return [];
  return [
    db.execute(sql`with n as (select * from jsonb_to_recordset(${JSON.stringify(named)}::jsonb) n(name text, path text)),
      held as materialized (select t.name from webhook_event_types t where t.tenant_id = current_tenant()
        and t.name in (select name from n) order by t.name for key share)
      select refuse('invalid_request', jsonb_build_object('errors', jsonb_agg(
        jsonb_build_object('path', n.path, 'message', 'There is no such event type any more.') order by n.path)))
      from n where n.name not in (select name from held) having count(*) > 0`),
  ];
}

/** A deprecated type stays with those who hear of it already. */
export function noNewToDeprecated(
  ctx: Context,
  webhookId: string,
  { events = [] }: Partial<WebhookInput>,
): BatchItem<"pg">[] {
  const named = events
    .map((name, i) => ({ name, path: `events.${i}` }))
    .filter(({ name }) => typeOf(ctx, name)?.active === false);
  if (named.length === 0) return [];
  return [
    db.execute(sql`select refuse('invalid_request', jsonb_build_object('errors', jsonb_agg(jsonb_build_object('path', n.path,
        'message', 'This event type is deprecated and takes no new subscribers.') order by n.path)))
      from jsonb_to_recordset(${JSON.stringify(named)}::jsonb) n(name text, path text)
      where not exists (select 1 from webhook_subscriptions s where s.tenant_id = current_tenant()
        and s.webhook_id = ${webhookId}::uuid and s.kind = 'type' and s.name = n.name)
      having count(*) > 0`),
  ];
}

export function belongings(
  tenantId: string,
  webhookId: string,
  { events, scopes }: Partial<WebhookInput>,
): BatchItem<"pg">[] {
  const subscriptions = [...new Set(events ?? [])].map((name) =>
    name === "*"
      ? { kind: "all" as const, name }
      : name.endsWith(".*")
        ? { kind: "category" as const, name: name.slice(0, -2) }
        : { kind: "type" as const, name },
  );
  const places = [
    ...(scopes?.channels ?? []).map((value) => ({ kind: "channel" as const, value })),
    ...(scopes?.inboxes ?? []).map((value) => ({ kind: "inbox" as const, value })),
    ...(scopes?.media ?? []).map((value) => ({ kind: "medium" as const, value })),
  ];
  return [
    ...(scopes?.channels ?? []).map((id) => mustExist(channels, id)),
    ...(scopes?.inboxes ?? []).map((id) =>
      refuseUnless(
        sql`exists (select 1 from ${inboxes} where ${own(inboxes, id, isNull(inboxes.deletedAt))})`,
        "not_found",
      ),
    ),
    ...(subscriptions.length
      ? [db.insert(webhookSubscriptions).values(subscriptions.map((s) => ({ tenantId, webhookId, ...s })))]
      : []),
    ...(places.length
      ? [
          db
            .insert(webhookScopes)
            .values(places.map((place) => ({ tenantId, webhookId, ...place })))
            .onConflictDoNothing(),
        ]
      : []),
  ];
}

export const HOOK_TIMEOUT_MOST = 5000;
export const HOOK_TIMEOUT_REFUSAL = "A sender waits for this hook: at most 5,000 ms.";

/** What a new webhook's kind forbids it to be, it may not become either. */
export const mustFitKind = (id: string, { timeoutMs = 0 }: Partial<WebhookInput>): BatchItem<"pg">[] =>
  timeoutMs <= HOOK_TIMEOUT_MOST
    ? []
    : [
        db.execute(sql`select refuse('invalid_request', ${JSON.stringify({ errors: [{ path: "timeoutMs", message: HOOK_TIMEOUT_REFUSAL }] })}::jsonb)
          from webhooks where tenant_id = current_tenant() and id = ${id}::uuid and kind = 'before_message_send'`),
      ];
