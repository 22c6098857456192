import { createGuest, mintUserToken, revokeTokensOf } from "../auth/tokens";
import { newId } from "../lib/ids";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { found } from "../lib/rows";
import { flag, idOf, Metadata, Moment, pathId, text, webUrl, z } from "../lib/validate";
import { USER_ROLES, USER_TYPES } from "./schema";
import { deleteUser, getUser, listUsers, setDeactivated, updateUser } from "./service";
import { upsertUsers } from "./upsert";

const nullableText = (max: number) => text(max).nullable();

const User = z
  .object({
    id: z.uuid(),
    externalId: z.string().nullable(),
    username: z.string().nullable(),
    displayName: z.string().nullable(),
    avatarUrl: z.string().nullable(),
    bio: z.string().nullable(),
    email: z.string().nullable(),
    type: z.enum(USER_TYPES),
    role: z.enum(USER_ROLES).nullable(),
    metadata: z.record(z.string(), z.unknown()),
    teamIds: z.array(z.uuid()),
    deactivatedAt: Moment.nullable(),
    lastSeenAt: Moment.nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("User");

const profile = {
  username: nullableText(255).optional(),
  displayName: nullableText(255).optional(),
  avatarUrl: webUrl.nullable().optional(),
  bio: nullableText(4000).optional(),
  email: z.email().max(255).nullable().optional(),
  type: z.enum(USER_TYPES).optional(),
  role: z.enum(USER_ROLES).nullable().optional(),
  teamIds: z.array(idOf("team")).max(100).optional(),
};

const NewUser = z.strictObject({ externalId: text(255, 1).optional(), ...profile, metadata: Metadata.optional() });
const UserPatch = z.strictObject({ externalId: text(255, 1).optional(), ...profile, metadata: Metadata.optional() });

const users = { tag: "Users", path: "/users" } as const;
const byId = { ...users, path: "/users/{id}", params: pathId("user") } as const;

export const userRoutes = feature();

userRoutes.openapi(
  op({
    ...users,
    id: "upsertUser",
    method: "post",
    scope: "users:write",
    summary: "Create a user, or set fields of the one with this externalId",
    body: NewUser,
    returns: User,
    status: 201,
  }),
  async (c) => c.json(found(await upsertUsers(c.var.ctx, [c.req.valid("json")], () => "")), 201),
);

userRoutes.openapi(
  op({
    ...users,
    id: "upsertUsers",
    method: "post",
    path: "/users/bulk",
    scope: "users:write",
    summary: "Create or update up to 100 users, all or none",
    body: z.strictObject({ users: z.array(NewUser).min(1).max(100) }),
    returns: z.object({ data: z.array(User) }),
  }),
  async (c) => c.json({ data: await upsertUsers(c.var.ctx, c.req.valid("json").users, (n) => `users.${n}.`) }, 200),
);

const UserFilters = z.strictObject({
  ...PageQuery,
  type: z.enum(USER_TYPES).optional(),
  role: z.enum(USER_ROLES).optional(),
  teamId: idOf("team").optional(),
  externalId: text(255, 1).optional(),
  email: text(255, 1).optional(),
  deactivated: flag.optional(),
  search: text(100, 3).optional(),
});

userRoutes.openapi(
  op({
    ...users,
    id: "listUsers",
    method: "get",
    scope: "users:read",
    summary: "List users, newest first",
    query: UserFilters,
    returns: listOf(User),
  }),
  async (c) => c.json(await listUsers(c.var.ctx, c.req.valid("query")), 200),
);

userRoutes.openapi(
  op({ ...byId, id: "getUser", method: "get", scope: "users:read", summary: "Get a user", returns: User }),
  async (c) => c.json(await getUser(c.var.ctx, c.req.valid("param").id), 200),
);

userRoutes.openapi(
  op({
    ...byId,
    id: "updateUser",
    method: "patch",
    scope: "users:write",
    summary: "Set fields; null unsets; metadata is merged",
    body: UserPatch,
    returns: User,
  }),
  async (c) => c.json(await updateUser(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);

userRoutes.openapi(
  op({
    ...byId,
    id: "deleteUser",
    method: "delete",
    scope: "users:write",
    summary: "Delete a user: anonymise, or hard with all that is theirs",
    query: z.strictObject({ mode: z.enum(["anonymise", "hard"]).default("anonymise") }),
    status: 204,
  }),
  async (c) => {
    await deleteUser(c.var.ctx, c.req.valid("param").id, c.req.valid("query").mode);
    return c.body(null, 204);
  },
);

userRoutes.openapi(
  op({
    ...byId,
    id: "deactivateUser",
    method: "post",
    path: "/users/{id}/deactivate",
    scope: "users:write",
    summary: "Deactivate a user: their tokens stop working",
    returns: User,
  }),
  async (c) => c.json(await setDeactivated(c.var.ctx, c.req.valid("param").id, true), 200),
);

userRoutes.openapi(
  op({
    ...byId,
    id: "reactivateUser",
    method: "post",
    path: "/users/{id}/reactivate",
    scope: "users:write",
    summary: "Reactivate a user",
    returns: User,
  }),
  async (c) => c.json(await setDeactivated(c.var.ctx, c.req.valid("param").id, false), 200),
);

const UserToken = z.object({ token: z.string(), jti: z.string(), expiresAt: Moment }).openapi("UserToken");
const Lifetime = z.strictObject({ expiresInSeconds: z.int().min(60).max(86_400).default(3600) });
const tokens = { ...byId, path: "/users/{id}/tokens" } as const;

userRoutes.openapi(
  op({
    ...tokens,
    id: "mintUserToken",
    method: "post",
    scope: "tokens:write",
    summary: "Mint a token for a user's own app, for at most 24 hours",
    body: Lifetime,
    returns: UserToken,
    status: 201,
  }),
  async (c) =>
    c.json(await mintUserToken(c.var.ctx, c.req.valid("param").id, c.req.valid("json").expiresInSeconds), 201),
);
userRoutes.openapi(
  op({
    ...tokens,
    id: "revokeUserTokens",
    method: "delete",
    scope: "tokens:write",
    summary: "Revoke all tokens issued to a user so far",
    status: 204,
  }),
  async (c) => {
    await revokeTokensOf(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

const NewGuest = z.strictObject({
  type: z.enum(["guest", "anonymous"]).default("guest"),
  displayName: text(255, 1).optional(),
});

userRoutes.openapi(
  op({
    ...users,
    id: "createGuest",
    method: "post",
    path: "/guests",
    scope: "users:guest",
    summary: "Create a guest or an anonymous reader, with a token for an hour",
    body: NewGuest,
    returns: UserToken.extend({ user: User }),
    status: 201,
  }),
  async (c) => c.json(await createGuest(c.var.ctx, { id: newId(), ...c.req.valid("json") }, 3600), 201),
);
