import { vi } from "vitest";
import { hmac, sha256Hex, toHex, utf8 } from "../src/lib/crypto";
import type { Any } from "./helpers";

export const AWS = { accessKeyId: "AKIDEXAMPLE000000001", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };

export type Asked = { method: string; host: string; path: string; json: Any; headers: Headers };
type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };

/** Whether a request bears the signature that AWS itself would make of it (Signature Version 4). */
async function isSigned(request: Request, body: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const authorization = request.headers.get("Authorization") ?? "";
  const [, id, date, region, service, names, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      authorization,
    ) ?? [];
  const url = new URL(request.url);
  if (id !== AWS.accessKeyId || url.hostname.split(".").at(-3) !== region) return false;
  const headerOf = (name: string) => (name === "host" ? url.host : (request.headers.get(name) ?? "").trim());
  const hash = service === "s3" ? headerOf("x-amz-content-sha256") : await sha256Hex(body);
  // S3 alone takes the path as it stands; the others encode it once more.
  const path = service === "s3" ? url.pathname : url.pathname.split("/").map(encodeURIComponent).join("/");
  const headers = names!.split(";").map((name) => `${name}:${headerOf(name)}\n`);
  const canonical = [request.method, path, url.search.slice(1), headers.join(""), names, hash].join("\n");
  const scope = `${date}/${region}/${service}/aws4_request`;
  const at = headerOf("x-amz-date");
  const toSign = ["AWS4-HMAC-SHA256", at, scope, await sha256Hex(canonical)].join("\n");
  let key = utf8(`AWS4${AWS.secretAccessKey}`);
  for (const part of [date!, region!, service!, "aws4_request"]) key = await hmac(key, part);
  const isFresh = at.startsWith(date!) && names!.split(";").includes("x-amz-date");
  return isFresh && toHex(await hmac(key, toSign)) === signature;
}

/** Stands in for AWS: SES and S3 answer those alone whose signature holds. */
export function newAws(answer: (asked: Asked) => Answer) {
  const asked: Asked[] = [];
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init?: RequestInit) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    if (!url.hostname.endsWith(".amazonaws.com")) return real(input as RequestInfo, init);
    const request = new Request(input as RequestInfo, init);
    const body = new Uint8Array(await request.arrayBuffer());
    if (!(await isSigned(request, body)))
      return Response.json(
        { message: "The request signature we calculated does not match the signature you provided." },
        { status: 403, headers: { "x-amzn-ErrorType": "InvalidSignatureException" } },
      );
    const text = new TextDecoder().decode(body);
    const one = { method: request.method, host: url.host, path: url.pathname, headers: request.headers };
    const call = { ...one, json: text === "" ? null : JSON.parse(text) };
    asked.push(call);
    const { status = 200, headers = {}, body: told = {} } = answer(call);
    const bytes = typeof told === "string" ? utf8(told) : utf8(JSON.stringify(told));
    return new Response(bytes, { status, headers: { "Content-Length": String(bytes.length), ...headers } });
  });
  return asked;
}
