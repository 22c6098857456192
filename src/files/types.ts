import { ApiError } from "../lib/errors";

export const OCTETS = "application/octet-stream";

const MEDIA_TYPE = /^([\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127})[ \t]*(?:;|$)/;

/** The type alone, in lower case: parameters are not kept. */
export function mediaType(header: string | null): string {
  if (header === null || header.trim() === "") return OCTETS;
  const type = MEDIA_TYPE.exec(header.trim())?.[1]?.toLowerCase();
  if (!type) throw new ApiError("malformed_header", "Content-Type is not a media type.");
  return type;
}

/** Whether a type is one of a pattern's: itself, or any of its kind, as in image/*. */
export const fits = (type: string, pattern: string): boolean =>
  pattern === type || (pattern.endsWith("/*") && type.startsWith(pattern.slice(0, -1)));

/** What browsers show without running anything in it. Whatever stands not here is handed out as mere bytes to be saved. */
const SHOWN = new Set([
  ...["apng", "avif", "bmp", "gif", "heic", "heif", "jpeg", "png", "tiff", "webp", "x-icon"].map((t) => `image/${t}`),
  ...["aac", "amr", "flac", "mp4", "mpeg", "ogg", "opus", "wav", "webm", "x-m4a", "x-wav"].map((t) => `audio/${t}`),
  ...["3gpp", "mp4", "mpeg", "ogg", "quicktime", "webm", "x-m4v", "x-matroska"].map((t) => `video/${t}`),
  "application/pdf",
  "text/plain",
]);

export type Disposition = "attachment" | "inline";

/** How a file of this type is served when `wanted` was asked for. */
export function servedAs(type: string, wanted: Disposition): { type: string; disposition: Disposition } {
  if (!SHOWN.has(type)) return { type: OCTETS, disposition: "attachment" };
  return { type: type === "text/plain" ? "text/plain; charset=utf-8" : type, disposition: wanted };
}
