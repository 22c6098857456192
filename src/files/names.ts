import { ApiError } from "../lib/errors";

/** What a Content-Disposition header of an upload calls the file (RFC 6266); the extended form wins. */
export function nameInDisposition(header: string): string | undefined {
  const found = new Map<string, string>();
  for (const [, key, quoted, token] of header.matchAll(/;\s*([\w*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/g)) {
    found.set(key!.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? token!);
  }
  const [, extended] = /^utf-8'[^']*'(.*)$/i.exec(found.get("filename*") ?? "") ?? [];
  if (extended === undefined) return found.get("filename");
  try {
    return decodeURIComponent(extended);
  } catch {
    throw new ApiError("malformed_header", "filename* in Content-Disposition is not percent-encoded UTF-8.");
  }
}

/** RFC 6266 and 8187: a name in ASCII for everybody, the full one beside it where that is not all of it. */
export function contentDisposition(kind: "attachment" | "inline", name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/gu, "_");
  const plain = `${kind}; filename="${ascii}"`;
  return ascii === name ? plain : `${plain}; filename*=UTF-8''${percentEncoded(name)}`;
}

const percentEncoded = (text: string): string =>
  encodeURIComponent(text).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
