import { addressParser } from "postal-mime";
import { unfold } from "./headers";
import type { Mailbox } from "./mail";
import { decodeHeader } from "./words";

const LONGEST = 256 * 1024;
// No list of people has more headers, or as many groups and comments; reading such takes long.
const MOST_HEADERS = 20;
const LONGEST_ODD = 8 * 1024;

/** Groups are flattened; what holds no address is left out. */
export function readAddresses(raws: string[], fallback: string | null): Mailbox[] {
  return raws.slice(0, MOST_HEADERS).flatMap((raw) => {
    const line = mended(cut(unfold(raw)), fallback);
    return addressParser(line, { flatten: true }).flatMap(({ name, address }) => {
      const clean = cleanAddress(address ?? "");
      return clean === null ? [] : [{ name: cleanName(name, clean), address: clean }];
    });
  });
}

const cut = (line: string): string =>
  line.slice(0, (line.match(/[:(\\=]/g)?.length ?? 0) > 500 && !line.includes("=?") ? LONGEST_ODD : LONGEST);

/** Only the words and bytes that postal-mime would lose are decoded before it reads, quoted so that they stay a name. */
function mended(line: string, fallback: string | null): string {
  const words = line.replace(
    /=\?[^?\s]{1,60}\?[qb]\?(?:[^?\r\n]|\?(?!=)){0,4000}\?=(?:\s*=\?[^?\s]{1,60}\?[qb]\?(?:[^?\r\n]|\?(?!=)){0,4000}\?=)*/gi,
    (run) => asWord(decodeHeader(run, fallback)),
  );
  return /[^\x20-\x7e\t]/.test(words)
    ? decodeHeader(words.replaceAll("=?", "= ?"), fallback).replaceAll("= ?", "=?")
    : words;
}

/** ASCII that reads back as the text. */
function asWord(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return `=?utf-8?Q?${Array.from(bytes, (byte) => `=${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("")}?=`;
}

const MOST = 998;
/** One address and no more; what looks like two would be one to us and two to whom it is handed on. */
const SINGLE = /^(?:[^@,;:<>()[\]\\"\s]+|"(?:[^"\\]|\\.)*")@[^@,;:<>()\\"\s]+$/;

function cleanAddress(given: string): string | null {
  if (given.length > 2 * MOST) return null;
  const bare = given
    .replace(/[<>\0]+/g, "")
    .trim()
    .replace(/\s*@\s*(?=[^@]*$)/, "@")
    .replace(/^mailto:/i, "")
    .replace(/^['"]+(?=[^"']*@)|['"]+$/g, "")
    .replace(/[;,.\s]+$/, "");
  // postal-mime takes quotes away that a name with spaces needs.
  const address = bare.replace(/^([^"@]*[^"@\s])\s*@/, (all, local: string) =>
    /\s/.test(local) ? `"${local}"@` : all,
  );
  return SINGLE.test(address) && address.length <= MOST ? address : null;
}

/** A name that only repeats the address says nothing. */
function cleanName(given: string, address: string): string {
  const name = given
    .replace(/\s+/g, " ")
    .trim()
    .replace(/^(['"])(.*)\1$/, "$2")
    .trim();
  return name.toLowerCase() === address.toLowerCase() ? "" : name;
}
