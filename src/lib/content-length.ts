import { ApiError } from "./errors";

/** The length tells beforehand whether there is room, and afterwards whether all has come. */
export function announcedLength(header: string | undefined): number {
  if (header === undefined) throw new ApiError("length_required");
  if (!/^\d{1,13}$/.test(header)) throw new ApiError("malformed_header", "Content-Length is not a number of bytes.");
  return Number(header);
}
