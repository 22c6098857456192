import { ApiError } from "../lib/errors";
import { contentDisposition } from "./names";
import { descriptionOf } from "./objects";
import { rangeOf } from "./ranges";
import { type Disposition, servedAs } from "./types";

export type Wanted = { key: string; disposition: Disposition; maxAge: number };

/** Whatever was uploaded, nothing in it may run where this API is at home. */
const HARMLESS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
  "Cross-Origin-Resource-Policy": "cross-origin",
  "Referrer-Policy": "no-referrer",
  "Accept-Ranges": "bytes",
};

/** Answers like a static file server: GET and HEAD, one range, If-None-Match, If-Range. */
export async function serveContent(env: Env, request: Request, wanted: Wanted): Promise<Response> {
  const { headers, method } = request;
  const asks = ["If-None-Match", "Range"].some((name) => headers.has(name)) || method === "HEAD";
  const known = asks ? await env.FILES.head(wanted.key) : null;
  if (!known) {
    const object = asks ? null : await env.FILES.get(wanted.key);
    if (!object) throw new ApiError("not_found");
    return new Response(object.body, { headers: headersOf(object, wanted) });
  }
  const answer = headersOf(known, wanted);
  if (isKnown(headers.get("If-None-Match"), known)) {
    for (const name of ["Content-Length", "Content-Type", "Content-Disposition"]) answer.delete(name);
    return new Response(null, { status: 304, headers: answer });
  }
  const fresh = !headers.has("If-Range") || headers.get("If-Range") === known.httpEtag;
  const range = fresh ? rangeOf(headers.get("Range"), known.size) : "all";
  if (range === "none") {
    throw new ApiError("range_not_satisfiable", `The file has ${known.size} bytes.`, { size: known.size });
  }
  if (range !== "all") {
    answer.set("Content-Range", `bytes ${range.offset}-${range.offset + range.length - 1}/${known.size}`);
    answer.set("Content-Length", String(range.length));
  }
  const status = range === "all" ? 200 : 206;
  if (method === "HEAD") return new Response(null, { status, headers: answer });
  const object = await env.FILES.get(wanted.key, range === "all" ? {} : { range });
  if (!object) throw new ApiError("not_found");
  return new Response(object.body, { status, headers: answer });
}

function headersOf(object: R2Object, wanted: Wanted): Headers {
  const { name, contentType } = descriptionOf(object);
  const { type, disposition } = servedAs(contentType, wanted.disposition);
  return new Headers({
    ...HARMLESS,
    "Content-Type": type,
    "Content-Length": String(object.size),
    "Content-Disposition": contentDisposition(disposition, name),
    ETag: object.httpEtag,
    "Last-Modified": object.uploaded.toUTCString(),
    "Cache-Control":
      wanted.maxAge > 0 ? `private, no-transform, max-age=${wanted.maxAge}` : "private, no-transform, no-cache",
  });
}

const isKnown = (header: string | null, { etag }: R2Object): boolean =>
  header !== null && (header.trim() === "*" || [...header.matchAll(/"([^"]*)"/g)].some(([, known]) => known === etag));
