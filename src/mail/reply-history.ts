import { DATED, FORWARDED, LABELS, OPENER, ORIGINAL, WROTE } from "./reply-languages";
import { isBlank, type Line } from "./reply-lines";

// Longer lines are prose; what is looked for is short.
const LONGEST = 500;

const short = (line: Line | undefined): string => line?.text.slice(0, LONGEST) ?? "";

/** `end` is the line behind the attribution; `sure` needs no quote below it. */
export type Attribution = { start: number; end: number; sure: boolean };

/** "On … wrote:" that ends in line `at`, over up to four lines. */
export function attributionEndingAt(lines: Line[], at: number): Attribution | null {
  const last = short(lines[at]).trim();
  const verb = WROTE.test(last) || (/[:：]$/.test(last) && WROTE.test(joined(lines, at - 1, at)));
  const address = /<[^<>\s]+@[^<>\s]+>\s?[:：]$/.test(last) || /^\S+@\S+>\s?[:：]$/.test(last);
  const named = /[:：]$/.test(last) && last.includes("@");
  if (!verb && !address && !named) return null;
  for (let start = at; start >= Math.max(0, at - 3); start--) {
    const line = lines[start]!;
    if (isBlank(line) || line.depth > 0) break;
    const text = joined(lines, start, at);
    const dated = DATED.test(text);
    if (
      dated &&
      (verb || address) &&
      (OPENER.test(text) || /@/.test(text) || WROTE.test(text)) &&
      startsHere(lines, start, text)
    ) {
      return { start, end: at + 1, sure: true };
    }
  }
  return last.length < 200 ? { start: at, end: at + 1, sure: false } : null;
}

const joined = (lines: Line[], from: number, to: number): string =>
  lines
    .slice(Math.max(0, from), to + 1)
    .map((line) => short(line).trim())
    .join(" ");

/** Within a paragraph only what opens as an attribution is one. */
const startsHere = (lines: Line[], start: number, text: string): boolean =>
  OPENER.test(text) || start === 0 || isBlank(lines[start - 1]!) || lines[start - 1]!.depth > 0;

/** The line behind a copied header block that begins in line `at`, else null. */
export function headerBlockAt(lines: Line[], at: number): number | null {
  const kinds = new Set<string>();
  let address = false;
  let end = at;
  let misses = 0;
  for (let i = at; i < Math.min(lines.length, at + 14); i++) {
    const text = short(lines[i]);
    const kind = Object.entries(LABELS).find(([, pattern]) => pattern.test(text))?.[0];
    if (!kind && (i === at || text.trim() === "")) {
      if (i === at || kinds.size > 2) break;
      continue;
    }
    // A long list of recipients goes on in lines of its own.
    if (!kind && ++misses > 4) break;
    if (!kind) continue;
    kinds.add(kind);
    address ||= text.includes("@");
    end = i + 1;
  }
  const complete = kinds.size >= 3 && kinds.has("from") && (kinds.has("subject") || address);
  return complete ? end : null;
}

export const isOriginal = (line: Line): boolean => ORIGINAL.test(short(line));
export const isForwarded = (line: Line): boolean => FORWARDED.test(short(line));

/** A rule drawn above a copied header. */
export const isRule = (line: Line): boolean => /^[\s*]*[_=-]{5,}[\s*]*$/.test(short(line));
