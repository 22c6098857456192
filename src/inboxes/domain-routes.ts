import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { idOf, Moment, pathId, text, z } from "../lib/validate";
import { verifyDomain } from "./checks";
import { createDomain, deleteDomain, getDomain, listDomains, updateDomain } from "./domains";
import { DOMAIN_STATUSES, RECORD_PURPOSES, RECORD_TYPES } from "./schema";

export const domainRoutes = feature();

const DNS_NAME =
  /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,8}\.[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

const Domain = z
  .object({
    id: z.uuid(),
    name: z.string(),
    status: z.enum(DOMAIN_STATUSES).openapi({ description: "It receives mail while it is verified" }),
    fromName: z.string().nullable(),
    replyTo: z.string().nullable(),
    bounceAddress: z.string().nullable(),
    inboundTopic: z.string().nullable(),
    authServers: z.array(z.string()),
    missingSince: Moment.nullable().openapi({
      description: "Since when its proof is not found; after a day of that it is lost",
    }),
    mxVerified: z.boolean(),
    spfVerified: z.boolean(),
    dkimVerified: z.boolean(),
    dmarcVerified: z.boolean(),
    records: z.array(
      z.object({
        purpose: z.enum(RECORD_PURPOSES),
        type: z.enum(RECORD_TYPES),
        name: z.string(),
        expected: z.string(),
        priority: z.int().nullable(),
        found: z.array(z.string()),
        ok: z.boolean(),
        todo: z.string().nullable().openapi({ description: "What to change" }),
      }),
    ),
    checkedAt: Moment.nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Domain");

const settings = {
  fromName: text(255, 1).nullable().optional().openapi({ description: "Of senders without a name of their own" }),
  replyTo: z.email().max(320).nullable().optional(),
  bounceAddress: z.email().max(320).nullable().optional(),
  inboundTopic: z
    .string()
    .max(256)
    .regex(/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,100}$/)
    .nullable()
    .optional()
    .openapi({ description: "ARN of the SNS topic that brings mail received by SES" }),
  authServers: z
    .array(
      z
        .string()
        .max(253)
        .toLowerCase()
        .regex(/^[a-zA-Z0-9._-]+$/),
    )
    .max(10)
    .optional()
    .openapi({
      description:
        "Of your servers that hand in its mail over HTTP: their Authentication-Results are believed. They must remove those that others wrote in their name.",
    }),
};

const domains = { tag: "Domains", path: "/domains" } as const;
const domain = { tag: "Domains", path: "/domains/{id}", params: pathId("domain") } as const;

domainRoutes.openapi(
  op({
    ...domains,
    id: "createDomain",
    method: "post",
    scope: "inboxes:write",
    summary: "Claim a domain",
    description:
      "Any tenant may claim any domain; whoever's proof stands in its DNS has it, and receives its mail. Put the records it returns there, then verify it.",
    body: z.strictObject({
      name: z
        .string()
        .max(253)
        .toLowerCase()
        .regex(DNS_NAME, "A domain such as example.com; international ones in their xn-- form."),
      integrationId: idOf("integration").optional().openapi({ description: "The account that sends for it" }),
      ...settings,
    }),
    returns: Domain,
    status: 201,
  }),
  async (c) => c.json(await createDomain(c.var.ctx, c.req.valid("json")), 201),
);
domainRoutes.openapi(
  op({
    ...domains,
    id: "listDomains",
    method: "get",
    scope: "inboxes:read",
    summary: "List domains",
    query: z.strictObject(PageQuery),
    returns: listOf(Domain),
  }),
  async (c) => c.json(await listDomains(c.var.ctx, c.req.valid("query")), 200),
);
domainRoutes.openapi(
  op({ ...domain, id: "getDomain", method: "get", scope: "inboxes:read", summary: "Get a domain", returns: Domain }),
  async (c) => c.json(await getDomain(c.var.ctx, c.req.valid("param").id), 200),
);
domainRoutes.openapi(
  op({
    ...domain,
    id: "updateDomain",
    method: "patch",
    scope: "inboxes:write",
    summary: "Change a domain's defaults",
    body: z.strictObject(settings),
    returns: Domain,
  }),
  async (c) => c.json(await updateDomain(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
domainRoutes.openapi(
  op({
    ...domain,
    id: "verifyDomain",
    method: "post",
    path: "/domains/{id}/verify",
    scope: "inboxes:write",
    summary: "Look at a domain's DNS now",
    description:
      "Each record is shown beside what was found, and what to change. It is looked at again every few hours.",
    once: false,
    returns: Domain,
  }),
  async (c) => c.json(await verifyDomain(c.var.ctx, c.req.valid("param").id), 200),
);
domainRoutes.openapi(
  op({
    ...domain,
    id: "deleteDomain",
    method: "delete",
    scope: "inboxes:write",
    summary: "Give a domain without inboxes up",
    status: 204,
  }),
  async (c) => {
    await deleteDomain(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
