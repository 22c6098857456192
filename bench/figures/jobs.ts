import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { atMost, type Bench } from "../figure.ts";
import { once, quantile } from "../load.ts";
import { newTenant, type Stack } from "../stack.ts";
import { newHooks } from "./webhooks.ts";

const JOBS = 300;
const SECONDS = 10;

type Due = { tenantId: string; id: string; runAt: string };

/** Jobs that have nothing to do, due at any moment of the next seconds, as whoever schedules them leaves them. */
async function schedule(stack: Stack, tenantId: string, webhookId: string): Promise<Due[]> {
  const rows = await stack.sql(
    `insert into scheduled_jobs (tenant_id, id, type, payload, run_at, created_by)
       select $1, gen_random_uuid(), 'webhooks.redelivery', jsonb_build_object('webhookId', $2::text, 'since', now(), 'mode', 'failed'),
         now() + interval '1.5 seconds' + random() * $3::int * interval '1 second', 'bench' from generate_series(1, $4::int)
     returning tenant_id as "tenantId", id, run_at as "runAt"`,
    [tenantId, webhookId, SECONDS, JOBS],
  );
  return rows as Due[];
}

/** From a job's time to its end, which is no sooner than its start. */
async function lags(stack: Stack, tenantId: string): Promise<number[]> {
  for (;;) {
    const rows = await stack.sql(
      `select extract(epoch from finished_at - run_at)::float8 * 1000 as lag from scheduled_jobs
        where tenant_id = $1 and status = 'completed' order by 1`,
      [tenantId],
    );
    if (rows.length === JOBS) return rows.map((row) => Number(row.lag));
    await delay(200);
  }
}

export const jobs: Bench = {
  names: ["job_start_lag_p99_ms"],
  async measure(stack) {
    const agent = new Agent();
    const tenant = await newTenant(stack);
    const [hook] = await newHooks(stack, tenant, "http://127.0.0.1:4040/");
    const due = await schedule(stack, tenant.id, hook!.webhookId);
    const headers = { "Content-Type": "application/json" };
    await once(agent, stack.floor, { method: "POST", path: "/jobs", headers, body: JSON.stringify(due) });
    const sorted = await lags(stack, tenant.id);
    agent.destroy();
    const note = `p50 ${quantile(sorted, 0.5).toFixed(0)} ms, ${JOBS} jobs due within ${SECONDS} s`;
    return { job_start_lag_p99_ms: atMost(quantile(sorted, 0.99), 1000, "ms", note) };
  },
};
