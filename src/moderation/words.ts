/** Marks that still stand alone after composition are laid over letters to disguise them. */
const DISGUISE =
  /\p{Default_Ignorable_Code_Point}|[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]/gu;
const PLAIN = /^[\0-\x7f]*$/;

/** What looks or reads the same is the same: composed, folded, and without what cannot be seen. */
export function normalised(text: string): string {
  if (PLAIN.test(text)) return text.toLowerCase();
  return (
    text
      .normalize("NFKC")
      .replace(DISGUISE, "")
      // By way of upper case, as ß is ss and ς is σ there; and before that of lower case, where ẞ is ß.
      .toLowerCase()
      .toUpperCase()
      .toLowerCase()
      .replaceAll("ς", "σ")
      .normalize("NFKC")
      .replace(DISGUISE, "")
  );
}

/** Scripts that put no spaces between words: Han, kana, Thai, Lao, Khmer, Burmese, Tibetan. */
const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}`;
const WORD = new RegExp(String.raw`[[\p{L}\p{M}\p{N}_]--[${UNSPACED}]]+`, "gv");
const PART = new RegExp(`[${UNSPACED}]`, "u");

export type Words = { words: string[]; starts: number[] };

/** The words of a normalised text and where they begin. */
export function wordsOf(text: string): Words {
  const words: string[] = [];
  const starts: number[] = [];
  for (const match of text.matchAll(WORD)) {
    words.push(match[0]);
    starts.push(match.index);
  }
  return { words, starts };
}

/** What has no words of its own, such as a sign, and what is written without spaces is looked for anywhere. */
export const isFoundAnywhere = (entry: string): boolean => PART.test(entry) || wordsOf(entry).words.length === 0;

const HOSTLIKE = /[\p{L}\p{M}\p{N}_.\u3002-]+/gu;
const DOTS = /[.\u3002]+/u;
const MOST_HOST = 253;

export type Host = { name: string; from: number; to: number };

/** Whatever in a normalised text may be the name of a host. */
export function hostsOf(text: string): Host[] {
  const hosts: Host[] = [];
  for (const { 0: run, index: from } of text.matchAll(HOSTLIKE)) {
    const labels = run.slice(-MOST_HOST).split(DOTS).filter(Boolean);
    const name = labels.length > 1 ? asciiHost(labels.join(".")) : null;
    if (name !== null) hosts.push({ name, from, to: from + run.length });
  }
  return hosts;
}

/** As it is looked up, in ASCII and lower case; null where it is no name of a host. */
export function asciiHost(name: string): string | null {
  if (PLAIN.test(name)) return name.toLowerCase();
  try {
    return new URL(`http://${name}/`).hostname;
  } catch {
    return null;
  }
}

type Range = [from: number, to: number];
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Stars in the place of these ranges of the normalised text, one for each grapheme of the text as it was written. */
export function masked(text: string, ranges: readonly Range[]): string {
  const sorted = ranges.toSorted((a, b) => a[0] - b[0]);
  let at = 0;
  let next = 0;
  let out = "";
  // A space ends what is normalised together.
  for (const piece of text.split(/(?=\s)/u)) {
    const length = normalised(piece).length;
    while (next < sorted.length && sorted[next]![1] <= at) next++;
    if (next === sorted.length || sorted[next]![0] >= at + length) out += piece;
    else out += maskedPiece(piece, at, sorted.slice(next));
    at += length;
  }
  return out;
}

function maskedPiece(piece: string, start: number, ranges: readonly Range[]): string {
  const segments = [...graphemes.segment(piece)].map(({ segment }) => ({
    segment,
    length: normalised(segment).length,
  }));
  const total = segments.reduce((sum, { length }) => sum + length, 0);
  // What is composed over the bounds of graphemes cannot be told apart: all of it goes.
  const hits = total === normalised(piece).length ? ranges : [[start, start + total] as Range];
  let at = start;
  let next = 0;
  let out = "";
  for (const { segment, length } of segments) {
    while (next < hits.length && hits[next]![1] <= at) next++;
    const isHit = length > 0 && next < hits.length && hits[next]![0] < at + length;
    out += isHit && segment.trim() !== "" ? "*" : segment;
    at += length;
  }
  return out;
}
