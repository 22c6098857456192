import { announcedLength } from "../lib/content-length";
import { boundsOf } from "../lib/context";
import { confirmFresh } from "../lib/db";
import { ApiError } from "../lib/errors";
import { feature, op } from "../lib/route";
import { text, z } from "../lib/validate";
import { dryRun } from "../mail/dry-run";
import { findInbox, refuseTooLarge, takeIn } from "./arrival";
import { authservIds } from "./recording";
import { receiveFromSes } from "./ses";

export const inboundRoutes = feature();

/** The body is the mail itself, which no schema describes. */
const takesMail = <R extends { request: object }>(route: R) =>
  Object.assign(route, { requestBody: { required: true, content: { "message/rfc822": { schema: {} } } } });

const Mailbox = z.object({ name: z.string(), address: z.string() });

const Parsed = z
  .object({
    messageId: z.string().nullable(),
    inReplyTo: z.string().nullable(),
    references: z.array(z.string()),
    from: Mailbox.nullable(),
    to: z.array(Mailbox),
    cc: z.array(Mailbox),
    replyTo: z.array(Mailbox),
    subject: z.string(),
    date: z.string().nullable(),
    text: z.string().nullable(),
    html: z.string().nullable(),
    replyText: z.string(),
    attachments: z.array(
      z.object({
        filename: z.string().nullable(),
        contentType: z.string(),
        size: z.int(),
        contentId: z.string().nullable(),
        disposition: z.enum(["attachment", "inline"]).nullable(),
        method: z.string().nullable().openapi({ description: "Of a calendar's part, such as REQUEST" }),
      }),
    ),
    flags: z.object({ autoReply: z.boolean(), bounce: z.boolean(), list: z.boolean(), spam: z.boolean() }),
    verdicts: z.object({
      spf: z.string(),
      dkim: z.string(),
      dmarc: z.string(),
      aligned: z.boolean(),
      unauthenticated: z.boolean(),
    }),
    bounces: z.array(
      z.object({
        recipient: z.string().nullable(),
        status: z.string().nullable(),
        reason: z.string(),
        hard: z.boolean(),
        diagnostic: z.string().nullable(),
      }),
    ),
    complaint: z.object({ type: z.string(), recipients: z.array(z.string()) }).nullable(),
  })
  .openapi("ParsedMail");

const inbound = { tag: "Inbound mail", scope: "inbound:write", method: "post", once: false } as const;

inboundRoutes.openapi(
  takesMail(
    op({
      ...inbound,
      id: "receiveMime",
      path: "/inbound/mime",
      summary: "Hand in a mail as it came",
      description:
        "For any mail server: the body is the raw mail (RFC 5322), the envelope is in the query. Once it is answered with 202 the mail is kept; after any 5xx hand it in again. 404 `unknown_recipient` means 550 5.1.1 to the sender.",
      query: z.strictObject({
        to: text(320, 3).openapi({ description: "The envelope's recipient; one request for each" }),
        from: text(320).default("").openapi({ description: "The envelope's sender; empty for the null sender" }),
      }),
      returns: z.object({ id: z.uuid(), inboxId: z.uuid() }),
      status: 202,
    }),
  ),
  async (c) => {
    const { ctx } = c.var;
    const envelope = c.req.valid("query");
    const size = announcedLength(c.req.header("Content-Length"));
    refuseTooLarge(size);
    await confirmFresh(ctx);
    const inbox = await findInbox(ctx.env, envelope.to);
    if (inbox?.tenantId !== ctx.tenantId) throw new ApiError("unknown_recipient");
    const bounds = boundsOf(ctx.actor).inbox;
    if (bounds && !bounds.includes(inbox.id)) throw new ApiError("resource_not_allowed");
    return c.json(await takeIn(ctx.env, { source: "http", envelope, inbox }, c.req.raw.body, size, ctx.waitUntil), 202);
  },
);

inboundRoutes.openapi(
  takesMail(
    op({
      ...inbound,
      id: "parseMail",
      path: "/inbound/parse",
      summary: "Say what is seen in a mail; nothing is kept",
      returns: Parsed,
    }),
  ),
  async (c) => {
    refuseTooLarge(announcedLength(c.req.header("Content-Length")));
    await confirmFresh(c.var.ctx);
    const raw = new Uint8Array(await c.req.raw.arrayBuffer());
    refuseTooLarge(raw.length);
    return c.json(await dryRun(raw, authservIds(c.env)), 200);
  },
);

inboundRoutes.openapi(
  op({
    id: "receiveFromSes",
    method: "post",
    path: "/inbound/ses",
    tag: "Inbound mail",
    scope: "public",
    summary: "Where Amazon SNS brings mail that SES received; it signs as it always does",
    description:
      "The topic is named by the domain (`inboundTopic`); SES is to put the mail itself into the notification.",
    status: 204,
  }),
  async (c) => {
    await receiveFromSes(c.env, await c.req.text(), (work) => c.executionCtx.waitUntil(work));
    return c.body(null, 204);
  },
);
