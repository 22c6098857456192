import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, type Any, admin, type Client, newTenant, type Tenant } from "./helpers";
import { betweenDatabase } from "./outbound";
import { prepareCall, send } from "./prepared";
import { clientWith } from "./samples";
import { asOwner } from "./setup/owner";
import { type Operation, readOperations } from "./spec";

const operations = await readOperations();

let mine: Tenant;
beforeAll(async () => {
  mine = await newTenant();
});

const callerOf = async ({ scope }: Operation): Promise<Client> =>
  scope === "deployment:admin" ? admin() : scope === "users:guest" ? clientWith(mine, [scope]) : mine;

/** A call of the operation with a key of its own, to be sent as often as one likes. */
async function repeatable(operation: Operation) {
  const call = await prepareCall(operations, mine, operation);
  const headers = { ...call.headers, "Idempotency-Key": crypto.randomUUID() };
  const as = await callerOf(operation);
  return () => send(as, { ...call, headers });
}

const shown = ({ status, body }: Answer<Any>) => ({ status, body });
const auditedBy = ({ headers }: Answer<Any>) =>
  asOwner("select action from audit_logs where request_id = $1", [headers.get("Parley-Request-Id")]);

async function expectReplay(answer: Answer<Any>) {
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  expect(answer.headers.get("Idempotency-Replayed")).toBe("true");
  expect(await auditedBy(answer)).toEqual([]);
}

describe.each(operations.filter(({ once }) => once))("$id with an Idempotency-Key", (operation) => {
  it("repeats its answer and does nothing again", async () => {
    const ask = await repeatable(operation);

    const [first, second] = [await ask(), await ask()];

    expect(first.headers.get("Idempotency-Replayed")).toBeNull();
    expect(shown(second)).toEqual(shown(first));
    await expectReplay(second);
  });

  it("whose answer was lost with a crash after the commit has one effect, and answers what it did", async () => {
    const ask = await repeatable(operation);
    let committed = 0;

    const lost = await betweenDatabase(async ({ queries, send }) => {
      const response = await send();
      // Of settings that have changed meanwhile it hears, and tries again.
      if (!queries.includes("select once(") || !response.ok) return response;
      committed++;
      throw new Error("The connection was lost.");
    }, ask);
    const [second, third] = [await ask(), await ask()];

    expect(lost.status).toBe(503);
    expect(committed).toBe(1);
    await expectReplay(second);
    expect(shown(third)).toEqual(shown(second));
  });
});
