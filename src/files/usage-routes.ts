import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { z } from "../lib/validate";
import { storageByUser } from "./storage";

export const fileUsageRoutes = feature();

const Storage = z
  .object({ userId: z.uuid().nullable(), files: z.int(), bytes: z.int() })
  .openapi("StorageUse", { description: "Without a userId: what keys uploaded that acted for nobody" });

fileUsageRoutes.openapi(
  op({
    id: "getStorageUse",
    method: "get",
    path: "/usage/storage",
    tag: "Files",
    scope: "usage:read",
    summary: "How much each user's files take, the most first",
    query: z.strictObject({ ...PageQuery, by: z.literal("user").default("user") }),
    returns: listOf(Storage),
  }),
  async (c) => c.json(await storageByUser(c.var.ctx, c.req.valid("query")), 200),
);
