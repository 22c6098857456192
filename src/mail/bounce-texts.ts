import { type Said, saysWhy } from "./bounce-verdict";
import type { Mail } from "./mail";

/** Senders and subjects of those who report. */
const DAEMON =
  /^(mailer-?daemon|postmaster|mail-?daemon|maildaemon|bounces?|bounce-.*|mail-?system|mdaemon|mailerdaemon|microsoftexchange[0-9a-f]*|noreply-mailer-daemon|mail\.?delivery.*|root|smtpd?|administrator|system-?administrator|mta)$/i;

const DAEMON_NAME =
  /mail(er)? (delivery|daemon|system)|postmaster|system administrator|delivery subsystem|mail router|microsoft outlook|mail administrator|メール配送|почтов/i;

/** By its own word: whoever likes may call himself so. */
export const isDaemon = ({ from }: Pick<Mail, "from">): boolean =>
  DAEMON.test(from?.address.split("@")[0] ?? "") || DAEMON_NAME.test(from?.name ?? "");

export const SUBJECT =
  /(undeliver(ed|able)|delivery (status notification|failure|failed|has failed|report|delayed|problem|error|incomplete|notification)|fail(ed|ure) (notice|delivery|to deliver|mail)|(mail|message) (delivery|could not be|undeliver|returned|not delivered|status report)|returned mail|return(ed|ing) (to sender|message)|mail (error|system error)|nondeliver|non-?delivery|non remis|unzustellbar|(nicht|un)zustell|zustellung|nachricht konnte nicht|couldn.t be delivered|could not be delivered|could not send message|warning: (message|could not|mail)|delay(ed)? (notice|mail)|not delivered|échec|non distribu|remise|não (foi )?(entreg|poss)|devolvid|no (se )?(pudo |ha podido )?(entreg|envi)|devuelto|mancata consegna|non recapit|impossibile recapitare|niet (worden )?(bezorgd|afgeleverd)|onbestelbaar|недоставлен|не (может быть )?доставлен|не удалось доставить|niedostarczon|nie dostarczon|zwrot|配信不能|配信(できません|エラー)|送信エラー|エラーメール|送信できません|退信|投递失败|无法(投递|送达)|系统退信|傳送失敗|kan inte levereras|kunne ikke leveres|levereras inte|ei voitu toimittaa|toimitus epäonnistui)/i;

/** What the text of a bounce says, whoever sent it. */
export const BODY =
  /(this is the (qmail-send|mail system at|mailer)|could not be delivered|couldn.t be delivered|was not delivered|undeliverable|unable to deliver|did(n.t| not) reach|delivery (has )?failed|failed to deliver|delivery to the following|permanent (fatal )?errors?|following addresses? (failed|had)|returned to (the )?sender|wasn.t delivered|not be sent|address(ee)? (not found|rejected)|nicht (zugestellt|ausgeliefert|übermittelt)|konnte nicht|n['’]a pas (pu )?([êe]tre )?(remis|distribu|livr)|no (se )?(pudo|ha podido)|non [èe] stato (possibile|recapitato)|n[ãa]o (foi|p[ôo]de)|niet (worden )?(bezorgd|afgeleverd)|не (может быть |был[оа]? |удалось )?доставлен|не удалось доставить|nie (mo[żz]e|zosta[łl]|uda[łl]o)|(配信|送信|届け)[^。\n]{0,12}(できません|できなかった|失敗)|无法(投递|送达)|退回|kunde inte|kunne ikke|ei voitu|user unknown|unknown user)/i;

// Full-width brackets and stops end an address as well. None holds an @: a line of them would take long.
const ATOM = String.raw`[^\s@<>()\[\]",;:'|（）【】「」『』《》，。；：、]`;
const ADDRESS = `(${ATOM}+@${ATOM}+\\.${ATOM}+)`;

/** Lines that name a recipient: alone, in brackets, before a colon, after a label; what follows is the diagnostic. */
const RECIPIENT = new RegExp(
  String.raw`^[\s>*•·-]*(?:(?:to|an|à|recipient|user|address|адресат|получатель|宛先|收件人|original recipient|final recipient|e-?mail)\s*[:：]\s*)?(?:"[^"\n]{0,80}"\s*|[\p{L} .,'-]{1,60}(?=[\s]?[<(]))?[<("']{0,2}(?:mailto:|smtp:|rfc822;)?\s*${ADDRESS}[>)"']{0,3}\s*(?:\([^()\n]{0,200}\)\s*)?(?=[\s:：,;。.]|$)`,
  "imu",
);

const LOOSE = new RegExp(ADDRESS, "iu");

/** Whom one may write to about a bounce. */
const DESK = /^(postmaster|mailer-daemon|abuse|helpdesk|support|noc)@/;

type Found = { at: number; end: number; address: string };

/** Recipients of a report in free words. `own` are addresses of ours and of the reporter, which every report names. */
export function recipientsInText(words: string, own: Set<string>): Said[] {
  const lines = linesOf(words);
  const named = lines.flatMap(({ at, text }) => found(RECIPIENT.exec(text), at, own));
  const all = named.length > 0 ? named : lines.flatMap(({ at, text }) => found(LOOSE.exec(text), at, own)).slice(0, 1);
  // The last place of each: before it stands what the mail was, not what became of it.
  return Array.from(new Map(all.map((one) => [one.address, one])), ([address, place]) => {
    const next = all.find(({ at }) => at > place.at)?.at;
    // Where nothing follows (a list before or after the reason), the reason is the whole text.
    const after = diagnosticIn(words.slice(place.end, next));
    const whole = diagnosticIn(words) ?? words;
    const diagnostic = clean(
      [after, whole, words].find((text) => text !== null && saysWhy(text.slice(0, 2000))) ?? after ?? whole,
    );
    return { recipient: address, action: "failed", status: null, diagnostic, remote: REMOTE.test(diagnostic) };
  });
}

const REMOTE = /said|responded|replied|rejected|\bhost\b|smtp|remote|server/i;

function linesOf(words: string): { at: number; text: string }[] {
  let at = 0;
  return words
    .split("\n")
    .slice(0, 400)
    .map((text) => {
      const line = { at, text: text.slice(0, 400) };
      at += text.length + 1;
      return line;
    });
}

function found(hit: RegExpExecArray | null, at: number, own: Set<string>): Found[] {
  const address = hit?.[1]?.replace(/[.:]+$/, "").toLowerCase();
  if (!hit || !address || own.has(address) || DESK.test(address)) return [];
  return [{ at: at + hit.index, end: at + hit.index + hit[0].length, address }];
}

const CODED = /(?:^|[\s"'(:;<>#])(?:[45]\d\d[\s#-]|#?[45]\.\d\.\d{1,3}\b)/;

/** The paragraph of a server's answer, which has a code; else the first that says something. */
function diagnosticIn(text: string): string | null {
  const paragraphs = text
    .split(/\n[ \t]*\n/)
    .map((one) => one.trim())
    .filter((one) => /\p{L}{3}/u.test(one) || CODED.test(one));
  return paragraphs.find((one) => CODED.test(one)) ?? paragraphs.find((one) => !/^[^\n]{0,40}[:：]$/.test(one)) ?? null;
}

export const clean = (text: string): string => text.replace(/\s+/g, " ").trim();
