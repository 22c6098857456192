import { EVENT_TYPES } from "../events/catalogue";
import { MEDIA } from "../events/schema";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { AnyJson, flag, idOf, Moment, pathId, text, z } from "../lib/validate";
import { runAction } from "./actions";
import { HOOK_TIMEOUT_MOST, HOOK_TIMEOUT_REFUSAL } from "./demands";
import { createPortalLink, PORTAL_EDITS } from "./portal";
import { WEBHOOK_KINDS, WEBHOOK_STATUSES } from "./schema";
import { createWebhook, deleteWebhook, getWebhook, listWebhooks, sendTestEvent, updateWebhook } from "./service";

export const webhookRoutes = feature();

const Webhook = z
  .object({
    id: z.uuid(),
    name: z.string(),
    url: z.string(),
    description: z.string().nullable(),
    kind: z.enum(WEBHOOK_KINDS),
    action: z.string().nullable(),
    events: z.array(z.string()),
    scopes: z.object({ channels: z.array(z.string()), inboxes: z.array(z.string()), media: z.array(z.string()) }),
    filter: z.record(z.string(), z.unknown()).nullable(),
    headerNames: z.array(z.string()),
    enabled: z.boolean(),
    status: z.enum(WEBHOOK_STATUSES),
    failureCount: z.int(),
    lastSuccessAt: Moment.nullable(),
    lastFailureAt: Moment.nullable(),
    retryCount: z.int(),
    timeoutMs: z.int(),
    perSecond: z.int().nullable(),
    ordered: z.boolean(),
    failOpen: z.boolean(),
    shadow: z.boolean(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Webhook");

const Scalar = z.union([z.string().max(1000), z.number(), z.boolean(), z.null()]);
const Condition = z.union([
  Scalar,
  z.strictObject({
    eq: Scalar.optional(),
    ne: Scalar.optional(),
    in: z.array(Scalar).max(50).optional(),
    exists: z.boolean().optional(),
  }),
]);
const HeaderName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, "This is not a header name.");
const HeaderValue = z
  .string()
  .max(2000)
  .regex(/^[\x20-\x7e]*$/, "A header value is visible ASCII.");

const settings = {
  description: text(1000).nullable().optional(),
  events: z.array(text(100, 1)).min(1).max(100).optional(),
  scopes: z
    .strictObject({
      channels: z.array(idOf("channel")).max(100).optional(),
      inboxes: z.array(idOf("inbox")).max(100).optional(),
      media: z.array(z.enum(MEDIA)).max(MEDIA.length).optional(),
    })
    .optional(),
  filter: z.record(text(200, 1), Condition).nullable().optional(),
  headers: z
    .record(HeaderName, HeaderValue)
    .refine((headers) => Object.keys(headers).length <= 20, "At most 20 headers.")
    .optional(),
  enabled: z.boolean().optional(),
  retryCount: z.int().min(0).max(9).optional(),
  timeoutMs: z.int().min(100).max(30_000).optional(),
  perSecond: z.int().min(1).max(10_000).nullable().optional(),
  ordered: z.boolean().optional(),
  failOpen: z.boolean().optional(),
  shadow: z.boolean().optional(),
};
const ActionName = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "Lower-case letters, digits, _ and -.");

const NewWebhook = z
  .strictObject({
    name: text(255, 1),
    url: text(2048, 1),
    kind: z.enum(WEBHOOK_KINDS).default("push"),
    action: ActionName.optional(),
    ...settings,
  })
  .refine((hook) => (hook.kind === "custom_action") === (hook.action !== undefined), {
    path: ["action"],
    message: "A custom_action has an action name, and nothing else has one.",
  })
  .refine((hook) => hook.kind !== "before_message_send" || (hook.timeoutMs ?? 1500) <= HOOK_TIMEOUT_MOST, {
    path: ["timeoutMs"],
    message: HOOK_TIMEOUT_REFUSAL,
  })
  .transform((hook) => ({ ...hook, timeoutMs: hook.timeoutMs ?? (hook.kind === "push" ? 5000 : 1500) }));
const WebhookPatch = z.strictObject({ name: text(255, 1).optional(), url: text(2048, 1).optional(), ...settings });

const Secret = z.object({ secret: z.string().openapi({ description: "whsec_…, shown this once" }) });
const webhooks = { tag: "Webhooks", path: "/webhooks" } as const;
const webhook = { tag: "Webhooks", path: "/webhooks/{id}", params: pathId("webhook") } as const;

webhookRoutes.openapi(
  op({
    ...webhooks,
    id: "createWebhook",
    method: "post",
    scope: "webhooks:write",
    summary: "Create a webhook; its secret is shown once",
    body: NewWebhook,
    returns: Webhook.extend(Secret.shape),
    status: 201,
  }),
  async (c) => c.json(await createWebhook(c.var.ctx, c.req.valid("json")), 201),
);
const WebhookFilters = z.strictObject({
  ...PageQuery,
  kind: z.enum(WEBHOOK_KINDS).optional(),
  enabled: flag.optional(),
  event: text(100, 1).optional(),
  notEvent: text(100, 1).optional(),
});
webhookRoutes.openapi(
  op({
    ...webhooks,
    id: "listWebhooks",
    method: "get",
    scope: "webhooks:read",
    summary: "List webhooks",
    query: WebhookFilters,
    returns: listOf(Webhook),
  }),
  async (c) => c.json(await listWebhooks(c.var.ctx, c.req.valid("query")), 200),
);
webhookRoutes.openapi(
  op({
    ...webhook,
    id: "getWebhook",
    method: "get",
    scope: "webhooks:read",
    summary: "Get a webhook",
    returns: Webhook,
  }),
  async (c) => c.json(await getWebhook(c.var.ctx, c.req.valid("param").id), 200),
);
webhookRoutes.openapi(
  op({
    ...webhook,
    id: "updateWebhook",
    method: "patch",
    scope: "webhooks:write",
    summary: "Change a webhook; enabling it clears its health",
    body: WebhookPatch,
    returns: Webhook,
  }),
  async (c) => c.json(await updateWebhook(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
webhookRoutes.openapi(
  op({
    ...webhook,
    id: "deleteWebhook",
    method: "delete",
    scope: "webhooks:write",
    summary: "Delete a webhook with its log",
    status: 204,
  }),
  async (c) => {
    await deleteWebhook(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
webhookRoutes.openapi(
  op({
    ...webhook,
    id: "testWebhook",
    method: "post",
    path: "/webhooks/{id}/test",
    scope: "webhooks:write",
    summary: "Send webhook.test, or a made-up event of another type, to this endpoint",
    body: z.strictObject({ type: z.enum(EVENT_TYPES).optional() }).optional(),
    returns: z.object({ deliveryId: z.uuid(), eventId: z.uuid() }),
    status: 202,
  }),
  async (c) => c.json(await sendTestEvent(c.var.ctx, c.req.valid("param").id, c.req.valid("json")?.type), 202),
);

webhookRoutes.openapi(
  op({
    ...webhook,
    id: "createPortalLink",
    method: "post",
    path: "/webhooks/{id}/portal-links",
    scope: "webhooks:write",
    once: false,
    summary: "A link for an hour to a page where your customer sees this endpoint's deliveries",
    description: "What `allow` names can be changed there too: the url, the subscriptions, the secret.",
    body: z.strictObject({ allow: z.array(z.enum(PORTAL_EDITS)).max(PORTAL_EDITS.length).optional() }).optional(),
    returns: z.object({ url: z.string(), expiresAt: Moment }),
    status: 201,
  }),
  async (c) =>
    c.json(await createPortalLink(c.var.ctx, c.req.valid("param").id, c.req.valid("json")?.allow ?? []), 201),
);

webhookRoutes.openapi(
  op({
    id: "runAction",
    method: "post",
    path: "/actions/{name}",
    tag: "Webhooks",
    scope: "channels:write",
    once: false,
    summary: "Ask your own server through a webhook of kind custom_action, and get its answer",
    params: z.strictObject({ name: ActionName }),
    body: z.strictObject({ channelId: idOf("channel"), data: AnyJson.optional() }),
    returns: z.object({ answer: z.unknown() }),
  }),
  async (c) => c.json({ answer: await runAction(c.var.ctx, c.req.valid("param").name, c.req.valid("json")) }, 200),
);
