import { atLeast, atMost, type Bench } from "../figure.ts";
import { type Ask, interleaved, load } from "../load.ts";
import { newTenant } from "../stack.ts";

/** Lists, writes and what authentication costs, each against its floor. */
export const requests: Bench = {
  names: ["list_vs_floor", "write_vs_floor", "auth_overhead_ms"],
  async measure(stack) {
    const tenant = await newTenant(stack);
    await stack.sql(
      `insert into users (tenant_id, id, external_id, username, display_name, email, metadata)
       select $1, gen_random_uuid(), 'user-' || n, 'user' || n, 'User ' || n, 'user' || n || '@example.com', jsonb_build_object('n', n) from generate_series(1, 500) n`,
      [tenant.id],
    );
    const headers = { Authorization: `Bearer ${tenant.key}`, "Content-Type": "application/json" };
    const list: Ask = { path: "/v1/users", headers };
    const bareList: Ask = { path: `/users/${tenant.id}` };
    const write =
      (path: string, more = {}) =>
      (): Ask => ({ method: "POST", path, headers: { ...headers, ...more }, body: '{"name":"Support"}' });
    const per = (base: URL, ask: () => Ask) => async () =>
      (await load(base, ask, { concurrency: 16, ms: 2500 })).perSecond;

    const lists = await interleaved(
      per(stack.worker, () => list),
      per(stack.floor, () => bareList),
    );
    const writes = await interleaved(
      per(stack.worker, write("/v1/teams")),
      per(stack.floor, write(`/teams/${tenant.id}`)),
    );
    const alone = (base: URL, ask: Ask) => async () => (await load(base, () => ask, { concurrency: 1, ms: 1500 })).p50;
    const single = await interleaved(alone(stack.worker, list), alone(stack.floor, bareList));
    return {
      list_vs_floor: atLeast(
        lists.ratio,
        0.7,
        "ratio",
        `${Math.round(lists.mine)}/s against ${Math.round(lists.theirs)}/s`,
      ),
      write_vs_floor: atLeast(
        writes.ratio,
        0.5,
        "ratio",
        `${Math.round(writes.mine)}/s against ${Math.round(writes.theirs)}/s`,
      ),
      auth_overhead_ms: atMost(
        single.mine - single.theirs,
        2,
        "ms",
        `p50 ${single.mine.toFixed(2)} ms against ${single.theirs.toFixed(2)} ms`,
      ),
    };
  },
};
