import type { GuardedRequest, GuardedResponse } from "../lib/guard";
import type { z } from "../lib/validate";

/** What leads outside. Chat stays within. */
export const OUTSIDE_MEDIA = [
  "email",
  "sms",
  "whatsapp",
  "twitter",
  "facebook",
  "instagram",
  "linkedin",
  "custom",
] as const;
/** A push notification is no medium of a conversation: it tells a device of a message in one. */
export const PROVIDER_MEDIA = [...OUTSIDE_MEDIA, "push"] as const;
export type Medium = (typeof PROVIDER_MEDIA)[number];

/** What a provider can say of a delivery once it has it. */
export const SAID = [
  "sent",
  "deferred",
  "delivered",
  "opened",
  "clicked",
  "failed",
  "bounced",
  "complained",
  "unsubscribed",
] as const;
export type Said = (typeof SAID)[number];

/** One message to one recipient. `id` stays the same over all attempts: the idempotency key where a vendor takes one. */
export type Outgoing = {
  id: string;
  channelId: string;
  messageId: string;
  medium: Medium;
  recipient: string;
  content: Record<string, unknown>;
  /** 1 for the first. */
  attempt: number;
  /** Of an e-mail all of it, as this recipient is to get it: RFC 5322. */
  mail(): Promise<Uint8Array<ArrayBuffer>>;
};
export type Group = readonly [Outgoing, ...Outgoing[]];

/** `id` is null for the sandbox of a tenant that has configured nothing. */
export type Account<Config = unknown, Credentials = unknown> = {
  id: string | null;
  tenantId: string;
  config: Config;
  credentials: Credentials;
};

/**
 * `rfcId` is the Message-ID, without its brackets, where the provider gives the mail one of its own: replies name it.
 * `suppressed` are those of the recipients, in lower case, whom it leaves out by a list of its own.
 */
export type Sent = { providerMessageId: string; rfcId?: string | undefined; suppressed?: readonly string[] };

/** `eventId` is the provider's own, unique within the account; a repetition carries the same. */
export type Receipt = {
  eventId: string;
  /** Ours, where the provider gives back what it was given with the message. */
  deliveryId?: string | undefined;
  providerMessageId: string;
  /** Of those the provider was given together, the one that is meant. */
  recipient?: string | undefined;
  rfcId?: string | undefined;
  status: Said;
  details?: Record<string, unknown> | undefined;
};

/** What a person outside wrote back. */
export type Reply = { eventId: string; providerMessageId: string; from: string; text: string };

/** `once`: what was signed in place of the body, which therefore holds for the first body alone that comes with it. */
export type Heard = { receipts: Receipt[]; replies: Reply[]; once?: string | undefined };

export type Health = { ok: boolean; detail: string | null };

/** What is to stand in a domain's DNS so that the provider may send for it; of SPF, the mechanism that lets it. */
export type IdentityRecord =
  | { purpose: "dkim"; type: "TXT" | "CNAME"; name: string; value: string }
  /** Of the domain that bounces go back to. */
  | { purpose: "return_path"; type: "TXT" | "CNAME"; name: string; value: string }
  | { purpose: "return_path"; type: "MX"; name: string; value: string; priority: number }
  | { purpose: "spf"; mechanism: string };

/** A domain as the provider knows it. */
export type Identity = { reference: string; records: IdentityRecord[] };

/** All that a provider may do outside of itself. */
export type Io = {
  fetch: typeof fetch;
  /** For a URL that did not come from us, as of a browser's push service. */
  guardedFetch(url: string, request: GuardedRequest): Promise<GuardedResponse>;
  /** Bytes both ways with a host that the tenant chose, on a port of those who take mail in. */
  guardedConnect(host: string, port: number, secure: "on" | "starttls"): Promise<Socket>;
  signal: AbortSignal;
  /** From now on it may take so long, whatever it took until now. */
  allow(milliseconds: number): void;
  /** What of the deployment itself a provider may need. */
  env: Pick<Env, "SNS_ORIGIN" | "EMAIL">;
  /** From now on the account has these: an OAuth server gives a new refresh token for each that was used. */
  keepCredentials(credentials: Record<string, unknown>): void;
  /** The sandbox alone: there is nobody outside who would call back. */
  callBackIn(seconds: number): void;
};

/** One vendor. Knows no database: what it needs is handed to it, what it learned is handed back. */
export type Provider<C extends z.ZodType = z.ZodType, S extends z.ZodType = z.ZodType> = {
  name: string;
  media: readonly [Medium, ...Medium[]];
  /** Shown to whoever may read integrations. */
  config: C;
  /** Kept encrypted and never shown. */
  credentials: S;
  /** It knows one call alone for all recipients of a mail, and so gets those together that wait for the same one. */
  together?: true;
  /** Throws a ProviderError where it knows better than "try again". */
  send(outgoing: Group, account: Account<z.output<C>, z.output<S>>, io: Io): Promise<Sent>;
  /** Believes a request by the provider's own signature alone; throws BadSignature. */
  readCallback(request: Request, account: Account<z.output<C>, z.output<S>>, io: Io): Promise<Heard>;
  check(account: Account<z.output<C>, z.output<S>>, io: Io): Promise<Health>;
  /** Of those that send e-mail for domains of a tenant's own. Adding one that is there returns it. */
  domains?: {
    add(domain: string, account: Account<z.output<C>, z.output<S>>, io: Io): Promise<Identity>;
    remove(identity: Pick<Identity, "reference">, account: Account<z.output<C>, z.output<S>>, io: Io): Promise<void>;
  };
};

type Verdict = "retry" | "giveUp" | "suppress" | "bounce";

type MoreOfError = { retryAfterSeconds?: number; accountFault?: boolean; details?: Record<string, unknown> };

/**
 * retry: later it may work · giveUp: it never will · suppress: nor will anything else to this recipient · bounce: nor
 * will it by any other provider, as the recipient's own server says.
 */
export class ProviderError extends Error {
  override name = "ProviderError";
  readonly verdict: Verdict;
  readonly retryAfterSeconds: number | null;
  /** Not this message is at fault but the account: revoked credentials, an exhausted quota. */
  readonly accountFault: boolean;
  /** Of a bounce that came at once: hard, status, reason, diagnostic. */
  readonly details: Record<string, unknown>;

  constructor(verdict: Verdict, message: string, more: MoreOfError = {}) {
    super(message);
    this.verdict = verdict;
    this.retryAfterSeconds = more.retryAfterSeconds ?? null;
    this.accountFault = more.accountFault ?? false;
    this.details = more.details ?? {};
  }
}

export class BadSignature extends Error {
  override name = "BadSignature";
}

/** The request has the right signature and makes no sense. */
export class BadCallback extends Error {
  override name = "BadCallback";
}
