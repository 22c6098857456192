import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Moment, pathId, text, z } from "../lib/validate";
import { JOB_STATUSES } from "./schema";
import { cancelJob, getJob, listJobs, runJobNow } from "./service";

export const jobRoutes = feature();

const Job = z
  .object({
    id: z.uuid(),
    type: z.string(),
    payload: z.record(z.string(), z.unknown()),
    status: z.enum(JOB_STATUSES),
    runAt: Moment,
    attempts: z.int(),
    maxAttempts: z.int(),
    progress: z.object({ done: z.int(), total: z.int().nullable() }),
    result: z.record(z.string(), z.unknown()).nullable(),
    error: z.string().nullable(),
    createdBy: z.string(),
    startedAt: Moment.nullable(),
    finishedAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("Job");

const JobFilters = z.strictObject({
  type: text(100, 1).optional(),
  status: z.enum(JOB_STATUSES).optional(),
  ...PageQuery,
});

const job = { tag: "Jobs", path: "/jobs/{id}", params: pathId("job"), returns: Job } as const;

jobRoutes.openapi(
  op({
    id: "listJobs",
    tag: "Jobs",
    method: "get",
    path: "/jobs",
    scope: "jobs:read",
    summary: "List jobs, newest first",
    description: "Finished jobs are kept for a day, failed ones for seven.",
    query: JobFilters,
    returns: listOf(Job),
  }),
  async (c) => c.json(await listJobs(c.var.ctx, c.req.valid("query")), 200),
);
jobRoutes.openapi(
  op({ ...job, id: "getJob", method: "get", scope: "jobs:read", summary: "Get a job and how far it is" }),
  async (c) => c.json(await getJob(c.var.ctx, c.req.valid("param").id), 200),
);
jobRoutes.openapi(
  op({
    ...job,
    id: "cancelJob",
    method: "post",
    path: "/jobs/{id}/cancel",
    scope: "jobs:write",
    summary: "Cancel a job that is not finished",
    description: "What a running job has done stays done. Some jobs must not stop halfway: for them the answer is 409.",
  }),
  async (c) => c.json(await cancelJob(c.var.ctx, c.req.valid("param").id), 200),
);
jobRoutes.openapi(
  op({
    ...job,
    id: "runJobNow",
    method: "post",
    path: "/jobs/{id}/run",
    scope: "jobs:write",
    summary: "Run a waiting job now, or a failed one once more",
  }),
  async (c) => c.json(await runJobNow(c.var.ctx, c.req.valid("param").id), 200),
);
