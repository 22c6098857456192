import { contentDisposition } from "../files/names";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, Moment, pathId, pathIdAnd, z } from "../lib/validate";
import { listRawMails, rawMail } from "./raw-mails";
import { RAW_SOURCES, RAW_STATUSES } from "./schema";

export const rawMailRoutes = feature();

const RawMail = z
  .object({
    id: z.uuid(),
    status: z.enum(RAW_STATUSES).openapi({
      description:
        "`pending` waits to be read, `recorded` became a message, `duplicate` was one already, `blocked` by a sender rule, `looping` had been here before, `failed` could not be read",
    }),
    error: z.string().nullable().openapi({ description: "Why it failed" }),
    source: z.enum(RAW_SOURCES),
    envelopeFrom: z.string().openapi({ description: "Empty for the null sender" }),
    envelopeTo: z.string(),
    tag: z.string().nullable(),
    route: z.string().openapi({ description: "What found the inbox: `exact`, `base` or `catch-all`" }),
    size: z.int(),
    messageId: z.uuid().nullable(),
    createdAt: Moment,
    finishedAt: Moment.nullable(),
  })
  .openapi("RawMail");

const rawMails = { tag: "E-mail", method: "get", scope: "channels:read" } as const;

rawMailRoutes.openapi(
  op({
    ...rawMails,
    id: "listRawMails",
    path: "/inboxes/{id}/raw-mails",
    params: pathId("inbox"),
    summary: "List all mails that came for an inbox, the newest first",
    description: "Also those that did not become a message, which are kept for 30 days.",
    query: z.strictObject({ ...PageQuery, status: z.enum(RAW_STATUSES).optional() }),
    returns: listOf(RawMail),
  }),
  async (c) => c.json(await listRawMails(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
rawMailRoutes.openapi(
  op({
    ...rawMails,
    id: "getRawMail",
    path: "/inboxes/{id}/raw-mails/{rawId}",
    params: pathIdAnd("inbox", { rawId: anotherId("rawMail", "rawId") }),
    summary: "Download a mail that came for an inbox, whatever became of it",
    media: "message/rfc822",
  }),
  async (c) => {
    const { id, rawId } = c.req.valid("param");
    const object = await rawMail(c.var.ctx, id, rawId);
    c.header("Content-Type", "message/rfc822");
    c.header("Content-Length", String(object.size));
    c.header("Content-Disposition", contentDisposition("attachment", `${rawId}.eml`));
    c.header("X-Content-Type-Options", "nosniff");
    return c.body(object.body, 200);
  },
);
