import { PageQuery } from "../lib/page";
import { Instant, Moment, pathIdAnd, text, z } from "../lib/validate";
import { MOST_LINK_SECONDS } from "./links";
import { UPLOAD_STATUSES } from "./schema";

export const File = z
  .object({
    id: z.uuid(),
    name: z.string(),
    contentType: z.string(),
    size: z.int().openapi({ description: "As announced, while uploading" }),
    sha256: z.string().nullable(),
    status: z.enum(UPLOAD_STATUSES),
    error: z.string().nullable(),
    createdBy: z.uuid().nullable(),
    attachedAt: Moment.nullable(),
    completedAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("File");

export const Sha256 = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/)
  .toLowerCase();

export const Hashed = z.object({ "Parley-Sha256": Sha256.optional() });
const Size = z.int().min(0).max(5_000_000_000_000);

export const Named = z.strictObject({ name: text(255, 1).optional() });

export const FileFilters = z.strictObject({
  ...PageQuery,
  status: z.enum(UPLOAD_STATUSES).optional(),
  type: z
    .string()
    .regex(/^[\w!#$&^.+-]{1,127}\/([\w!#$&^.+-]{1,127}|\*)$/)
    .toLowerCase()
    .optional()
    .openapi({ description: "A media type, or all of a kind: image/*" }),
  minSize: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  since: Instant.optional(),
});

const Disposition = z.enum(["attachment", "inline"]);
export const NewLink = z.strictObject({
  expiresInSeconds: z.int().min(1).max(MOST_LINK_SECONDS).default(3600),
  disposition: Disposition.default("attachment"),
});
export const FileLink = z.object({ url: z.url(), expiresAt: Moment }).openapi("FileLink");

export const Signed = z.strictObject({
  disposition: Disposition.default("attachment"),
  expires: z.coerce.number().int().min(0).max(1e11).optional(),
  signature: z.string().max(200).optional(),
});

export const NewUpload = z.strictObject({
  name: text(255, 1),
  contentType: z.string().max(255).optional(),
  size: Size,
});
export const PartialUpload = File.extend({ partSize: z.int(), parts: z.int() }).openapi("PartialUpload");
export const Part = z.object({ number: z.int(), size: z.int(), sha256: z.string() }).openapi("FilePart");
export const OnePart = pathIdAnd("file", { number: z.coerce.number().int().min(1).max(10_000) });
