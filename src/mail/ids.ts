import { unfold } from "./headers";

// More than any conversation has; a mail may name as many as it likes.
const MOST = 1000;

/** Ids without brackets, comments and the blanks that folding put into them; in order, each once. */
export function readIds(raws: string[], phrases: boolean): string[] {
  const ids = raws.flatMap((raw) => {
    const line = unfold(raw).slice(0, 256 * 1024);
    // Some mailers leave the brackets away; in a phrase ("bob@example.com's message of Monday") that is no id.
    const anywhere = !phrases || !line.includes("<");
    const words = line.match(/<[^<>]{1,2000}>|"[^"]*"|\([^()]*\)|[^\s,;<>"(]+/g) ?? [];
    const isId = (word: string) => word.startsWith("<") || (anywhere && word.includes("@") && !/^["(]/.test(word));
    return words.filter(isId).map(normalised);
  });
  return [...new Set(ids.filter((id) => id !== ""))].slice(0, MOST);
}

/** A Message-ID is what its header says, even where that is not the shape of one. */
export function firstId(raws: string[]): string | null {
  const [id] = readIds(raws, true);
  if (id) return id;
  const [given] = raws.map((raw) => normalised(unfold(raw).replace(/[<>]/g, ""))).filter((text) => text !== "");
  return given?.slice(0, 998) ?? null;
}

const normalised = (id: string): string => id.replace(/[\s\0<>]+/g, "");
