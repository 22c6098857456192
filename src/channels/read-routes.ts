import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, Moment, pathId, pathIdAnd, z } from "../lib/validate";
import { listReaders, markAllRead, markRead, markUnread, recountUnread, unreadTotals } from "./reads";

export const readRoutes = feature();

const Seq = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const Mark = z.object({ readSeq: z.int(), readAt: Moment.nullable(), unread: z.int(), unreadMentions: z.int() });
const reads = { tag: "Reads", path: "/channels/{id}/read", params: pathId("channel") } as const;

readRoutes.openapi(
  op({
    ...reads,
    id: "markRead",
    method: "post",
    scope: "channels:write",
    summary: "Mark a channel read up to a number",
    body: z.strictObject({ seq: Seq, private: z.boolean().default(false) }),
    returns: Mark,
  }),
  async (c) => {
    const { seq, private: isPrivate } = c.req.valid("json");
    return c.json(await markRead(c.var.ctx, c.req.valid("param").id, seq, isPrivate), 200);
  },
);
readRoutes.openapi(
  op({
    ...reads,
    id: "markUnread",
    method: "post",
    path: "/channels/{id}/unread",
    scope: "channels:write",
    summary: "Mark a channel unread from a number on",
    body: z.strictObject({ seq: Seq.min(1) }),
    returns: Mark,
  }),
  async (c) => c.json(await markUnread(c.var.ctx, c.req.valid("param").id, c.req.valid("json").seq), 200),
);
readRoutes.openapi(
  op({
    ...reads,
    id: "recountUnread",
    method: "get",
    path: "/channels/{id}/unread",
    scope: "channels:read",
    summary: "Count what is unread anew, from the messages themselves",
    returns: Mark,
  }),
  async (c) => c.json(await recountUnread(c.var.ctx, c.req.valid("param").id), 200),
);
readRoutes.openapi(
  op({
    tag: "Reads",
    path: "/read-all",
    id: "markAllRead",
    method: "post",
    scope: "channels:write",
    summary: "Mark all your channels read",
    status: 204,
  }),
  async (c) => {
    await markAllRead(c.var.ctx);
    return c.body(null, 204);
  },
);
readRoutes.openapi(
  op({
    tag: "Reads",
    path: "/unread",
    id: "getUnread",
    method: "get",
    scope: "channels:read",
    summary: "What is unread over all your channels",
    returns: z.object({ channels: z.int(), messages: z.int(), mentions: z.int(), threads: z.int() }),
  }),
  async (c) => c.json(await unreadTotals(c.var.ctx), 200),
);
readRoutes.openapi(
  op({
    ...reads,
    id: "listReaders",
    method: "get",
    path: "/channels/{id}/messages/{messageId}/reads",
    params: pathIdAnd("channel", { messageId: anotherId("message", "messageId") }),
    scope: "channels:read",
    summary: "Who has read a message, and when",
    query: z.strictObject(PageQuery),
    returns: listOf(z.object({ userId: z.uuid(), displayName: z.string().nullable(), readAt: Moment })),
  }),
  async (c) => {
    const { id, messageId } = c.req.valid("param");
    return c.json(await listReaders(c.var.ctx, id, messageId, c.req.valid("query")), 200);
  },
);
