/**
 * What a client's own container says of what stands in it.
 * quoted: history · cut: history from here to the end of the mail · attribution: "On … wrote:" · signature · forward: what is passed on.
 */
export type HtmlMark = "quoted" | "cut" | "attribution" | "signature" | "forward";

type Rule = { mark: HtmlMark; on: "id" | "class" | "name" | "data-marker" | "style"; test: RegExp };

// Outlook on the web puts `x_` before every class and id of what it quotes, once for each time.
const RULES: Rule[] = [
  // Outlook, Outlook.com, Hotmail, Exchange
  {
    mark: "cut",
    on: "id",
    test: /^(divRplyFwdMsg|appendonsend|stopSpelling|divRpF\d+|OLK_SRC_BODY_SECTION|mail-editor-reference-message-container|ms-outlook-mobile-body-separator-line)$/,
  },
  {
    mark: "cut",
    on: "class",
    test: /(^|\s)(OutlookMessageHeader|ms-outlook-mobile-reference-message|hmmessage_quote)(\s|$)/,
  },
  { mark: "cut", on: "style", test: /border-top:\s*(solid\s*)?#?(E1E1E1|B5C4DF|b5c4df|e1e1e1)(\s+solid)?\s+1\.0pt/i },
  { mark: "cut", on: "style", test: /border:\s*none;\s*border-top:\s*solid\s+#?(E1E1E1|B5C4DF)/i },
  {
    mark: "signature",
    on: "id",
    test: /^(Signature|ms-outlook-mobile-signature|appleMailSignature|AppleMailSignature|lineBreakAtBeginningOfSignature|divtagdefaultwrapper_signature|composer_signature|sig\d+)$/,
  },
  // Gmail and what builds on it
  {
    mark: "attribution",
    on: "class",
    test: /(^|\s)(gmail_attr|moz-cite-prefix|gmail_quote_attribution|protonmail_attribution)(\s|$)/,
  },
  {
    mark: "signature",
    on: "class",
    test: /(^|\s)(gmail_signature|moz-signature|protonmail_signature_block|sh-signature|zmail_signature|hs_signature|yahoo_signature|ydp\w*signature|mail_signature|ms-outlook-mobile-signature|email-signature)(\s|$)/,
  },
  { mark: "forward", on: "class", test: /(^|\s)moz-forward-container(\s|$)/ },
  // Yahoo, AOL
  {
    mark: "cut",
    on: "class",
    test: /(^|\s)(yahoo_quoted|ydp\w*yahoo_quoted|yahoo-quoted-begin|aolReplacedBody|qtdSeparateBR)(\s|$)/,
  },
  // Zimbra, Zoho, Spark, Missive, Freshdesk, NetEase, GMX and others
  { mark: "cut", on: "data-marker", test: /^(__DIVIDER__|__HEADERS__|__QUOTED_TEXT__)$/ },
  { mark: "signature", on: "data-marker", test: /^__SIG_(PRE|POST)__$/ },
  {
    mark: "quoted",
    on: "class",
    test: /(^|\s)(zmail_extra|missive_quote|freshdesk_quote|front-blockquote|hs_reply_quote|WordSection1_quote|mail_quote|mailmate-quote)(\s|$)/,
  },
  { mark: "quoted", on: "name", test: /^(messageReplySection|quote)$/ },
  { mark: "signature", on: "name", test: /^messageSignatureSection$/ },
  { mark: "quoted", on: "id", test: /^(isReplyContent|isForwardContent_quote|zwchr_quote|mailru-quote)$/ },
  { mark: "attribution", on: "id", test: /^(reply-intro|replyWithMarkup)$/ },
];

export function markOf(name: string, attributes: Map<string, string>): HtmlMark | null {
  if (attributes.size === 0 || name === "body" || name === "html") return null;
  for (const { mark, on, test } of RULES) {
    const value = attributes.get(on);
    if (value !== undefined && value.length < 2000 && test.test(unprefixed(on, value))) return mark;
  }
  return null;
}

const unprefixed = (on: string, value: string): string =>
  on === "id" || on === "class" ? value.replace(/(^|\s)(?:x_){1,9}/g, "$1") : value;

/** Indented text is a blockquote too, and says so by its style. */
export const isQuote = (attributes: Map<string, string>): boolean =>
  attributes.get("type") === "cite" ||
  attributes.has("cite") ||
  attributes.has("class") ||
  !/border(-left)?:\s*(none|0)/i.test(attributes.get("style") ?? "");
