import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, Metadata, Moment, pathId, pathIdAnd, text, z } from "../lib/validate";
import {
  addTeamMember,
  createTeam,
  deleteTeam,
  getTeam,
  listTeamMembers,
  listTeams,
  removeTeamMember,
  updateTeam,
} from "./service";

export const teamRoutes = feature();

const Team = z
  .object({
    id: z.uuid(),
    name: z.string(),
    metadata: z.record(z.string(), z.unknown()),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Team");
const NewTeam = z.strictObject({ name: text(255, 1), metadata: Metadata.optional() });
const teams = { tag: "Teams", path: "/teams" } as const;
const team = { tag: "Teams", path: "/teams/{id}", params: pathId("team") } as const;
const member = {
  ...team,
  path: "/teams/{id}/members/{userId}",
  params: pathIdAnd("team", { userId: anotherId("user", "userId") }),
} as const;

teamRoutes.openapi(
  op({
    ...teams,
    id: "createTeam",
    method: "post",
    scope: "users:write",
    summary: "Create a team",
    body: NewTeam,
    returns: Team,
    status: 201,
  }),
  async (c) => c.json(await createTeam(c.var.ctx, c.req.valid("json")), 201),
);
teamRoutes.openapi(
  op({
    ...teams,
    id: "listTeams",
    method: "get",
    scope: "users:read",
    summary: "List teams",
    query: z.strictObject(PageQuery),
    returns: listOf(Team),
  }),
  async (c) => c.json(await listTeams(c.var.ctx, c.req.valid("query")), 200),
);
teamRoutes.openapi(
  op({ ...team, id: "getTeam", method: "get", scope: "users:read", summary: "Get a team", returns: Team }),
  async (c) => c.json(await getTeam(c.var.ctx, c.req.valid("param").id), 200),
);
teamRoutes.openapi(
  op({
    ...team,
    id: "updateTeam",
    method: "patch",
    scope: "users:write",
    summary: "Change a team; metadata is merged",
    body: NewTeam.partial(),
    returns: Team,
  }),
  async (c) => c.json(await updateTeam(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
teamRoutes.openapi(
  op({
    ...team,
    id: "deleteTeam",
    method: "delete",
    scope: "users:write",
    summary: "Delete a team without members",
    status: 204,
  }),
  async (c) => {
    await deleteTeam(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

const TeamMember = z.object({ userId: z.uuid(), createdAt: Moment }).openapi("TeamMember");

teamRoutes.openapi(
  op({
    ...team,
    id: "listTeamMembers",
    method: "get",
    path: "/teams/{id}/members",
    scope: "users:read",
    summary: "List a team's members",
    query: z.strictObject(PageQuery),
    returns: listOf(TeamMember),
  }),
  async (c) => c.json(await listTeamMembers(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
teamRoutes.openapi(
  op({
    ...member,
    id: "addTeamMember",
    method: "put",
    scope: "users:write",
    summary: "Add a user to a team",
    status: 204,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    await addTeamMember(c.var.ctx, id, userId);
    return c.body(null, 204);
  },
);
teamRoutes.openapi(
  op({
    ...member,
    id: "removeTeamMember",
    method: "delete",
    scope: "users:write",
    summary: "Take a user out of a team",
    status: 204,
  }),
  async (c) => {
    const { id, userId } = c.req.valid("param");
    await removeTeamMember(c.var.ctx, id, userId);
    return c.body(null, 204);
  },
);
