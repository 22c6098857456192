import type { Reason } from "./facts";

/** Its class left away. */
const BY_STATUS: Record<string, Reason> = {
  "1.1": "userUnknown",
  "1.2": "hostUnknown",
  "1.3": "userUnknown",
  "1.4": "userUnknown",
  "1.6": "moved",
  "1.7": "senderRejected",
  "1.8": "senderRejected",
  "1.10": "noMailHost",
  "2.1": "suspended",
  "2.2": "mailboxFull",
  "2.3": "tooLarge",
  "3.1": "system",
  "3.2": "system",
  "3.4": "tooLarge",
  "3.5": "system",
  "4.1": "network",
  "4.2": "network",
  "4.3": "network",
  "4.4": "network",
  "4.5": "system",
  "4.6": "network",
  "4.7": "expired",
  "7.1": "policy",
  "7.2": "policy",
  "7.4": "tls",
  "7.8": "authFailure",
  "7.10": "tls",
  "7.20": "authFailure",
  "7.21": "authFailure",
  "7.22": "authFailure",
  "7.23": "authFailure",
  "7.24": "authFailure",
  "7.25": "noPtr",
  "7.26": "authFailure",
  "7.27": "senderRejected",
  "7.28": "rateLimited",
};

/** What an enhanced code means where no words say more. */
export function byStatus(status: string | null): Reason | null {
  if (status === null) return null;
  const known = BY_STATUS[status.slice(2)];
  if (known) return known;
  const [kind, subject] = status.split(".");
  if (subject === "3") return "system";
  if (subject === "5") return "protocol";
  if (subject === "6") return "content";
  if (subject === "7") return "policy";
  return subject === "4" && kind === "4" ? "network" : null;
}
