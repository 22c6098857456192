import { vi } from "vitest";
import type { Any } from "./helpers";

export type Call = {
  method: string;
  host: string;
  path: string;
  query: string;
  headers: Headers;
  bytes: Uint8Array;
  text: string;
  json: Any;
};
type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };

/** Stands in for a vendor's API at these hosts; everything else goes on as ever. */
export function standIn(hosts: string[], answer: (call: Call) => Answer): Call[] {
  const calls: Call[] = [];
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init?: RequestInit) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    if (!hosts.includes(url.host)) return real(input as RequestInfo, init);
    const request = new Request(input as RequestInfo, init);
    const bytes = new Uint8Array(await request.arrayBuffer());
    const text = new TextDecoder().decode(bytes);
    const json = text.startsWith("{") ? JSON.parse(text) : null;
    const { host, pathname: path, search: query } = url;
    const call = { method: request.method, host, path, query, headers: request.headers, bytes, text, json };
    calls.push(call);
    const { status = 200, headers = {}, body = {} } = answer(call);
    return [202, 204].includes(status) ? new Response(null, { status }) : Response.json(body, { status, headers });
  });
  return calls;
}
