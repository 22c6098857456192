import { vi } from "vitest";
import type { Any } from "./helpers";

export type Call = { method: string; host: string; path: string; headers: Headers; text: string; json: Any };
type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };

/** Stands in for a vendor's API at these hosts; everything else goes on as ever. */
export function standIn(hosts: string[], answer: (call: Call) => Answer): Call[] {
  const calls: Call[] = [];
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init?: RequestInit) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    if (!hosts.includes(url.host)) return real(input as RequestInfo, init);
    const request = new Request(input as RequestInfo, init);
    const text = await request.text();
    const json = text.startsWith("{") ? JSON.parse(text) : null;
    const call = { method: request.method, host: url.host, path: url.pathname, headers: request.headers, text, json };
    calls.push(call);
    const { status = 200, headers = {}, body = {} } = answer(call);
    return status === 202 ? new Response(null, { status }) : Response.json(body, { status, headers });
  });
  return calls;
}
