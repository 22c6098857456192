import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, Metadata, Moment, pathId, text, z } from "../lib/validate";
import { SUPPRESSION_REASONS } from "./schema";
import { addSuppressions, exportSuppressions, getSuppression, listSuppressions, removeSuppression } from "./service";
import { EVERY_STREAM, StreamName } from "./streams";

export const suppressionRoutes = feature();

const Suppression = z
  .object({
    id: z.uuid(),
    address: z.string(),
    stream: z.string(),
    reason: z.enum(SUPPRESSION_REASONS),
    details: z.record(z.string(), z.unknown()),
    deliveryId: z.uuid().nullable(),
    messageId: z.uuid().nullable(),
    createdBy: z.uuid().nullable(),
    expiresAt: Moment.nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Suppression");

const Place = z.union([z.literal(EVERY_STREAM), StreamName]);
const Address = text(320, 3).regex(/^\s*[^\s@]+@[^\s@]+\s*$|^\s*"[^"]*"@[^\s@]+\s*$/, "This is not an e-mail address.");
const New = z.strictObject({
  address: Address,
  stream: Place.default(EVERY_STREAM).openapi({ description: "`*`: every stream" }),
  reason: z.enum(["manual", "bounce", "complaint", "unsubscribe"]).default("manual"),
  details: Metadata.default({}),
  expiresAt: Instant.nullable().optional(),
});
const filters = {
  address: text(320, 1).optional(),
  stream: Place.optional(),
  reason: z.enum(SUPPRESSION_REASONS).optional(),
  expired: flag.optional().openapi({ description: "Those that have expired and are not yet forgotten, instead" }),
};

const ABOUT = `Nothing is sent to a suppressed address: its delivery ends as \`suppressed\`, and the other recipients get theirs. A stream is a kind of mail one may have enough of: \`transactional\`, \`marketing\`, or a name of your own that is there with its first use; \`*\` is every stream.

| reason | comes of | holds for | expires |
|---|---|---|---|
| bounce | a hard bounce | every stream | after 180 days |
| softBounces | five soft bounces in a row, with no mail between that arrived | every stream | after 3 days, or with a mail that arrives |
| complaint | a complaint of abuse, or an opt-out sent as one | the stream it came by | never |
| unsubscribe | the unsubscribe link, or the provider's | its stream | never |
| provider | the provider's own list | every stream | after 30 days |
| manual | you | as you say | as you say |`;

const suppressions = { tag: "Suppressions", path: "/suppressions" } as const;
const suppression = { tag: "Suppressions", path: "/suppressions/{id}", params: pathId("suppression") } as const;

suppressionRoutes.openapi(
  op({
    ...suppressions,
    id: "listSuppressions",
    method: "get",
    scope: "suppressions:read",
    summary: "List addresses that are sent nothing, newest first",
    description: ABOUT,
    query: z.strictObject({ ...PageQuery, ...filters }),
    returns: listOf(Suppression),
  }),
  async (c) => c.json(await listSuppressions(c.var.ctx, c.req.valid("query")), 200),
);
suppressionRoutes.openapi(
  op({
    ...suppressions,
    id: "exportSuppressions",
    method: "get",
    path: "/suppressions/export",
    scope: "suppressions:read",
    summary: "The suppressions as JSON lines",
    query: z.strictObject(filters),
    media: "application/x-ndjson",
  }),
  async (c) =>
    c.body(await exportSuppressions(c.var.ctx, c.req.valid("query")), 200, { "Content-Type": "application/x-ndjson" }),
);
suppressionRoutes.openapi(
  op({
    ...suppressions,
    id: "addSuppression",
    method: "post",
    scope: "suppressions:write",
    summary: "Send nothing to an address any more",
    description: "Added again, a manual one has the new expiry; of the others the later one holds.",
    body: New,
    returns: Suppression,
    status: 201,
  }),
  async (c) => c.json((await addSuppressions(c.var.ctx, [c.req.valid("json")]))[0]!, 201),
);
suppressionRoutes.openapi(
  op({
    ...suppressions,
    id: "addSuppressions",
    method: "post",
    path: "/suppressions/bulk",
    scope: "suppressions:write",
    summary: "Send nothing to up to 1,000 addresses any more",
    description: "All of them or none. They come back in the order given.",
    body: z.strictObject({ suppressions: z.array(New).min(1).max(1_000) }),
    returns: z.object({ data: z.array(Suppression) }),
    status: 201,
  }),
  async (c) => c.json({ data: await addSuppressions(c.var.ctx, c.req.valid("json").suppressions) }, 201),
);
suppressionRoutes.openapi(
  op({
    ...suppression,
    id: "getSuppression",
    method: "get",
    scope: "suppressions:read",
    summary: "Get a suppression",
    returns: Suppression,
  }),
  async (c) => c.json(await getSuppression(c.var.ctx, c.req.valid("param").id), 200),
);
suppressionRoutes.openapi(
  op({
    ...suppression,
    id: "removeSuppression",
    method: "delete",
    scope: "suppressions:write",
    summary: "Send to an address again",
    description: "Bounces that it came of are counted anew. What else suppresses the address still does.",
    status: 204,
  }),
  async (c) => {
    await removeSuppression(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
