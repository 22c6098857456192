import { OF_HOSTS } from "./bounce-hosts";
import { OF_MAILS } from "./bounce-mails";
import { NOBODY } from "./bounce-nobody";
import { byStatus } from "./bounce-status";
import type { Bounce, Reason } from "./facts";

/** The first that speaks decides: what a server says is worth more than its code. */
const PHRASES = [...OF_MAILS, ...OF_HOSTS];

/** What a report says of one recipient, as it stands there. */
export type Said = {
  recipient: string | null;
  action: string | null;
  status: string | null;
  diagnostic: string | null;
  /** A remote server's answer, not the reporting one's own words. */
  remote: boolean;
};

// Only these are for ever, and only where a server says so with a permanent code.
const FOR_EVER = new Set<Reason>(["userUnknown", "hostUnknown", "noMailHost", "moved"]);

// Longer diagnostics repeat themselves; patterns need no more.
const LONGEST = 2000;

export function judge({ recipient, action, status, diagnostic, remote }: Said): Bounce {
  const text = (diagnostic ?? "").slice(0, LONGEST);
  const code = codeIn(text);
  const precise = preciseStatus(status, text, code);
  const delayed = action === "delayed";
  const reason = reasonOf(text.toLowerCase(), precise, code, remote);
  const temporary = delayed || precise?.startsWith("4") || (code !== null && code < 500);
  return {
    recipient,
    action: delayed ? "delayed" : "failed",
    status: precise,
    code,
    reason,
    hard: FOR_EVER.has(reason) && !temporary && isProven(reason, text, precise, code),
    diagnostic: diagnostic?.slice(0, LONGEST) ?? null,
  };
}

/** Words alone prove nothing where neither a code nor a server stands behind them, save that nobody is there. */
const isProven = (reason: Reason, text: string, status: string | null, code: number | null): boolean =>
  status !== null || code !== null || (reason !== "moved" && text !== "");

function codeIn(text: string): number | null {
  const [, code] = /(?:^|[\s;:(<>#"'[])([45][0-7]\d)(?=[\s\-#:]|$)/.exec(text) ?? [];
  return code === undefined ? null : Number(code);
}

/** Whether a text gives a reason at all. */
export const saysWhy = (text: string): boolean =>
  NOBODY.test(text.toLowerCase()) || PHRASES.some(([, phrase]) => phrase.test(text.toLowerCase()));

/** x.0.0 says nothing; the server's own words often hold a better one. */
function preciseStatus(given: string | null, text: string, code: number | null): string | null {
  const inside = Array.from(
    text.matchAll(/(?:^|[\s\-(#;:[])([245]\.\d{1,3}\.\d{1,3})(?![.\d])/g),
    ([, found]) => found!,
  );
  const told = inside.find((found) => !/^\d\.0\.0$/.test(found) && (code === null || found.startsWith(`${code}`[0]!)));
  if (given !== null && !/^\d\.0\.0$/.test(given)) return given;
  return told ?? given ?? inside[0] ?? null;
}

function reasonOf(text: string, status: string | null, code: number | null, remote: boolean): Reason {
  const nobody = NOBODY.test(text);
  const afterData = /(in reply to|after|response to) (the )?(end of )?(the )?data( command)?|end of data/.test(text);
  for (const [reason, phrase] of PHRASES) {
    if (!phrase.test(text)) continue;
    if (nobody && !OUTRANKS_NOBODY.has(reason)) continue;
    if (reason === "hostUnknown" && remote && /unroute?able/.test(text)) return "userUnknown";
    if (VAGUE.has(reason)) return byStatus(status) ?? reason;
    return reason;
  }
  if (nobody) {
    if (/unroute?able address/.test(text) && !remote) return "hostUnknown";
    return afterData ? "filtered" : "userUnknown";
  }
  return byStatus(status) ?? byCode(code, text) ?? "unknown";
}

/** A text that says both "unknown" and one of these means the latter. */
const OUTRANKS_NOBODY = new Set<Reason>([
  "greylisted",
  "virus",
  "mailboxFull",
  "filtered",
  "noPtr",
  "authFailure",
  "rateLimited",
  "blocked",
  "spam",
  "relayDenied",
  "senderRejected",
  "hostUnknown",
  "noMailHost",
]);

/** Phrases that stand in many answers: a precise status says more. */
const VAGUE = new Set<Reason>(["policy", "system", "network", "protocol"]);

function byCode(code: number | null, text: string): Reason | null {
  if (text === "" || code === null) return null;
  if (code === 552) return "mailboxFull";
  if (code === 556) return "noMailHost";
  if (code >= 500 && code <= 504) return "protocol";
  return code === 421 || code === 451 || code === 452 ? "system" : null;
}
