import { announcedLength } from "../lib/content-length";
import { ApiError } from "../lib/errors";
import { plainName } from "../lib/file-names";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { pathId, z } from "../lib/validate";
import { serveContent } from "./content";
import { createLink, tenantOfLink } from "./links";
import { nameInDisposition } from "./names";
import { objectKey } from "./objects";
import { beginParts, completeParts, listParts, putPart } from "./parts";
import { deleteFile, getFile, listFiles } from "./service";
import {
  File,
  FileFilters,
  FileLink,
  Hashed,
  Named,
  NewLink,
  NewUpload,
  OnePart,
  Part,
  PartialUpload,
  Sha256,
  Signed,
} from "./shapes";
import { mediaType } from "./types";
import { uploadFile } from "./upload";

const files = { tag: "Files", path: "/files" } as const;
const byId = { ...files, path: "/files/{id}", params: pathId("file") } as const;

/** The body is the file itself, which no schema describes. */
const takesBytes = <R extends { request: object }>(route: R) =>
  Object.assign(route, {
    request: { ...route.request, headers: Hashed },
    requestBody: { required: true, content: { "application/octet-stream": { schema: {} } } },
  });

export const fileRoutes = feature();

fileRoutes.openapi(
  takesBytes(
    op({
      ...files,
      id: "uploadFile",
      method: "post",
      scope: "files:write",
      summary: "Upload a file",
      description:
        "The body is the file, with its Content-Type and Content-Length; the name is in the query or in Content-Disposition. What nothing refers to after 24 hours is removed.",
      query: Named,
      once: false,
      returns: File,
      status: 201,
    }),
  ),
  async (c) => {
    const contentType = mediaType(c.req.header("Content-Type") ?? null);
    if (contentType === "multipart/form-data") {
      const message = "Send the file itself as the body, not in a form.";
      throw new ApiError("invalid_request", message, { errors: [{ path: "header.Content-Type", message }] });
    }
    const size = announcedLength(c.req.header("Content-Length"));
    const name = plainName(
      c.req.valid("query").name ?? nameInDisposition(c.req.header("Content-Disposition") ?? "") ?? "",
    );
    const expected = c.req.valid("header")["Parley-Sha256"];
    return c.json(await uploadFile(c.var.ctx, { name, contentType, size }, c.req.raw.body, expected), 201);
  },
);

fileRoutes.openapi(
  op({
    ...files,
    id: "listFiles",
    method: "get",
    scope: "files:read",
    summary: "List files, newest first: a user's own, or all of the tenant's",
    query: FileFilters,
    returns: listOf(File),
  }),
  async (c) => c.json(await listFiles(c.var.ctx, c.req.valid("query")), 200),
);

fileRoutes.openapi(
  op({
    ...byId,
    id: "getFile",
    method: "get",
    scope: "files:read",
    summary: "Get what is known of a file",
    returns: File,
  }),
  async (c) => c.json(await getFile(c.var.ctx, c.req.valid("param").id), 200),
);

fileRoutes.openapi(
  op({
    ...byId,
    id: "deleteFile",
    method: "delete",
    scope: "files:write",
    summary: "Delete a file, or give up its upload; 409 while something refers to it",
    status: 204,
  }),
  async (c) => {
    await deleteFile(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

fileRoutes.openapi(
  op({
    ...byId,
    id: "createFileLink",
    method: "post",
    path: "/files/{id}/links",
    scope: "files:read",
    summary: "Make a link that downloads the file without a credential, for at most 7 days",
    body: NewLink,
    returns: FileLink,
    status: 201,
  }),
  async (c) => {
    const { disposition, expiresInSeconds } = c.req.valid("json");
    return c.json(await createLink(c.var.ctx, c.req.valid("param").id, disposition, expiresInSeconds), 201);
  },
);

const content = op({
  ...byId,
  id: "getFileContent",
  method: "get",
  path: "/files/{id}/content",
  scope: "files:read",
  summary: "Download a file, with a credential or by a signed link",
  description:
    "Answers HEAD, one range of bytes, If-Range and If-None-Match. Types that a browser might run come as application/octet-stream, to be saved.",
  query: Signed,
});
const [admit] = content.middleware;
const bytes = { content: { "application/octet-stream": { schema: {} } } };

fileRoutes.openapi(
  Object.assign(content, {
    security: [{ bearer: [] }, {}],
    middleware: [(c, next) => (c.req.query("signature") === undefined ? admit(c, next) : next())] satisfies [
      typeof admit,
    ],
    responses: {
      ...content.responses,
      200: { description: "The file", ...bytes },
      206: { description: "The range of it", ...bytes },
      304: { description: "It is what the caller has" },
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const { disposition, expires = 0, signature } = c.req.valid("query");
    const signed = signature !== undefined;
    const tenantId = signed ? await tenantOfLink(c.env, { id, disposition, expires }, signature) : c.var.ctx.tenantId;
    if (!signed && (await getFile(c.var.ctx, id)).status !== "completed") throw new ApiError("not_found");
    const maxAge = signed ? expires - Math.ceil(Date.now() / 1000) : 0;
    const wanted = { key: objectKey(tenantId, id), disposition, maxAge };
    const answer = await serveContent(c.env, c.req.raw, wanted).catch((error) => {
      if (error instanceof ApiError && "size" in error.facts) c.header("Content-Range", `bytes */${error.facts.size}`);
      throw error;
    });
    return c.newResponse(answer.body, { status: answer.status as 200, headers: answer.headers });
  },
);

fileRoutes.openapi(
  op({
    ...files,
    id: "beginUpload",
    method: "post",
    path: "/files/uploads",
    scope: "files:write",
    summary: "Begin an upload in parts, for files that are large or networks that fail",
    description:
      "All parts but the last have partSize bytes; they may come in any order, and again. An upload not completed within 24 hours is removed; deleting the file gives it up.",
    body: NewUpload,
    returns: PartialUpload,
    status: 201,
  }),
  async (c) => {
    const { name, contentType, size } = c.req.valid("json");
    return c.json(
      await beginParts(c.var.ctx, { name: plainName(name), contentType: mediaType(contentType ?? null), size }),
      201,
    );
  },
);

fileRoutes.openapi(
  takesBytes(
    op({
      ...byId,
      id: "putFilePart",
      method: "put",
      path: "/files/{id}/parts/{number}",
      scope: "files:write",
      summary: "Send one part of an upload",
      params: OnePart,
      returns: Part,
    }),
  ),
  async (c) => {
    const { id, number } = c.req.valid("param");
    const length = announcedLength(c.req.header("Content-Length"));
    return c.json(
      await putPart(c.var.ctx, id, number, c.req.raw.body, length, c.req.valid("header")["Parley-Sha256"]),
      200,
    );
  },
);

fileRoutes.openapi(
  op({
    ...byId,
    id: "listFileParts",
    method: "get",
    path: "/files/{id}/parts",
    scope: "files:write",
    summary: "List the parts that have arrived",
    query: z.strictObject(PageQuery),
    returns: listOf(Part),
  }),
  async (c) => c.json(await listParts(c.var.ctx, c.req.valid("param").id, c.req.valid("query")), 200),
);

fileRoutes.openapi(
  op({
    ...byId,
    id: "completeUpload",
    method: "post",
    path: "/files/{id}/complete",
    scope: "files:write",
    summary: "Join the parts; may be repeated",
    body: z.strictObject({ sha256: Sha256.optional() }),
    once: false,
    returns: File,
  }),
  async (c) => c.json(await completeParts(c.var.ctx, c.req.valid("param").id, c.req.valid("json").sha256), 200),
);
