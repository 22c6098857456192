import { decodeEntities } from "./html-entities";

export type HtmlToken =
  | { kind: "text"; text: string }
  | { kind: "open"; name: string; attributes: Map<string, string>; closed: boolean }
  | { kind: "close"; name: string };

/** Their content is no markup; none of it is ever shown or passed on. */
const OPAQUE = new Set([
  "script",
  "style",
  "title",
  "textarea",
  "xmp",
  "iframe",
  "noembed",
  "noframes",
  "noscript",
  "template",
  "plaintext",
  "object",
  "math",
  "svg",
]);

const NAME = /[a-zA-Z][^\s/>]*/y;
const ATTRIBUTE = /[\s/]*([^\s/>=][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?/y;

/** What browsers take for tags, in one pass; comments, declarations and opaque elements are skipped. */
export function* htmlTokens(html: string): Generator<HtmlToken> {
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf("<", at);
    if (open < 0) break;
    const next = html[open + 1];
    const isTag = next !== undefined && /[a-zA-Z/!?]/.test(next);
    if (open > at || !isTag) yield { kind: "text", text: decodeEntities(html.slice(at, isTag ? open : open + 1)) };
    at = open + 1;
    if (!isTag) continue;
    if (next === "!" || next === "?") {
      at = skipDeclaration(html, open);
      continue;
    }
    NAME.lastIndex = open + (next === "/" ? 2 : 1);
    const name = NAME.exec(html)?.[0].toLowerCase();
    if (name === undefined) {
      at = after(html, ">", open);
    } else if (next === "/") {
      at = after(html, ">", NAME.lastIndex);
      yield { kind: "close", name };
    } else {
      const tag = readAttributes(html, NAME.lastIndex);
      at =
        OPAQUE.has(name) && !(tag.closed && (name === "svg" || name === "math"))
          ? skipOpaque(html, name, tag.end)
          : tag.end;
      if (!OPAQUE.has(name)) yield { kind: "open", name, attributes: tag.attributes, closed: tag.closed };
    }
  }
  if (at < html.length) yield { kind: "text", text: decodeEntities(html.slice(at)) };
}

function readAttributes(html: string, start: number) {
  const attributes = new Map<string, string>();
  let at = start;
  for (;;) {
    ATTRIBUTE.lastIndex = at;
    const found = ATTRIBUTE.exec(html);
    if (!found) break;
    const [, name, double, single, bare] = found;
    const key = name!.toLowerCase();
    if (!attributes.has(key)) attributes.set(key, decodeEntities(double ?? single ?? bare ?? ""));
    at = ATTRIBUTE.lastIndex;
  }
  const end = after(html, ">", at);
  return { attributes, end, closed: html[end - 2] === "/" };
}

function skipDeclaration(html: string, open: number): number {
  if (!html.startsWith("<!--", open)) return after(html, ">", open);
  if (html.startsWith("<!-->", open)) return open + 5;
  if (html.startsWith("<!--->", open)) return open + 6;
  return after(html, "-->", open + 4);
}

const after = (html: string, mark: string, from: number): number => {
  const found = html.indexOf(mark, from);
  return found < 0 ? html.length : found + mark.length;
};

function skipOpaque(html: string, name: string, from: number): number {
  const closing = new RegExp(`</${name}(?=[\\s/>])`, "gi");
  closing.lastIndex = from;
  const found = name === "plaintext" ? null : closing.exec(html);
  return found ? after(html, ">", found.index) : html.length;
}
