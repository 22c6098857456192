import type { Any, Client, Tenant } from "./helpers";
import { FACTORIES, givenFor, IN_THE_RIGHT_STATE, STAGES } from "./samples";
import { type Call, type Operation, type Position, positionsOf, sampleCall } from "./spec";

/** A call on new things of the caller's own; where a position is named, with another tenant's in it. */
export async function prepareCall(
  operations: Operation[],
  mine: Tenant,
  operation: Operation,
  position?: Position,
  foreign?: Map<string, string>,
): Promise<Call> {
  const own = new Map<string, string>();
  for (const { resource, at } of positionsOf(operation)) {
    const kind = IN_THE_RIGHT_STATE[operation.id]?.[resource] ?? resource;
    own.set(at.join(), await FACTORIES[kind]!(mine, "Mine"));
  }
  const fill = (resource: string, at: string[]) =>
    foreign && position?.at.join() === at.join() ? foreign.get(resource)! : own.get(at.join())!;
  const given = await givenFor(operation.id, mine, position?.at[0] ?? "");
  const headers = await STAGES[operation.id]?.(mine, own);
  const call = { ...sampleCall(operation, fill, position, given), ...(headers && { headers }) };
  // What a DELETE is to find, the PUT of the same place makes.
  const maker = operations.find(({ method, path }) => method === "PUT" && path === operation.path);
  if (operation.method === "DELETE" && maker) {
    const { body } = sampleCall(maker, fill, undefined, await givenFor(maker.id, mine, ""));
    await send(mine, { method: "PUT", path: call.path, body });
  }
  return call;
}

export const send = (as: Client, { method, path, body, headers }: Call) =>
  as.request<Any>(method, path, body, headers && { headers });
