import { bytesOfBinary, decodeText } from "./charsets";
import { unfold } from "./headers";
import { decodeHeader } from "./words";

/** A header such as Content-Type: its value in lower case, and its parameters decoded. */
export type Structured = { value: string; parameters: Map<string, string> };

const PARAMETER = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\[\s\S])*)"?|([^;]*))/g;

/** RFC 2045 with RFC 2231; also RFC 2047 words and bare 8-bit bytes in a value, which most mailers have sent. */
export function readStructured(raw: string | undefined, fallback: string | null = null): Structured {
  const line = unfold(raw ?? "").slice(0, 64 * 1024);
  const value = /^[^;]*/
    .exec(line)![0]
    .replace(/\([^()]*\)/g, "")
    .trim()
    .replace(/^"|"$/g, "")
    .toLowerCase();
  const found = new Map<string, string>();
  for (const [, name, quoted, token] of line.matchAll(PARAMETER)) {
    const text = quoted === undefined ? token!.replace(/\s+\([^()]*\)\s*$/, "").trim() : unquoted(quoted);
    if (!found.has(name!.toLowerCase())) found.set(name!.toLowerCase(), text);
  }
  return { value, parameters: joined(found, fallback) };
}

/** Windows paths keep their backslashes: a real escape stands only before a quote or another backslash. */
const unquoted = (text: string): string => text.replace(/\\(["\\])/g, "$1");

const SECTION = /^(.+?)\*(?:(\d{1,3})(\*?))?$/;

type Section = { index: number; encoded: boolean; text: string };

function joined(found: Map<string, string>, fallback: string | null): Map<string, string> {
  const parameters = new Map<string, string>();
  const sections = new Map<string, Section[]>();
  for (const [name, text] of found) {
    const [, base, index, star] = SECTION.exec(name) ?? [];
    if (base === undefined) parameters.set(name, decodeHeader(text, fallback));
    else {
      const section = { index: Number(index ?? 0), encoded: index === undefined || star === "*", text };
      sections.set(base, [...(sections.get(base) ?? []), section]);
    }
  }
  // The extended form wins over the plain one for old mailers.
  for (const [name, parts] of sections) parameters.set(name, joinSections(parts, fallback));
  return parameters;
}

function joinSections(parts: Section[], fallback: string | null): string {
  const inOrder = parts.toSorted((a, b) => a.index - b.index);
  const first = inOrder[0]!;
  const [, charset, text] = (first.encoded && /^([^']*)'[^']*'([\s\S]*)$/.exec(first.text)) || [];
  const binary = inOrder
    .map((part) => ({ ...part, text: part === first ? (text ?? part.text) : part.text }))
    .map((part) => (part.encoded ? percentDecoded(part.text) : part.text))
    .join("");
  // Sections of encoded words are no RFC, but are sent.
  return charset ? decodeText(bytesOfBinary(binary), charset) : decodeHeader(binary, fallback);
}

const percentDecoded = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
