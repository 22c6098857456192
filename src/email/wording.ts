import { escapeHtml } from "../mail/html-entities";
import { textOfHtml } from "../mail/html-lines";
import type { Addressee, Answered } from "./letters";
import { TEXT_MOST } from "./recording";

/** What the writer said, as far as it was said: what is left out is made of the other. */
export type Given = { text: string | null; html: string | null };

/** What a forwarded mail brings along, beneath what is written anew. */
export type Tail = { head: string[]; text: string; html: string | null };

export type Worded = {
  text: string;
  /** Of the text, what its writer wrote anew. */
  written: string;
  html: string | null;
};

/** The words of a mail, made of what was given for it. */
export function worded(given: Given, tail: Tail | null): Worded {
  const { html } = given;
  const written = given.text ?? (html === null ? "" : textOfHtml(html));
  if (tail === null) return { text: written, written, html };
  const { head } = tail;
  const text = `${written ? `${written}\n\n` : ""}${head.join("\n")}\n\n${tail.text}`;
  if (html === null && tail.html === null) return { text, written, html: null };
  const body = tail.html ?? asHtml(tail.text);
  const quote = `<div class="gmail_quote"><div>${head.map(escapeHtml).join("<br>")}</div><br>${body}</div>`;
  return { text, written, html: `${html ?? asHtml(written)}<br>${quote}` };
}

const asHtml = (text: string): string => `<div style="white-space:pre-wrap">${escapeHtml(text)}</div>`;

/** Of what was written anew, what its message shows. */
export const shownText = ({ written }: Worded): string => written.slice(0, TEXT_MOST).toWellFormed();

const shownAs = ({ address, name }: Addressee): string => (name ? `${name} <${address}>` : address);

export function tailOf(answered: Answered): Tail {
  const of = (kind: string) => answered.recipients.filter((one) => one.kind === kind).map(shownAs);
  const facts = [
    ["From", of("from").join(", ")],
    ["Date", new Date(answered.date).toUTCString()],
    ["Subject", answered.subject],
    ["To", of("to").join(", ")],
    ["Cc", of("cc").join(", ")],
  ].filter(([, value]) => value !== "");
  return {
    head: ["---------- Forwarded message ---------", ...facts.map(([name, value]) => `${name}: ${value}`)],
    text: answered.text ?? (answered.html === null ? "" : textOfHtml(answered.html)),
    html: answered.html?.replace(/<!doctype[^>]*>|<\/?(html|head|body)\b[^>]*>/gi, "") ?? null,
  };
}
