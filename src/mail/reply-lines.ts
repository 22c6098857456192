import { htmlLines, quotedLine } from "./html-lines";
import type { HtmlMark } from "./html-marks";

/** A line and its place in the text. `depth` is how deep it is quoted. */
export type Line = { text: string; start: number; end: number; depth: number; mark: HtmlMark | null };

const QUOTE = /^[ \t]{0,3}((?:[>＞][ \t]?)+)/;

export function linesOfText(text: string): Line[] {
  let at = 0;
  return text.split("\n").map((line) => {
    const start = at;
    at += line.length + 1;
    const prefix = line.startsWith(">From ") ? "" : (QUOTE.exec(line.slice(0, 200))?.[1] ?? "");
    return { text: line, start, end: start + line.length, depth: prefix.replace(/[ \t]/g, "").length, mark: null };
  });
}

/** The same lines, and places, as `textOfHtml` gives. */
export function linesOfHtml(html: string): Line[] {
  let at = 0;
  return htmlLines(html).map((line) => {
    const text = quotedLine(line);
    const start = at;
    at += text.length + 1;
    return { text, start, end: start + text.length, depth: line.depth, mark: line.mark };
  });
}

export const isBlank = ({ text }: Line): boolean => text.trim() === "";
