import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { idOf, Moment, pathId, z } from "../lib/validate";
import { getCallback, listCallbacks } from "./kept-callbacks";
import { replayCallback } from "./replay";
import { CALLBACK_STATUSES } from "./schema";

export const callbackRoutes = feature();

const Listed = z
  .object({
    id: z.uuid(),
    integrationId: z.uuid(),
    status: z.enum(CALLBACK_STATUSES),
    error: z.string().nullable(),
    times: z.int().openapi({ description: "How often the provider sent just this" }),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("ListedCallback");
const Callback = Listed.extend({
  headers: z.record(z.string(), z.string()),
  body: z.string(),
  heard: z.record(z.string(), z.unknown()).openapi({ description: "The receipts and replies read from it" }),
}).openapi("Callback");

const callbacks = { tag: "Integrations", path: "/provider-callbacks" } as const;
const callback = { tag: "Integrations", path: "/provider-callbacks/{id}", params: pathId("callback") } as const;

callbackRoutes.openapi(
  op({
    ...callbacks,
    id: "listCallbacks",
    method: "get",
    scope: "integrations:read",
    summary: "List what providers called back, newest first",
    description:
      "What a provider's signature vouched for is kept for 30 days. One that came before its message was recorded waits for it, for nine hours.",
    query: z.strictObject({
      ...PageQuery,
      integrationId: idOf("integration").optional(),
      status: z.enum(CALLBACK_STATUSES).optional(),
    }),
    returns: listOf(Listed),
  }),
  async (c) => c.json(await listCallbacks(c.var.ctx, c.req.valid("query")), 200),
);
callbackRoutes.openapi(
  op({
    ...callback,
    id: "getCallback",
    method: "get",
    scope: "integrations:read",
    summary: "Get a provider's callback as it came, and what was read from it",
    returns: Callback,
  }),
  async (c) => c.json(await getCallback(c.var.ctx, c.req.valid("param").id), 200),
);
callbackRoutes.openapi(
  op({
    ...callback,
    id: "replayCallback",
    method: "post",
    path: "/provider-callbacks/{id}/replay",
    scope: "integrations:write",
    summary: "Hear a provider's callback once more; what was heard before changes nothing",
    returns: Callback,
    once: false,
  }),
  async (c) => c.json(await replayCallback(c.var.ctx, c.req.valid("param").id), 200),
);
