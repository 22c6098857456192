import type { Header } from "./mail";

export type Flag = "autoReply" | "bounce" | "list" | "spam";

/** For each flag the signal that set it, such as `Auto-Submitted: auto-replied`; null where it is not set. */
export type Signals = Record<Flag, string | null>;

/** By the topmost trusted Authentication-Results; all are "none" where there is none. */
export type Verdicts = {
  spf: string;
  dkim: string;
  dmarc: string;
  /** What passed speaks for the domain of From. */
  aligned: boolean;
  /** Nobody vouches for From. */
  unauthenticated: boolean;
};

export const REASONS = [
  "userUnknown",
  "moved",
  "hostUnknown",
  "noMailHost",
  "mailboxFull",
  "suspended",
  "tooLarge",
  "spam",
  "virus",
  "content",
  "policy",
  "authFailure",
  "blocked",
  "noPtr",
  "rateLimited",
  "greylisted",
  "expired",
  "network",
  "tls",
  "system",
  "relayDenied",
  "protocol",
  "filtered",
  "senderRejected",
  "unknown",
] as const;
export type Reason = (typeof REASONS)[number];

/** One recipient that a mail did not reach, or not yet. */
export type Bounce = {
  /** In lower case; null where the report does not say whom. */
  recipient: string | null;
  action: "failed" | "delayed";
  /** The enhanced status code, such as 5.1.1. */
  status: string | null;
  /** The SMTP reply code, such as 550. */
  code: number | null;
  reason: Reason;
  /** Nothing will ever arrive there. */
  hard: boolean;
  diagnostic: string | null;
};

export type Complaint = { type: string; recipients: string[] };

/** What a report gives back of the mail it is about, to find that mail by. */
export type Original = {
  messageId: string | null;
  /** ENVID of the DSN, where it was asked for. */
  envelopeId: string | null;
  from: string | null;
  to: string[];
  subject: string | null;
  headers: Header[];
};

/** What the person wrote. `kept` are the places of it in the text it was taken from. */
export type Reply = { text: string; source: "text" | "html"; kept: [start: number, end: number][] };
