import { escapeHtml } from "./html-entities";
import { allows, contentIdIn, isInline, isRemote, safeLink, safeStyle, TAGS, VOID } from "./html-safe";
import { type HtmlToken, htmlTokens } from "./html-tokens";

export type SanitizeOptions = {
  /** Off, a remote image would tell its sender that, when and where the mail was read. */
  remoteImages?: boolean;
  /** Where an attached image is to be had; null where there is none. */
  imageUrl?: (contentId: string) => string | null;
};

export type Sanitized = { html: string; blockedImages: number };

// Deeper than any client lays out.
const DEEPEST = 256;

/** Written anew from what is known to be safe, so that nothing of the sender's own markup is passed on. */
export function sanitize(html: string, options: SanitizeOptions = {}): Sanitized {
  const out: string[] = [];
  const stack: string[] = [];
  const open = new Map<string, number>();
  let blockedImages = 0;
  const close = (name: string) => {
    out.push(`</${name}>`);
    open.set(name, open.get(name)! - 1);
  };
  for (const token of htmlTokens(html)) {
    if (token.kind === "text") out.push(escapeHtml(token.text));
    else if (!TAGS.has(token.name)) continue;
    else if (token.kind === "close") {
      if (!open.get(token.name)) continue;
      for (let name = stack.pop(); name !== undefined; name = stack.pop()) {
        close(name);
        if (name === token.name) break;
      }
    } else {
      if (token.name === "img" && isBlocked(token, options)) blockedImages++;
      if (stack.length >= DEEPEST && !VOID.has(token.name)) continue;
      out.push(`<${token.name}${attributesOf(token, options)}>`);
      if (VOID.has(token.name)) continue;
      stack.push(token.name);
      open.set(token.name, (open.get(token.name) ?? 0) + 1);
    }
  }
  for (const name of stack.reverse()) close(name);
  return { html: out.join(""), blockedImages };
}

type Open = Extract<HtmlToken, { kind: "open" }>;

const isBlocked = ({ attributes }: Open, { remoteImages }: SanitizeOptions): boolean =>
  !remoteImages && isRemote(attributes.get("src") ?? "");

function attributesOf(token: Open, options: SanitizeOptions): string {
  let out = "";
  for (const [name, given] of token.attributes) {
    const value = allows(token.name, name) ? safeValue(name, given, options) : null;
    if (value !== null && value !== "") out += ` ${name}="${escapeHtml(value)}"`;
  }
  return token.name === "a" ? `${out} target="_blank" rel="noopener noreferrer nofollow"` : out;
}

function safeValue(name: string, value: string, options: SanitizeOptions): string | null {
  if (name === "style") return safeStyle(value);
  if (name === "href") return safeLink(value);
  return name === "src" ? imageOf(value, options) : value;
}

function imageOf(url: string, { remoteImages, imageUrl }: SanitizeOptions): string | null {
  const contentId = contentIdIn(url);
  if (contentId !== null) return imageUrl?.(decoded(contentId)) ?? null;
  if (isRemote(url)) return remoteImages ? url.trim() : null;
  return isInline(url) ? url.replace(/\s+/g, "") : null;
}

function decoded(contentId: string): string {
  try {
    return decodeURIComponent(contentId);
  } catch {
    return contentId;
  }
}
