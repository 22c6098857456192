import type { Context as HonoContext } from "hono";
import { refusalOfOrigin } from "../auth/admit";
import { forget } from "../auth/snapshots";
import { mustBeWithinBounds } from "../lib/bounds";
import type { Context } from "../lib/context";
import { StaleSnapshot } from "../lib/db";
import { listOf, PageQuery } from "../lib/page";
import { type AppEnv, feature, op } from "../lib/route";
import { Moment, pathId, text, z } from "../lib/validate";
import { connectSocket } from "./connect";
import { Command, Presence, ServerFrame } from "./protocol";
import { endSessions, listOnline, listSessions, listWatchers } from "./sessions";
import { sync } from "./sync";
import { buyTicket, readTicket } from "./tickets";

export const liveRoutes = feature();

liveRoutes.openapi(
  op({
    id: "buyTicket",
    method: "post",
    path: "/tickets",
    tag: "Live",
    scope: "channels:read",
    once: false,
    reads: true,
    summary: "A ticket for one socket within 30 seconds, for where no header can be sent",
    returns: z.object({ ticket: z.string(), expiresAt: Moment }),
    status: 201,
  }),
  async (c) => c.json(await buyTicket(c.var.ctx), 201),
);

const Wish = {
  ticket: text(8_000, 1).optional(),
  deviceId: text(255, 1).optional(),
  presence: Presence.optional(),
};
type Wish = {
  ticket?: string | undefined;
  deviceId?: string | undefined;
  presence?: Presence | undefined;
  after?: number | undefined;
};

/** Who is bound to some channels or inboxes watches those alone. */
const mustWatchWithinBounds = (ctx: Context, channelId: string | undefined) => {
  const named = channelId === undefined ? [] : [{ resource: "channel", id: channelId }];
  return mustBeWithinBounds(ctx, "channel", named, named);
};

/** By ticket, or by a credential in the header as anywhere else. */
async function connect(
  c: HonoContext<AppEnv>,
  channelId: string | undefined,
  { ticket, ...wish }: Wish,
): Promise<Response> {
  const place = channelId === undefined ? {} : { channelId };
  if (ticket === undefined) {
    const demand = { scope: "channels:read", once: false, reads: true } as const;
    c.set("demand", demand);
    c.set("ctx", await c.var.admit(demand));
    await mustWatchWithinBounds(c.var.ctx, channelId);
    return connectSocket(c.var.ctx, c.req.raw, { ...wish, ...place });
  }
  for (let tries = 1; ; tries++) {
    const read = await readTicket(c.env, ticket, c.var.requestId, (work) => c.executionCtx.waitUntil(work));
    const foreign = refusalOfOrigin(read.ctx, c.req.header("Origin") ?? null);
    if (foreign) throw foreign;
    try {
      await mustWatchWithinBounds(read.ctx, channelId);
      return await connectSocket(read.ctx, c.req.raw, { ...wish, ...place, ticket: read.ticket });
    } catch (error) {
      if (!(error instanceof StaleSnapshot) || tries === 3) throw error;
      forget(read.ctx.tenantId);
    }
  }
}

const seq = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What is said over the socket, in place of an answer. */
function overSocket<R extends { responses: object }>(route: R): R {
  const { default: problem } = route.responses as { default: unknown };
  const spoken = {
    description: "A socket: what the server says, and what a client may say",
    content: {
      "application/vnd.parley.frame+json": { schema: ServerFrame },
      "application/vnd.parley.command+json": { schema: Command },
    },
  };
  return Object.assign(route, { responses: { 101: spoken, default: problem } });
}

liveRoutes.openapi(
  overSocket(
    op({
      id: "watchChannel",
      method: "get",
      path: "/channels/{id}/connect",
      tag: "Live",
      scope: "public",
      summary: "A WebSocket that watches a channel; after a number, or from now on",
      params: pathId("channel"),
      query: z.strictObject({ ...Wish, after: seq.optional() }),
    }),
  ),
  async (c) => (await connect(c as never, c.req.valid("param").id, c.req.valid("query"))) as never,
);
liveRoutes.openapi(
  overSocket(
    op({
      id: "connectUser",
      method: "get",
      path: "/connect",
      tag: "Live",
      scope: "public",
      summary: "A WebSocket of a user's own: what is addressed to them, and which channels have news",
      query: z.strictObject(Wish),
    }),
  ),
  async (c) => (await connect(c as never, undefined, c.req.valid("query"))) as never,
);

const IS_JSON = { "Content-Type": "application/json" };

const Streams = z.object({
  streams: z.record(
    z.string(),
    z.union([
      z.object({ events: z.array(z.unknown()), seq: z.int(), more: z.boolean() }),
      z.object({ error: z.literal("not_found") }),
    ]),
  ),
});
const cursors = z
  .record(z.uuid().toLowerCase(), z.int().min(0))
  .refine((given) => Object.keys(given).length <= 1_000, "At most 1,000 streams.");

liveRoutes.openapi(
  op({
    id: "syncStreams",
    method: "post",
    path: "/sync",
    tag: "Live",
    scope: "channels:read",
    once: false,
    reads: true,
    summary: "What was missed of channels and of the user's own stream, after the last number known of each",
    body: z.strictObject({ cursors }),
    returns: Streams,
  }),
  async (c) => c.body(await sync(c.var.ctx, c.req.valid("json").cursors), 200, IS_JSON) as never,
);

const CURSOR = /^([0-9a-f-]{36}):(\d{1,15})$/i;
const Cursors = text(40_000, 1)
  .transform((value) => value.split(",").map((one) => CURSOR.exec(one)))
  .refine((found) => found.every((one) => one !== null), "Pairs of a stream's id and a number: id:12,id:0")
  .transform((found) => Object.fromEntries(found.map((one) => [one?.[1] ?? "", Number(one?.[2])])))
  .pipe(cursors)
  .openapi({ type: "string" });

liveRoutes.openapi(
  op({
    id: "syncStream",
    method: "get",
    path: "/sync",
    tag: "Live",
    scope: "channels:read",
    summary: "The same for few streams: ?cursors=id:12,id:0",
    query: z.strictObject({ cursors: Cursors }),
    returns: Streams,
  }),
  async (c) => c.body(await sync(c.var.ctx, c.req.valid("query").cursors), 200, IS_JSON) as never,
);

const sessions = { tag: "Live", path: "/users/{id}/sessions", params: pathId("user") } as const;
const Session = z.object({ id: z.uuid(), deviceId: z.string().nullable(), connectedAt: Moment, lastActiveAt: Moment });

liveRoutes.openapi(
  op({
    ...sessions,
    id: "listSessions",
    method: "get",
    scope: "me:read",
    summary: "A user's own sockets",
    returns: z.object({ data: z.array(Session) }),
  }),
  async (c) => c.json(await listSessions(c.var.ctx, c.req.valid("param").id), 200),
);
liveRoutes.openapi(
  op({
    ...sessions,
    id: "endSessions",
    method: "delete",
    scope: "me:write",
    summary: "Close all sockets of a user, or one of their own",
    query: z.strictObject({ sessionId: z.uuid().optional() }),
    status: 204,
  }),
  async (c) => {
    await endSessions(c.var.ctx, c.req.valid("param").id, c.req.valid("query").sessionId);
    return c.body(null, 204);
  },
);

const Present = z.object({ userId: z.uuid(), presence: z.enum(["online", "away"]) });
const ofChannel = { method: "get", tag: "Live", scope: "channels:read", params: pathId("channel") } as const;

liveRoutes.openapi(
  op({
    ...ofChannel,
    id: "listWatchers",
    path: "/channels/{id}/watchers",
    summary: "Who watches a channel now, and whether they are away",
    query: z.strictObject(PageQuery),
    returns: listOf(Present),
  }),
  async (c) => c.json(await listWatchers(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
liveRoutes.openapi(
  op({
    ...ofChannel,
    id: "listOnline",
    path: "/channels/{id}/online",
    summary: "The members of a channel who are online or away, wherever they are connected",
    query: z.strictObject(PageQuery),
    returns: listOf(Present),
  }),
  async (c) => c.json(await listOnline(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
