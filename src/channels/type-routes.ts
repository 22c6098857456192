import { feature, op } from "../lib/route";
import { Moment, z } from "../lib/validate";
import { PERMISSIONS, type Verb } from "./permissions";
import { MEMBER_ROLES } from "./schema";
import { TypeSettings } from "./settings";
import { deleteType, listTypes, putType } from "./types";

export const typeRoutes = feature();

const Standing = z.enum([...MEMBER_ROLES, "none", "own"]);
const Permissions = z.partialRecord(z.enum(Object.keys(PERMISSIONS) as [Verb, ...Verb[]]), z.array(Standing).max(6));
const ChannelType = z
  .object({
    name: z.string(),
    settings: z.record(z.string(), z.unknown()),
    permissions: z.record(z.string(), z.array(z.string())),
    updatedAt: Moment,
  })
  .openapi("ChannelType");
const TypeName = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "Lower-case letters, digits, _ and -.");
const types = { tag: "Channels", path: "/channel-types" } as const;
const type = { ...types, path: "/channel-types/{name}", params: z.strictObject({ name: TypeName }) } as const;

typeRoutes.openapi(
  op({
    ...types,
    id: "listChannelTypes",
    method: "get",
    scope: "channels:read",
    summary: "List your channel types",
    returns: z.object({ data: z.array(ChannelType) }),
  }),
  async (c) => c.json({ data: await listTypes(c.var.ctx) }, 200),
);
typeRoutes.openapi(
  op({
    ...type,
    id: "putChannelType",
    method: "put",
    scope: "tenant:write",
    summary: "Set what channels of a type may do, and which roles may do what",
    body: z.strictObject({ settings: TypeSettings.optional(), permissions: Permissions.optional() }),
    returns: ChannelType,
  }),
  async (c) => c.json(await putType(c.var.ctx, c.req.valid("param").name, c.req.valid("json") as never), 200),
);
typeRoutes.openapi(
  op({
    ...type,
    id: "deleteChannelType",
    method: "delete",
    scope: "tenant:write",
    summary: "Delete a type that no channel has",
    status: 204,
  }),
  async (c) => {
    await deleteType(c.var.ctx, c.req.valid("param").name);
    return c.body(null, 204);
  },
);
