import { expect, it } from "vitest";
import { EXEMPT, NOT_COUNTED } from "../src/lib/exempt";
import { callsOf } from "./calls";
import { admin, newTenant } from "./helpers";
import { prepareCall, send } from "./prepared";
import { clientWith } from "./samples";
import { type Call, type Operation, readOperations } from "./spec";

it("every operation calls the database once, but for those that say why not", async () => {
  const operations = await readOperations();
  const [mine, operator] = [await newTenant({ name: "Budget" }), await admin()];
  const count = async (operation: Operation, tries: number) => {
    const { id, method, scope } = operation;
    const own = scope === "any" || scope === "public" ? "users:read" : scope;
    const caller = scope === "deployment:admin" ? operator : await clientWith(mine, [own]);
    let call: Call;
    let status = 0;
    const calls = await callsOf(
      async () => {
        ({ status } = await send(caller, call));
      },
      async () => {
        call = await prepareCall(operations, mine, operation);
        await caller.get("/v1/whoami");
      },
      tries,
    );
    expect(status, id).toBeLessThan(300);
    return { id, get: method === "GET", calls, bound: EXEMPT[id]?.calls ?? 1 };
  };

  expect(Object.keys(NOT_COUNTED).filter((name) => !operations.some(({ id }) => id === name))).toEqual([]);
  const counted = [];
  for (const operation of operations.filter(({ id }) => !(id in NOT_COUNTED))) {
    const first = await count(operation, 2);
    // Work that others have begun goes on meanwhile, and their keys of the deployment make its settings be read anew.
    counted.push(first.calls > first.bound ? await count(operation, 15) : first);
  }

  console.log(`BUDGET ${JSON.stringify(counted)}`);
  expect(counted.filter(({ calls, bound }) => calls > bound)).toEqual([]);
}, 240_000);
