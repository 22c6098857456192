import { feature, op } from "../lib/route";
import { idOf, z } from "../lib/validate";
import { startExport } from "./service";

export const exportRoutes = feature();

exportRoutes.openapi(
  op({
    id: "startExport",
    method: "post",
    path: "/exports",
    tag: "Exports",
    scope: "exports:write",
    summary: "Write all of the tenant's data, or one user's, into a file",
    description:
      "A job does it: GET /v1/jobs/{id} says how far it is, and in its result names the file, which is kept for a day. Each line is a row with its table, as JSON.",
    body: z.strictObject({ userId: idOf("user").optional() }),
    returns: z.object({ jobId: z.uuid() }),
    status: 202,
  }),
  async (c) => c.json(await startExport(c.var.ctx, c.req.valid("json")), 202),
);
