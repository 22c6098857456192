import { whyNotPublic } from "./addresses";
import { DnsError, resolve } from "./doh";

/** A URL that a tenant may not have us call; `message` is fit for the tenant. */
export class UnsafeUrl extends Error {
  override name = "UnsafeUrl";
}

/** The name is in order, but leads to an address that is not of the public internet. */
export class UnsafeAddress extends UnsafeUrl {
  override name = "UnsafeAddress";
  readonly address: string;

  constructor(message: string, address: string) {
    super(message);
    this.address = address;
  }
}

const LONGEST_URL = 2048;

// The fetch standard's list of ports where other protocols listen.
const BAD_PORTS = new Set(
  (
    "0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 " +
    "123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 " +
    "990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
  ).split(" "),
);

// Special-use and never-delegated top names, and what private networks and container platforms use as such.
const INTERNAL_TOPS = new Set(
  (
    "local localhost localdomain internal intranet private lan home corp mail domain host workgroup dhcp router " +
    "svc cluster consul docker arpa onion i2p exit alt test invalid example"
  ).split(" "),
);

// Names outside those tops that a cloud answers from inside with its instance metadata.
const METADATA_NAMES = [
  "metadata.goog",
  "metadata.tencentyun.com",
  "metadata.platformequinix.com",
  "metadata.packet.net",
];

const LOCAL_HOSTS = new Set(["localhost", "127.0.0.1", "[::1]"]);

export type UrlRules = {
  /** http to this machine, for the local stack alone. */
  allowLocalhostHttp: boolean;
  /** The deployment's own host, so that a webhook cannot call the API that called it. */
  ownHost?: string | undefined;
};

/** Judges the spelling alone; where the name leads is judged at each call. */
export function checkUrl(text: string, rules: UrlRules): URL {
  if (text.length > LONGEST_URL) throw new UnsafeUrl(`The URL is longer than ${LONGEST_URL} characters.`);
  // Parsers drop or mend such things, so that two readers of one text could disagree about its host.
  if (/[\s\\\p{Cc}\p{Cf}]/u.test(text)) throw new UnsafeUrl("The URL has spaces, backslashes or invisible characters.");
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  const url = URL.parse(text);
  if (!authority || !url) throw new UnsafeUrl("The URL does not have the form https://host/path.");
  if (authority.includes("@")) throw new UnsafeUrl("The URL contains credentials.");
  if (authority.includes("%")) throw new UnsafeUrl("The host is percent-encoded.");
  if (BAD_PORTS.has(url.port)) throw new UnsafeUrl(`Port ${url.port} belongs to another protocol.`);
  if (rules.allowLocalhostHttp && isLocal(url)) return url;
  if (url.protocol !== "https:") throw new UnsafeUrl("The URL does not start with https://.");
  const refusal = whyNotHost(url.hostname);
  if (refusal) throw new UnsafeUrl(refusal);
  if (url.hostname === rules.ownHost) throw new UnsafeUrl("The host is this deployment's own.");
  return url;
}

const isLocal = (url: URL) => url.protocol === "http:" && LOCAL_HOSTS.has(url.hostname);

function whyNotHost(host: string): string | null {
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) return "The host is an IP address.";
  if (host.endsWith(".")) return "The host ends with a dot.";
  const labels = host.split(".");
  const top = labels.at(-1)!;
  if (labels.length < 2) return "The host is no full domain name.";
  if (host.length > 253 || !labels.every((label) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/.test(label))) {
    return "The host is no valid domain name.";
  }
  if (INTERNAL_TOPS.has(top)) return `Names under .${top} are not public.`;
  if (METADATA_NAMES.some((name) => host === name || host.endsWith(`.${name}`)))
    return "The host serves cloud metadata.";
  return null;
}

export type GuardEnv = { DOH_URL?: string; LOCAL_MODE?: string; DEPLOYMENT_URL?: string };

export function urlRules(env: GuardEnv): UrlRules {
  return {
    allowLocalhostHttp: env.LOCAL_MODE === "1" || env.LOCAL_MODE === "true",
    ownHost: env.DEPLOYMENT_URL && URL.parse(env.DEPLOYMENT_URL)?.hostname,
  };
}

const SOUND_MOST = 1000;
const sound = new Map<string, URL>();

/** A text that passed once passes again: endpoints are called by the same URL each time. */
function checkOnce(env: GuardEnv, text: string): URL {
  const judged = `${env.LOCAL_MODE} ${env.DEPLOYMENT_URL} ${text}`;
  const known = sound.get(judged);
  if (known) return known;
  const url = checkUrl(text, urlRules(env));
  if (sound.size >= SOUND_MOST) sound.clear();
  sound.set(judged, url);
  return url;
}

/** Where a host that a tenant chose leads at this moment, or why nothing may be sent there. */
async function addressesOf(env: GuardEnv, host: string, signal?: AbortSignal): Promise<string[]> {
  const addresses = await resolve(host, { resolverUrl: env.DOH_URL, signal });
  // All of them must be public, as there is no telling which one will be taken.
  for (const address of addresses) {
    const refusal = whyNotPublic(address);
    if (refusal) throw new UnsafeAddress(`${host} leads to ${address}: ${refusal}.`, address);
  }
  return addresses;
}

/** Where servers take mail in from those who may send by them. */
const SUBMISSION_PORTS = new Set([465, 587, 2465, 2525, 2587]);

/** A connection to a mail server that a tenant chose; what is said on it is the caller's. Throws UnsafeUrl or DnsError. */
export async function guardedConnect(
  env: GuardEnv,
  host: string,
  port: number,
  { secureTransport, signal }: { secureTransport: "on" | "starttls"; signal?: AbortSignal },
): Promise<Socket> {
  const { allowLocalhostHttp } = urlRules(env);
  if (!(allowLocalhostHttp && LOCAL_HOSTS.has(host))) {
    const refusal = whyNotHost(host);
    if (refusal) throw new UnsafeUrl(refusal);
    if (!SUBMISSION_PORTS.has(port)) throw new UnsafeUrl(`Port ${port} is none of those that take mail in.`);
    await addressesOf(env, host, signal);
  }
  const { connect } = await import("cloudflare:sockets");
  return connect({ hostname: host, port }, { secureTransport, allowHalfOpen: false });
}

/** Where a URL leads at this moment; the address is null on this machine. Throws UnsafeUrl or DnsError. */
export async function locate(env: GuardEnv, url: string, signal?: AbortSignal) {
  const target = checkOnce(env, url);
  if (isLocal(target)) return { target, address: null };
  const addresses = await addressesOf(env, target.hostname, signal);
  return { target, address: addresses[0]! };
}

export type FailureKind = "unsafe_url" | "dns" | "unsafe_address" | "connect" | "tls" | "timeout";

type Known = { ms: number; address: string | null; status: number | null };

/** No complete answer. `address` and `status` are what was known by then; `ms` is how long it took. */
export class GuardedFetchError extends Error {
  override name = "GuardedFetchError";
  readonly kind: FailureKind;
  readonly ms: number;
  readonly address: string | null;
  readonly status: number | null;

  constructor(kind: FailureKind, message: string, known: Known) {
    super(message);
    this.kind = kind;
    this.ms = known.ms;
    this.address = known.address;
    this.status = known.status;
  }
}

export type GuardedRequest = {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
};

export type GuardedResponse = {
  status: number;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
  /** The answer went on beyond `maxBytes`. */
  truncated: boolean;
  ms: number;
  address: string | null;
};

// Where Cloudflare's edge could not reach a host it does not throw but answers with a status of its own.
const EDGE_FAILURES: Partial<Record<number, FailureKind>> = {
  521: "connect",
  522: "timeout",
  523: "connect",
  524: "timeout",
  525: "tls",
  526: "tls",
  530: "connect",
};

/** A call to a URL that a tenant chose: one deadline over name, connection and body; a redirect is an answer. */
export async function guardedFetch(
  env: GuardEnv,
  url: string,
  request: GuardedRequest,
  limits: { timeoutMs: number; maxBytes: number },
): Promise<GuardedResponse> {
  const { method, body } = request;
  const headers = withoutReserved(request.headers);
  const started = Date.now();
  const known: Known = { ms: 0, address: null, status: null };
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), limits.timeoutMs);
  const { signal } = deadline;
  const fail = (kind: FailureKind, message: string) =>
    new GuardedFetchError(kind, message, { ...known, ms: Date.now() - started });
  try {
    const { target, address } = await locate(env, url, signal);
    known.address = address;
    const response = await fetch(target, { method, headers, body, redirect: "manual", signal });
    const { status } = response;
    known.status = status;
    const read = await readAtMost(response, limits.maxBytes);
    const edgeFailure = response.headers.get("server") === "cloudflare" && EDGE_FAILURES[status];
    if (edgeFailure) throw fail(edgeFailure, `The network answered in place of the host, with status ${status}.`);
    return { status, headers: response.headers, ...read, ms: Date.now() - started, address };
  } catch (error) {
    if (error instanceof GuardedFetchError) throw error;
    if (error instanceof UnsafeAddress) {
      known.address = error.address;
      throw fail("unsafe_address", error.message);
    }
    if (error instanceof UnsafeUrl) throw fail("unsafe_url", error.message);
    if (error instanceof DnsError) throw fail("dns", error.message);
    if (signal.aborted) throw fail("timeout", `No complete answer within ${limits.timeoutMs} ms.`);
    // The runtime tells no more: a failed handshake and a refused connection look alike.
    throw fail("connect", "The connection could not be made or was lost.");
  } finally {
    clearTimeout(timer);
  }
}

// They steer the connection or the proxies before the receiver, not the receiver.
const RESERVED_HEADER =
  /^(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|proxy-.*|cf-.*)$/i;

/** Headers that a tenant cannot set on a call; guardedFetch drops them. */
export const isReservedHeader = (name: string): boolean => RESERVED_HEADER.test(name);

const withoutReserved = (given: Record<string, string> = {}): [string, string][] =>
  Object.entries(given).filter(([name]) => !isReservedHeader(name));

async function readAtMost(response: Response, maxBytes: number) {
  const announced = response.headers.get("content-length");
  // What is compressed may be any number of bytes.
  if (announced !== null && Number(announced) <= maxBytes && !response.headers.has("content-encoding")) {
    return { body: new Uint8Array(await response.arrayBuffer()), truncated: false };
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) return { body: joined(chunks, length), truncated: false };
    const fits = value.subarray(0, maxBytes - length);
    chunks.push(fits);
    length += fits.length;
    if (fits.length < value.length) {
      // A body left unread would hold its connection.
      await reader!.cancel();
      return { body: joined(chunks, length), truncated: true };
    }
  }
}

function joined(chunks: Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
