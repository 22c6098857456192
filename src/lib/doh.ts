import { parseIPv4, parseIPv6 } from "./addresses";

/** DNS over HTTPS in the JSON form that 1.1.1.1 and 8.8.8.8 speak: a Worker has no resolver of its own. */
export const DEFAULT_RESOLVER = "https://cloudflare-dns.com/dns-query";

const TYPES = { A: 1, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28 } as const;
export type RecordType = Exclude<keyof typeof TYPES, "SOA">;

/** `data` is an address, a lower-case host name without its last dot, or the joined text; `preference` is an MX's. */
export type DnsRecord = { name: string; ttl: number; data: string; preference?: number };

/** The question stayed without a usable answer. A name that is not there is no error: it has no records. */
export class DnsError extends Error {
  override name = "DnsError";
}

export type LookupOptions = { resolverUrl?: string | undefined; signal?: AbortSignal | undefined };

const LONGEST_CACHED_SECONDS = 30;
const MOST_CACHED = 1000;
const TIMEOUT_MS = 3000;

const cache = new Map<string, { records: DnsRecord[]; until: number }>();

export async function lookup(name: string, type: RecordType, options: LookupOptions = {}): Promise<DnsRecord[]> {
  const url = new URL(options.resolverUrl || DEFAULT_RESOLVER);
  url.searchParams.set("name", hostName(name));
  url.searchParams.set("type", type);
  const known = cache.get(url.href);
  if (known && known.until > Date.now()) return known.records;
  const asked = Date.now();
  const answer = await ask(url, options.signal);
  const records = readRecords(answer, type);
  const seconds = Math.min(timeToLive(answer, records.length > 0), LONGEST_CACHED_SECONDS);
  remember(url.href, records, asked + 1000 * seconds);
  return records;
}

/** Every address of a host, IPv4 first. Fails when either family is uncertain: fetch may use the one not seen. */
export async function resolve(host: string, options: LookupOptions = {}): Promise<string[]> {
  const [v4, v6] = await Promise.all([lookup(host, "A", options), lookup(host, "AAAA", options)]);
  const addresses = [...v4, ...v6].map((record) => record.data);
  if (addresses.length === 0) throw new DnsError(`${host} has no address.`);
  return addresses;
}

function remember(key: string, records: DnsRecord[], until: number) {
  cache.delete(key);
  if (until <= Date.now()) return;
  if (cache.size >= MOST_CACHED) cache.delete(cache.keys().next().value!);
  cache.set(key, { records, until });
}

async function ask(url: URL, outer?: AbortSignal): Promise<Answer> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), TIMEOUT_MS);
  const signal = outer ? AbortSignal.any([outer, deadline.signal]) : deadline.signal;
  try {
    const response = await fetch(url, { headers: { accept: "application/dns-json" }, redirect: "manual", signal });
    const text = await response.text();
    if (response.status !== 200) throw new DnsError(`The resolver answered with status ${response.status}.`);
    return readAnswer(text);
  } catch (error) {
    if (error instanceof DnsError) throw error;
    throw new DnsError(signal.aborted ? "The resolver did not answer in time." : "The resolver could not be reached.");
  } finally {
    clearTimeout(timer);
  }
}

type Entry = { name: string; type: number; TTL: number; data: string };
type Answer = { entries: Entry[]; authority: Entry[] };

const NO_ERROR = 0;
const NAME_ERROR = 3;

function readAnswer(text: string): Answer {
  let answer: { Status?: unknown; TC?: unknown; Answer?: unknown; Authority?: unknown } | null;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new DnsError("The resolver did not answer in JSON.");
  }
  const status = answer?.Status;
  if (status !== NO_ERROR && status !== NAME_ERROR)
    throw new DnsError(`The resolver failed with DNS status ${status}.`);
  if (answer?.TC === true) throw new DnsError("The resolver cut its answer short.");
  return { entries: readEntries(answer?.Answer), authority: readEntries(answer?.Authority) };
}

function readEntries(list: unknown): Entry[] {
  if (list === undefined || list === null) return [];
  const sound = (entry: Partial<Entry> | null) =>
    typeof entry?.name === "string" && Number.isInteger(entry.type) && typeof entry.data === "string";
  if (!Array.isArray(list) || !list.every(sound)) throw new DnsError("The resolver sent an entry that is no record.");
  return list.map((entry: Entry) => ({ ...entry, TTL: Math.max(0, Number(entry.TTL) || 0) }));
}

/** What is not there is kept as long as its zone's SOA says (RFC 2308), without one not at all. */
function timeToLive({ entries, authority }: Answer, found: boolean): number {
  const soas = found ? [] : authority.filter((entry) => entry.type === TYPES.SOA);
  if (!found && soas.length === 0) return 0;
  const negative = soas.flatMap((soa) => [soa.TTL, Number(soa.data.split(" ").at(-1)) || 0]);
  return Math.min(...entries.map((entry) => entry.TTL), ...negative);
}

function readRecords(answer: Answer, type: RecordType): DnsRecord[] {
  return answer.entries
    .filter((entry) => entry.type === TYPES[type])
    .map((entry) => ({ name: hostName(entry.name), ttl: entry.TTL, ...readData(type, entry.data) }));
}

function readData(type: RecordType, data: string): { data: string; preference?: number } {
  if (type === "TXT") return { data: joinStrings(data) };
  if (type === "CNAME") return { data: hostName(data) };
  if (type === "MX") {
    const [preference, host, more] = data.trim().split(/\s+/);
    if (!host || more || !/^\d+$/.test(preference!)) throw new DnsError("The resolver sent an MX that is none.");
    return { data: hostName(host), preference: Number(preference) };
  }
  const parsed = type === "A" ? parseIPv4(data) : parseIPv6(data);
  if (!parsed) throw new DnsError("The resolver sent an address that is none.");
  return { data };
}

const hostName = (name: string) => name.toLowerCase().replace(/(.)\.$/, "$1");

/** Some resolvers send a TXT as its quoted strings, others joined and bare. */
function joinStrings(data: string): string {
  if (!/^\s*"/.test(data)) return data;
  const bytes: number[] = [];
  for (const [, quoted] of data.matchAll(/"((?:[^"\\]|\\.)*)"/gs)) {
    for (const [, code, escaped, plain] of quoted!.matchAll(/\\(\d{3})|\\(.)|([^\\]+)/gs)) {
      if (code) bytes.push(Number(code) & 255);
      else bytes.push(...new TextEncoder().encode(escaped ?? plain));
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}
