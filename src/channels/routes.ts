import { MEDIA } from "../events/schema";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, idOf, Metadata, Moment, pathId, text, z } from "../lib/validate";
import { LANGUAGES, MEMBER_ROLES } from "./schema";
import { createChannel, deleteChannel, getChannel, listChannels, updateChannel } from "./service";
import { Settings } from "./settings";

export const channelRoutes = feature();

const Channel = z
  .object({
    id: z.uuid(),
    medium: z.enum(MEDIA),
    type: z.string(),
    name: z.string().nullable(),
    description: z.string().nullable(),
    avatarUrl: z.string().nullable(),
    teamId: z.uuid().nullable(),
    inboxId: z.uuid().nullable(),
    mergedInto: z.uuid().nullable().openapi({ description: "The conversation that took up its messages" }),
    frozen: z.boolean(),
    slowMode: z.int(),
    cooldown: z.int(),
    language: z.string(),
    metadata: z.record(z.string(), z.unknown()),
    settings: z.record(z.string(), z.unknown()),
    createdBy: z.uuid().nullable(),
    truncatedAt: Moment.nullable(),
    trashedAt: Moment.nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Channel");

const Role = z.enum(MEMBER_ROLES);
const Overview = Channel.extend({
  lastSeq: z.int(),
  lastMessageAt: Moment.nullable(),
  lastMessage: z.record(z.string(), z.unknown()).nullable(),
  memberCount: z.int(),
  members: z.array(
    z.object({ userId: z.uuid(), role: Role, displayName: z.string().nullable(), avatarUrl: z.string().nullable() }),
  ),
  own: z
    .object({
      role: Role,
      muted: z.boolean(),
      pinnedAt: Moment.nullable(),
      archivedAt: Moment.nullable(),
      hidden: z.boolean(),
      readSeq: z.int(),
      readAt: Moment.nullable(),
      unread: z.int().openapi({ description: "Exact to 1,000; 1001 means more" }),
      unreadMentions: z.int(),
    })
    .nullable(),
}).openapi("ChannelOverview");

const TypeName = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "Lower-case letters, digits, _ and -.");
const input = {
  name: text(255, 1).nullable().optional(),
  description: text(2000).nullable().optional(),
  avatarUrl: z.url().max(2048).nullable().optional(),
  teamId: idOf("team").nullable().optional(),
  frozen: z.boolean().optional(),
  slowMode: z.int().min(0).max(86_400).optional().openapi({ description: "Seconds between two messages of one user" }),
  cooldown: z.int().min(0).max(3600).optional().openapi({ description: "Seconds between two messages of the channel" }),
  language: z
    .enum(LANGUAGES)
    .optional()
    .openapi({ description: "How words are told apart in a search; simple takes them as they are" }),
  metadata: Metadata.optional(),
  settings: Settings.optional(),
};
const NewMember = z.strictObject({ userId: idOf("user"), role: Role.optional() });
const NewChannel = z
  .strictObject({
    type: TypeName.optional(),
    ...input,
    members: z.array(NewMember).max(100).optional(),
    distinct: z.boolean().optional(),
  })
  .refine(({ distinct, members = [] }) => !distinct || members.length > 0, {
    path: ["members"],
    message: "A distinct channel is made of its members.",
  })
  .refine(({ members = [] }) => new Set(members.map(({ userId }) => userId)).size === members.length, {
    path: ["members"],
    message: "A user stands here twice.",
  });

const channels = { tag: "Channels", path: "/channels" } as const;
const channel = { tag: "Channels", path: "/channels/{id}", params: pathId("channel") } as const;

channelRoutes.openapi(
  op({
    ...channels,
    id: "createChannel",
    method: "post",
    scope: "channels:write",
    summary: "Create a channel; a distinct one is found again by its members",
    body: NewChannel,
    returns: Channel,
    status: 201,
  }),
  async (c) => c.json(await createChannel(c.var.ctx, c.req.valid("json")), 201),
);

const Matching = text(1000, 2).transform((given, at) => {
  try {
    return z.record(z.string(), z.json()).parse(JSON.parse(given));
  } catch {
    at.addIssue({ code: "custom", message: "This is no JSON object." });
    return z.NEVER;
  }
});
const ChannelFilters = z.strictObject({
  ...PageQuery,
  type: TypeName.optional(),
  teamId: idOf("team").optional(),
  memberId: idOf("user").optional(),
  frozen: flag.optional(),
  hidden: flag.optional(),
  archived: flag.optional(),
  metadata: Matching.optional().openapi({
    type: "string",
    description: "A JSON object that the channel's metadata contains",
  }),
});
channelRoutes.openapi(
  op({
    ...channels,
    id: "listChannels",
    method: "get",
    scope: "channels:read",
    summary: "A user's channels, newest message first, with what is unread; for a server, all",
    query: ChannelFilters,
    returns: listOf(Overview),
  }),
  async (c) => c.json(await listChannels(c.var.ctx, c.req.valid("query")), 200),
);
channelRoutes.openapi(
  op({
    ...channel,
    id: "getChannel",
    method: "get",
    scope: "channels:read",
    summary: "Get a channel",
    returns: Overview,
  }),
  async (c) => c.json(await getChannel(c.var.ctx, c.req.valid("param").id), 200),
);
channelRoutes.openapi(
  op({
    ...channel,
    id: "updateChannel",
    method: "patch",
    scope: "channels:write",
    summary: "Set fields; null unsets; metadata and settings are merged",
    body: z.strictObject(input),
    returns: Channel,
  }),
  async (c) => c.json(await updateChannel(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
channelRoutes.openapi(
  op({
    ...channel,
    id: "deleteChannel",
    method: "delete",
    scope: "channels:write",
    summary: "Delete a channel with its messages",
    status: 204,
  }),
  async (c) => {
    await deleteChannel(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
