import type { Context } from "./context";

/** One line of JSON each. Paths go without their query, headers and bodies not at all: no secret gets here. */
export function logRequest(
  requestId: string,
  method: string,
  path: string,
  status: number,
  ms: number,
  ctx: Context | undefined,
): void {
  const who = ctx && { tenantId: ctx.tenantId, actor: ctx.actor.kind };
  console.log(JSON.stringify({ level: status < 500 ? "info" : "error", requestId, method, path, status, ms, ...who }));
}

export function logFault(requestId: string, fault: unknown): void {
  const { name, message, stack } = fault instanceof Error ? fault : new Error(String(fault));
  console.error(
    JSON.stringify({ level: "error", requestId, fault: name, message, stack: stack?.split("\n").slice(1, 6) }),
  );
}
