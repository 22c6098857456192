import { AUTO_SUBJECTS } from "./auto-subjects";
import { isBounce } from "./bounces";
import type { Flag, Signals } from "./facts";
import { headerValues, type Mail } from "./mail";

type Test = [header: string, value: RegExp];

/** RFC 3834 first; then what servers wrote before and beside it. X-Auto-Response-Suppress asks for silence, no more. */
const AUTO: Test[] = [
  ["auto-submitted", /^(?!\s*(no\b|$))/i],
  ["x-autoreply", /^(?!\s*(no|false)\b)/i],
  ["x-auto-reply", /^(?!\s*(no|false)\b)/i],
  ["x-autorespond", /^(?!\s*(no|false)\b)/i],
  ["x-autoresponder", /^(?!\s*(no|false)\b)/i],
  ["x-autoreply-from", /./],
  ["x-mail-autoreply", /yes|true|1/i],
  ["x-ms-exchange-generated-message-source", /(OOF|Mailbox Rules) Agent/i],
  ["x-post-messageclass", /autoresponder/i],
  ["x-fc-machinegenerated", /true/i],
  ["delivered-to", /^autoresponder$/i],
  ["precedence", /^\s*auto[-_]?reply/i],
  ["content-type", /report-type="?disposition-notification/i],
];

const LIST: Test[] = [
  ["list-id", /./],
  ["list-post", /./],
  ["list-unsubscribe", /./],
  ["mailing-list", /./],
  ["x-mailing-list", /./],
  ["x-mailman-version", /./],
  ["precedence", /^\s*(list|bulk)\b/i],
];

const SPAM: Test[] = [
  ["x-spam-flag", /^\s*(yes|true|1)\b/i],
  ["x-spam-status", /^\s*yes\b/i],
  ["x-spam", /^\s*(yes|true|spam)\b/i],
  ["x-barracuda-spam-status", /^\s*yes\b/i],
  ["x-ses-spam-verdict", /^\s*fail\b/i],
  ["x-rspamd-action", /^\s*(reject|add header|rewrite subject)\b/i],
  ["x-ms-exchange-organization-scl", /^\s*[5-9]\b/],
  ["x-forefront-antispam-report", /\b(SCL:[5-9]\b|SFV:(SPM|SKB)\b)/i],
  ["x-vr-spamstate", /^\s*spam\b/i],
  ["x-spam-verdict", /^\s*(spam|fail)\b/i],
  ["x-suspected-spam", /^\s*(yes|true)\b/i],
  ["x-gnd-status", /^\s*spam\b/i],
  ["subject", /^\s*(\*{2,}\s*spam\s*\*{2,}|\[spam\])/i],
];

export function signalsOf(mail: Mail): Signals {
  const autoReply = found(mail, AUTO);
  const bounce = isBounce(mail);
  return {
    autoReply: autoReply ?? (bounce ? null : autoSubject(mail)),
    bounce,
    // Responders say `Precedence: bulk` to keep others silent.
    list: found(mail, autoReply || bounce ? LIST.filter(([header]) => header !== "precedence") : LIST),
    spam: found(mail, SPAM),
  };
}

export function flagsOf(signals: Signals): Record<Flag, boolean> {
  const { autoReply, bounce, list, spam } = signals;
  return { autoReply: autoReply !== null, bounce: bounce !== null, list: list !== null, spam: spam !== null };
}

function found(mail: Mail, tests: Test[]): string | null {
  for (const [header, value] of tests) {
    const hit = headerValues(mail, header).find((text) => value.test(text));
    if (hit !== undefined) return `${header}: ${hit}`.slice(0, 200);
  }
  return null;
}

/** An answer to an automatic reply begins with Re: and is a person's. */
const autoSubject = (mail: Mail): string | null =>
  AUTO_SUBJECTS.some((pattern) => pattern.test(mail.subject)) ? `subject: ${mail.subject}`.slice(0, 200) : null;
