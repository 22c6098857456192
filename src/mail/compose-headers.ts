import { binaryString } from "./charsets";
import type { Mailbox } from "./mail";

const LINE = 76;
/** What may stand in a word of RFC 2047 wherever a word may stand, names of people included. */
const Q_SAFE = /^[A-Za-z0-9!*+\-/]$/;
const WORD_MOST = 75 - "=?UTF-8?Q??=".length;

const encoder = new TextEncoder();
const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0");

/** Nothing that the caller hands in begins a line of its own. */
const oneLine = (text: string): string => text.replace(/[\r\n\0]+/g, " ");

/** `Name: value`, folded, with its line end. */
export function headerLine(name: string, value: string): string {
  const text = oneLine(value);
  const encoded = isPlain(text) ? folded(text.split(" "), name.length + 2) : words(text, name.length + 2);
  return `${name}: ${encoded}\r\n`;
}

/** Readable as it is: ASCII that folding does not change, and that nobody takes for an encoded word. */
const isPlain = (text: string): boolean =>
  /^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(text) && !text.includes("=?") && !/[^ ]{900}/.test(text);

function folded(pieces: readonly string[], start: number, between = " "): string {
  let out = "";
  let length = start;
  for (const [i, piece] of pieces.entries()) {
    const last = i === pieces.length - 1;
    const room = piece.length + (last ? 0 : between.trimEnd().length);
    if (i > 0 && length + 1 + room > LINE) {
      out += `${between.trimEnd()}\r\n ${piece}`;
      length = 1 + piece.length;
    } else {
      out += (i > 0 ? between : "") + piece;
      length += (i > 0 ? between.length : 0) + piece.length;
    }
  }
  return out;
}

/** RFC 2047, cut between characters; by Q where that is the shorter. */
function words(text: string, start = 0): string {
  const characters = Array.from(text, (character) => encoder.encode(character));
  const bytes = characters.reduce((sum, one) => sum + one.length, 0);
  const asQ = characters.map(qOf);
  const letter = asQ.reduce((sum, one) => sum + one.length, 0) <= Math.ceil(bytes / 3) * 4 ? "Q" : "B";
  const out: string[] = [];
  let held: number[] = [];
  let inQ = "";
  let room = Math.max(WORD_MOST - start, 12);
  const close = () => {
    if (held.length > 0) out.push(`=?UTF-8?${letter}?${letter === "Q" ? inQ : btoa(String.fromCharCode(...held))}?=`);
    held = [];
    inQ = "";
    room = WORD_MOST;
  };
  for (const [i, character] of characters.entries()) {
    const length = letter === "Q" ? inQ.length + asQ[i]!.length : Math.ceil((held.length + character.length) / 3) * 4;
    if (length > room) close();
    held.push(...character);
    inQ += asQ[i]!;
  }
  close();
  return out.join("\r\n ");
}

function qOf(bytes: Uint8Array): string {
  if (bytes.length === 1) {
    const character = String.fromCharCode(bytes[0]!);
    if (character === " ") return "_";
    if (Q_SAFE.test(character)) return character;
  }
  return Array.from(bytes, (byte) => `=${hex(byte)}`).join("");
}

const ATOMS = /^[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*$/;

function phrase(name: string): string {
  const text = oneLine(name).trim();
  if (text === "") return "";
  const safe = !text.includes("=?") && text.length <= 60 && /^[\x20-\x7e]*$/.test(text);
  if (safe && ATOMS.test(text)) return `${text} `;
  if (safe && !/ {2}/.test(text)) return `"${text.replace(/["\\]/g, "\\$&")}" `;
  return `${words(text, 12)}${text.length > 20 ? "\r\n " : " "}`;
}

const mailbox = ({ name, address }: Mailbox): string => (name ? `${phrase(name)}<${address}>` : address);

export const addressLine = (name: string, mailboxes: readonly Mailbox[]): string =>
  mailboxes.length === 0 ? "" : `${name}: ${mailboxes.map(mailbox).join(",\r\n ")}\r\n`;

/** An id that could not stand between its brackets is left out. */
export const idLine = (name: string, ids: readonly string[]): string => {
  const sound = ids.filter((id) => /^[!-;=?-~]{1,900}$/.test(id));
  return sound.length === 0 ? "" : `${name}: ${sound.map((id) => `<${id}>`).join("\r\n ")}\r\n`;
};

/** RFC 2231 for whatever is not plain ASCII, or long; in sections that each fit a line. */
export function parameter(name: string, value: string): string {
  const text = oneLine(value);
  if (/^[\x20-\x7e]*$/.test(text) && text.length <= 60 && !text.includes("=?"))
    return `;\r\n ${name}="${text.replace(/["\\]/g, "\\$&")}"`;
  const units = Array.from(text, (character) =>
    /^[A-Za-z0-9._-]$/.test(character)
      ? character
      : binaryString(encoder.encode(character)).replace(/[\s\S]/g, (c) => `%${hex(c.charCodeAt(0))}`),
  );
  const sections = [""];
  for (const unit of units) {
    if (sections.at(-1)!.length + unit.length > 50) sections.push("");
    sections[sections.length - 1] += unit;
  }
  if (sections.length === 1) return `;\r\n ${name}*=UTF-8''${sections[0]}`;
  return sections.map((section, i) => `;\r\n ${name}*${i}*=${i === 0 ? "UTF-8''" : ""}${section}`).join("");
}
