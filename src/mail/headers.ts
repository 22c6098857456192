import { binaryString } from "./charsets";

/** One header as it stands in the bytes, a character for each of them; folds are kept. */
export type RawHeader = { name: string; raw: string };

export type HeaderBlock = { headers: RawHeader[]; bodyStart: number };

// More than any mail has; what follows is read as text.
const LONGEST = 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

const NAMED = /^([!-9;-~]+)[ \t]*:/;
const MBOX = /^(>?From |Return-path:\s*$)/;

/** Reads headers of `bytes` from `start`; ends at the first empty line, or where lines stop being headers. */
export function readHeaders(bytes: Uint8Array, start: number, end: number): HeaderBlock {
  const headers: RawHeader[] = [];
  let at = start;
  while (at < end && (bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] === LF))) at++;
  const top = at;
  while (at < end && at - top < LONGEST) {
    const lineEnd = endOfLine(bytes, at, end);
    const line = lineAt(bytes, at, lineEnd);
    if (line === "") return { headers, bodyStart: Math.min(lineEnd + 1, end) };
    const [, name] = NAMED.exec(line) ?? [];
    const last = headers.at(-1);
    if (/^[ \t]/.test(line) && last) {
      // Folds of blanks alone occur inside of headers; they say nothing.
      last.raw += `\r\n${line}`;
    } else if (name !== undefined) {
      headers.push({ name, raw: line.slice(line.indexOf(":") + 1).replace(/^[ \t]/, "") });
    } else if (at === top && MBOX.test(line)) {
      // An mbox separator that a spool left before the mail.
    } else if (last && headersGoOn(bytes, lineEnd + 1, end)) {
      last.raw += `\r\n ${line}`;
    } else {
      return { headers, bodyStart: at };
    }
    at = lineEnd + 1;
  }
  return { headers, bodyStart: at };
}

/** Some mailers wrap a header without indenting: headers then follow within a few lines, before an empty one. */
function headersGoOn(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  for (let lines = 0; lines < 3 && at < end; lines++) {
    const lineEnd = endOfLine(bytes, at, end);
    const line = lineAt(bytes, at, Math.min(lineEnd, at + 200));
    if (line === "") return false;
    if (/^[A-Z][A-Za-z]*(-[A-Za-z]+)+:|^(From|To|Cc|Subject|Date|Sender):/.test(line)) return true;
    at = lineEnd + 1;
  }
  return false;
}

const endOfLine = (bytes: Uint8Array, at: number, end: number): number => {
  const found = bytes.indexOf(LF, at);
  return found < 0 || found > end ? end : found;
};

/** A bare CR is no line end: it must not let one header pass for two. */
function lineAt(bytes: Uint8Array, at: number, lineEnd: number): string {
  const last = bytes[lineEnd - 1] === CR && lineEnd > at ? lineEnd - 1 : lineEnd;
  return binaryString(bytes.subarray(at, last))
    .replace(/[\r\0]+/g, " ")
    .replace(/^[ \t]+$/, " ");
}

/** As one line. */
export const unfold = (raw: string): string => raw.replace(/\r\n[ \t]+/g, " ").trim();

export const rawValue = (headers: RawHeader[], name: string): string | undefined =>
  headers.find((header) => header.name.toLowerCase() === name)?.raw;
