import { spawnSync } from "node:child_process";
import { EXEMPT, NOT_COUNTED } from "../../src/lib/exempt.ts";
import { atMost, type Bench } from "../figure.ts";

type Counted = { id: string; get: boolean; calls: number };

/** Counted by the test that asks every operation of the API description, which knows how to ask each. */
function count(): Counted[] {
  const vitest = spawnSync("vitest", ["run", "test/budget.test.ts", "--silent=false"], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  const line = /^BUDGET (.*)$/m.exec(vitest.stdout)?.[1];
  if (!line) throw new Error(`The calls were not counted:\n${vitest.stdout.slice(-2000)}`);
  return JSON.parse(line) as Counted[];
}

export const calls: Bench = {
  names: ["db_calls_get", "db_calls_write"],
  async measure() {
    const counted = count().filter(({ id }) => !(id in EXEMPT));
    const names = (of: object) => Object.keys(of).join(", ");
    const worst = (of: Counted[]) => of.reduce((a, b) => (b.calls > a.calls ? b : a));
    const figure = (of: Counted[], note = "") =>
      atMost(worst(of).calls, 1, "calls", `${of.length} operations, the worst ${worst(of).id}${note}`);
    return {
      db_calls_get: figure(counted.filter(({ get }) => get)),
      db_calls_write: figure(
        counted.filter(({ get }) => !get),
        `; exempt: ${names(EXEMPT)}; not counted: ${names(NOT_COUNTED)}`,
      ),
    };
  },
};
