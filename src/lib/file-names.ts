/** Control characters, line separators, and marks that turn the direction of text to disguise an ending. */
const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/** A plain name: no folders, nothing unseen, nothing that cannot be stored. */
export function plainName(given: string): string {
  const last = given.toWellFormed().split(/[/\\]/).at(-1)!.replace(UNSEEN, "").trim();
  const name = [...last].slice(0, 255).join("");
  return /^\.*$/.test(name) ? "file" : name;
}
