import type { Reply } from "./facts";
import type { Mail } from "./mail";
import { attributionEndingAt, headerBlockAt, isForwarded, isOriginal, isRule } from "./reply-history";
import { AMBIGUOUS_SUBJECT, ANSWER_ABOVE, FORWARD_SUBJECT } from "./reply-languages";
import { isBlank, type Line, linesOfHtml, linesOfText } from "./reply-lines";
import { signatureEnd, withoutContactBlock } from "./reply-signatures";

// What a person writes is at hand within the first of it.
const LONGEST = 1024 * 1024;

/** What the person wrote, without quoted history and signature; a forwarded mail is kept with what was said of it. */
export function replyOf(mail: Pick<Mail, "text" | "html" | "subject">): Reply {
  const text = mail.text?.trim() ? linesOfText(mail.text.slice(0, LONGEST)) : null;
  const html = mail.html?.trim() ? linesOfHtml(mail.html.slice(0, LONGEST)) : null;
  const fromText = text ? written(text, mail.subject) : null;
  // The containers of HTML speak where a text says nothing of its history.
  if (html && (!fromText || (!fromText.dropped && html.some(({ mark, depth }) => mark !== null || depth > 0)))) {
    const fromHtml = written(html, mail.subject);
    if (!fromText || fromHtml.dropped) return replyFrom(html, fromHtml.kept, "html");
  }
  return replyFrom(text ?? [], fromText?.kept ?? [], "text");
}

type Written = { kept: boolean[]; dropped: boolean };

function written(lines: Line[], subject: string): Written {
  const kept = lines.map(() => false);
  const forwards = FORWARD_SUBJECT.test(subject) && !AMBIGUOUS_SUBJECT.test(subject);
  let any = false;
  let at = 0;
  while (at < lines.length) {
    const history = historyAt(lines, at);
    if (history && (forwards || history.forward) && history.whole) {
      return { kept: withoutContactBlock(lines, kept).map((keep, i) => keep || i >= at), dropped: at > 0 };
    }
    if (history) {
      for (let i = history.start; i < at; i++) kept[i] = false;
      at = history.end;
      continue;
    }
    const around = { written: any, isHistory: (i: number) => historyAt(lines, i) !== null };
    const signature = signatureEnd(lines, at, around);
    if (signature !== null) {
      at = signature;
      continue;
    }
    kept[at] = true;
    any ||= !isBlank(lines[at]!);
    at++;
  }
  const own = withoutContactBlock(lines, kept);
  return { kept: own, dropped: own.some((keep, i) => !keep && !isBlank(lines[i]!)) };
}

/** `whole`: it lasts to the end of the mail. `start` may lie before the line at which it was seen. */
type History = { start: number; end: number; whole: boolean; forward: boolean };

function historyAt(lines: Line[], at: number): History | null {
  const line = lines[at]!;
  const one = { start: at, end: at + 1, whole: false, forward: false };
  if (isBlank(line) && line.mark === null) return line.depth > 0 ? one : null;
  if (line.mark === "forward") return { ...one, end: lines.length, whole: true, forward: true };
  if (line.depth === 0 && isForwarded(line)) return { ...one, end: lines.length, whole: true, forward: true };
  if (line.mark === "cut") return { ...one, end: lines.length, whole: true };
  if (line.depth > 0 || line.mark === "quoted" || line.mark === "attribution") return one;
  if (ANSWER_ABOVE.test(line.text.slice(0, 200))) return { ...one, end: lines.length, whole: true };
  const block = blockAt(lines, at);
  if (block !== null)
    return endsInQuote(lines, block) ? { ...one, end: block } : { ...one, end: lines.length, whole: true };
  const attribution = attributionEndingAt(lines, at);
  if (!attribution) return null;
  if (endsInQuote(lines, attribution.end)) return { ...one, ...attribution };
  return attribution.sure ? { ...one, start: attribution.start, end: lines.length, whole: true } : null;
}

/** The line behind a rule, a title and a copied header, of which one suffices. */
function blockAt(lines: Line[], at: number): number | null {
  const titled = isOriginal(lines[at]!);
  const below = titled || isRule(lines[at]!) ? nextWritten(lines, at + 1) : at;
  const header = below < lines.length ? headerBlockAt(lines, below) : null;
  return header ?? (titled ? at + 1 : null);
}

const nextWritten = (lines: Line[], from: number): number => {
  let at = from;
  while (at < lines.length && at < from + 4 && isBlank(lines[at]!)) at++;
  return at;
};

/** What follows is marked as quoted, so that its end can be seen. */
function endsInQuote(lines: Line[], from: number): boolean {
  const next = lines[nextWritten(lines, from)];
  return next !== undefined && (next.depth > 0 || next.mark === "quoted");
}

const isWritten = (line: Line): boolean => !isBlank(line);

/** The text is just what stands in the places kept. */
function replyFrom(lines: Line[], kept: boolean[], source: Reply["source"]): Reply {
  const runs: [number, number][] = [];
  const texts: string[] = [];
  let open: Line[] = [];
  const close = () => {
    const [first, last] = [open.findIndex(isWritten), open.findLastIndex(isWritten)];
    if (first >= 0) {
      const text = open
        .slice(first, last + 1)
        .map((line) => line.text)
        .join("\n");
      const start = open[first]!.start + (text.length - text.trimStart().length);
      texts.push(text.trim());
      runs.push([start, start + text.trim().length]);
    }
    open = [];
  };
  for (const [i, line] of lines.entries()) kept[i] ? open.push(line) : close();
  close();
  return { text: texts.join("\n\n"), source, kept: runs };
}
