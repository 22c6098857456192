import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, Moment, pathId, pathIdAnd, text, z } from "../lib/validate";
import { subscriptionIn } from "../providers/web-push";
import { blockUser, deleteDevice, listBlocks, listDevices, putDevice, unblockUser } from "./devices";
import { PLATFORMS, PUSH_PROVIDERS } from "./schema";

export const deviceRoutes = feature();

const Device = z
  .object({
    id: z.uuid(),
    userId: z.uuid(),
    deviceId: z.string(),
    pushProvider: z.enum(PUSH_PROVIDERS).nullable(),
    hasPushToken: z.boolean(),
    platform: z.enum(PLATFORMS).nullable(),
    lastActiveAt: Moment.nullable(),
    registeredAt: Moment,
  })
  .openapi("Device");

const DeviceInput = z
  .strictObject({
    pushProvider: z.enum(PUSH_PROVIDERS).nullable().optional(),
    pushToken: text(4096).nullable().optional(),
    platform: z.enum(PLATFORMS).nullable().optional(),
  })
  .refine(
    ({ pushProvider, pushToken }) => pushProvider !== "webpush" || !pushToken || subscriptionIn(pushToken) !== null,
    {
      path: ["pushToken"],
      message: "For webpush it is the browser's PushSubscription as JSON, with its endpoint and keys.",
    },
  );

const devices = { tag: "Users", path: "/users/{id}/devices", params: pathId("user") } as const;
const device = {
  ...devices,
  path: "/users/{id}/devices/{deviceId}",
  params: pathIdAnd("user", { deviceId: text(255, 1) }),
} as const;

deviceRoutes.openapi(
  op({
    ...devices,
    id: "listDevices",
    method: "get",
    scope: "me:read",
    summary: "List a user's devices",
    query: z.strictObject(PageQuery),
    returns: listOf(Device),
  }),
  async (c) => c.json(await listDevices(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);

deviceRoutes.openapi(
  op({
    ...device,
    id: "putDevice",
    method: "put",
    scope: "me:write",
    summary: "Register a device, or say that it is active",
    body: DeviceInput,
    returns: Device,
  }),
  async (c) => {
    const { id, deviceId } = c.req.valid("param");
    return c.json(await putDevice(c.var.ctx, id, deviceId, c.req.valid("json")), 200);
  },
);

deviceRoutes.openapi(
  op({ ...device, id: "deleteDevice", method: "delete", scope: "me:write", summary: "Forget a device", status: 204 }),
  async (c) => {
    const { id, deviceId } = c.req.valid("param");
    await deleteDevice(c.var.ctx, id, deviceId);
    return c.body(null, 204);
  },
);

const Block = z.object({ blockedUserId: z.uuid(), createdAt: Moment }).openapi("Block");
const blocks = { tag: "Users", path: "/users/{id}/blocks", params: pathId("user") } as const;
const block = {
  ...blocks,
  path: "/users/{id}/blocks/{blockedUserId}",
  params: pathIdAnd("user", { blockedUserId: anotherId("user", "blockedUserId") }),
} as const;

deviceRoutes.openapi(
  op({
    ...blocks,
    id: "listBlocks",
    method: "get",
    scope: "me:read",
    summary: "List whom a user blocks",
    query: z.strictObject(PageQuery),
    returns: listOf(Block),
  }),
  async (c) => c.json(await listBlocks(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);

deviceRoutes.openapi(
  op({ ...block, id: "blockUser", method: "put", scope: "me:write", summary: "Block a user", status: 204 }),
  async (c) => {
    const { id, blockedUserId } = c.req.valid("param");
    await blockUser(c.var.ctx, id, blockedUserId);
    return c.body(null, 204);
  },
);

deviceRoutes.openapi(
  op({ ...block, id: "unblockUser", method: "delete", scope: "me:write", summary: "Unblock a user", status: 204 }),
  async (c) => {
    const { id, blockedUserId } = c.req.valid("param");
    await unblockUser(c.var.ctx, id, blockedUserId);
    return c.body(null, 204);
  },
);
