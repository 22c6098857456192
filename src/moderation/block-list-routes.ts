import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Moment, name, pathId, text, z } from "../lib/validate";
import {
  addEntries,
  createList,
  deleteList,
  getList,
  listEntries,
  listLists,
  MOST_ENTRIES,
  removeEntries,
  updateList,
} from "./block-lists";
import { LIST_ACTIONS, LIST_KINDS } from "./kinds";

export const blockListRoutes = feature();

const lists = { tag: "Block lists", path: "/block-lists" } as const;
const list = { tag: "Block lists", path: "/block-lists/{id}", params: pathId("blockList") } as const;
const entries = { ...list, path: "/block-lists/{id}/entries" } as const;

const input = {
  name,
  action: z.enum(LIST_ACTIONS).openapi({
    description: "Refuse the message, hold it for review, or put stars in the place of what was found",
  }),
  everywhere: z.boolean().optional().openapi({ description: "If not, it holds in channels whose type names it" }),
  active: z.boolean().optional(),
};
const kind = z.enum(LIST_KINDS).openapi({
  description: "Whole words, phrases of them, domains with all below them, or the addresses that messages come from",
});
const BlockList = z
  .object({
    id: z.uuid(),
    name: z.string(),
    kind: z.enum(LIST_KINDS),
    action: z.enum(LIST_ACTIONS),
    everywhere: z.boolean(),
    active: z.boolean(),
    entryCount: z.int(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("BlockList");

blockListRoutes.openapi(
  op({
    ...lists,
    id: "createBlockList",
    method: "post",
    scope: "moderation:write",
    summary: "Create a block list; it holds from the next message on",
    body: z.strictObject({ ...input, kind }),
    returns: BlockList,
    status: 201,
  }),
  async (c) => c.json(await createList(c.var.ctx, c.req.valid("json")), 201),
);
blockListRoutes.openapi(
  op({
    ...lists,
    id: "listBlockLists",
    method: "get",
    scope: "moderation:read",
    summary: "List block lists",
    query: z.strictObject(PageQuery),
    returns: listOf(BlockList),
  }),
  async (c) => c.json(await listLists(c.var.ctx, c.req.valid("query")), 200),
);
blockListRoutes.openapi(
  op({
    ...list,
    id: "getBlockList",
    method: "get",
    scope: "moderation:read",
    summary: "Get a block list",
    returns: BlockList,
  }),
  async (c) => c.json(await getList(c.var.ctx, c.req.valid("param").id), 200),
);
blockListRoutes.openapi(
  op({
    ...list,
    id: "updateBlockList",
    method: "patch",
    scope: "moderation:write",
    summary: "Change a block list, or switch it on and off",
    body: z.strictObject(input).partial(),
    returns: BlockList,
  }),
  async (c) => c.json(await updateList(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
blockListRoutes.openapi(
  op({
    ...list,
    id: "deleteBlockList",
    method: "delete",
    scope: "moderation:write",
    summary: "Delete a block list with its entries",
    status: 204,
  }),
  async (c) => {
    await deleteList(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

const Entries = z.strictObject({ entries: z.array(text(255, 1)).min(1).max(1_000) });
const Counted = z.object({ entryCount: z.int() });

blockListRoutes.openapi(
  op({
    ...entries,
    id: "listBlockListEntries",
    method: "get",
    scope: "moderation:read",
    summary: "List the entries of a block list",
    query: z.strictObject(PageQuery),
    returns: listOf(z.object({ entry: z.string(), createdAt: Moment })),
  }),
  async (c) => c.json(await listEntries(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);
blockListRoutes.openapi(
  op({
    ...entries,
    id: "addBlockListEntries",
    method: "post",
    scope: "moderation:write",
    summary: `Add entries, ${MOST_ENTRIES} in all at most; one that is there in another spelling is there already`,
    body: Entries,
    returns: Counted,
  }),
  async (c) => c.json(await addEntries(c.var.ctx, c.req.valid("param").id, c.req.valid("json").entries), 200),
);
blockListRoutes.openapi(
  op({
    ...entries,
    path: "/block-lists/{id}/entries/remove",
    id: "removeBlockListEntries",
    method: "post",
    scope: "moderation:write",
    summary: "Take entries out; those that are not there are no error",
    body: Entries,
    returns: Counted,
  }),
  async (c) => c.json(await removeEntries(c.var.ctx, c.req.valid("param").id, c.req.valid("json").entries), 200),
);
