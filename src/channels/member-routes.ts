import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, idOf, Moment, pathId, pathIdAnd, z } from "../lib/validate";
import { answerInvitation, invite, listInvitations } from "./invitations";
import { addMembers, joinChannel, listMembers, removeMember, setRole, updateOwnMembership } from "./members";
import { INVITATION_STATUSES, MEMBER_ROLES } from "./schema";

export const memberRoutes = feature();

const Role = z.enum(MEMBER_ROLES);
const Member = z
  .object({
    userId: z.uuid(),
    role: Role,
    displayName: z.string().nullable(),
    avatarUrl: z.string().nullable(),
    joinedAt: Moment,
  })
  .openapi("Member");
const members = { tag: "Members", path: "/channels/{id}/members", params: pathId("channel") } as const;
const member = {
  ...members,
  path: "/channels/{id}/members/{userId}",
  params: pathIdAnd("channel", { userId: anotherId("user", "userId") }),
} as const;

memberRoutes.openapi(
  op({
    ...members,
    id: "listMembers",
    method: "get",
    scope: "channels:read",
    summary: "List a channel's members",
    query: z.strictObject({ ...PageQuery, role: Role.optional() }),
    returns: listOf(Member),
  }),
  async (c) => c.json(await listMembers(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
memberRoutes.openapi(
  op({
    ...members,
    id: "addMembers",
    method: "post",
    scope: "channels:write",
    summary: "Add members",
    body: z.strictObject({
      members: z
        .array(z.strictObject({ userId: idOf("user"), role: Role.optional() }))
        .min(1)
        .max(100),
    }),
    status: 204,
  }),
  async (c) => {
    await addMembers(c.var.ctx, c.req.valid("param").id, c.req.valid("json").members);
    return c.body(null, 204);
  },
);
memberRoutes.openapi(
  op({
    ...member,
    id: "setMemberRole",
    method: "patch",
    scope: "channels:write",
    summary: "Give a member another role",
    body: z.strictObject({ role: Role }),
    status: 204,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    await setRole(c.var.ctx, id, userId, c.req.valid("json").role);
    return c.body(null, 204);
  },
);
memberRoutes.openapi(
  op({
    ...member,
    id: "removeMember",
    method: "delete",
    scope: "channels:write",
    summary: "Remove a member, or leave",
    status: 204,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    await removeMember(c.var.ctx, id, userId);
    return c.body(null, 204);
  },
);

const own = { tag: "Members", path: "/channels/{id}/own", params: pathId("channel") } as const;
memberRoutes.openapi(
  op({
    ...own,
    id: "updateOwnMembership",
    method: "patch",
    scope: "channels:write",
    summary: "Mute, pin, archive or hide a channel for yourself",
    body: z.strictObject({
      muted: z.boolean().optional(),
      pinned: z.boolean().optional(),
      archived: z.boolean().optional(),
      hidden: z.boolean().optional(),
      clearHistory: z.boolean().optional(),
    }),
    returns: z.object({
      muted: z.boolean(),
      pinnedAt: Moment.nullable(),
      archivedAt: Moment.nullable(),
      hidden: z.boolean(),
    }),
  }),
  async (c) => c.json(await updateOwnMembership(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
memberRoutes.openapi(
  op({
    ...own,
    id: "joinChannel",
    method: "post",
    path: "/channels/{id}/join",
    scope: "channels:write",
    summary: "Join a public channel",
    status: 204,
  }),
  async (c) => {
    await joinChannel(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

const Invitation = z
  .object({
    id: z.uuid(),
    channelId: z.uuid(),
    userId: z.uuid(),
    invitedBy: z.uuid().nullable(),
    role: Role,
    status: z.enum(INVITATION_STATUSES),
    answeredAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("Invitation");
const invitation = { tag: "Members", path: "/channels/{id}/invitations", params: pathId("channel") } as const;

memberRoutes.openapi(
  op({
    ...invitation,
    id: "inviteUser",
    method: "post",
    scope: "channels:write",
    summary: "Invite a user",
    body: z.strictObject({ userId: idOf("user") }),
    returns: Invitation,
    status: 201,
  }),
  async (c) => c.json(await invite(c.var.ctx, c.req.valid("param").id, c.req.valid("json").userId), 201),
);
memberRoutes.openapi(
  op({
    tag: "Members",
    path: "/invitations",
    id: "listInvitations",
    method: "get",
    scope: "channels:read",
    summary: "List your invitations",
    query: z.strictObject({
      ...PageQuery,
      status: z.enum(INVITATION_STATUSES).optional(),
      channelId: idOf("channel").optional(),
    }),
    returns: listOf(Invitation),
  }),
  async (c) => c.json(await listInvitations(c.var.ctx, c.req.valid("query")), 200),
);
memberRoutes.openapi(
  op({
    ...invitation,
    id: "acceptInvitation",
    method: "post",
    path: "/channels/{id}/invitations/accept",
    scope: "channels:write",
    summary: "Accept your invitation",
    returns: Invitation,
  }),
  async (c) => c.json(await answerInvitation(c.var.ctx, c.req.valid("param").id, true), 200),
);
memberRoutes.openapi(
  op({
    ...invitation,
    id: "rejectInvitation",
    method: "post",
    path: "/channels/{id}/invitations/reject",
    scope: "channels:write",
    summary: "Reject your invitation",
    returns: Invitation,
  }),
  async (c) => c.json(await answerInvitation(c.var.ctx, c.req.valid("param").id, false), 200),
);
