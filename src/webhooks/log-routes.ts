import { STREAM_KINDS } from "../events/schema";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, idOf, Moment, pathId, text, z } from "../lib/validate";
import { getDelivery, listAttempts, listDeliveries, redeliver, statistics } from "./log";
import { redeliverSince } from "./redelivery";
import { DELIVERY_STATUSES, TRIGGERS } from "./schema";

/** What was sent, what came back, and sending it once more. */
export const webhookLogRoutes = feature();

const webhooks = { tag: "Webhook log" } as const;
const webhook = { tag: "Webhook log", path: "/webhooks/{id}", params: pathId("webhook") } as const;

const Counted = { attempts: z.int(), succeeded: z.int() };
const Statistics = z
  .object({
    ...Counted,
    successRate: z.number().nullable(),
    p50Ms: z.number().nullable(),
    p95Ms: z.number().nullable(),
    byHour: z.array(z.object({ hour: Moment, ...Counted })),
  })
  .openapi("WebhookStatistics");
webhookLogRoutes.openapi(
  op({
    ...webhooks,
    id: "getWebhookStatistics",
    method: "get",
    path: "/webhook-statistics",
    scope: "webhooks:read",
    summary: "Seven days of all endpoints",
    returns: Statistics,
  }),
  async (c) => c.json(await statistics(c.var.ctx), 200),
);
webhookLogRoutes.openapi(
  op({
    ...webhook,
    id: "getStatisticsOfWebhook",
    method: "get",
    path: "/webhooks/{id}/statistics",
    scope: "webhooks:read",
    summary: "Seven days of one endpoint",
    returns: Statistics,
  }),
  async (c) => c.json(await statistics(c.var.ctx, c.req.valid("param").id), 200),
);

const Delivery = z
  .object({
    id: z.uuid(),
    webhookId: z.uuid(),
    eventId: z.uuid(),
    eventType: z.string(),
    streamKind: z.enum(STREAM_KINDS),
    streamId: z.uuid(),
    seq: z.int(),
    status: z.enum(DELIVERY_STATUSES),
    attempts: z.int(),
    trigger: z.enum(TRIGGERS),
    nextAttemptAt: Moment,
    completedAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("WebhookDelivery");
const span = { from: Instant.optional(), to: Instant.optional() };
const about = {
  eventId: idOf("event").optional(),
  channelId: idOf("channel").optional(),
  messageId: idOf("message").optional(),
};
const DeliveryFilters = z.strictObject({
  ...PageQuery,
  ...span,
  ...about,
  webhookId: idOf("webhook").optional(),
  status: z.enum(DELIVERY_STATUSES).optional(),
  type: text(100, 1).optional(),
});
const log = { tag: "Webhook log", scope: "webhooks:read", method: "get" } as const;
const delivery = { tag: "Webhook log", path: "/webhook-deliveries/{id}", params: pathId("webhookDelivery") } as const;

webhookLogRoutes.openapi(
  op({
    ...log,
    id: "listWebhookDeliveries",
    path: "/webhook-deliveries",
    summary: "List deliveries, newest first",
    query: DeliveryFilters,
    returns: listOf(Delivery),
  }),
  async (c) => c.json(await listDeliveries(c.var.ctx, c.req.valid("query")), 200),
);
webhookLogRoutes.openapi(
  op({
    ...delivery,
    id: "getWebhookDelivery",
    method: "get",
    scope: "webhooks:read",
    summary: "A delivery with the payload that is sent",
    returns: Delivery.extend({ payload: z.record(z.string(), z.unknown()) }),
  }),
  async (c) => c.json(await getDelivery(c.var.ctx, c.req.valid("param").id), 200),
);
webhookLogRoutes.openapi(
  op({
    ...delivery,
    id: "redeliver",
    method: "post",
    path: "/webhook-deliveries/{id}/redeliver",
    scope: "webhooks:write",
    summary: "Deliver once more, from the start of the schedule",
    returns: Delivery.omit({ eventType: true, streamKind: true, streamId: true, seq: true }),
    status: 202,
  }),
  async (c) => c.json(await redeliver(c.var.ctx, c.req.valid("param").id), 202),
);

webhookLogRoutes.openapi(
  op({
    ...webhook,
    id: "redeliverSince",
    method: "post",
    path: "/webhooks/{id}/redeliver",
    scope: "webhooks:write",
    summary: "Deliver again all that failed since a time, or what the endpoint missed",
    description: "A job does it: GET /v1/jobs/{id} says how far it is. The time may lie 14 days back.",
    body: z.strictObject({ since: Instant, mode: z.enum(["failed", "missing"]).default("failed") }),
    returns: z.object({ jobId: z.uuid() }),
    status: 202,
  }),
  async (c) => c.json(await redeliverSince(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 202),
);

const headers = z.record(z.string(), z.string());
const Attempt = z
  .object({
    id: z.uuid(),
    webhookId: z.uuid(),
    deliveryId: z.uuid().nullable(),
    eventType: z.string(),
    trigger: z.enum(TRIGGERS),
    url: z.string(),
    ok: z.boolean(),
    status: z.int().nullable(),
    ms: z.int(),
    requestHeaders: headers,
    responseHeaders: headers.nullable(),
    responseBody: z.string().nullable(),
    error: z
      .string()
      .nullable()
      .openapi({ description: "unsafe_url, dns, unsafe_address, connect, tls, timeout, redirect" }),
    address: z.string().nullable(),
    note: z.record(z.string(), z.unknown()).nullable(),
    createdAt: Moment,
  })
  .openapi("WebhookAttempt");
const AttemptFilters = z.strictObject({
  ...PageQuery,
  ...span,
  ...about,
  webhookId: idOf("webhook").optional(),
  deliveryId: idOf("webhookDelivery").optional(),
  ok: flag.optional(),
  status: z.coerce.number().int().min(100).max(599).optional().openapi({ description: "Of the endpoint's answer" }),
  type: text(100, 1).optional(),
});
webhookLogRoutes.openapi(
  op({
    ...log,
    id: "listWebhookAttempts",
    path: "/webhook-attempts",
    summary: "List attempts, newest first",
    query: AttemptFilters,
    returns: listOf(Attempt),
  }),
  async (c) => c.json(await listAttempts(c.var.ctx, c.req.valid("query")), 200),
);
