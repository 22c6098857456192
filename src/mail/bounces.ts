import {
  addressOf,
  type Fields,
  feedbackFields,
  feedbackRecipients,
  originalOf,
  splitCopy,
  statusFields,
} from "./bounce-reports";
import { BODY, clean, isDaemon, recipientsInText, SUBJECT } from "./bounce-texts";
import { judge, type Said } from "./bounce-verdict";
import type { Bounce, Complaint } from "./facts";
import { textOfHtml } from "./html-lines";
import { headerValue, headerValues, type Mail } from "./mail";

// A report says what it has to say at its beginning.
const LONGEST = 64 * 1024;

/** The signal by which a mail is a bounce: a report of failure or delay, not of success, a receipt or a complaint. */
export function isBounce(mail: Mail): string | null {
  if (isFeedback(mail) || isReceipt(mail)) return null;
  const groups = recipientGroups(mail);
  if (groups.length > 0) return groups.some(isFailure) ? "delivery-status" : null;
  const failed = headerValue(mail, "x-failed-recipients");
  if (failed !== null) return `x-failed-recipients: ${failed}`.slice(0, 200);
  if (/report-type="?delivery-status/i.test(headerValue(mail, "content-type") ?? ""))
    return "report-type=delivery-status";
  const nobody = mail.returnPath === "" || mail.from === null;
  const [subject, body] = [SUBJECT.test(mail.subject), BODY.test(clean(wordsOf(mail)))];
  if (isDaemon(mail) && (subject || body)) return `from: ${mail.from?.address ?? ""}`;
  return nobody && subject && body ? `subject: ${mail.subject}`.slice(0, 200) : null;
}

/** Recipients that the mail did not reach, with the reason for each; empty where the mail is no bounce. */
export function bouncesOf(mail: Mail): Bounce[] {
  if (isBounce(mail) === null) return [];
  const groups = recipientGroups(mail);
  if (groups.length > 0) return groups.filter(isFailure).map((fields) => judge(saidBy(fields, mail)));
  const inText = recipientsInText(wordsOf(mail), ownAddresses(mail));
  const failed = headerValues(mail, "x-failed-recipients")
    .flatMap((value) => value.split(/[\s,;]+/))
    .flatMap((one) => addressOf(one) ?? []);
  const listed = failed.map(
    (recipient) => inText.find((said) => said.recipient === recipient) ?? { ...ofWords(mail), recipient },
  );
  const said = failed.length > 0 ? listed : inText;
  return (said.length > 0 ? said : [{ ...ofWords(mail), recipient: recipientOfOriginal(mail) }]).map((one) =>
    judge(isWarning(mail) ? { ...one, action: "delayed" } : one),
  );
}

/** ARF. An authentication report tells a domain's owner how DMARC went; nobody complained. */
export function complaintOf(mail: Mail): Complaint | null {
  const fields = feedbackFields(mail);
  const type = fields?.get("feedback-type")?.toLowerCase() ?? null;
  if (type === null || type === "auth-failure" || type === "not-spam") return null;
  const named = feedbackRecipients(mail);
  const removal = addressOf(fields!.get("removal-recipient"));
  const original = originalOf(mail);
  const recipients = named.length > 0 ? named : removal ? [removal] : (original?.to ?? []);
  return { type, recipients: [...new Set(recipients)] };
}

const isFeedback = (mail: Mail): boolean => feedbackFields(mail) !== null;

const isReceipt = (mail: Mail): boolean =>
  mail.attachments.some(({ contentType }) => contentType === "message/disposition-notification");

const recipientGroups = (mail: Mail): Fields[] =>
  statusFields(mail).filter((fields) =>
    ["final-recipient", "original-recipient", "action"].some((name) => fields.has(name)),
  );

function isFailure(fields: Fields): boolean {
  const action = fields.get("action")?.toLowerCase() ?? "failed";
  return !/^(delivered|relayed|expanded)/.test(action);
}

function saidBy(fields: Fields, mail: Mail): Said {
  const recipient =
    addressOf(fields.get("original-recipient")) ??
    addressOf(fields.get("final-recipient")) ??
    recipientOfOriginal(mail);
  const [status] = /[245]\.\d{1,3}\.\d{1,3}/.exec(fields.get("status") ?? "") ?? [];
  const given = fields.get("diagnostic-code")?.replace(/^\s*[\w-]+\s*;\s*/, "") ?? "";
  // Some servers put nothing into the report and all of it into the text.
  const words = clean(given) === "" || /^\d{3}$/.test(clean(given)) ? besideOf(recipient, mail) : null;
  return {
    recipient,
    action: fields.get("action")?.toLowerCase().trim() ?? null,
    status: status ?? null,
    diagnostic: words ?? withoutRepeatedCodes(clean(given)),
    remote: fields.has("remote-mta") || /^smtp\s*;/i.test(fields.get("diagnostic-code") ?? ""),
  };
}

function besideOf(recipient: string | null, mail: Mail): string | null {
  const said = recipientsInText(wordsOf(mail), ownAddresses(mail));
  return (said.find((one) => one.recipient === recipient) ?? said[0] ?? ofWords(mail)).diagnostic;
}

/** `550-5.1.1 The account 550-5.1.1 does not exist` is one sentence. */
function withoutRepeatedCodes(text: string): string {
  const [, code, status] = /^(\d{3})-(\d\.\d{1,3}\.\d{1,3})?/.exec(text) ?? [];
  if (!code) return text;
  const again = new RegExp(`\\s${code}[- ]${status ? `(?:${status.replaceAll(".", "\\.")} ?)?` : ""}`, "g");
  return text.replace(/^(\d{3})-/, "$1 ").replace(again, " ");
}

const wordsOf = (mail: Mail): string =>
  splitCopy((mail.text ?? textOfHtml((mail.html ?? "").slice(0, LONGEST))).slice(0, LONGEST)).words;

function ofWords(mail: Mail): Said {
  const words = clean(wordsOf(mail));
  return { recipient: null, action: "failed", status: null, diagnostic: words === "" ? null : words, remote: false };
}

function ownAddresses(mail: Mail): Set<string> {
  const all = [mail.from, mail.sender, ...mail.to, ...mail.cc, ...mail.replyTo].flatMap(
    (one) => one?.address.toLowerCase() ?? [],
  );
  const sender = originalOf(mail)?.from;
  return new Set([...all, ...(sender ? [sender] : [])]);
}

const recipientOfOriginal = (mail: Mail): string | null => {
  const to = originalOf(mail)?.to ?? [];
  return to.length === 1 ? to[0]! : null;
};

const isWarning = (mail: Mail): boolean =>
  /^(warning|delayed|delivery delayed)\b|delay|verz[öo]ger|retard/i.test(mail.subject) &&
  !/fail(ed|ure)|undeliver|returned/i.test(mail.subject);
