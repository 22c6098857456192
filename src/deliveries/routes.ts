import { DELIVERY_MEDIA } from "../events/schema";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, idOf, Metadata, Moment, pathId, text, z } from "../lib/validate";
import { SAID } from "../providers/provider";
import { SCRIPTS } from "../providers/sandbox";
import { hearCallback } from "./callbacks";
import { listOutbox, sayReceipt } from "./outbox";
import { OUTCOMES } from "./schema";
import { takeBackBounce } from "./take-back";

export const deliveryRoutes = feature();

const Delivery = z
  .object({
    id: z.uuid(),
    channelId: z.uuid(),
    messageId: z.uuid(),
    integrationId: z.uuid().nullable(),
    medium: z.enum(DELIVERY_MEDIA),
    recipient: z.string(),
    content: z.record(z.string(), z.unknown()),
    status: z.enum(OUTCOMES),
    complained: z.boolean(),
    unsubscribed: z.boolean(),
    providerMessageId: z.string().nullable(),
    attempts: z.int(),
    error: z.string().nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Delivery");

const recipients = Object.entries(SCRIPTS).map(
  ([name, { digits }]) => `| \`${name}@…\`, \`${name}+anything@…\`, \`${name}\` | …55500${digits} |`,
);

deliveryRoutes.openapi(
  op({
    id: "listSandboxOutbox",
    method: "get",
    path: "/sandbox/outbox",
    tag: "Sandbox",
    scope: "integrations:read",
    summary: "List what the sandbox was given to send, newest first",
    description: `What happens to it is told by the recipient's name, or by the last digits of a telephone number; all others are delivered.\n\n| name | number |\n|---|---|\n${recipients.join("\n")}`,
    query: z.strictObject({ ...PageQuery, channelId: idOf("channel").optional(), recipient: text(320, 1).optional() }),
    returns: listOf(Delivery),
  }),
  async (c) => c.json(await listOutbox(c.var.ctx, c.req.valid("query")), 200),
);

const SpokenReceipt = z.strictObject({
  deliveryId: idOf("delivery"),
  status: z.enum(SAID),
  reference: text(200, 1).optional().openapi({ description: "Said twice under the same one, it is heard once" }),
  details: Metadata.optional(),
});

deliveryRoutes.openapi(
  op({
    id: "saySandboxReceipt",
    method: "post",
    path: "/sandbox/receipts",
    tag: "Sandbox",
    scope: "integrations:write",
    summary: "Say of a delivery of the sandbox's what a provider would",
    body: SpokenReceipt,
    status: 204,
    once: false,
  }),
  async (c) => {
    await sayReceipt(c.var.ctx, c.req.valid("json"));
    return c.body(null, 204);
  },
);

deliveryRoutes.openapi(
  op({
    id: "takeBackBounce",
    method: "post",
    path: "/deliveries/{id}/take-back-bounce",
    tag: "Suppressions",
    scope: "suppressions:write",
    summary: "Take a bounce back that was none",
    description:
      "The delivery is as far as all else that was heard of it says. Suppressions that rest on this bounce alone are removed, and soft bounces are counted anew, as if the mail had arrived. Of a delivery that did not bounce nothing changes.",
    params: pathId("delivery"),
    returns: Delivery,
  }),
  async (c) => c.json(await takeBackBounce(c.var.ctx, c.req.valid("param").id), 200),
);

deliveryRoutes.openapi(
  op({
    id: "receiveCallback",
    method: "post",
    path: "/callbacks/{tenantId}/{integrationId}",
    tag: "Integrations",
    scope: "public",
    summary: "Where a provider reports what became of messages; it signs as it always does",
    params: z.strictObject({
      tenantId: anotherId("tenant", "tenantId"),
      integrationId: anotherId("integration", "integrationId"),
    }),
    status: 204,
  }),
  async (c) => {
    const { tenantId, integrationId } = c.req.valid("param");
    await hearCallback(c.env, tenantId, integrationId, c.req.raw, (work) => c.executionCtx.waitUntil(work));
    return c.body(null, 204);
  },
);
