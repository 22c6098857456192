import { idOf, Metadata, Moment, text, webUrl, z } from "../lib/validate";
import { ATTACHMENT_TYPES, DIRECTIONS, MENTIONED_GROUPS } from "./schema";

const size = z.int().min(0).max(1_000_000);

const Attachment = z
  .strictObject({
    type: z.enum(ATTACHMENT_TYPES),
    fileId: idOf("file").optional(),
    url: webUrl.optional(),
    thumbnailUrl: webUrl.optional(),
    fileName: text(255, 1).optional(),
    fileSize: z.int().min(0).optional(),
    mimeType: text(255, 1).optional(),
    width: size.optional(),
    height: size.optional(),
    duration: z.number().min(0).max(1e9).optional(),
    latitude: z.number().min(-90).max(90).optional(),
    longitude: z.number().min(-180).max(180).optional(),
    metadata: Metadata.optional(),
  })
  .refine(
    ({ type, fileId, url, latitude, longitude }) =>
      type === "location"
        ? latitude !== undefined && longitude !== undefined
        : (fileId === undefined) !== (url === undefined),
    {
      message: "A location has its latitude and longitude; anything else has either a fileId or a url.",
    },
  );

export const Mentions = z.array(z.uuid().toLowerCase()).max(100);
export const Attachments = z.array(Attachment).max(30);

/** What can be said of a message when it is sent, over HTTP and over a socket. */
export const NewMessage = z.strictObject({
  text: text(40_000).default(""),
  clientId: text(255, 1).optional(),
  kind: z.enum(["text", "system"]).default("text"),
  parentId: z.uuid().toLowerCase().openapi({ "x-resource": "message", format: "uuid" }).optional(),
  showInChannel: z.boolean().optional(),
  quotedId: z.uuid().toLowerCase().openapi({ "x-resource": "message", format: "uuid" }).optional(),
  silent: z.boolean().default(false),
  pending: z.boolean().default(false),
  pendingSeconds: z
    .int()
    .min(1)
    .max(31_536_000)
    .optional()
    .openapi({ description: "How long a pending message waits for a verdict; a week, if nothing is said" }),
  mentions: Mentions.default([]),
  mentioning: z
    .enum(MENTIONED_GROUPS)
    .optional()
    .openapi({ description: "All members, or those who are connected just now" }),
  attachments: Attachments.default([]),
  metadata: Metadata.default({}),
});
export type NewMessage = z.infer<typeof NewMessage>;

export const MessageChange = z.strictObject({
  text: text(40_000).optional(),
  metadata: Metadata.optional(),
  mentions: Mentions.optional(),
  attachments: Attachments.optional(),
});
export type MessageChange = z.infer<typeof MessageChange>;

export const Message = z
  .object({
    id: z.uuid(),
    channelId: z.uuid(),
    seq: z.int().nullable(),
    userId: z.uuid().nullable(),
    contactId: z.uuid().nullable(),
    direction: z.enum(DIRECTIONS).nullable(),
    clientId: z.string().nullable(),
    parentId: z.uuid().nullable(),
    showInChannel: z.boolean(),
    quotedId: z.uuid().nullable(),
    quoted: z
      .object({
        id: z.uuid(),
        userId: z.uuid().nullable(),
        kind: z.enum(["text", "system"]),
        text: z.string(),
        attachments: z.array(z.record(z.string(), z.unknown())),
        deletedAt: Moment.nullable(),
        createdAt: Moment,
      })
      .nullable(),
    kind: z.enum(["text", "system"]),
    state: z.enum(["visible", "pending", "rejected", "scheduled"]),
    silent: z.boolean(),
    text: z.string(),
    metadata: z.record(z.string(), z.unknown()),
    mentions: z.array(z.uuid()),
    mentioning: z.enum(MENTIONED_GROUPS).nullable(),
    attachments: z.array(z.record(z.string(), z.unknown())),
    reactions: z.array(z.object({ emoji: z.string(), count: z.int(), latestUserIds: z.array(z.uuid()) })),
    replyCount: z.int(),
    participants: z.array(z.uuid()).openapi({ description: "Who wrote in its thread, the first ten" }),
    pinnedAt: Moment.nullable(),
    editedAt: Moment.nullable(),
    deletedAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("Message");
export type Message = z.infer<typeof Message>;
