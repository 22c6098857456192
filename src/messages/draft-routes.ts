import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { idOf, Moment, pathId, text, z } from "../lib/validate";
import { deleteDraft, getDraft, listDrafts, putDraft } from "./drafts";
import { Attachments, Mentions } from "./input";

export const draftRoutes = feature();

const Draft = z
  .object({
    channelId: z.uuid(),
    parentId: z.uuid().nullable(),
    quotedId: z.uuid().nullable(),
    text: z.string(),
    mentions: z.array(z.uuid()),
    attachments: z.array(z.record(z.string(), z.unknown())),
    updatedAt: Moment,
  })
  .openapi("Draft");
const parentId = idOf("message").optional().openapi({ description: "Of the thread of this message" });
const deviceId = text(255, 1)
  .optional()
  .openapi({ description: "Which of your devices this is: it is not told again" });
const draft = { tag: "Drafts", path: "/channels/{id}/draft", params: pathId("channel") } as const;

draftRoutes.openapi(
  op({
    tag: "Drafts",
    path: "/drafts",
    id: "listDrafts",
    method: "get",
    scope: "channels:read",
    summary: "List your drafts, the one changed last first",
    query: z.strictObject(PageQuery),
    returns: listOf(Draft),
  }),
  async (c) => c.json(await listDrafts(c.var.ctx, c.req.valid("query")), 200),
);
draftRoutes.openapi(
  op({
    ...draft,
    id: "getDraft",
    method: "get",
    scope: "channels:read",
    summary: "Get your draft in a channel or thread",
    query: z.strictObject({ parentId }),
    returns: Draft,
  }),
  async (c) => c.json(await getDraft(c.var.ctx, { channelId: c.req.valid("param").id, ...c.req.valid("query") }), 200),
);
draftRoutes.openapi(
  op({
    ...draft,
    id: "putDraft",
    method: "put",
    scope: "channels:write",
    summary: "Keep what you have begun to write; your other devices hear of it",
    query: z.strictObject({ parentId, deviceId }),
    body: z.strictObject({
      text: text(40_000).default(""),
      mentions: Mentions.default([]),
      attachments: Attachments.default([]),
      quotedId: idOf("message").optional(),
    }),
    returns: Draft,
  }),
  async (c) => {
    const place = { channelId: c.req.valid("param").id, ...c.req.valid("query") };
    return c.json(await putDraft(c.var.ctx, place, c.req.valid("json")), 200);
  },
);
draftRoutes.openapi(
  op({
    ...draft,
    id: "deleteDraft",
    method: "delete",
    scope: "channels:write",
    summary: "Throw your draft away",
    query: z.strictObject({ parentId, deviceId }),
    status: 204,
  }),
  async (c) => {
    await deleteDraft(c.var.ctx, { channelId: c.req.valid("param").id, ...c.req.valid("query") });
    return c.body(null, 204);
  },
);
