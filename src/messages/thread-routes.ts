import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, Metadata, Moment, pathId, text, z } from "../lib/validate";
import { listAttachments } from "./attachments";
import { Message } from "./input";
import { truncateChannel } from "./removal";
import { ATTACHMENT_TYPES } from "./schema";
import { listThreads, markThreadRead, setFollowing } from "./threads";

export const threadRoutes = feature();

const mark = { readSeq: z.int(), readAt: Moment.nullable(), unread: z.int() };
const Thread = z.object({ parent: Message, lastReply: Message.nullable(), ...mark }).openapi("Thread");

threadRoutes.openapi(
  op({
    tag: "Threads",
    path: "/threads",
    id: "listThreads",
    method: "get",
    scope: "channels:read",
    summary: "The threads you follow, newest reply first, with what is unread",
    description: "You follow a thread of your own message, one you wrote in, and one where you were mentioned.",
    query: z.strictObject({ ...PageQuery, unread: flag.optional() }),
    returns: listOf(Thread),
  }),
  async (c) => c.json(await listThreads(c.var.ctx, c.req.valid("query")), 200),
);

const follow = { tag: "Threads", path: "/messages/{id}/follow", params: pathId("message") } as const;
threadRoutes.openapi(
  op({
    ...follow,
    id: "followThread",
    method: "put",
    scope: "channels:write",
    summary: "Follow a message's thread",
    status: 204,
  }),
  async (c) => {
    await setFollowing(c.var.ctx, c.req.valid("param").id, true);
    return c.body(null, 204);
  },
);
threadRoutes.openapi(
  op({
    ...follow,
    id: "unfollowThread",
    method: "delete",
    scope: "channels:write",
    summary: "No longer follow a thread, whatever is written in it",
    status: 204,
  }),
  async (c) => {
    await setFollowing(c.var.ctx, c.req.valid("param").id, false);
    return c.body(null, 204);
  },
);
threadRoutes.openapi(
  op({
    ...follow,
    path: "/messages/{id}/read",
    id: "markThreadRead",
    method: "post",
    scope: "channels:write",
    summary: "Mark a thread read up to a number",
    body: z.strictObject({
      seq: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
      private: z.boolean().default(false),
    }),
    returns: z.object(mark),
  }),
  async (c) => {
    const { seq, private: isPrivate } = c.req.valid("json");
    return c.json(await markThreadRead(c.var.ctx, c.req.valid("param").id, seq, isPrivate), 200);
  },
);

threadRoutes.openapi(
  op({
    tag: "Channels",
    path: "/channels/{id}/truncate",
    params: pathId("channel"),
    id: "truncateChannel",
    method: "post",
    scope: "channels:write",
    summary: "Hide what was said up to a number or a time, or all of it; with hard, for good",
    body: z
      .strictObject({
        upToSeq: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
        before: Instant.optional(),
        hard: z.boolean().default(false),
        message: z
          .strictObject({ text: text(40_000, 1), metadata: Metadata.default({}) })
          .optional()
          .openapi({ description: "A system message that says so" }),
      })
      .refine(({ upToSeq, before }) => upToSeq === undefined || before === undefined, {
        path: ["before"],
        message: "Either a number or a time.",
      }),
    returns: z.object({ upToSeq: z.int() }),
  }),
  async (c) => c.json(await truncateChannel(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);

threadRoutes.openapi(
  op({
    tag: "Messages",
    path: "/channels/{id}/attachments",
    params: pathId("channel"),
    id: "listAttachments",
    method: "get",
    scope: "channels:read",
    summary: "What is attached to a channel's messages, newest first",
    query: z.strictObject({
      ...PageQuery,
      type: z.enum(ATTACHMENT_TYPES).optional(),
      minSize: z.coerce
        .number()
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .optional()
        .openapi({ type: "integer", minimum: 0, description: "Bytes" }),
    }),
    returns: listOf(
      z.object({
        messageId: z.uuid(),
        userId: z.uuid().nullable(),
        createdAt: Moment,
        attachment: z.record(z.string(), z.unknown()),
      }),
    ),
  }),
  async (c) => c.json(await listAttachments(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
