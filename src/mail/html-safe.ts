const words = (text: string): Set<string> => new Set(text.split(" "));

/** Neither runs, nor loads, nor changes how what stands around it is read. */
export const TAGS = words(
  "a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr",
);

export const VOID = words("br hr img col wbr");

const EVERYWHERE = words("dir lang title style");
const ON: Record<string, Set<string>> = {
  a: words("href name"),
  img: words("src alt width height"),
  table: words("width height border cellpadding cellspacing align bgcolor summary"),
  td: words("width height colspan rowspan align valign bgcolor nowrap"),
  th: words("width height colspan rowspan align valign bgcolor nowrap scope"),
  tr: words("align valign bgcolor height"),
  tbody: words("align valign"),
  col: words("span width"),
  colgroup: words("span width"),
  font: words("color face size"),
  ol: words("start type reversed"),
  ul: words("type"),
  li: words("value"),
  div: words("align"),
  p: words("align"),
  h1: words("align"),
  h2: words("align"),
  h3: words("align"),
  hr: words("align width size color noshade"),
  blockquote: words("type"),
  time: words("datetime"),
};

export const allows = (tag: string, attribute: string): boolean =>
  EVERYWHERE.has(attribute) || (ON[tag]?.has(attribute) ?? false);

/** None takes a place outside of its own element, none loads anything. */
const PROPERTIES =
  /^(color|background-color|background|font(-family|-size|-style|-weight|-variant)?|line-height|letter-spacing|word-spacing|text-(align|decoration|indent|transform)|vertical-align|white-space|word-(break|wrap)|overflow-wrap|direction|(min-|max-)?(width|height)|(margin|padding)(-(top|right|bottom|left))?|border(-(top|right|bottom|left))?(-(color|style|width|radius|collapse|spacing))?|display|list-style(-type|-position)?|table-layout|caption-side|empty-cells|float|clear|opacity|box-sizing)$/;

const VALUE = /^[\w\s#%.,'"!+/-]*(?:(?:rgb|rgba|hsl|hsla)\([\d\s.,%/deg]*\)[\w\s#%.,'"!+/-]*)*$/i;

export function safeStyle(style: string): string {
  return style
    .slice(0, 10_000)
    .split(";")
    .flatMap((declaration) => {
      const at = declaration.indexOf(":");
      const [property, value] = [declaration.slice(0, at).trim().toLowerCase(), declaration.slice(at + 1).trim()];
      const safe =
        at > 0 && value.length < 500 && PROPERTIES.test(property) && VALUE.test(value) && !value.includes("/*");
      // Pulled out of its place, a text could cover what the reader trusts.
      return safe && !(property.startsWith("margin") && value.includes("-")) ? [`${property}:${value}`] : [];
    })
    .join(";");
}

/** What the browser would make of it: blanks and controls within a scheme are none. */
const bare = (url: string): string => url.replace(/[\p{Cc}\s]+/gu, "");

export function safeLink(url: string): string | null {
  return /^(https?:\/\/|mailto:|tel:|#)/i.test(bare(url)) ? url.trim() : null;
}

export const isRemote = (url: string): boolean => /^(https?:)?\/\//i.test(bare(url));
export const isInline = (url: string): boolean => /^data:image\/(png|gif|jpe?g|webp);base64,[\w+/=]+$/i.test(bare(url));
export const contentIdIn = (url: string): string | null => /^cid:(.+)$/i.exec(bare(url))?.[1] ?? null;
