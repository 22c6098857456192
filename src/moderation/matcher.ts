import { parseAddress, parseRange } from "../lib/addresses.ts";
import { type Automaton, newAutomaton, type Pattern, scan } from "./automaton.ts";
import type { ListAction, ListKind } from "./kinds.ts";
import { hostsOf, isFoundAnywhere, masked, normalised, wordsOf } from "./words.ts";

/** `everywhere`: for all channels; otherwise for those whose type names it. Entries are keys. */
export type BlockList = {
  id: string;
  name: string;
  kind: ListKind;
  action: ListAction;
  everywhere: boolean;
  entries: string[];
};

/** What an entry is told apart by; null where it cannot be one of this kind. */
export function keyOf(kind: ListKind, entry: string): string | null {
  if (kind === "ip") return rangeKey(entry);
  const text = normalised(entry).trim();
  if (kind === "domain") {
    const [host, ...more] = hostsOf(text.replace(/^\*\./, ""));
    return host && more.length === 0 && host.from === 0 && host.to === text.replace(/^\*\./, "").length
      ? host.name
      : null;
  }
  if (isFoundAnywhere(text)) return text === "" ? null : text;
  const { words } = wordsOf(text);
  return kind === "word" && words.length > 1 ? null : words.join(" ");
}

function rangeKey(entry: string): string | null {
  const range = parseRange(entry);
  return range && `${range.bits}/${range.rest}/${range.prefix}`;
}

type Addresses = { bits: 32 | 128; rest: bigint; lists: Map<bigint, number[]> };

export type Matcher = {
  lists: Omit<BlockList, "entries">[];
  words: Automaton<string> | null;
  parts: Automaton<number> | null;
  hosts: Map<string, number[]>;
  addresses: Addresses[];
};

/** Lists, ready to be held against texts. */
export function newMatcher(lists: readonly BlockList[]): Matcher {
  const words: Pattern<string>[] = [];
  const parts: Pattern<number>[] = [];
  const hosts = new Map<string, number[]>();
  const addresses = new Map<string, Addresses>();
  for (const [list, { kind, entries }] of lists.entries()) {
    for (const key of entries) {
      if (kind === "ip") addAddress(addresses, key, list);
      else if (kind === "domain") hosts.set(key, [...(hosts.get(key) ?? []), list]);
      else if (isFoundAnywhere(key))
        parts.push({ symbols: Array.from({ length: key.length }, (_, i) => key.charCodeAt(i)), list });
      else words.push({ symbols: key.split(" "), list });
    }
  }
  return {
    lists: lists.map(({ entries: _, ...list }) => list),
    words: words.length > 0 ? newAutomaton(words) : null,
    parts: parts.length > 0 ? newAutomaton(parts) : null,
    hosts,
    addresses: [...addresses.values()],
  };
}

function addAddress(addresses: Map<string, Addresses>, key: string, list: number): void {
  const [bits = "", rest = "", prefix = ""] = key.split("/");
  const group = addresses.get(`${bits}/${rest}`) ?? {
    bits: Number(bits) as 32 | 128,
    rest: BigInt(rest),
    lists: new Map(),
  };
  addresses.set(`${bits}/${rest}`, group);
  group.lists.set(BigInt(prefix), [...(group.lists.get(BigInt(prefix)) ?? []), list]);
}

type Range = [from: number, to: number];
/** By list: where in the normalised text it was found, and whether it was beside the text. */
export type Hits = Map<number, { ranges: Range[]; isBeside: boolean }>;

/** Beside the text stand words of their own, such as the names of files, and addresses. */
export type Said = { text: string; beside?: readonly string[]; urls: readonly string[]; ip: string | null };

/** Which lists find something. Each text is read once, however many entries there are. */
export function hitsIn(matcher: Matcher, { text, beside = [], urls, ip }: Said): Hits {
  const hits: Hits = new Map();
  const at = (list: number) => {
    const hit = hits.get(list) ?? { ranges: [], isBeside: false };
    hits.set(list, hit);
    return hit;
  };
  const besideIt = (list: number) => {
    at(list).isBeside = true;
  };
  findIn(matcher, text, (list, from, to) => at(list).ranges.push([from, to]));
  for (const words of beside) findIn(matcher, words, besideIt);
  for (const url of urls) listsOf(matcher, hostOf(url)).forEach(besideIt);
  if (ip !== null) listsWith(matcher, ip).forEach(besideIt);
  return hits;
}

function findIn(matcher: Matcher, text: string, tell: (list: number, from: number, to: number) => void): void {
  const said = normalised(text);
  if (matcher.words) {
    const { words, starts } = wordsOf(said);
    scan(
      matcher.words,
      words.length,
      (i) => words[i]!,
      (list, from, to) => tell(list, starts[from]!, starts[to - 1]! + words[to - 1]!.length),
    );
  }
  if (matcher.parts) scan(matcher.parts, said.length, (i) => said.charCodeAt(i), tell);
  if (matcher.hosts.size > 0)
    for (const { name, from, to } of hostsOf(said)) for (const list of listsOf(matcher, name)) tell(list, from, to);
}

function hostOf(url: string): string {
  try {
    return new URL(url).hostname;
  } catch {
    return "";
  }
}

/** The lists that name a host or a domain that it is in. */
function listsOf({ hosts }: Matcher, name: string): number[] {
  const found: number[] = [];
  let domain = "";
  for (const label of name.split(".").reverse()) {
    domain = domain === "" ? label : `${label}.${domain}`;
    const lists = hosts.get(domain);
    if (lists) found.push(...lists);
  }
  return found;
}

const MAPPED = /^::ffff:(?=\d+\.)/i;

function listsWith({ addresses }: Matcher, ip: string): number[] {
  const address = parseAddress(ip.replace(MAPPED, ""));
  if (!address) return [];
  return addresses.flatMap(({ bits, rest, lists }) =>
    bits === address.bits ? (lists.get(address.value >> rest) ?? []) : [],
  );
}

type Named = { id: string; name: string; kind: ListKind };
/** What becomes of a text: refused, held for review, or with stars in it. */
export type Ruling = { block?: Named; hold?: Named; text?: string };

/** By the lists that hold in a channel. What stands beside the text is not rewritten: where a list would mask it, it is refused. */
export function rule(
  { lists }: Matcher,
  hits: Hits,
  text: string,
  holds: (list: Matcher["lists"][number]) => boolean,
): Ruling {
  const found = [...hits].flatMap(([at, hit]) => (holds(lists[at]!) ? [{ list: lists[at]!, ...hit }] : []));
  const first = (action: ListAction) => found.find(({ list }) => list.action === action)?.list;
  const block = first("block") ?? found.find(({ list, isBeside }) => list.action === "mask" && isBeside)?.list;
  const hold = first("hold");
  const stars = found.filter(({ list }) => list.action === "mask").flatMap(({ ranges }) => ranges);
  return {
    ...(block && { block: named(block) }),
    ...(hold && { hold: named(hold) }),
    ...(stars.length > 0 && { text: masked(text, stars) }),
  };
}

const named = ({ id, name, kind }: Named): Named => ({ id, name, kind });
