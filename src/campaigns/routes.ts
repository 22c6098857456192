import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Instant, idOf, Moment, pathId, text, z } from "../lib/validate";
import { NewMessage } from "../messages/input";
import { CAMPAIGN_KINDS, CAMPAIGN_STATUSES, TARGET_STATUSES } from "./schema";
import {
  cancelCampaign,
  createCampaign,
  deleteCampaign,
  getCampaign,
  listCampaigns,
  pauseCampaign,
  resumeCampaign,
  scheduleCampaign,
  startCampaign,
  updateCampaign,
} from "./service";
import { addTargets, listTargets } from "./targets";

export const campaignRoutes = feature();

const Content = z
  .strictObject({
    text: NewMessage.shape.text,
    kind: NewMessage.shape.kind,
    silent: NewMessage.shape.silent,
    attachments: NewMessage.shape.attachments,
    metadata: NewMessage.shape.metadata,
  })
  .refine(({ text, attachments }) => text.trim() !== "" || attachments.length > 0, {
    path: ["text"],
    message: "A message has text or attachments.",
  });
const fields = {
  name: text(255, 1),
  message: Content,
  senderId: idOf("user")
    .nullable()
    .optional()
    .openapi({ description: "In whose name; users cannot be written to without" }),
  channelType: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/)
    .optional()
    .openapi({ description: "Of the channels made for users" }),
};
const Campaign = z
  .object({
    id: z.uuid(),
    kind: z.enum(CAMPAIGN_KINDS),
    name: z.string(),
    message: z.record(z.string(), z.unknown()),
    senderId: z.uuid().nullable(),
    channelType: z.string(),
    status: z.enum(CAMPAIGN_STATUSES),
    scheduledFor: Moment.nullable(),
    startedAt: Moment.nullable(),
    finishedAt: Moment.nullable(),
    error: z.string().nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Campaign");
const Counts = z.object({
  targets: z.int(),
  pending: z.int(),
  sent: z.int(),
  failed: z.int(),
  delivered: z.int(),
  read: z.int(),
});
const all = { tag: "Campaigns", path: "/campaigns" } as const;
const one = { tag: "Campaigns", path: "/campaigns/{id}", params: pathId("campaign") } as const;
const write = { scope: "campaigns:write", returns: Campaign } as const;

campaignRoutes.openapi(
  op({
    ...all,
    ...write,
    id: "createCampaign",
    method: "post",
    summary: "Draft a message to many channels or users",
    body: z.strictObject(fields),
    status: 201,
  }),
  async (c) => c.json(await createCampaign(c.var.ctx, c.req.valid("json")), 201),
);
campaignRoutes.openapi(
  op({
    ...all,
    id: "listCampaigns",
    method: "get",
    scope: "campaigns:read",
    summary: "List campaigns",
    query: z.strictObject({ ...PageQuery, status: z.enum(CAMPAIGN_STATUSES).optional() }),
    returns: listOf(Campaign),
  }),
  async (c) => c.json(await listCampaigns(c.var.ctx, c.req.valid("query")), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    id: "getCampaign",
    method: "get",
    scope: "campaigns:read",
    summary: "Get a campaign, with what became of it",
    returns: Campaign.extend({ counts: Counts }).openapi("CampaignWithCounts"),
  }),
  async (c) => c.json(await getCampaign(c.var.ctx, c.req.valid("param").id), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    id: "updateCampaign",
    method: "patch",
    summary: "Change a campaign that has not begun",
    body: z.strictObject({ ...fields, name: fields.name.optional(), message: Content.optional() }),
  }),
  async (c) => c.json(await updateCampaign(c.var.ctx, c.req.valid("param").id, c.req.valid("json") as never), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    id: "deleteCampaign",
    method: "delete",
    scope: "campaigns:write",
    summary: "Delete a campaign that is not under way; what it sent stays",
    status: 204,
  }),
  async (c) => {
    await deleteCampaign(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

const targets = { ...one, path: "/campaigns/{id}/targets" } as const;
const ids = (resource: string) => z.array(idOf(resource)).max(1_000).default([]);

campaignRoutes.openapi(
  op({
    ...targets,
    id: "addCampaignTargets",
    method: "post",
    scope: "campaigns:write",
    summary: "Say whom it goes to; who is named again stays named once",
    body: z.strictObject({
      channelIds: ids("channel"),
      userIds: ids("user"),
      teamIds: ids("team").openapi({ description: "All who are in these teams now" }),
      everybody: z.boolean().default(false).openapi({ description: "All regular users there are now" }),
    }),
    returns: z.object({ added: z.int() }),
  }),
  async (c) => c.json(await addTargets(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
campaignRoutes.openapi(
  op({
    ...targets,
    id: "listCampaignTargets",
    method: "get",
    scope: "campaigns:read",
    summary: "List whom it goes to, and why it did not",
    query: z.strictObject({ ...PageQuery, status: z.enum(TARGET_STATUSES).optional() }),
    returns: listOf(
      z.object({
        id: z.uuid(),
        userId: z.uuid().nullable(),
        channelId: z.uuid().nullable(),
        status: z.enum(TARGET_STATUSES),
        code: z.string().nullable(),
        messageId: z.uuid().nullable(),
        sentAt: Moment.nullable(),
      }),
    ),
  }),
  async (c) => c.json(await listTargets(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    path: "/campaigns/{id}/schedule",
    id: "scheduleCampaign",
    method: "post",
    summary: "Send a campaign at a time, or at another one than before",
    body: z.strictObject({ at: Instant }),
  }),
  async (c) => c.json(await scheduleCampaign(c.var.ctx, c.req.valid("param").id, c.req.valid("json").at), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    path: "/campaigns/{id}/start",
    id: "startCampaign",
    method: "post",
    summary: "Send a campaign now",
  }),
  async (c) => c.json(await startCampaign(c.var.ctx, c.req.valid("param").id), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    path: "/campaigns/{id}/pause",
    id: "pauseCampaign",
    method: "post",
    summary: "Let a campaign wait",
  }),
  async (c) => c.json(await pauseCampaign(c.var.ctx, c.req.valid("param").id), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    path: "/campaigns/{id}/resume",
    id: "resumeCampaign",
    method: "post",
    summary: "Let a campaign go on that was paused or failed",
  }),
  async (c) => c.json(await resumeCampaign(c.var.ctx, c.req.valid("param").id), 200),
);
campaignRoutes.openapi(
  op({
    ...one,
    ...write,
    path: "/campaigns/{id}/cancel",
    id: "cancelCampaign",
    method: "post",
    summary: "End a campaign; what it sent stays sent",
  }),
  async (c) => c.json(await cancelCampaign(c.var.ctx, c.req.valid("param").id), 200),
);
