import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Metadata, Moment, pathId, text, z } from "../lib/validate";
import { METRIC_NAMES, OTHER_LIMITS } from "./metrics";
import { createPlan, deletePlan, getPlan, listPlans, updatePlan } from "./plans";

export const planRoutes = feature();

const admin = { tag: "Deployment", scope: "deployment:admin" } as const;

const Price = z
  .string()
  .regex(/^\d{1,8}(\.\d{1,2})?$/, "An amount with up to two decimals, as text.")
  .nullable()
  .optional();
const Limits = z.partialRecord(z.enum([...METRIC_NAMES, ...OTHER_LIMITS]), z.int().min(0).max(Number.MAX_SAFE_INTEGER));
const TYPE_PATTERN = /^[a-z0-9][\w!#$&^.+-]{0,126}\/(\*|[a-z0-9][\w!#$&^.+-]{0,126})$/;
const FileTypes = z
  .array(z.string().regex(TYPE_PATTERN, "A media type in lower case, or a kind of them as image/*."))
  .max(100);
const Features = Metadata.superRefine((features, issues) => {
  const { error } = FileTypes.optional().safeParse(features.fileTypes);
  for (const { path, message } of error?.issues ?? [])
    issues.addIssue({ code: "custom", path: ["fileTypes", ...path], message });
}).openapi({ description: "fileTypes: the media types that files may have, all of them where it is not there" });
const Plan = z
  .object({
    id: z.uuid(),
    name: z.string(),
    tier: z.string(),
    monthlyPrice: z.string().nullable(),
    yearlyPrice: z.string().nullable(),
    features: z.record(z.string(), z.unknown()),
    limits: z.record(z.string(), z.number()),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Plan");
const NewPlan = z.strictObject({
  name: text(100, 1),
  tier: text(50, 1),
  monthlyPrice: Price,
  yearlyPrice: Price,
  features: Features.optional(),
  limits: Limits.optional(),
});
const plan = { ...admin, path: "/plans/{id}", params: pathId("plan") } as const;

planRoutes.openapi(
  op({
    ...admin,
    id: "createPlan",
    method: "post",
    path: "/plans",
    summary: "Create a plan",
    body: NewPlan,
    returns: Plan,
    status: 201,
  }),
  async (c) => c.json(await createPlan(c.var.ctx, c.req.valid("json")), 201),
);
planRoutes.openapi(
  op({
    ...admin,
    id: "listPlans",
    method: "get",
    path: "/plans",
    summary: "List plans",
    query: z.strictObject(PageQuery),
    returns: listOf(Plan),
  }),
  async (c) => c.json(await listPlans(c.var.ctx, c.req.valid("query")), 200),
);
planRoutes.openapi(op({ ...plan, id: "getPlan", method: "get", summary: "Get a plan", returns: Plan }), async (c) =>
  c.json(await getPlan(c.var.ctx, c.req.valid("param").id), 200),
);
planRoutes.openapi(
  op({
    ...plan,
    id: "updatePlan",
    method: "patch",
    summary: "Change a plan; new limits hold within a minute",
    body: NewPlan.partial(),
    returns: Plan,
  }),
  async (c) => c.json(await updatePlan(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
planRoutes.openapi(
  op({ ...plan, id: "deletePlan", method: "delete", summary: "Delete a plan that no tenant is on", status: 204 }),
  async (c) => {
    await deletePlan(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
