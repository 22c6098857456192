import { LIST_FOOTER, MOBILE } from "./reply-languages";
import { isBlank, type Line } from "./reply-lines";

// Signatures are short: what is longer is something that was written.
const MOST_LINES = 12;

type Around = {
  /** Something was written above. */
  written: boolean;
  isHistory: (at: number) => boolean;
};

/** The line behind a signature that begins in line `at`, else null. It ends where history begins. */
export function signatureEnd(lines: Line[], at: number, { written, isHistory }: Around): number | null {
  const line = lines[at]!;
  if (line.mark === "signature") return at + 1;
  const text = line.text.slice(0, 300);
  if (MOBILE.test(text)) return at + 1;
  if (/^-- ?$/.test(text)) return endOf(lines, at + 1, lines.length, isHistory);
  if (!/^\s*(--|—|–|__|\*{3}|-{3,}|_{3,})\s*$/.test(text)) return null;
  if (/^\s*_{20,}/.test(text) && lines.slice(at + 1, at + 4).some((one) => LIST_FOOTER.test(one.text.slice(0, 300)))) {
    return endOf(lines, at + 1, lines.length, isHistory);
  }
  if (!written || !lines.slice(at + 1, at + MOST_LINES).some((one) => isContact(one.text))) return null;
  const end = endOf(lines, at + 1, at + 2 * MOST_LINES, isHistory);
  const own = lines.slice(at + 1, end).filter((one) => !isBlank(one));
  return own.length <= MOST_LINES && own.every((one) => one.text.length <= 80) ? end : null;
}

function endOf(lines: Line[], from: number, to: number, isHistory: (at: number) => boolean): number {
  let at = from;
  while (at < Math.min(to, lines.length) && !isHistory(at)) at++;
  return at;
}

const PHONE =
  /(?:\+|00|\(0?\d|\b0)[\d\s()./-]{6,}\d|\b(?:tel|phone|mobil\w*|mob|fax|cell|telefon\w*|tél\w*|móvil|cel|puh|тел|моб|电话|電話|手机)\b[.:： ]/iu;
const PLACE =
  /^\s*(?:https?:\/\/\S+|www\.\S+|[\w.-]+\.(?:com|de|fr|org|net|io|co\.uk|es|it|nl|se|dk|no|fi|pl|ru|jp|cn|eu)(?:\/\S*)?|<?(?:mailto:)?[^\s@]+@[^\s@]+>?|(?:e-?mail|mail|web|url|www|site)\s?[.:：]\s*\S+)\s*$/iu;

const isContact = (text: string): boolean => PHONE.test(text.slice(0, 200)) || PLACE.test(text.slice(0, 200));

const GREETING =
  /^[\s]*(best|kind|warm(est)?|many|with|mit|viele|liebe|beste|freundliche|herzliche|schöne|cordialement|bien|meilleures|sincères|amicalement|salutations|saludos|un|atentamente|cordiales|atenciosamente|cumprimentos|abraços|com|cordiali|distinti|saluti|met|vriendelijke|groet\w*|med|vänliga|mvh|venlig|vennlig|hilsen|ystävällisin|terveisin|pozdrawiam|z poważaniem|с уважением|regards|thanks|thank you|cheers|sincerely|yours|danke|merci|gracias|obrigad[oa]|grazie|bedankt|tack|tak|takk|kiitos|dziękuję|спасибо|vg|lg|mfg|br|敬具|よろしく|此致|祝|谢谢)/iu;

/** The last paragraph goes where it is nothing but how to reach somebody; a greeting and a name above stay. */
export function withoutContactBlock(lines: Line[], kept: boolean[]): boolean[] {
  const own = lines.flatMap((line, i) => (kept[i] && !isBlank(line) ? [i] : []));
  const last = own.at(-1);
  if (last === undefined) return kept;
  let first = last;
  while (first > 0 && kept[first - 1] && !isBlank(lines[first - 1]!)) first--;
  if (GREETING.test(lines[first]!.text)) first = Math.min(first + 2, last + 1);
  const block = lines.slice(first, last + 1);
  const stands = own[0]! < first && block.length >= 2 && block.length <= MOST_LINES;
  const contacts = block.filter(({ text }) => isContact(text)).length;
  // "My new numbers are:" asks for what stands below.
  const announced = own.findLast((i) => i < first);
  const asked = announced !== undefined && /[:：]\s*$/.test(lines[announced]!.text);
  const prose = block.some(
    ({ text }) =>
      text.length > 90 ||
      /[a-zа-я]{3}[.?!]\s*$/iu.test(text.replace(/\b(inc|ltd|co|llc|corp|bv|srl|sa|ag)\.?\s*$/i, "")) ||
      /[。？！?]\s*$/u.test(text),
  );
  if (!stands || contacts === 0 || prose || asked || isContact(block[0]!.text)) return kept;
  return kept.map((keep, i) => keep && (i < first || i > last));
}
