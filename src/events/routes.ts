import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { AnyJson, flag, Instant, idOf, Moment, pathId, text, z } from "../lib/validate";
import { deleteCustomType, listEventTypes, putCustomType } from "../webhooks/event-types";
import { sendCustomEvent } from "./custom";
import { getEvent, listEvents } from "./list";
import { STREAM_KINDS } from "./schema";

export const eventRoutes = feature();

const Event = z
  .object({
    id: z.uuid(),
    type: z.string(),
    stream: z.object({ kind: z.enum(STREAM_KINDS), id: z.uuid() }),
    seq: z.int(),
    data: z.unknown(),
    createdAt: Moment,
  })
  .openapi("Event");

const CustomName = z
  .string()
  .regex(/^custom\.[a-z][a-z0-9_.-]{0,80}$/, "custom. and then lower-case letters, digits, _ . and -.");
const NewEvent = z.strictObject({
  type: CustomName.transform((name) => name as `custom.${string}`),
  data: AnyJson,
  channelId: idOf("channel").optional(),
  userId: idOf("user").optional(),
});
const events = { tag: "Events", path: "/events" } as const;

eventRoutes.openapi(
  op({
    ...events,
    id: "sendEvent",
    method: "post",
    scope: "events:write",
    summary: "Send an event of your own",
    body: NewEvent,
    returns: Event,
    status: 201,
  }),
  async (c) => c.json(await sendCustomEvent(c.var.ctx, c.req.valid("json")), 201),
);

const EventFilters = z
  .strictObject({
    ...PageQuery,
    type: text(100, 1).optional(),
    stream: z.enum(STREAM_KINDS).optional(),
    streamId: idOf("stream").optional(),
    afterSeq: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
    from: Instant.optional(),
    to: Instant.optional(),
  })
  .refine(({ stream, streamId }) => streamId === undefined || stream !== undefined, {
    path: ["stream"],
    message: "A streamId needs its stream.",
  })
  .refine(({ afterSeq, streamId }) => afterSeq === undefined || streamId !== undefined, {
    path: ["streamId"],
    message: "afterSeq is a number of one stream.",
  });

eventRoutes.openapi(
  op({
    ...events,
    id: "listEvents",
    method: "get",
    scope: "events:read",
    summary: "List events: of one stream in its order, else newest first",
    query: EventFilters,
    returns: listOf(Event),
  }),
  async (c) => c.json(await listEvents(c.var.ctx, c.req.valid("query")), 200),
);
eventRoutes.openapi(
  op({
    ...events,
    id: "getEvent",
    method: "get",
    path: "/events/{id}",
    params: pathId("event"),
    scope: "events:read",
    summary: "Get an event",
    returns: Event,
  }),
  async (c) => c.json(await getEvent(c.var.ctx, c.req.valid("param").id), 200),
);

const CustomType = z.object({
  name: z.string(),
  category: z.string(),
  description: z.string(),
  version: z.int(),
  durable: z.boolean(),
  stream: z.enum(STREAM_KINDS),
  active: z.boolean(),
  custom: z.boolean(),
  schema: z.record(z.string(), z.unknown()),
});
const EventType = CustomType.extend({ subscribers: z.int(), adoptionRate: z.number() }).openapi("EventType");
const types = { tag: "Events", path: "/event-types" } as const;
const type = { tag: "Events", path: "/event-types/{name}", params: z.strictObject({ name: CustomName }) } as const;

eventRoutes.openapi(
  op({
    ...types,
    id: "listEventTypes",
    method: "get",
    scope: "events:read",
    summary: "What there is to subscribe to",
    query: z.strictObject({ category: text(50, 1).optional(), active: flag.optional() }),
    returns: z.object({ data: z.array(EventType) }),
  }),
  async (c) => c.json({ data: await listEventTypes(c.var.ctx, c.req.valid("query")) }, 200),
);

const JsonSchema = z
  .record(z.string(), AnyJson)
  .refine((schema) => JSON.stringify(schema).length <= 16_384, "It may take 16 KiB as JSON.")
  .refine((schema) => !/"\$ref":"(?!#)/.test(JSON.stringify(schema)), "A $ref may point within the schema only.")
  .openapi({ type: "object", additionalProperties: true });

eventRoutes.openapi(
  op({
    ...type,
    id: "putEventType",
    method: "put",
    scope: "webhooks:write",
    summary: "Register an event type of your own, or change it",
    body: z.strictObject({
      description: text(500, 1),
      stream: z.enum(STREAM_KINDS).default("tenant"),
      schema: JsonSchema,
      active: z.boolean().optional(),
    }),
    returns: CustomType,
  }),
  async (c) => c.json(await putCustomType(c.var.ctx, c.req.valid("param").name, c.req.valid("json")), 200),
);
eventRoutes.openapi(
  op({
    ...type,
    id: "deleteEventType",
    method: "delete",
    scope: "webhooks:write",
    summary: "Delete an event type of your own that nobody subscribes to by name",
    status: 204,
  }),
  async (c) => {
    await deleteCustomType(c.var.ctx, c.req.valid("param").name);
    return c.body(null, 204);
  },
);
