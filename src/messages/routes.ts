import { feature, op } from "../lib/route";
import { flag, idOf, Moment, pathId, pathIdAnd, text, z } from "../lib/validate";
import { editMessage, listEdits } from "./edits";
import { Message, MessageChange } from "./input";
import { listPins, react, setPinned } from "./marks";
import { deleteMessage, getMessage, listMessages } from "./service";

export const messageRoutes = feature();

const inChannel = { tag: "Messages", path: "/channels/{id}/messages", params: pathId("channel") } as const;
const message = { tag: "Messages", path: "/messages/{id}", params: pathId("message") } as const;

const seq = z.coerce
  .number()
  .int()
  .min(0)
  .max(Number.MAX_SAFE_INTEGER - 1);
const Around = z
  .strictObject({
    before: seq.optional(),
    after: seq.optional(),
    around: seq.optional(),
    parentId: idOf("message").optional(),
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(100)
      .default(50)
      .openapi({ type: "integer", minimum: 1, maximum: 100, default: 50 }),
  })
  .refine(
    ({ before, after, around }) => [before, after, around].filter((one) => one !== undefined).length <= 1,
    "One of before, after and around.",
  );

messageRoutes.openapi(
  op({
    ...inChannel,
    id: "listMessages",
    method: "get",
    scope: "channels:read",
    summary:
      "Messages of a channel in their order: the newest, or those before, after or around a number; of a thread with parentId",
    query: Around as never as z.ZodObject<typeof Around.shape>,
    returns: z.object({ data: z.array(Message), hasEarlier: z.boolean(), hasLater: z.boolean() }),
  }),
  async (c) => c.json(await listMessages(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
messageRoutes.openapi(
  op({
    ...message,
    id: "getMessage",
    method: "get",
    scope: "channels:read",
    summary: "Get a message",
    returns: Message,
  }),
  async (c) => c.json(await getMessage(c.var.ctx, c.req.valid("param").id), 200),
);
messageRoutes.openapi(
  op({
    ...message,
    id: "editMessage",
    method: "patch",
    scope: "channels:write",
    summary: "Change a message; metadata is merged",
    body: MessageChange,
    returns: Message,
  }),
  async (c) => c.json(await editMessage(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
messageRoutes.openapi(
  op({
    ...message,
    id: "deleteMessage",
    method: "delete",
    scope: "channels:write",
    summary: "Delete a message: its words, or with hard all of it",
    query: z.strictObject({ hard: flag.optional() }),
    status: 204,
  }),
  async (c) => {
    await deleteMessage(c.var.ctx, c.req.valid("param").id, c.req.valid("query").hard ?? false);
    return c.body(null, 204);
  },
);
messageRoutes.openapi(
  op({
    ...message,
    path: "/messages/{id}/edits",
    id: "listMessageEdits",
    method: "get",
    scope: "channels:read",
    summary: "What a message said before",
    returns: z.object({
      data: z.array(
        z.object({
          text: z.string(),
          metadata: z.record(z.string(), z.unknown()),
          attachments: z.array(z.record(z.string(), z.unknown())),
          mentions: z.array(z.uuid()),
          editedBy: z.uuid().nullable(),
          createdAt: Moment,
        }),
      ),
    }),
  }),
  async (c) => c.json(await listEdits(c.var.ctx, c.req.valid("param").id), 200),
);

const emoji = text(64, 1);
const reaction = {
  tag: "Messages",
  path: "/messages/{id}/reactions/{emoji}",
  params: pathIdAnd("message", { emoji: emoji.openapi({ param: { name: "emoji", in: "path" } }) }),
} as const;

messageRoutes.openapi(
  op({
    ...reaction,
    id: "addReaction",
    method: "put",
    scope: "channels:write",
    summary: "React to a message as the acting user",
    status: 204,
  }),
  async (c) => {
    const { id, emoji } = c.req.valid("param");
    await react(c.var.ctx, id, emoji, true);
    return c.body(null, 204);
  },
);
messageRoutes.openapi(
  op({
    ...reaction,
    id: "removeReaction",
    method: "delete",
    scope: "channels:write",
    summary: "Take a reaction back",
    status: 204,
  }),
  async (c) => {
    const { id, emoji } = c.req.valid("param");
    await react(c.var.ctx, id, emoji, false);
    return c.body(null, 204);
  },
);

const pin = { ...message, path: "/messages/{id}/pin" } as const;
messageRoutes.openapi(
  op({
    ...pin,
    id: "pinMessage",
    method: "put",
    scope: "channels:write",
    summary: "Pin a message in its channel",
    returns: Message,
  }),
  async (c) => c.json(await setPinned(c.var.ctx, c.req.valid("param").id, true), 200),
);
messageRoutes.openapi(
  op({
    ...pin,
    id: "unpinMessage",
    method: "delete",
    scope: "channels:write",
    summary: "No longer pin a message",
    returns: Message,
  }),
  async (c) => c.json(await setPinned(c.var.ctx, c.req.valid("param").id, false), 200),
);
const Messages = z.object({ data: z.array(Message) });
messageRoutes.openapi(
  op({
    ...inChannel,
    path: "/channels/{id}/pins",
    id: "listPins",
    method: "get",
    scope: "channels:read",
    summary: "What is pinned in a channel",
    returns: Messages,
  }),
  async (c) => c.json(await listPins(c.var.ctx, c.req.valid("param").id), 200),
);
