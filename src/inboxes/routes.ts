import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { anotherId, idOf, Moment, pathId, pathIdAnd, text, z } from "../lib/validate";
import { addInboxMember, listInboxMembers, removeInboxMember, type Somebody } from "./members";
import { createRule, deleteRule, listRules } from "./rules";
import { RULE_ACTIONS } from "./schema";
import { createInbox, deleteInbox, getInbox, listInboxes, updateInbox } from "./service";

export const inboxRoutes = feature();

const LOCAL_PART = /^[a-z0-9!#$%&'*+/=?^_{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_{|}~-]+)*$/;
const PATTERN = /^(\*|([^\s@]{1,64}@)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,8})$/;

const AutoReply = z.strictObject({
  text: text(10_000, 1),
  subject: text(255, 1).nullable().optional(),
  hours: z.int().min(1).max(720).optional(),
});

const Inbox = z
  .object({
    id: z.uuid(),
    domainId: z.uuid(),
    address: z.string(),
    localPart: z.string(),
    name: z.string().nullable(),
    isCatchall: z.boolean(),
    plusAddressing: z.boolean(),
    autoReply: z.object({ text: z.string(), subject: z.string().nullable(), hours: z.int() }).nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Inbox");

const localPart = z.string().max(64).toLowerCase().regex(LOCAL_PART, "What stands before the @.");
const settings = {
  name: text(255, 1).nullable().optional().openapi({ description: "The sender's name" }),
  isCatchall: z.boolean().optional().openapi({ description: "Takes what no other inbox of the domain does" }),
  plusAddressing: z.boolean().optional(),
  autoReply: AutoReply.nullable().optional(),
};

const inboxes = { tag: "Inboxes", path: "/inboxes" } as const;
const inbox = { tag: "Inboxes", path: "/inboxes/{id}", params: pathId("inbox") } as const;

inboxRoutes.openapi(
  op({
    ...inboxes,
    id: "createInbox",
    method: "post",
    scope: "inboxes:write",
    summary: "Create an inbox",
    body: z.strictObject({ domainId: idOf("domain"), localPart, ...settings }),
    returns: Inbox,
    status: 201,
  }),
  async (c) => c.json(await createInbox(c.var.ctx, c.req.valid("json")), 201),
);
inboxRoutes.openapi(
  op({
    ...inboxes,
    id: "listInboxes",
    method: "get",
    scope: "inboxes:read",
    summary: "List inboxes: those the acting user works in, or all",
    query: z.strictObject({ ...PageQuery, domainId: idOf("domain").optional() }),
    returns: listOf(Inbox),
  }),
  async (c) => c.json(await listInboxes(c.var.ctx, c.req.valid("query")), 200),
);
inboxRoutes.openapi(
  op({ ...inbox, id: "getInbox", method: "get", scope: "inboxes:read", summary: "Get an inbox", returns: Inbox }),
  async (c) => c.json(await getInbox(c.var.ctx, c.req.valid("param").id), 200),
);
inboxRoutes.openapi(
  op({
    ...inbox,
    id: "updateInbox",
    method: "patch",
    scope: "inboxes:write",
    summary: "Change an inbox",
    body: z.strictObject({ localPart: localPart.optional(), ...settings }),
    returns: Inbox,
  }),
  async (c) => c.json(await updateInbox(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
inboxRoutes.openapi(
  op({
    ...inbox,
    id: "deleteInbox",
    method: "delete",
    scope: "inboxes:write",
    summary: "Close an inbox; its conversations stay",
    status: 204,
  }),
  async (c) => {
    await deleteInbox(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

inboxRoutes.openapi(
  op({
    ...inbox,
    id: "listInboxMembers",
    method: "get",
    path: "/inboxes/{id}/members",
    scope: "inboxes:read",
    summary: "List who works in an inbox; where that is nobody, every operator does",
    query: z.strictObject(PageQuery),
    returns: listOf(z.object({ userId: z.uuid().nullable(), teamId: z.uuid().nullable(), createdAt: Moment })),
  }),
  async (c) => c.json(await listInboxMembers(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);

const MEMBERS = { user: "users", team: "teams" } as const;

for (const kind of ["user", "team"] as const) {
  const Kind = kind === "user" ? "User" : "Team";
  const member = {
    tag: "Inboxes",
    path: `/inboxes/{id}/${MEMBERS[kind]}/{memberId}`,
    params: pathIdAnd("inbox", { memberId: anotherId(kind, "memberId") }),
    scope: "inboxes:write",
    status: 204,
  } as const;
  const named = (memberId: string): Somebody => (kind === "user" ? { userId: memberId } : { teamId: memberId });

  inboxRoutes.openapi(
    op({ ...member, id: `addInbox${Kind}`, method: "put", summary: `Let a ${kind} work in an inbox` }),
    async (c) => {
      const { id, memberId } = c.req.valid("param");
      await addInboxMember(c.var.ctx, id, named(memberId));
      return c.body(null, 204);
    },
  );
  inboxRoutes.openapi(
    op({ ...member, id: `removeInbox${Kind}`, method: "delete", summary: `Take a ${kind} out of an inbox` }),
    async (c) => {
      const { id, memberId } = c.req.valid("param");
      await removeInboxMember(c.var.ctx, id, named(memberId));
      return c.body(null, 204);
    },
  );
}

const SenderRule = z
  .object({
    id: z.uuid(),
    inboxId: z.uuid().nullable(),
    pattern: z.string(),
    action: z.enum(RULE_ACTIONS),
    createdAt: Moment,
  })
  .openapi("SenderRule");

const rules = { tag: "Inboxes", path: "/sender-rules" } as const;

inboxRoutes.openapi(
  op({
    ...rules,
    id: "createSenderRule",
    method: "post",
    scope: "inboxes:write",
    summary: "Allow or block senders",
    description:
      "The narrowest rule decides: one of the inbox before one of all inboxes, an address before its domain, and that before `*`. To let in some alone, block `*` and allow them.",
    body: z.strictObject({
      pattern: z.string().max(320).toLowerCase().regex(PATTERN, "An address, a domain with all below it, or *."),
      action: z.enum(RULE_ACTIONS),
      inboxId: idOf("inbox").optional(),
    }),
    returns: SenderRule,
    status: 201,
  }),
  async (c) => c.json(await createRule(c.var.ctx, c.req.valid("json")), 201),
);
inboxRoutes.openapi(
  op({
    ...rules,
    id: "listSenderRules",
    method: "get",
    scope: "inboxes:read",
    summary: "List the rules of an inbox, or those of all inboxes",
    query: z.strictObject({ ...PageQuery, inboxId: idOf("inbox").optional() }),
    returns: listOf(SenderRule),
  }),
  async (c) => c.json(await listRules(c.var.ctx, c.req.valid("query")), 200),
);
inboxRoutes.openapi(
  op({
    ...rules,
    id: "deleteSenderRule",
    method: "delete",
    path: "/sender-rules/{id}",
    params: pathId("senderRule"),
    scope: "inboxes:write",
    summary: "Take a rule back",
    status: 204,
  }),
  async (c) => {
    await deleteRule(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
