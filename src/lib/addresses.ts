/** An IPv4 or IPv6 address as a number, so that a range is a shift and a comparison. */
type Address = { bits: 32 | 128; value: bigint };

export function parseIPv4(text: string): Address | null {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return null;
  const bytes = text.split(".").map(Number);
  if (bytes.some((byte) => byte > 255)) return null;
  return { bits: 32, value: bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n) };
}

export function parseIPv6(text: string): Address | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, i) => parseGroups(half, i === halves.length - 1));
  if (!head || tail === null) return null;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...Array<number>(missing).fill(0), ...(tail ?? [])];
  return { bits: 128, value: groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n) };
}

function parseGroups(text: string, mayEndDotted: boolean): number[] | null {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [i, part] of parts.entries()) {
    const dotted = mayEndDotted && i === parts.length - 1 ? parseIPv4(part) : null;
    if (dotted) groups.push(Number(dotted.value >> 16n), Number(dotted.value & 0xffffn));
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

type Range = { bits: 32 | 128; prefix: bigint; rest: bigint };

export const parseAddress = (text: string) => parseIPv4(text) ?? parseIPv6(text);

/** A CIDR block, or a single address as the block of one. */
export function parseRange(text: string): Range | null {
  const [, start, length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = start === undefined ? null : parseAddress(start);
  const kept = Number(length ?? address?.bits);
  if (!address || kept > address.bits) return null;
  const rest = BigInt(address.bits - kept);
  return { bits: address.bits, prefix: address.value >> rest, rest };
}

const within = (address: Address, range: Range) =>
  address.bits === range.bits && address.value >> range.rest === range.prefix;

export function addressInRange(address: string, range: string): boolean {
  const parsed = parseAddress(address);
  const block = parseRange(range);
  return parsed !== null && block !== null && within(parsed, block);
}

/** What PostgreSQL demands of a cidr: nothing is set beyond the kept bits. */
export function startsItsRange(text: string): boolean {
  const block = parseRange(text);
  const address = parseAddress(text.split("/")[0]!);
  return block !== null && address !== null && block.prefix << block.rest === address.value;
}

/** Where a request comes from, as far as the network in front says. */
export function callerAddress(headers: Headers): string | null {
  const address = headers.get("CF-Connecting-IP");
  return address !== null && parseAddress(address) !== null ? address : null;
}

// IANA's special-purpose registries, also the rows marked as globally reachable: no web server lives in them.
const SPECIAL_RANGES: [range: string, use: string][] = [
  ["0.0.0.0/8", "this network"],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "shared (CGNAT)"],
  ["127.0.0.0/8", "loopback"],
  ["168.63.129.16/32", "cloud metadata"],
  ["169.254.0.0/16", "link-local"],
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "protocol assignments"],
  ["192.0.2.0/24", "documentation"],
  ["192.31.196.0/24", "AS112"],
  ["192.52.193.0/24", "AMT"],
  ["192.88.99.0/24", "6to4 relay"],
  ["192.168.0.0/16", "private"],
  ["192.175.48.0/24", "AS112"],
  ["198.18.0.0/15", "benchmarking"],
  ["198.51.100.0/24", "documentation"],
  ["203.0.113.0/24", "documentation"],
  ["224.0.0.0/4", "multicast"],
  ["255.255.255.255/32", "broadcast"],
  ["240.0.0.0/4", "reserved"],
  ["::/128", "unspecified"],
  ["::1/128", "loopback"],
  ["::/96", "IPv4-compatible"],
  ["::ffff:0:0/96", "IPv4-mapped"],
  ["::ffff:0:0:0/96", "IPv4-translated"],
  ["64:ff9b::/96", "NAT64"],
  ["64:ff9b:1::/48", "local NAT64"],
  ["100::/64", "discard-only"],
  ["100:0:0:1::/64", "dummy prefix"],
  ["2001::/32", "Teredo"],
  ["2001:2::/48", "benchmarking"],
  ["2001:10::/28", "ORCHID"],
  ["2001:20::/28", "ORCHIDv2"],
  ["2001:30::/28", "drone remote ID"],
  ["2001::/23", "protocol assignments"],
  ["2001:db8::/32", "documentation"],
  ["2002::/16", "6to4"],
  ["2620:4f:8000::/48", "AS112"],
  ["3ffe::/16", "6bone"],
  ["3fff::/20", "documentation"],
  ["5f00::/16", "SRv6"],
  ["fc00::/7", "unique local"],
  ["fe80::/10", "link-local"],
  ["fec0::/10", "site-local"],
  ["ff00::/8", "multicast"],
];

const SPECIAL = SPECIAL_RANGES.map(([text, use]) => ({ ...parseRange(text)!, reason: `${use} (${text})` }));

const GLOBAL_UNICAST = parseRange("2000::/3")!;

/** Says why an address is not one of the public internet; null when it is. What does not parse is not public. */
export function whyNotPublic(text: string): string | null {
  const address = parseAddress(text);
  if (!address) return "not an IP address";
  const special = SPECIAL.find((range) => within(address, range));
  if (special) return special.reason;
  // IPv6 outside 2000::/3 is unassigned: what is assigned there later is not public until it is looked at.
  return address.bits === 128 && !within(address, GLOBAL_UNICAST) ? "not global unicast" : null;
}
