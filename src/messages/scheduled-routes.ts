import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Instant, idOf, Moment, pathId, z } from "../lib/validate";
import { Message, MessageChange, NewMessage } from "./input";
import { cancelScheduled, changeScheduled, listScheduled, scheduleMessage } from "./scheduled";

export const scheduledRoutes = feature();

const Scheduled = z.object({ id: z.uuid(), sendAt: Moment, message: Message }).openapi("ScheduledMessage");
const one = {
  tag: "Scheduled messages",
  path: "/scheduled-messages/{id}",
  params: pathId("scheduledMessage"),
} as const;

scheduledRoutes.openapi(
  op({
    tag: "Scheduled messages",
    path: "/channels/{id}/scheduled-messages",
    params: pathId("channel"),
    id: "scheduleMessage",
    method: "post",
    scope: "channels:write",
    summary: "Send a message at a time to come",
    description: "Whether its writer may send it is judged again at that time; refused, it is told as message.refused.",
    body: NewMessage.omit({ clientId: true, pending: true, pendingSeconds: true }).extend({ sendAt: Instant }),
    returns: Scheduled,
    status: 201,
  }),
  async (c) => {
    const { sendAt, ...message } = c.req.valid("json");
    return c.json(await scheduleMessage(c.var.ctx, c.req.valid("param").id, message, sendAt), 201);
  },
);
scheduledRoutes.openapi(
  op({
    tag: "Scheduled messages",
    path: "/scheduled-messages",
    id: "listScheduledMessages",
    method: "get",
    scope: "channels:read",
    summary: "List your scheduled messages, the next one first",
    query: z.strictObject({ ...PageQuery, channelId: idOf("channel").optional() }),
    returns: listOf(Scheduled),
  }),
  async (c) => c.json(await listScheduled(c.var.ctx, c.req.valid("query")), 200),
);
scheduledRoutes.openapi(
  op({
    ...one,
    id: "changeScheduledMessage",
    method: "patch",
    scope: "channels:write",
    summary: "Change a scheduled message, or its time",
    body: MessageChange.extend({ sendAt: Instant.optional() }),
    returns: Scheduled,
  }),
  async (c) => c.json(await changeScheduled(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
scheduledRoutes.openapi(
  op({
    ...one,
    id: "cancelScheduledMessage",
    method: "delete",
    scope: "channels:write",
    summary: "Do not send a scheduled message",
    status: 204,
  }),
  async (c) => {
    await cancelScheduled(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
