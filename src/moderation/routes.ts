import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { idOf, Moment, pathId, text, z } from "../lib/validate";
import { Message } from "../messages/input";
import { NewBan } from "./input";
import { flag, getEntry, listFlags, listPending, listQueue } from "./queue";
import { review, reviewMessage } from "./review";
import { QUEUE_KINDS, QUEUE_SOURCES, QUEUE_STATUSES } from "./schema";

export const moderationRoutes = feature();

const reason = text(255, 1);
const Flag = z
  .object({
    id: z.uuid(),
    queueId: z.uuid(),
    flaggedBy: z.uuid().nullable(),
    reason: z.string(),
    details: z.string().nullable(),
    createdAt: Moment,
  })
  .openapi("Flag");
const NewFlag = z.strictObject({ reason, details: text(5_000, 1).optional() });
const message = { tag: "Moderation", path: "/messages/{id}", params: pathId("message") } as const;

moderationRoutes.openapi(
  op({
    ...message,
    path: "/messages/{id}/flags",
    id: "flagMessage",
    method: "post",
    scope: "channels:write",
    summary: "Flag a message for review; a second time it is the first flag again",
    body: NewFlag,
    returns: Flag,
    status: 201,
  }),
  async (c) => c.json(await flag(c.var.ctx, { messageId: c.req.valid("param").id }, c.req.valid("json")), 201),
);
moderationRoutes.openapi(
  op({
    tag: "Moderation",
    path: "/users/{id}/flags",
    params: pathId("user"),
    id: "flagUser",
    method: "post",
    scope: "channels:write",
    summary: "Flag a user for review: by operators, or in a channel by its moderators too",
    body: NewFlag.extend({ channelId: idOf("channel").optional() }),
    returns: Flag,
    status: 201,
  }),
  async (c) => c.json(await flag(c.var.ctx, { userId: c.req.valid("param").id }, c.req.valid("json")), 201),
);

const Entry = z
  .object({
    id: z.uuid(),
    kind: z.enum(QUEUE_KINDS),
    messageId: z.uuid().nullable(),
    userId: z.uuid().nullable().openapi({ description: "Who wrote it, or is flagged" }),
    channelId: z.uuid().nullable(),
    source: z.enum(QUEUE_SOURCES),
    reason: z.string().nullable(),
    change: z
      .record(z.string(), z.unknown())
      .nullable()
      .openapi({ description: "What a held edit would make of the message" }),
    status: z.enum(QUEUE_STATUSES),
    reviewedBy: z.uuid().nullable(),
    reviewedAt: Moment.nullable(),
    createdAt: Moment,
    flagCount: z.int(),
    reasons: z.array(z.string()),
    message: z.record(z.string(), z.unknown()).nullable(),
  })
  .openapi("QueueEntry");
const queue = { tag: "Moderation", path: "/moderation/queue" } as const;
const entry = { tag: "Moderation", path: "/moderation/queue/{id}", params: pathId("queueEntry") } as const;

moderationRoutes.openapi(
  op({
    ...queue,
    id: "listModerationQueue",
    method: "get",
    scope: "channels:read",
    summary: "What waits for a verdict, or had one, as far as it is the caller's to judge",
    query: z.strictObject({
      ...PageQuery,
      status: z.enum(QUEUE_STATUSES).optional(),
      kind: z.enum(QUEUE_KINDS).optional(),
      source: z.enum(QUEUE_SOURCES).optional(),
      reason: reason.optional(),
      channelId: idOf("channel").optional(),
      userId: idOf("user").optional(),
    }),
    returns: listOf(Entry),
  }),
  async (c) => c.json(await listQueue(c.var.ctx, c.req.valid("query")), 200),
);
moderationRoutes.openapi(
  op({
    ...entry,
    id: "getQueueEntry",
    method: "get",
    scope: "channels:read",
    summary: "Get an entry of the review queue",
    returns: Entry,
  }),
  async (c) => c.json(await getEntry(c.var.ctx, c.req.valid("param").id), 200),
);
moderationRoutes.openapi(
  op({
    ...entry,
    path: "/moderation/queue/{id}/flags",
    id: "listFlags",
    method: "get",
    scope: "channels:read",
    summary: "Who flagged it, and why",
    query: z.strictObject(PageQuery),
    returns: listOf(Flag),
  }),
  async (c) => c.json(await listFlags(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
moderationRoutes.openapi(
  op({
    ...entry,
    path: "/moderation/queue/{id}/approve",
    id: "approveEntry",
    method: "post",
    scope: "channels:write",
    summary: "Find nothing wrong with it: what waited appears",
    returns: Entry,
  }),
  async (c) => c.json(await review(c.var.ctx, c.req.valid("param").id, { approve: true }), 200),
);
moderationRoutes.openapi(
  op({
    ...entry,
    path: "/moderation/queue/{id}/reject",
    id: "rejectEntry",
    method: "post",
    scope: "channels:write",
    summary: "Find it wrong, and delete the message, ban whoever wrote it, or both",
    body: z.strictObject({
      deleteMessage: z.boolean().optional(),
      ban: NewBan.omit({ deleteMessagesSince: true })
        .extend({ everywhere: z.boolean().optional().openapi({ description: "Not from the channel alone" }) })
        .optional(),
    }),
    returns: Entry,
  }),
  async (c) =>
    c.json(await review(c.var.ctx, c.req.valid("param").id, { approve: false, ...c.req.valid("json") }), 200),
);

moderationRoutes.openapi(
  op({
    tag: "Moderation",
    path: "/channels/{id}/pending",
    params: pathId("channel"),
    id: "listPendingMessages",
    method: "get",
    scope: "channels:read",
    summary: "Messages of a channel that wait for a verdict",
    returns: z.object({ data: z.array(Message) }),
  }),
  async (c) => c.json((await listPending(c.var.ctx, c.req.valid("param").id)) as never, 200),
);
moderationRoutes.openapi(
  op({
    ...message,
    path: "/messages/{id}/approve",
    id: "approveMessage",
    method: "post",
    scope: "channels:write",
    summary: "Let a pending message appear",
    returns: Message,
  }),
  async (c) => c.json((await reviewMessage(c.var.ctx, c.req.valid("param").id, true)) as never, 200),
);
moderationRoutes.openapi(
  op({
    ...message,
    path: "/messages/{id}/reject",
    id: "rejectMessage",
    method: "post",
    scope: "channels:write",
    summary: "Leave a pending message to its writer alone",
    returns: Message,
  }),
  async (c) => c.json((await reviewMessage(c.var.ctx, c.req.valid("param").id, false)) as never, 200),
);
