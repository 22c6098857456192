import type { Verdicts } from "./facts";
import { domainOf, type Mail } from "./mail";
import { organisation } from "./organisations";

const NONE = { spf: "none", dkim: "none", dmarc: "none" };

type Result = { method: string; result: string; properties: Map<string, string> };

/** Only a server of our own is believed: the topmost results whose authserv-id is configured, and its next ones up to a hop. */
export function verdictsOf(mail: Mail, authservIds: string[]): Verdicts {
  const results = trusted(mail, authservIds);
  const domain = mail.from ? domainOf(mail.from.address) : null;
  const of = (method: string) => results.filter((one) => one.method === method);
  const verdict = (method: "spf" | "dkim" | "dmarc") =>
    (of(method).find(({ result }) => result === "pass") ?? of(method)[0])?.result ?? NONE[method];
  const aligned =
    domain !== null &&
    (of("dmarc").some((one) => one.result === "pass" && isOf(one, domain)) ||
      of("dkim").some((one) => one.result === "pass" && speaksFor(one, ["header.d", "header.i"], domain)) ||
      of("spf").some((one) => one.result === "pass" && speaksFor(one, ["smtp.mailfrom", "smtp.mail"], domain)));
  return { spf: verdict("spf"), dkim: verdict("dkim"), dmarc: verdict("dmarc"), aligned, unauthenticated: !aligned };
}

function trusted(mail: Mail, authservIds: string[]): Result[] {
  const known = authservIds.map((id) => id.toLowerCase());
  const results: Result[] = [];
  let server: string | null = null;
  for (const { name, value } of mail.headers) {
    // Whatever stands below a hop after ours was there when the mail came.
    if (server !== null && name.toLowerCase() === "received") break;
    if (name.toLowerCase() !== "authentication-results") continue;
    const [head, ...rest] = withoutComments(value.slice(0, 20_000)).split(";");
    const id = head!.trim().split(/[\s/]/)[0]!.toLowerCase();
    if (!known.includes(id) || (server !== null && server !== id)) continue;
    server = id;
    results.push(...rest.flatMap(readResult));
  }
  return results;
}

function readResult(text: string): Result[] {
  const [first, ...rest] = text.trim().split(/\s+/);
  const [, method, result] = /^([\w-]+)(?:\/\d+)?=([\w-]+)$/.exec(first ?? "") ?? [];
  if (!method || !result) return [];
  const pairs = rest.flatMap((word) => {
    const at = word.indexOf("=");
    return at > 0 ? [[word.slice(0, at).toLowerCase(), word.slice(at + 1).replace(/^"|"$/g, "")] as const] : [];
  });
  return [{ method: method.toLowerCase(), result: result.toLowerCase(), properties: new Map(pairs) }];
}

function withoutComments(text: string): string {
  let out = "";
  let depth = 0;
  let quoted = false;
  for (const char of text) {
    if (char === '"' && depth === 0) quoted = !quoted;
    if (!quoted && char === "(") depth++;
    else if (!quoted && char === ")" && depth > 0) depth--;
    else if (depth === 0) out += char;
  }
  return out.replace(/\s*=\s*/g, "=");
}

/** The one who judged may have seen another From than we show. */
const isOf = ({ properties }: Result, domain: string): boolean =>
  domainOf(properties.get("header.from") ?? "") === domain;

const speaksFor = ({ properties }: Result, names: string[], domain: string): boolean =>
  names.some((name) => {
    const value = domainOf(properties.get(name) ?? "");
    return value !== "" && organisation(value) === organisation(domain);
  });
