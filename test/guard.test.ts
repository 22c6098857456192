import { describe, expect, it } from "vitest";
import { addressInRange, parseRange, whyNotPublic } from "../src/lib/addresses";
import { checkUrl, isReservedHeader, locate, UnsafeUrl } from "../src/lib/guard";

const deployed = { allowLocalhostHttp: false };
const local = { allowLocalhostHttp: true };

const IP = "The host is an IP address.";
const FORM = "The URL does not have the form https://host/path.";
const SPACES = "The URL has spaces, backslashes or invisible characters.";
const CREDENTIALS = "The URL contains credentials.";
const NOT_FULL = "The host is no full domain name.";
const INVALID = "The host is no valid domain name.";
const ENCODED = "The host is percent-encoded.";
const DOT = "The host ends with a dot.";
const SCHEME = "The URL does not start with https://.";
const METADATA = "The host serves cloud metadata.";
const under = (top: string) => `Names under .${top} are not public.`;
const port = (number: number) => `Port ${number} belongs to another protocol.`;

const REFUSED: [name: string, url: string, reason: string][] = [
  ["plain http", "http://hooks.example.com/", SCHEME],
  ["http to this machine when deployed", "http://localhost:8787/", SCHEME],
  ["http to the loopback when deployed", "http://127.0.0.1:8787/", SCHEME],
  ["ftp", "ftp://hooks.example.com/", FORM],
  ["file", "file:///etc/passwd", FORM],
  ["gopher", "gopher://127.0.0.1:6379/_FLUSHALL", FORM],
  ["data", "data:text/plain,hello", FORM],
  ["javascript", "javascript:alert(1)", FORM],
  ["a socket", "wss://hooks.example.com/", FORM],
  ["no scheme", "hooks.example.com/path", FORM],
  ["a scheme-relative URL", "//hooks.example.com/", FORM],
  ["no slashes", "https:hooks.example.com", FORM],
  ["one slash", "https:/hooks.example.com", FORM],
  ["three slashes", "https:///169.254.169.254/", FORM],
  ["nothing", "", FORM],
  ["a host that is a port alone", "https://:8443/", FORM],
  ["credentials", "https://user:secret@hooks.example.com/", CREDENTIALS],
  ["a user alone", "https://user@hooks.example.com/", CREDENTIALS],
  ["empty credentials", "https://@hooks.example.com/", CREDENTIALS],
  ["a host disguised as credentials", "https://hooks.example.com@127.0.0.1/", CREDENTIALS],
  ["credentials with an encoded at sign", "https://hooks.example.com%40@169.254.169.254/", CREDENTIALS],
  ["an encoded at sign in the host", "https://user%40hooks.example.com/", FORM],
  ["a backslash before another host", "https://hooks.example.com\\@127.0.0.1/", SPACES],
  ["backslashes for slashes", "https:\\\\127.0.0.1\\", SPACES],
  ["a space before the URL", " https://127.0.0.1/", SPACES],
  ["a tab inside the host", "https://127.0.\t0.1/", SPACES],
  ["a line break inside the host", "https://local\nhost/", SPACES],
  ["a line break inside the path", "https://hooks.example.com/a\r\nhost: x", SPACES],
  ["a NUL", "https://hooks.example.com\u0000.127.0.0.1/", SPACES],
  ["a soft hyphen", "https://local\u00adhost/", SPACES],
  ["a zero-width space", "https://127.0.0.1\u200b/", SPACES],
  ["a right-to-left override", "https://\u202ehooks.example.com/", SPACES],
  ["loopback", "https://127.0.0.1/", IP],
  ["loopback elsewhere in its block", "https://127.8.8.8/", IP],
  ["loopback in decimal", "https://2130706433/", IP],
  ["loopback in octal", "https://0177.0.0.1/", IP],
  ["loopback in one octal number", "https://017700000001/", IP],
  ["loopback with padded octal", "https://0000177.0000.0.01/", IP],
  ["loopback in hex", "https://0x7f000001/", IP],
  ["loopback in dotted hex", "https://0x7f.0x0.0x0.0x1/", IP],
  ["loopback in capital hex", "https://0X7F.1/", IP],
  ["loopback in mixed bases", "https://0x7f.0.01.1/", IP],
  ["loopback in two parts", "https://127.1/", IP],
  ["loopback in three parts", "https://127.0.1/", IP],
  ["loopback with a trailing dot", "https://127.0.0.1./", IP],
  ["loopback in decimal with a trailing dot", "https://2130706433./", IP],
  ["loopback in full-width digits", "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", IP],
  ["loopback with ideographic dots", "https://127\u30020\u30020\u30021/", IP],
  ["loopback with half-width ideographic dots", "https://127\uff610\uff610\uff611/", IP],
  ["loopback with full-width dots", "https://127\uff0e0\uff0e0\uff0e1/", IP],
  ["loopback in circled digits", "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", IP],
  ["loopback in superscript digits", "https://\u00b9\u00b2\u2077.\u2070.\u2070.\u00b9/", IP],
  ["loopback in bold digits", "https://\u{1d7cf}\u{1d7d0}\u{1d7d5}.\u{1d7ce}.\u{1d7ce}.\u{1d7cf}/", IP],
  ["loopback percent-encoded", "https://%31%32%37.%30.%30.%31/", ENCODED],
  ["loopback with encoded dots", "https://127%2e0%2e0%2e1/", ENCODED],
  ["loopback in encoded full-width digits", "https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1/", ENCODED],
  ["loopback with a port", "https://127.0.0.1:8443/", IP],
  ["an address too large", "https://256.0.0.1/", FORM],
  ["an overflowing number", "https://4294967297/", FORM],
  ["five numbers", "https://127.0.0.1.1/", FORM],
  ["a name that ends in a hex number", "https://hooks.example.0x7f/", FORM],
  ["the unspecified address", "https://0.0.0.0/", IP],
  ["the unspecified address in short", "https://0/", IP],
  ["the metadata address", "https://169.254.169.254/latest/meta-data/", IP],
  ["the metadata address in decimal", "https://2852039166/", IP],
  ["the metadata address in hex", "https://0xa9fea9fe/", IP],
  ["the metadata address in octal", "https://0251.0376.0251.0376/", IP],
  ["the metadata address in two parts", "https://169.16689662/", IP],
  ["a private address", "https://10.0.0.1/", IP],
  ["another private address", "https://192.168.1.1/", IP],
  ["a shared address", "https://100.64.0.1/", IP],
  ["a public address", "https://1.1.1.1/", IP],
  ["the broadcast address", "https://255.255.255.255/", IP],
  ["IPv6 loopback", "https://[::1]/", IP],
  ["IPv6 loopback in full", "https://[0000:0000:0000:0000:0000:0000:0000:0001]/", IP],
  ["IPv6 unspecified", "https://[::]/", IP],
  ["IPv6 link-local", "https://[fe80::1]/", IP],
  ["IPv6 link-local with a zone", "https://[fe80::1%25eth0]/", FORM],
  ["IPv6 unique local", "https://[fd00:ec2::254]/", IP],
  ["a mapped IPv4 address", "https://[::ffff:169.254.169.254]/", IP],
  ["a mapped IPv4 address in hex", "https://[::ffff:a9fe:a9fe]/", IP],
  ["a compatible IPv4 address", "https://[::127.0.0.1]/", IP],
  ["a NAT64 address", "https://[64:ff9b::7f00:1]/", IP],
  ["a 6to4 address", "https://[2002:7f00:1::]/", IP],
  ["a Teredo address", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", IP],
  ["a public IPv6 address", "https://[2606:4700::1111]/", IP],
  ["encoded brackets", "https://%5B::1%5D/", FORM],
  ["localhost", "https://localhost/", NOT_FULL],
  ["localhost in capitals", "https://LOCALHOST/", NOT_FULL],
  ["localhost with a trailing dot", "https://localhost./", DOT],
  ["localhost in circled letters", "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", NOT_FULL],
  ["localhost in full-width letters", "https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/", NOT_FULL],
  ["localhost with a long s", "https://localho\u017ft/", NOT_FULL],
  ["localhost percent-encoded", "https://%6c%6f%63%61%6c%68%6f%73%74/", ENCODED],
  ["a name under localhost", "https://app.localhost/", under("localhost")],
  ["localhost.localdomain", "https://localhost.localdomain/", under("localdomain")],
  ["a single label", "https://intranet/", NOT_FULL],
  ["a top-level domain alone", "https://com/", NOT_FULL],
  ["a multicast DNS name", "https://printer.local/", under("local")],
  ["a multicast DNS name in full-width letters", "https://printer.\uff4c\uff4f\uff43\uff41\uff4c/", under("local")],
  ["a multicast DNS name after an ideographic dot", "https://printer\u3002local/", under("local")],
  ["a cluster name", "https://api.default.svc.cluster.local/", under("local")],
  ["a short cluster name", "https://kubernetes.default.svc/", under("svc")],
  ["an internal name", "https://db.internal/", under("internal")],
  ["a container's host", "https://host.docker.internal/", under("internal")],
  ["a cloud's metadata name", "https://metadata.google.internal/computeMetadata/v1/", under("internal")],
  ["a cloud's other metadata name", "https://metadata.goog/", METADATA],
  ["a third metadata name", "https://METADATA.tencentyun.com/", METADATA],
  ["a company network", "https://mail.corp/", under("corp")],
  ["a home network", "https://nas.home/", under("home")],
  ["a home network's arpa name", "https://router.home.arpa/", under("arpa")],
  ["a reverse name", "https://1.0.0.127.in-addr.arpa/", under("arpa")],
  ["a lan", "https://nas.lan/", under("lan")],
  ["a hidden service", "https://abcdefghij234567.onion/", under("onion")],
  ["a test name", "https://hooks.test/", under("test")],
  ["an example name", "https://hooks.example/", under("example")],
  ["an invalid name", "https://hooks.invalid/", under("invalid")],
  ["a full name with a trailing dot", "https://hooks.example.com./", DOT],
  ["an ideographic trailing dot", "https://hooks.example.com\u3002/", DOT],
  ["two trailing dots", "https://hooks.example.com../", DOT],
  ["an empty label", "https://hooks..example.com/", INVALID],
  ["a leading dot", "https://.example.com/", INVALID],
  ["a label that starts with a hyphen", "https://-hooks.example.com/", INVALID],
  ["punycode of plain letters", "https://xn--localhost-/", NOT_FULL],
  ["punycode of plain letters in a full name", "https://xn--hooks-.example.com/", INVALID],
  ["a label of 64 letters", `https://${"a".repeat(64)}.com/`, INVALID],
  ["a name of 254 letters", `https://${`${"a".repeat(50)}.`.repeat(4)}${"b".repeat(46)}.com/`, INVALID],
  ["a wildcard", "https://*.example.com/", INVALID],
  ["a letter no host has", "https://hooks.exa!mple.com/", INVALID],
  ["the mail port", "https://hooks.example.com:25/", port(25)],
  ["the shell port", "https://hooks.example.com:22/", port(22)],
  ["the name server's port", "https://hooks.example.com:53/", port(53)],
  ["a chat port", "https://hooks.example.com:6667/", port(6667)],
  ["port 0", "https://hooks.example.com:0/", port(0)],
  ["a port too large", "https://hooks.example.com:65536/", FORM],
  ["a port that is no number", "https://hooks.example.com:https/", FORM],
  ["a URL over the limit", `https://hooks.example.com/${"a".repeat(2048)}`, "The URL is longer than 2048 characters."],
];

const ACCEPTED: [url: string, href: string][] = [
  ["https://hooks.example.com", "https://hooks.example.com/"],
  ["https://example.com/parley?tenant=a&b=%20c", "https://example.com/parley?tenant=a&b=%20c"],
  ["HTTPS://Hooks.Example.COM/Path", "https://hooks.example.com/Path"],
  ["https://hooks.example.com:443/", "https://hooks.example.com/"],
  ["https://hooks.example.com:8443/a/b/c.php", "https://hooks.example.com:8443/a/b/c.php"],
  ["https://a.b.c.d.e.f.example.co.uk/", "https://a.b.c.d.e.f.example.co.uk/"],
  ["https://my_app.example.com/", "https://my_app.example.com/"],
  ["https://b\u00fccher.example.com/", "https://xn--bcher-kva.example.com/"],
  ["https://xn--bcher-kva.example.com/", "https://xn--bcher-kva.example.com/"],
  ["https://\u4f8b\u5b50.com/", "https://xn--fsqu00a.com/"],
  ["https://1password.com/", "https://1password.com/"],
  ["https://127.0.0.1.com/", "https://127.0.0.1.com/"],
  ["https://internal.example.com/", "https://internal.example.com/"],
  ["https://localhost.example.com/", "https://localhost.example.com/"],
  ["https://hooks.example.com/?next=http://127.0.0.1/", "https://hooks.example.com/?next=http://127.0.0.1/"],
  ["https://hooks.example.com/user@host", "https://hooks.example.com/user@host"],
  ["https://hooks.example.com?mail=a@b", "https://hooks.example.com/?mail=a@b"],
  ["https://abc123.ngrok-free.app/hook", "https://abc123.ngrok-free.app/hook"],
];

describe("checkUrl", () => {
  it.each(REFUSED)("refuses %s", (_name, url, reason) => {
    expect(() => checkUrl(url, deployed)).toThrow(new UnsafeUrl(reason));
  });

  it("knows at least sixty spellings to refuse", () => {
    expect(new Set(REFUSED.map(([, url]) => url)).size).toBeGreaterThanOrEqual(60);
  });

  it.each(ACCEPTED)("accepts %s", (url, href) => {
    expect(checkUrl(url, deployed).href).toBe(href);
  });

  it.each(["http://localhost:8787/hook", "http://127.0.0.1:9000/", "http://[::1]:9000/", "http://localhost/"])(
    "accepts %s on the local stack alone",
    (url) => {
      expect(checkUrl(url, local).href).toBe(url);
      expect(() => checkUrl(url, deployed)).toThrow(UnsafeUrl);
    },
  );

  it.each([
    "http://hooks.example.com/",
    "http://127.0.0.2:9000/",
    "http://0.0.0.0:9000/",
    "http://10.0.0.1/",
    "http://app.localhost:9000/",
    "http://user@localhost:9000/",
    "http://[::ffff:127.0.0.1]:9000/",
    "http://localhost:22/",
    "https://127.0.0.1/",
  ])("refuses %s on the local stack too", (url) => {
    expect(() => checkUrl(url, local)).toThrow(UnsafeUrl);
  });

  it("refuses the deployment's own host", () => {
    const rules = { ...deployed, ownHost: "parley.example.com" };

    expect(() => checkUrl("https://Parley.example.com/v1/messages", rules)).toThrow("this deployment's own");
    expect(checkUrl("https://other.example.com/", rules).hostname).toBe("other.example.com");
  });

  it("opens this machine to no setting but LOCAL_MODE", async () => {
    await expect(locate({ LOCAL_MODE: "false" }, "http://localhost:9000/")).rejects.toThrow(SCHEME);
    await expect(locate({ LOCAL_MODE: "" }, "http://localhost:9000/")).rejects.toThrow(SCHEME);
    expect((await locate({ LOCAL_MODE: "1" }, "http://localhost:9000/")).address).toBeNull();
  });
});

const NOT_PUBLIC: [use: string, addresses: string[]][] = [
  ["this network", ["0.0.0.0", "0.255.255.255"]],
  ["private", ["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"]],
  ["shared (CGNAT)", ["100.64.0.0", "100.100.100.200", "100.127.255.255"]],
  ["loopback", ["127.0.0.1", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1"]],
  ["cloud metadata", ["168.63.129.16"]],
  ["link-local", ["169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::", "fe80::1", "febf:ffff::1"]],
  ["protocol assignments", ["192.0.0.0", "192.0.0.192", "192.0.0.255", "2001:1::1", "2001:4:112::1", "2001:1ff::1"]],
  ["documentation", ["192.0.2.1", "198.51.100.255", "203.0.113.0", "2001:db8::1", "3fff::1", "3fff:fff::1"]],
  ["AS112", ["192.31.196.1", "192.175.48.1", "2620:4f:8000::1"]],
  ["AMT", ["192.52.193.1"]],
  ["6to4 relay", ["192.88.99.1"]],
  ["benchmarking", ["198.18.0.0", "198.19.255.255", "2001:2::1"]],
  ["multicast", ["224.0.0.1", "239.255.255.255", "ff00::", "ff02::1"]],
  ["reserved", ["240.0.0.0", "255.255.255.254"]],
  ["broadcast", ["255.255.255.255"]],
  ["unspecified", ["::", "0:0:0:0:0:0:0:0"]],
  ["IPv4-compatible", ["::2", "::8.8.8.8", "::127.0.0.1"]],
  ["IPv4-mapped", ["::ffff:8.8.8.8", "::ffff:7f00:1", "::FFFF:169.254.169.254"]],
  ["IPv4-translated", ["::ffff:0:127.0.0.1"]],
  ["NAT64", ["64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe"]],
  ["local NAT64", ["64:ff9b:1::1", "64:ff9b:1:ffff::1"]],
  ["discard-only", ["100::1"]],
  ["dummy prefix", ["100:0:0:1::1"]],
  ["Teredo", ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]],
  ["ORCHID", ["2001:10::1", "2001:1f::1"]],
  ["ORCHIDv2", ["2001:20::1", "2001:2f::1"]],
  ["drone remote ID", ["2001:30::1"]],
  ["6to4", ["2002::1", "2002:7f00:1::"]],
  ["6bone", ["3ffe::1"]],
  ["SRv6", ["5f00::1"]],
  ["unique local", ["fc00::1", "fd00:ec2::254", "fdff:ffff::1"]],
  ["site-local", ["fec0::1"]],
  ["not global unicast", ["64:ff9b:2::1", "200::1", "1000::1", "4000::1", "8000::1", "e000::1", "fe00::1"]],
  [
    "not an IP address",
    ["", "localhost", "127.1", "0x7f.0.0.1", "010.0.0.1", "1.2.3.256", "1.2.3.4.", "fe80::1%eth0", "[2606:4700::1]"],
  ],
  [
    "not an IP address",
    ["2606:4700", "2606::4700::1", ":::", "2606:4700::12345", "1.2.3.4::", "2606:4700:1:2:3:4:5:6:7"],
  ],
];

const PUBLIC = [
  ...[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
  ],
  ...["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0"],
  ...["198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15"],
  ...["2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:82a::200e", "2001:200::1", "2003::1", "2000::1"],
  ...["3ffd::1", "3fff:1000::1", "2A00:1450::1.2.3.4"],
];

describe("whyNotPublic", () => {
  it.each(NOT_PUBLIC.flatMap(([use, addresses]) => addresses.map((address) => [address, use] as const)))(
    "refuses %j as %s",
    (address, use) => {
      expect(whyNotPublic(address)?.replace(/ \([^()]*\/\d+\)$/, "")).toBe(use);
    },
  );

  it.each(PUBLIC)("lets %s pass", (address) => {
    expect(whyNotPublic(address)).toBeNull();
  });
});

describe("addressInRange", () => {
  it.each([
    ["10.1.2.3", "10.0.0.0/8"],
    ["10.1.2.3", "10.1.2.3"],
    ["10.1.2.3", "0.0.0.0/0"],
    ["2001:db8:1::5", "2001:db8::/32"],
    ["2001:0DB8:0::1", "2001:db8::1"],
  ])("finds %s in %s", (address, range) => {
    expect(addressInRange(address, range)).toBe(true);
  });

  it.each([
    ["11.1.2.3", "10.0.0.0/8"],
    ["10.1.2.4", "10.1.2.3"],
    ["10.1.2.3", "::/0"],
    ["::1", "0.0.0.0/0"],
    ["no address", "0.0.0.0/0"],
    ["10.1.2.3", "10.0.0.0/33"],
    ["10.1.2.3", "10.0.0.0/8/8"],
    ["10.1.2.3", ""],
  ])("does not find %s in %j", (address, range) => {
    expect(addressInRange(address, range)).toBe(false);
  });

  it("tells a range from what is none", () => {
    expect(["10.0.0.0/8", "::1", "fe80::/10"].every((text) => parseRange(text))).toBe(true);
    expect(["10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "::/129", "any"].some((text) => parseRange(text))).toBe(false);
  });
});

describe("isReservedHeader", () => {
  it("keeps the connection's own headers from tenants, and leaves them the rest", () => {
    const reserved = [
      "Host",
      "Content-Length",
      "transfer-encoding",
      "Upgrade",
      "CF-Connecting-IP",
      "Proxy-Authorization",
    ];

    expect(reserved.every(isReservedHeader)).toBe(true);
    expect(["Authorization", "X-Host", "Content-Type", "tenant"].some(isReservedHeader)).toBe(false);
  });
});
