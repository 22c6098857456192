import { contentDisposition } from "../files/names";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, Moment, pathId, text, z } from "../lib/validate";
import { Message, NewMessage } from "../messages/input";
import { DIRECTIONS } from "../messages/schema";
import { sendMessage } from "../messages/send";
import { getEmail, headersOf, listConversations, rawOf, trashConversation } from "./reading";

export const emailRoutes = feature();

const Address = z.object({ address: z.string(), name: z.string().nullable() });

const Conversation = z
  .object({
    id: z.uuid(),
    subject: z.string().nullable(),
    lastSeq: z.int(),
    lastMessageAt: Moment.nullable(),
    lastMessage: Message.nullable(),
    messageCount: z.int(),
    participants: z.array(Address),
    unread: z.int().openapi({ description: "Of the acting user; exact to 1,000, and 1001 for more" }),
    createdAt: Moment,
    trashedAt: Moment.nullable(),
  })
  .openapi("Conversation");

emailRoutes.openapi(
  op({
    id: "listConversations",
    method: "get",
    path: "/inboxes/{id}/channels",
    params: pathId("inbox"),
    tag: "E-mail",
    scope: "channels:read",
    summary: "List the conversations of an inbox, the newest first",
    query: z.strictObject({
      ...PageQuery,
      participant: text(320, 1).optional().openapi({ description: "An address that wrote or was written to" }),
      unread: flag.optional(),
      direction: z.enum(DIRECTIONS).optional(),
      hasAttachment: flag.optional(),
      since: Instant.optional(),
      until: Instant.optional(),
      trashed: flag.default(false),
    }),
    returns: listOf(Conversation),
  }),
  async (c) => c.json(await listConversations(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);

const conversation = { tag: "E-mail", params: pathId("channel"), scope: "channels:write" } as const;

emailRoutes.openapi(
  op({
    ...conversation,
    id: "addNote",
    method: "post",
    path: "/channels/{id}/notes",
    summary: "Leave a note in a conversation, for operators alone",
    body: NewMessage.pick({ text: true, clientId: true, mentions: true, attachments: true, metadata: true }),
    returns: Message,
    status: 201,
    once: false,
  }),
  async (c) => {
    const note = { ...NewMessage.parse({}), ...c.req.valid("json"), direction: "internal" as const };
    return c.json((await sendMessage(c.var.ctx, c.req.valid("param").id, note)).message, 201);
  },
);

for (const trashed of [true, false]) {
  const verb = trashed ? "trash" : "restore";
  emailRoutes.openapi(
    op({
      ...conversation,
      id: `${verb}Conversation`,
      method: "post",
      path: `/channels/{id}/${verb}`,
      summary: trashed
        ? "Put a conversation into the trash; it is removed after 30 days"
        : "Take a conversation out of the trash",
      status: 204,
      once: false,
    }),
    async (c) => {
      await trashConversation(c.var.ctx, c.req.valid("param").id, trashed);
      return c.body(null, 204);
    },
  );
}

const Email = z
  .object({
    messageId: z.uuid(),
    inboxId: z.uuid(),
    rfcId: z.string().openapi({ description: "The Message-ID of RFC 5322, without its brackets" }),
    from: Address.nullable(),
    to: z.array(Address),
    cc: z.array(Address),
    bcc: z.array(Address),
    replyTo: z.array(Address),
    subject: z.string(),
    text: z.string().nullable(),
    html: z.string().nullable().openapi({ description: "Made safe; pictures that came with it are links for an hour" }),
    leftOut: z.array(z.enum(["text", "html"])).openapi({
      description: "Of `text` and `html` those that are null because they are too long; the raw mail has them",
    }),
    blockedImages: z.int(),
    sentAt: Moment.nullable(),
    envelopeFrom: z.string().nullable(),
    envelopeTo: z.string().nullable(),
    tag: z.string().nullable(),
    rawSize: z.int().nullable(),
    hasRaw: z.boolean(),
    verdicts: z.record(z.string(), z.unknown()).nullable(),
    authenticated: z.boolean(),
    autoReply: z.boolean(),
    bounce: z.boolean(),
    list: z.boolean(),
    spam: z.boolean(),
    idReused: z.boolean().openapi({ description: "Another mail bears the same id" }),
    why: z.record(z.string(), z.unknown()).openapi({ description: "Why it is where it is, and what set its flags" }),
    createdAt: Moment,
  })
  .openapi("Email");

const email = { tag: "E-mail", method: "get", params: pathId("message"), scope: "channels:read" } as const;

emailRoutes.openapi(
  op({
    ...email,
    id: "getEmail",
    path: "/messages/{id}/email",
    summary: "Get the mail of a message",
    query: z.strictObject({
      remoteImages: flag.default(false).openapi({ description: "On, its sender learns when it is read" }),
    }),
    returns: Email,
  }),
  async (c) => c.json(await getEmail(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
emailRoutes.openapi(
  op({
    ...email,
    id: "getEmailHeaders",
    path: "/messages/{id}/email/headers",
    summary: "List the header fields of a mail",
    returns: z.object({ data: z.array(z.object({ name: z.string(), value: z.string() })) }),
  }),
  async (c) => c.json(await headersOf(c.var.ctx, c.req.valid("param").id), 200),
);
emailRoutes.openapi(
  op({
    ...email,
    id: "getRawEmail",
    path: "/messages/{id}/email/raw",
    summary: "Download a mail as it came",
    media: "message/rfc822",
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const object = await rawOf(c.var.ctx, id);
    c.header("Content-Type", "message/rfc822");
    c.header("Content-Length", String(object.size));
    c.header("Content-Disposition", contentDisposition("attachment", `${id}.eml`));
    c.header("X-Content-Type-Options", "nosniff");
    return c.body(object.body, 200);
  },
);
