/** `name` is empty where the header gives none. */
export type Mailbox = { name: string; address: string };

/** `raw` is unfolded by nobody: one character for each byte. `value` is what a person reads. */
export type Header = { name: string; raw: string; value: string };

export type Attachment = {
  filename: string | null;
  contentType: string;
  size: number;
  /** Without angle brackets, as `cid:` names it. */
  contentId: string | null;
  disposition: "attachment" | "inline" | null;
  /** Of a calendar part: REQUEST, REPLY, CANCEL … */
  method: string | null;
  content: Uint8Array<ArrayBuffer>;
  sha256: string;
};

/** Ids stand without angle brackets. */
export type Mail = {
  /** Why it is not, or not wholly, a mail; what could be read is there all the same. */
  failure: Failure | null;
  messageId: string | null;
  inReplyTo: string | null;
  references: string[];
  from: Mailbox | null;
  sender: Mailbox | null;
  to: Mailbox[];
  cc: Mailbox[];
  bcc: Mailbox[];
  replyTo: Mailbox[];
  /** Empty for the null sender `<>` of bounces, null where there is no such header. */
  returnPath: string | null;
  subject: string;
  /** ISO 8601, null where there is none or it means nothing. */
  date: string | null;
  text: string | null;
  html: string | null;
  headers: Header[];
  attachments: Attachment[];
};

export type Failure = "empty" | "noHeaders" | "unreadable";

/** Of the first header of this name, which is given in lower case. */
export const headerValue = (mail: Pick<Mail, "headers">, name: string): string | null =>
  mail.headers.find((header) => header.name.toLowerCase() === name)?.value ?? null;

export const headerValues = (mail: Pick<Mail, "headers">, name: string): string[] =>
  mail.headers.filter((header) => header.name.toLowerCase() === name).map(({ value }) => value);

export const domainOf = (address: string): string => address.slice(address.lastIndexOf("@") + 1).toLowerCase();
