import { sha256Hex } from "../lib/crypto";
import { plainName } from "../lib/file-names";
import { binaryString, decodeText } from "./charsets";
import { decodeBase64, decodeQuotedPrintable, decodeUu } from "./encodings";
import { type RawHeader, rawValue } from "./headers";
import { escapeHtml } from "./html-entities";
import { textOfHtml } from "./html-lines";
import type { Attachment } from "./mail";
import { readStructured } from "./parameters";
import { isMultipart, type Part } from "./parts";
import { decodeHeader } from "./words";

/** What is read one after the other; each in one or both forms. */
type Section = { text?: string; html?: string };

export type Bodies = { text: string | null; html: string | null; files: Part[] };

/** Renderings of a body that no reader of ours shows. */
const IGNORED = new Set(["text/x-amp-html", "text/watch-html"]);

/** Sorts the leaves into what is read and what is attached. */
export function readBodies(raw: Uint8Array, root: Part): Bodies {
  const sections: Section[] = [];
  const files: Part[] = [];
  const visit = (part: Part, within: Section | null): void => {
    if (part.children.length > 0) {
      const alternative = part.type.value === "multipart/alternative" ? (within ?? {}) : within;
      if (alternative && !within) sections.push(alternative);
      for (const child of part.children) visit(child, alternative);
      return;
    }
    const form = isBody(part, sections, within) ? (part.type.value === "text/html" ? "html" : "text") : null;
    if (!form) {
      if (!IGNORED.has(part.type.value) && !isEmptyMultipart(part)) files.push(part);
      return;
    }
    const section = within && within[form] === undefined ? within : {};
    if (section !== within) sections.push(section);
    section[form] = textOf(raw, part);
  };
  visit(root, null);
  const shown = sections.filter(({ text, html }) => text !== undefined || html !== undefined);
  return { text: joinTexts(shown), html: joinHtmls(shown), files };
}

const isEmptyMultipart = (part: Part): boolean => isMultipart(part) && part.start >= part.end;

/** A named text is a file, unless it stands where the body is missed: some mailers name their bodies. */
function isBody(part: Part, sections: Section[], within: Section | null): boolean {
  if (part.disposition.value === "attachment") return false;
  if (isMultipart(part)) return !part.parent;
  if (part.type.value !== "text/plain" && part.type.value !== "text/html") return false;
  const named = givenName(part) !== null;
  return !named || within !== null || sections.every(({ text, html }) => text === undefined && html === undefined);
}

function joinTexts(sections: Section[]): string | null {
  if (!sections.some(({ text }) => text !== undefined)) return null;
  return sections.map(({ text, html }) => text ?? textOfHtml(html!)).join("\n");
}

function joinHtmls(sections: Section[]): string | null {
  if (!sections.some(({ html }) => html !== undefined)) return null;
  return sections
    .map(({ text, html }) => html ?? `<div style="white-space:pre-wrap">${escapeHtml(text!)}</div>`)
    .join("\n");
}

export function contentOf(raw: Uint8Array<ArrayBuffer>, part: Part): Uint8Array<ArrayBuffer> {
  const bytes = raw.subarray(part.start, part.end);
  if (part.encoding === "base64") return decodeBase64(bytes);
  if (part.encoding === "quoted-printable") return decodeQuotedPrintable(bytes);
  return /^x?-?uu(e|encode)?$/.test(part.encoding) ? decodeUu(bytes) : bytes;
}

function textOf(raw: Uint8Array, part: Part): string {
  const bytes = contentOf(raw as Uint8Array<ArrayBuffer>, part);
  const html = part.type.value === "text/html";
  const declared = part.type.parameters.get("charset") || (html ? charsetInHtml(bytes) : null);
  const text = decodeText(withLineFeeds(bytes), declared);
  const lines = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
  const flowed = /^flowed$/i.test(part.type.parameters.get("format") ?? "") && !html;
  return flowed ? unflow(lines, /^yes$/i.test(part.type.parameters.get("delsp") ?? "")) : lines;
}

/** Before they are decoded, for the text of a large mail would stand in memory twice. */
function withLineFeeds(bytes: Uint8Array): Uint8Array {
  const cr = bytes.indexOf(0x0d);
  // Of 16 bits each: there a line end has other bytes.
  if (cr < 0 || bytes[cr + 1] !== 0x0a) return bytes;
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let from = 0;
  for (let at = cr; at >= 0; at = bytes.indexOf(0x0d, at + 1)) {
    if (bytes[at + 1] !== 0x0a) continue;
    out.set(bytes.subarray(from, at), length);
    length += at - from;
    from = at + 1;
  }
  out.set(bytes.subarray(from), length);
  return out.subarray(0, length + bytes.length - from);
}

const charsetInHtml = (bytes: Uint8Array): string | null =>
  /<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]+)/i.exec(binaryString(bytes.subarray(0, 4096)))?.[1] ?? null;

/** RFC 3676: soft breaks go, at each depth of quoting by itself. */
function unflow(text: string, deletesSpace: boolean): string {
  const out: string[] = [];
  let open: { depth: number; parts: string[] } | null = null;
  const close = () => {
    if (open) out.push(`${">".repeat(open.depth)}${open.depth > 0 ? " " : ""}${open.parts.join("")}`);
    open = null;
  };
  for (const line of text.split("\n")) {
    const depth = /^>*/.exec(line)![0].length;
    const bare = line.slice(depth).replace(/^ /, "");
    const isSignature = bare === "-- ";
    if (open && (isSignature || (open as { depth: number }).depth !== depth)) close();
    open ??= { depth, parts: [] };
    const soft = bare.endsWith(" ") && !isSignature;
    open.parts.push(soft && deletesSpace ? bare.slice(0, -1) : bare);
    if (!soft) close();
  }
  close();
  return out.join("\n");
}

function givenName(part: Part): string | null {
  const name = part.disposition.parameters.get("filename") ?? part.type.parameters.get("name");
  return name === undefined || name.trim() === "" ? null : name;
}

export async function attachmentOf(
  raw: Uint8Array<ArrayBuffer>,
  part: Part,
  fallback: string | null,
): Promise<Attachment> {
  const content = contentOf(raw, part);
  const name = givenName(withFallback(part, fallback));
  const kind = part.disposition.value;
  return {
    filename: name === null ? null : plainName(name),
    contentType: part.type.value,
    size: content.length,
    contentId: idOf(part.headers),
    disposition: kind === "inline" || kind === "attachment" ? kind : kind === "" ? null : "attachment",
    method: part.type.value === "text/calendar" ? (part.type.parameters.get("method")?.toUpperCase() ?? null) : null,
    content,
    sha256: await sha256Hex(content),
  };
}

/** Names in bytes that nobody declared are read by the charset of the text beside them. */
function withFallback(part: Part, fallback: string | null): Part {
  if (fallback === null) return part;
  const [type, disposition] = ["content-type", "content-disposition"].map((name) =>
    readStructured(rawValue(part.headers, name), fallback),
  ) as [Part["type"], Part["disposition"]];
  return { ...part, type, disposition };
}

function idOf(headers: RawHeader[]): string | null {
  const raw = rawValue(headers, "content-id");
  const id = raw === undefined ? "" : decodeHeader(raw).replace(/[<>\s]/g, "");
  return id === "" ? null : id;
}
