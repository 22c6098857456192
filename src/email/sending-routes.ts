import { feature, op } from "../lib/route";
import { Moment, pathId, z } from "../lib/validate";
import { Message, NewMessage } from "../messages/input";
import { sendMessage } from "../messages/send";
import { EmailAnswer, EmailChange, NewEmail } from "./input";
import { changeScheduledEmail } from "./scheduled";
import { answerEmail, sendEmail, sendEmails } from "./sending";

export const sendingRoutes = feature();

sendingRoutes.openapi(
  op({
    id: "sendMessage",
    method: "post",
    path: "/channels/{id}/messages",
    params: pathId("channel"),
    tag: "Messages",
    scope: "channels:write",
    summary: "Send a message, or go on in an e-mail conversation",
    description:
      "In chat a message, which with a clientId is sent once however often it is repeated. In an e-mail conversation a mail: with mode reply, replyAll or forward; an Idempotency-Key makes sure that it goes out once.",
    body: z.union([NewMessage, EmailAnswer]),
    returns: Message,
    status: 201,
    once: false,
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const body = c.req.valid("json");
    if (!("mode" in body)) return c.json((await sendMessage(c.var.ctx, id, body)).message, 201);
    // A chat message knows its repetitions by their clientId, a mail as all else does.
    if (!c.var.ctx.once && c.req.header("Idempotency-Key") !== undefined) {
      c.set("demand", { scope: "channels:write", once: true });
      c.set("ctx", await c.var.admit(c.var.demand));
    }
    return c.json(await answerEmail(c.var.ctx, id, body), 201);
  },
);

const ofInbox = { tag: "E-mail", method: "post", params: pathId("inbox"), scope: "channels:write" } as const;

sendingRoutes.openapi(
  op({
    ...ofInbox,
    id: "sendEmail",
    path: "/inboxes/{id}/messages",
    summary: "Send a mail that begins a conversation",
    description:
      "Each recipient is a delivery of its own; those to whom nothing may be sent have one that is suppressed.",
    body: NewEmail,
    returns: Message,
    status: 201,
  }),
  async (c) => c.json(await sendEmail(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 201),
);

const Result = z.object({
  message: Message.nullable(),
  error: z
    .object({
      code: z.string(),
      detail: z.string(),
      errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    })
    .nullable(),
});

sendingRoutes.openapi(
  op({
    ...ofInbox,
    id: "sendEmails",
    path: "/inboxes/{id}/messages/batch",
    summary: "Send up to 100 mails, each with a result of its own",
    description: "What is wrong with one leaves the others alone. Each begins a conversation.",
    body: z.strictObject({
      messages: z
        .array(z.record(z.string(), z.unknown()).openapi({ description: "A NewEmail without sendAt" }))
        .min(1)
        .max(100),
    }),
    returns: z.object({ data: z.array(Result).openapi({ description: "In the order of messages" }) }),
  }),
  async (c) =>
    c.json({ data: await sendEmails(c.var.ctx, c.req.valid("param").id, c.req.valid("json").messages) }, 200),
);

sendingRoutes.openapi(
  op({
    id: "changeScheduledEmail",
    method: "patch",
    path: "/scheduled-messages/{id}/email",
    params: pathId("scheduledEmail"),
    tag: "Scheduled messages",
    scope: "channels:write",
    summary: "Change the mail of a scheduled message",
    body: EmailChange,
    returns: z.object({ id: z.uuid(), sendAt: Moment, message: Message }),
  }),
  async (c) => c.json(await changeScheduledEmail(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
