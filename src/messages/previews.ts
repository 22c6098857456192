import type { Context } from "../lib/context";
import { confirmFresh } from "../lib/db";
import { ApiError } from "../lib/errors";
import { GuardedFetchError, type GuardedResponse, guardedFetch } from "../lib/guard";
import { isStorable } from "../lib/validate";

export type Preview = {
  url: string;
  title: string | null;
  description: string | null;
  imageUrl: string | null;
  siteName: string | null;
};

const LIMITS = { timeoutMs: 4_000, maxBytes: 262_144 };
const HOPS_MOST = 3;
const LONGEST = 500;

const unfit = (message: string) =>
  new ApiError("invalid_request", undefined, { errors: [{ path: "query.url", message }] });

/** What a page says of itself. Each hop of a redirect is judged anew, so that none leads inside. */
export async function previewLink(ctx: Context, url: string): Promise<Preview> {
  await confirmFresh(ctx);
  let at = url;
  for (let hop = 0; hop <= HOPS_MOST; hop++) {
    const answer = await page(ctx.env, at);
    const location = answer.headers.get("Location");
    if (answer.status >= 300 && answer.status < 400 && location) {
      if (!URL.canParse(location, at)) break;
      at = new URL(location, at).href;
      continue;
    }
    if (answer.status >= 400) throw unfit(`The page answered with status ${answer.status}.`);
    if (!/^text\/html\b|^application\/xhtml/i.test(answer.headers.get("Content-Type") ?? ""))
      throw unfit("It is no page.");
    return { url: at, ...(await read(answer.body, at)) };
  }
  throw unfit("The page leads from one to the next.");
}

async function page(env: Env, url: string): Promise<GuardedResponse> {
  try {
    return await guardedFetch(
      env,
      url,
      { headers: { Accept: "text/html", "User-Agent": "Parley (link preview)" } },
      LIMITS,
    );
  } catch (error) {
    throw error instanceof GuardedFetchError ? unfit(error.message) : error;
  }
}

/** The page's own words for it, or else its title and description. */
async function read(body: Uint8Array<ArrayBuffer>, base: string): Promise<Omit<Preview, "url">> {
  const said = new Map<string, string>();
  let title = "";
  const rewriter = new HTMLRewriter()
    .on("meta", {
      element(meta) {
        const name = (meta.getAttribute("property") ?? meta.getAttribute("name"))?.toLowerCase();
        const content = meta.getAttribute("content");
        if (name && content && !said.has(name)) said.set(name, content);
      },
    })
    .on("head > title", {
      text({ text }) {
        title += text;
      },
    });
  await rewriter
    .transform(new Response(body, { headers: { "Content-Type": "text/html; charset=utf-8" } }))
    .arrayBuffer();
  const first = (...names: string[]) => plain(names.map((name) => said.get(name)).find(Boolean));
  const image = first("og:image", "twitter:image");
  const imageUrl = image && URL.canParse(image, base) ? new URL(image, base).href : null;
  return {
    title: first("og:title", "twitter:title") ?? plain(title),
    description: first("og:description", "twitter:description", "description"),
    imageUrl: imageUrl && /^https?:/.test(imageUrl) && imageUrl.length <= 2048 ? imageUrl : null,
    siteName: first("og:site_name"),
  };
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " " };

/** Without entities and runs of space, no longer than a preview needs. */
function plain(value: string | undefined): string | null {
  const text = (value ?? "")
    .replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos|nbsp));/gi, (whole, decimal, hex, name) => {
      if (name) return ENTITIES[name.toLowerCase()]!;
      const code = decimal ? Number(decimal) : Number.parseInt(hex, 16);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    })
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, LONGEST);
  return text !== "" && isStorable(text) ? text : null;
}
