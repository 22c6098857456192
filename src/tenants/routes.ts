import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, idOf, Metadata, Moment, pathId, text, z } from "../lib/validate";
import { exportAuditLogs, listAuditLogs } from "./audit-log";
import { deleteTenant } from "./deletion";
import { METRIC_NAMES } from "./metrics";
import { ACTOR_KINDS } from "./schema";
import { createTenant, getTenant, listTenants, setSuspended, updateTenant } from "./service";
import { limitsOf, usageBetween } from "./usage";

export const tenantRoutes = feature();

const Tenant = z
  .object({
    id: z.uuid(),
    name: z.string(),
    planId: z.uuid().nullable(),
    settings: z.record(z.string(), z.unknown()),
    metadata: z.record(z.string(), z.unknown()),
    suspendedAt: Moment.nullable(),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Tenant");

const Origin = z
  .string()
  .max(255)
  .regex(/^https?:\/\/[a-z0-9.-]+(:\d{1,5})?$/, "An origin is a scheme, a host and maybe a port, without a path.");
const Settings = z.strictObject({ allowedOrigins: z.array(Origin).max(100).nullable().optional() });
const own = { name: text(255, 1), settings: Settings.optional(), metadata: Metadata.optional() };
const NewTenant = z.strictObject({ ...own, planId: idOf("plan").optional() });
const TenantPatch = z.strictObject({ ...own, name: own.name.optional(), planId: idOf("plan").nullable().optional() });
const OwnPatch = z.strictObject({ ...own, name: own.name.optional() });

const admin = { tag: "Deployment", scope: "deployment:admin" } as const;
const tenant = { ...admin, path: "/tenants/{id}", params: pathId("tenant") } as const;

tenantRoutes.openapi(
  op({
    ...admin,
    id: "createTenant",
    method: "post",
    path: "/tenants",
    summary: "Create a tenant and its first API key",
    body: NewTenant,
    returns: Tenant.extend({ apiKey: z.object({ id: z.uuid(), name: z.string(), secret: z.string() }) }),
    status: 201,
  }),
  async (c) => c.json(await createTenant(c.var.ctx, c.req.valid("json") as never), 201),
);
tenantRoutes.openapi(
  op({
    ...admin,
    id: "listTenants",
    method: "get",
    path: "/tenants",
    summary: "List tenants",
    query: z.strictObject({ ...PageQuery, planId: idOf("plan").optional(), suspended: flag.optional() }),
    returns: listOf(Tenant),
  }),
  async (c) => c.json(await listTenants(c.var.ctx, c.req.valid("query")), 200),
);
tenantRoutes.openapi(
  op({ ...tenant, id: "getTenant", method: "get", summary: "Get a tenant", returns: Tenant }),
  async (c) => c.json(await getTenant(c.var.ctx, c.req.valid("param").id), 200),
);
tenantRoutes.openapi(
  op({
    ...tenant,
    id: "updateTenant",
    method: "patch",
    summary: "Change a tenant or its plan",
    body: TenantPatch,
    returns: Tenant,
  }),
  async (c) => c.json(await updateTenant(c.var.ctx, c.req.valid("param").id, c.req.valid("json") as never), 200),
);
tenantRoutes.openapi(
  op({
    ...tenant,
    id: "suspendTenant",
    method: "post",
    path: "/tenants/{id}/suspend",
    summary: "Refuse all of a tenant's credentials",
    returns: Tenant,
  }),
  async (c) => c.json(await setSuspended(c.var.ctx, c.req.valid("param").id, true), 200),
);
tenantRoutes.openapi(
  op({
    ...tenant,
    id: "resumeTenant",
    method: "post",
    path: "/tenants/{id}/resume",
    summary: "Let a suspended tenant work again",
    returns: Tenant,
  }),
  async (c) => c.json(await setSuspended(c.var.ctx, c.req.valid("param").id, false), 200),
);
tenantRoutes.openapi(
  op({
    ...tenant,
    id: "deleteTenant",
    method: "delete",
    summary: "Delete a tenant with all it has",
    description: "Its credentials are refused from now on. A job of the deployment's own says how far the removal is.",
    returns: z.object({ id: z.uuid(), jobId: z.uuid() }),
    status: 202,
  }),
  async (c) => c.json(await deleteTenant(c.var.ctx, c.req.valid("param").id), 202),
);

const self = { tag: "Tenant", path: "/tenant" } as const;

tenantRoutes.openapi(
  op({ ...self, id: "getOwnTenant", method: "get", scope: "tenant:read", summary: "Get your tenant", returns: Tenant }),
  async (c) => c.json(await getTenant(c.var.ctx, c.var.ctx.tenantId), 200),
);
tenantRoutes.openapi(
  op({
    ...self,
    id: "updateOwnTenant",
    method: "patch",
    scope: "tenant:write",
    summary: "Change your tenant",
    body: OwnPatch,
    returns: Tenant,
  }),
  async (c) => c.json(await updateTenant(c.var.ctx, c.var.ctx.tenantId, c.req.valid("json") as never), 200),
);

const Limit = z.object({
  metric: z.enum(METRIC_NAMES),
  kind: z.enum(["standing", "monthly", "rate"]),
  limit: z.number().nullable(),
  use: z.number().nullable(),
  reset: Moment.nullable(),
});

tenantRoutes.openapi(
  op({
    ...self,
    id: "getLimits",
    method: "get",
    path: "/tenant/limits",
    scope: "tenant:read",
    summary: "Each metric's limit and use",
    returns: z.object({ data: z.array(Limit) }),
  }),
  async (c) => c.json({ data: await limitsOf(c.var.ctx) }, 200),
);

const UsageQuery = z
  .strictObject({
    metric: z.enum(METRIC_NAMES),
    from: Instant,
    to: Instant,
    bucket: z.enum(["hour", "day"]).default("day"),
  })
  .refine(({ from, to, bucket }) => Date.parse(to) - Date.parse(from) <= (bucket === "hour" ? 31 : 366) * 86_400_000, {
    path: ["to"],
    message: "At most 31 days by hour or 366 by day.",
  });

tenantRoutes.openapi(
  op({
    ...self,
    id: "getUsage",
    method: "get",
    path: "/usage",
    scope: "usage:read",
    summary: "A metric's use by hour or day",
    query: UsageQuery,
    returns: z.object({ data: z.array(z.object({ start: Moment, value: z.number() })) }),
  }),
  async (c) => c.json({ data: await usageBetween(c.var.ctx, c.req.valid("query")) }, 200),
);

const AuditLog = z
  .object({
    id: z.uuid(),
    actorKind: z.enum(ACTOR_KINDS),
    actorId: z.uuid().nullable(),
    userId: z.uuid().nullable(),
    action: z.string(),
    targetType: z.string(),
    targetId: z.string().nullable(),
    before: z.unknown(),
    after: z.unknown(),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    requestId: z.string(),
    createdAt: Moment,
  })
  .openapi("AuditLog");

const AuditFilters = z.strictObject({
  actorId: idOf("apiKey").optional(),
  userId: idOf("user").optional(),
  action: text(100, 1).optional(),
  targetType: text(50, 1).optional(),
  targetId: text(255, 1).optional(),
  from: Instant.optional(),
  to: Instant.optional(),
});
const auditLog = { tag: "Audit log", scope: "audit:read" } as const;

tenantRoutes.openapi(
  op({
    ...auditLog,
    id: "listAuditLogs",
    method: "get",
    path: "/audit-logs",
    summary: "List what was changed, newest first",
    query: AuditFilters.extend(PageQuery),
    returns: listOf(AuditLog),
  }),
  async (c) => c.json(await listAuditLogs(c.var.ctx, c.req.valid("query")), 200),
);
tenantRoutes.openapi(
  op({
    ...auditLog,
    id: "exportAuditLogs",
    method: "get",
    path: "/audit-logs/export",
    summary: "The audit log as JSON lines",
    query: AuditFilters,
    media: "application/x-ndjson",
  }),
  async (c) =>
    c.body(await exportAuditLogs(c.var.ctx, c.req.valid("query")), 200, { "Content-Type": "application/x-ndjson" }),
);
