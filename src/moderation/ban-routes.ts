import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, flag, idOf, Moment, pathId, pathIdAnd, z } from "../lib/validate";
import { ban, listBans, unban } from "./bans";
import { NewBan } from "./input";

export const banRoutes = feature();

const Ban = z
  .object({
    id: z.uuid(),
    userId: z.uuid(),
    channelId: z.uuid().nullable(),
    shadow: z.boolean(),
    reason: z.string().nullable(),
    bannedBy: z.uuid().nullable(),
    expiresAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("Ban");
const Filters = z.strictObject({ ...PageQuery, userId: idOf("user").optional(), shadow: flag.optional() });

const inChannel = { tag: "Moderation", path: "/channels/{id}/bans", params: pathId("channel") } as const;
const ofMember = {
  tag: "Moderation",
  path: "/channels/{id}/bans/{userId}",
  params: pathIdAnd("channel", { userId: anotherId("user", "userId") }),
} as const;
const ofUser = { tag: "Moderation", path: "/bans/{id}", params: pathId("user") } as const;

banRoutes.openapi(
  op({
    ...inChannel,
    id: "listChannelBans",
    method: "get",
    scope: "channels:read",
    summary: "Who is banned from a channel",
    query: Filters,
    returns: listOf(Ban),
  }),
  async (c) => c.json(await listBans(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
banRoutes.openapi(
  op({
    ...ofMember,
    id: "banFromChannel",
    method: "put",
    scope: "channels:write",
    summary: "Ban a user from a channel, in place of any ban before: they neither see it nor write in it",
    body: NewBan,
    returns: Ban,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    return c.json(await ban(c.var.ctx, userId, id, c.req.valid("json")), 200);
  },
);
banRoutes.openapi(
  op({
    ...ofMember,
    id: "unbanFromChannel",
    method: "delete",
    scope: "channels:write",
    summary: "Lift a ban from a channel",
    status: 204,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    await unban(c.var.ctx, userId, id);
    return c.body(null, 204);
  },
);
banRoutes.openapi(
  op({
    tag: "Moderation",
    path: "/bans",
    id: "listBans",
    method: "get",
    scope: "moderation:read",
    summary: "Who is banned from all channels",
    query: Filters,
    returns: listOf(Ban),
  }),
  async (c) => c.json(await listBans(c.var.ctx, null, c.req.valid("query")), 200),
);
banRoutes.openapi(
  op({
    ...ofUser,
    id: "banUser",
    method: "put",
    scope: "moderation:write",
    summary: "Ban a user everywhere, in place of any such ban before: nothing can be done in their name",
    body: NewBan,
    returns: Ban,
  }),
  async (c) => c.json(await ban(c.var.ctx, c.req.valid("param").id, null, c.req.valid("json")), 200),
);
banRoutes.openapi(
  op({
    ...ofUser,
    id: "unbanUser",
    method: "delete",
    scope: "moderation:write",
    summary: "Lift a ban from all channels",
    status: 204,
  }),
  async (c) => {
    await unban(c.var.ctx, c.req.valid("param").id, null);
    return c.body(null, 204);
  },
);
