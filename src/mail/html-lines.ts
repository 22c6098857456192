import { type HtmlMark, isQuote, markOf } from "./html-marks";
import { type HtmlToken, htmlTokens } from "./html-tokens";

/** A line as it is seen. `depth` counts the quotes around it; `mark` is what its client says of the place. */
export type HtmlLine = { text: string; depth: number; mark: HtmlMark | null };

type Element = { name: string; mark: HtmlMark | null; quotes: boolean; hidden: boolean; pre: boolean; items: number };

type Page = {
  lines: HtmlLine[];
  stack: Element[];
  /** How many of each name are open. */
  open: Map<string, number>;
  marks: HtmlMark[];
  cut: boolean;
  depth: number;
  hidden: number;
  pre: number;
  /** Of the line begun; joined at its end, for text that grows by single characters is slow to look at. */
  pieces: string[];
  gap: boolean;
};

const words = (text: string): Set<string> => new Set(text.split(" "));
const VOID = words("br hr img input meta link area base col embed param source track wbr");
const SPACED = words("p h1 h2 h3 h4 h5 h6 ul ol pre");
const BLOCKS = words(
  "div blockquote table tr li section article header footer address center dl dt dd form fieldset body html figure main aside nav caption tbody thead tfoot head p h1 h2 h3 h4 h5 h6 ul ol pre td th",
);
const CELLS = words("td th");

// Deeper than clients nest; what is below is read as text of the last element counted.
const DEEPEST = 256;

/** Lays HTML out as lines of text, knowing the containers in which clients put quotes and signatures. */
export function htmlLines(html: string): HtmlLine[] {
  const page: Page = {
    lines: [],
    stack: [],
    open: new Map(),
    marks: [],
    cut: false,
    depth: 0,
    hidden: 0,
    pre: 0,
    pieces: [],
    gap: false,
  };
  for (const token of htmlTokens(html)) {
    if (token.kind === "text") addText(page, token.text);
    else if (token.kind === "open") openElement(page, token);
    else closeElement(page, token.name);
  }
  endLine(page);
  return page.lines;
}

export const textOfHtml = (html: string): string => htmlLines(html).map(quotedLine).join("\n");

export const quotedLine = ({ text, depth }: HtmlLine): string =>
  depth > 0 ? `${">".repeat(depth)} ${text}`.trimEnd() : text;

function addText(page: Page, text: string): void {
  if (page.hidden > 0) return;
  if (page.pre > 0) {
    const [first, ...rest] = text.split(/\r?\n/);
    add(page, first!);
    for (const line of rest) {
      endLine(page, true);
      add(page, line);
    }
    return;
  }
  const collapsed = text.replace(/[ \t\r\n\f]+/g, " ");
  add(page, (page.pieces.at(-1)?.endsWith(" ") ?? true) ? collapsed.replace(/^ /, "") : collapsed);
}

const add = (page: Page, text: string): void => {
  if (text !== "") page.pieces.push(text);
};

/** An empty line is kept only where a break or a fixed blank asked for it. */
function endLine(page: Page, forced = false): void {
  const laid = page.pieces.join("");
  const text = laid.replaceAll("\u00a0", " ").trimEnd();
  page.pieces = [];
  const mark = page.cut ? "cut" : (page.marks.at(-1) ?? null);
  if (text === "" && !forced && !laid.includes("\u00a0")) return;
  if (page.gap && text !== "" && page.lines.length > 0 && page.lines.at(-1)!.text !== "") {
    page.lines.push({ text: "", depth: Math.min(page.depth, page.lines.at(-1)!.depth), mark });
  }
  page.gap = false;
  page.lines.push({ text, depth: page.depth, mark });
}

function openElement(page: Page, { name, attributes, closed }: Extract<HtmlToken, { kind: "open" }>): void {
  if (name === "br") {
    if (page.hidden === 0) endLine(page, true);
    return;
  }
  const mark = markOf(name, attributes);
  if (name === "hr" || BLOCKS.has(name)) endUnlessCell(page, name);
  if (mark === "cut" && page.depth === 0) page.cut = true;
  if (name === "img") addText(page, emojiOf(attributes.get("alt")));
  if (VOID.has(name) || closed || page.stack.length >= DEEPEST) return;
  if (SPACED.has(name)) page.gap = true;
  const element = {
    name,
    mark: mark === "cut" ? null : mark,
    quotes: name === "blockquote" && isQuote(attributes),
    hidden: attributes.has("hidden") || /display:\s*none/i.test(attributes.get("style") ?? ""),
    pre: name === "pre" || /white-space:\s*(pre|pre-wrap|break-spaces)\b/i.test(attributes.get("style") ?? ""),
    items: 0,
  };
  if (name === "li") addText(page, bulletOf(page));
  page.stack.push(element);
  count(page, element, 1);
}

/** Cells stand beside each other. */
function endUnlessCell(page: Page, name: string): void {
  if (!CELLS.has(name)) endLine(page);
  else if (page.pieces.length > 0) addText(page, " ");
}

function bulletOf(page: Page): string {
  const list = page.stack.findLast(({ name }) => name === "ol" || name === "ul");
  return list?.name === "ol" ? `${++list.items}. ` : "- ";
}

const emojiOf = (alt: string | undefined): string =>
  alt && alt.length <= 12 && /\p{Extended_Pictographic}/u.test(alt) ? alt : "";

function count(page: Page, element: Element, by: 1 | -1): void {
  page.open.set(element.name, (page.open.get(element.name) ?? 0) + by);
  if (element.mark) by > 0 ? page.marks.push(element.mark) : page.marks.pop();
  if (element.quotes) page.depth += by;
  if (element.hidden) page.hidden += by;
  if (element.pre) page.pre += by;
}

/** A block closes all within it; anything else closes nothing beyond the block it stands in. */
function closeElement(page: Page, name: string): void {
  if (!page.open.get(name)) return;
  const block = BLOCKS.has(name);
  const at = page.stack.findLastIndex((element) => element.name === name || (!block && BLOCKS.has(element.name)));
  if (page.stack[at]?.name !== name) return;
  if (block) endUnlessCell(page, name);
  for (const element of page.stack.splice(at).reverse()) count(page, element, -1);
  if (SPACED.has(name)) page.gap = true;
}
