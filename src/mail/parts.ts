import { binaryString } from "./charsets";
import { type RawHeader, rawValue, readHeaders } from "./headers";
import { readStructured, type Structured } from "./parameters";

/** A node of the MIME tree. It holds places in the raw bytes, no copies of them. */
export type Part = {
  headers: RawHeader[];
  type: Structured;
  disposition: Structured;
  /** Content-Transfer-Encoding, in lower case. */
  encoding: string;
  start: number;
  end: number;
  parent: Part | null;
  children: Part[];
};

type Open = { part: Part; boundary: string };

// Beyond these a mail is a trap; what they hold is still there as one part.
const MAX_DEPTH = 40;
const MAX_PARTS = 2000;

const LF = 0x0a;
const DASH = 0x2d;

/** One pass over the bytes, whatever the nesting. */
export function readParts(raw: Uint8Array): Part {
  const root = partAt(raw, 0, raw.length, null);
  const open: Open[] = [];
  let parts = 1;
  let current = root;
  const enter = (part: Part) => {
    if (isMultipart(part) && open.length < MAX_DEPTH) {
      const boundary = part.type.parameters.get("boundary") || guessedBoundary(raw, part);
      if (boundary) open.push({ part, boundary });
    }
  };
  enter(root);
  let at = root.start;
  while (at < raw.length && open.length > 0) {
    const lineEnd = raw.indexOf(LF, at);
    const next = lineEnd < 0 ? raw.length : lineEnd + 1;
    const hit = raw[at] === DASH && raw[at + 1] === DASH ? boundaryOf(raw, at, next, open) : null;
    if (!hit) {
      at = next;
      continue;
    }
    if (!hit.closes && ++parts > MAX_PARTS) {
      at = next;
      continue;
    }
    closeAt(current, at, raw);
    for (const { part } of open.splice(hit.depth + 1)) closeAt(part, at, raw);
    const { part: multipart } = open[hit.depth]!;
    at = next;
    if (hit.closes) {
      // Parts that follow the end of the whole are still its own.
      open.splice(Math.max(1, hit.depth));
      closeAt(multipart, next, raw);
      // Other text behind a last boundary is nobody's.
      current = { ...multipart, children: [] };
      continue;
    }
    current = partAt(raw, next, raw.length, multipart);
    multipart.children.push(current);
    at = current.start;
    enter(current);
  }
  return root;
}

export const isMultipart = (part: Part): boolean => part.type.value.startsWith("multipart/");

function partAt(raw: Uint8Array, start: number, end: number, parent: Part | null): Part {
  // A part may have no headers at all, and a boundary may follow a boundary.
  const bare = parent !== null && /^(\r?\n|--)/.test(binaryString(raw.subarray(start, start + 2)));
  const blank = bare && raw[start] !== DASH ? raw.indexOf(LF, start) + 1 : start;
  const { headers, bodyStart } = bare ? { headers: [], bodyStart: blank } : readHeaders(raw, start, end);
  const digest = parent?.type.value === "multipart/digest";
  const type = readStructured(rawValue(headers, "content-type"));
  if (!/^[\w.+-]+\/[\w.+-]+$/.test(type.value)) {
    type.value =
      type.value === "text" || type.value === ""
        ? digest
          ? "message/rfc822"
          : "text/plain"
        : "application/octet-stream";
  }
  return {
    headers,
    type,
    disposition: readStructured(rawValue(headers, "content-disposition")),
    encoding: readStructured(rawValue(headers, "content-transfer-encoding")).value.replace(/[^\w-].*/, ""),
    start: bodyStart,
    end,
    parent,
    children: [],
  };
}

/** The line break before a boundary belongs to the boundary. */
function closeAt(part: Part, at: number, raw: Uint8Array): void {
  let end = at;
  if (raw[end - 1] === LF) end -= raw[end - 2] === 0x0d ? 2 : 1;
  part.end = Math.max(part.start, Math.min(part.end, end));
}

function boundaryOf(raw: Uint8Array, at: number, next: number, open: Open[]) {
  if (next - at > 300 || raw[at + 2]! <= 0x20) return null;
  const line = binaryString(raw.subarray(at + 2, next)).trimEnd();
  const closed = line.endsWith("--") ? line.slice(0, -2) : null;
  for (let depth = open.length - 1; depth >= 0; depth--) {
    if (open[depth]!.boundary === line) return { depth, closes: false };
    if (open[depth]!.boundary === closed) return { depth, closes: true };
  }
  return null;
}

/** A multipart that lost its boundary parameter mostly still has its boundaries. */
function guessedBoundary(raw: Uint8Array, part: Part): string | null {
  const top = binaryString(raw.subarray(part.start, Math.min(part.end, part.start + 4096)));
  return /(?:^|\n)--(?!-+\s)(\S[^\r\n]{5,68}?)[ \t]*\r?\n(?:content-|[ \t]*\r?\n)/i.exec(top)?.[1] ?? null;
}
