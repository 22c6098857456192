import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo, Server } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { entry, hostWith, startResolver } from "./test-resolver.ts";

// The guard runs in the real runtime, against a resolver and receivers on this machine. A second worker is the internet
// between them: it takes every host to the receiver, or to a port where nobody listens or no certificate is to be had.

let resolver: Awaited<ReturnType<typeof startResolver>>;
let miniflare: Miniflare;
let workerUrl: URL;
let received: { method: string; path: string; headers: IncomingMessage["headers"]; body: string }[] = [];
let hungUp = 0;

const receiver = createServer(async (request, response) => {
  const path = request.url!;
  response.on("close", () => {
    if (!response.writableEnded) hungUp++;
  });
  if (path === "/endless") return writeEndlessly(response);
  if (path === "/silent") return;
  if (path === "/was-hung-up")
    return void response.end(
      String(
        await until(() => hungUp > 0).then(
          () => true,
          () => false,
        ),
      ),
    );
  let body = "";
  for await (const chunk of request) body += chunk;
  received.push({ method: request.method!, path, headers: request.headers, body });
  if (path === "/stalls") return void response.write("begun");
  if (path === "/resets") return void response.write("begun", () => setTimeout(() => request.socket.destroy(), 20));
  if (path === "/moved") return void response.writeHead(302, { location: "/secret" }).end("over there");
  if (path === "/edge") return void response.writeHead(526, { server: "cloudflare" }).end("error code: 526");
  if (path === "/own-526") return void response.writeHead(526).end("mine");
  response.writeHead(200, { "x-receiver": "yes" }).end("0123456789");
});

function writeEndlessly(response: ServerResponse) {
  const write = () => {
    while (!response.destroyed && response.write("x".repeat(65536)));
  };
  response.on("drain", write);
  write();
}

// It has no certificate at all, so that every handshake fails.
const tlsReceiver = createTlsServer((_, response) => response.end());

const portOf = (server: Server) => (server.address() as AddressInfo).port;

const ENTRY = `
import { guardedFetch, locate } from "./guard";
import { lookup, resolve } from "./doh";

const verbs = {
  async guardedFetch(env, ...args) {
    const answer = await guardedFetch(env, ...args);
    return { ...answer, body: new TextDecoder().decode(answer.body), headers: Object.fromEntries(answer.headers) };
  },
  // As long as this call lasts, nobody but the guard closes its connections.
  async hangsUp(env, ...args) {
    await guardedFetch(env, ...args).catch(() => {});
    return (await fetch(env.RECEIVER + "/was-hung-up")).text();
  },
  locate: async (env, url) => (await locate(env, url)).address,
  lookup: (env, ...args) => lookup(...args, { resolverUrl: env.DOH_URL }),
  resolve: (env, host) => resolve(host, { resolverUrl: env.DOH_URL }),
};

let ahead = 0;
const clock = Date.now;
Date.now = () => clock() + ahead;

export default {
  async fetch(request, env) {
    const { verb, args, settings, passMs } = await request.json();
    ahead += passMs;
    try {
      return Response.json({ value: await verbs[verb]({ ...env, ...settings }, ...args) });
    } catch (error) {
      return Response.json({ error: { ...error, name: error.name, message: error.message } });
    }
  },
};`;

const INTERNET = `
export default {
  fetch(request, env) {
    const { hostname, pathname } = new URL(request.url);
    if (hostname === "127.0.0.1") return fetch(request);
    const origin = env.ORIGINS[hostname.split(".")[0]] ?? env.ORIGINS.others;
    return fetch(new Request(origin + pathname, request), { redirect: "manual" });
  },
};`;

before(async () => {
  resolver = await startResolver();
  for (const server of [receiver, tlsReceiver]) {
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  }
  const modern = {
    compatibilityDate: "2026-10-01",
    compatibilityFlags: ["nodejs_compat", "global_fetch_strictly_public"],
  };
  const asModule = (path: string, contents: string) => ({ type: "ESModule" as const, path, contents });
  const fromSource = (path: string) => {
    const file = new URL(`../src/lib/${path}.ts`, import.meta.url);
    return asModule(path, stripTypeScriptTypes(readFileSync(file, "utf8")));
  };
  const origins = {
    closed: "http://127.0.0.1:1",
    untrusted: `https://127.0.0.1:${portOf(tlsReceiver)}`,
    others: `http://127.0.0.1:${portOf(receiver)}`,
  };
  const guard = {
    name: "guard",
    ...modern,
    modules: [asModule("entry", ENTRY), ...["guard", "doh", "addresses"].map(fromSource)],
    bindings: { DOH_URL: resolver.url, RECEIVER: origins.others },
    outboundService: "internet",
  };
  const internet = {
    name: "internet",
    ...modern,
    modules: [asModule("internet", INTERNET)],
    bindings: { ORIGINS: origins },
  };
  miniflare = new Miniflare(convertV4MiniflareOptions({ workers: [guard, internet] }));
  workerUrl = await miniflare.ready;
});

after(async () => {
  await miniflare.dispose();
  resolver.close();
  for (const server of [receiver, tlsReceiver]) server.close();
  receiver.closeAllConnections();
});

beforeEach(() => {
  resolver.zones.clear();
  resolver.questions.length = 0;
  received = [];
  hungUp = 0;
});

type Outcome = { value?: unknown; error?: Record<string, unknown> };
type Circumstances = { passMs?: number; settings?: Record<string, string> };

async function call(verb: string, args: unknown[], { passMs = 0, settings = {} }: Circumstances = {}) {
  const response = await fetch(workerUrl, { method: "POST", body: JSON.stringify({ verb, args, settings, passMs }) });
  return (await response.json()) as Outcome;
}

type Limits = { timeoutMs?: number; maxBytes?: number };

async function guardedFetch(
  url: string,
  { timeoutMs = 5000, maxBytes = 16384 }: Limits = {},
  request = {},
  settings = {},
) {
  const outcome = await call("guardedFetch", [url, request, { timeoutMs, maxBytes }], { settings });
  return { value: outcome.value as Record<string, unknown> | undefined, error: outcome.error };
}

let names = 0;
/** A name of its own for each test, as answers are remembered. */
const newName = (kind = "host") => `${kind}.n${++names}.example.com`;

function newHost(addresses = ["93.184.215.14"], kind = "host") {
  const name = newName(kind);
  resolver.zones.set(name, hostWith(addresses));
  return name;
}

describe("guardedFetch", () => {
  test("calls a public host and gives its whole answer", async () => {
    const host = newHost(["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]);

    const request = { method: "POST", headers: { "X-Mine": "1" }, body: '{"a":"\u00e9"}' };
    const { value } = await guardedFetch(`https://${host}/hook`, {}, request);

    assert.equal(value?.status, 200);
    assert.equal(value.body, "0123456789");
    assert.equal(value.truncated, false);
    assert.equal(value.address, "93.184.215.14");
    assert.equal((value.headers as Record<string, string>)["x-receiver"], "yes");
    const [{ method, path, headers, body }] = received as [(typeof received)[0]];
    assert.deepEqual([method, path, headers["x-mine"], body], ["POST", "/hook", "1", '{"a":"\u00e9"}']);
  });

  test("refuses a name that leads elsewhere at the second call than at the first", async () => {
    const host = newName();
    resolver.zones.set(host, (type, nth) => hostWith([nth === 1 ? "93.184.215.14" : "169.254.169.254"])(type, nth));

    const first = await guardedFetch(`https://${host}/`);
    const second = await guardedFetch(`https://${host}/`);

    assert.equal(first.value?.status, 200);
    assert.equal(second.error?.kind, "unsafe_address");
    assert.equal(second.error?.address, "169.254.169.254");
    assert.match(String(second.error?.message), /link-local \(169\.254\.0\.0\/16\)/);
    assert.equal(received.length, 1);
  });

  test("takes back a remembered address after thirty seconds, whatever its time to live", async () => {
    const host = newName();
    resolver.zones.set(host, (type, nth) => hostWith([nth === 1 ? "93.184.215.14" : "10.0.0.1"], 86400)(type, nth));
    const url = `https://${host}/`;

    assert.deepEqual(await call("locate", [url]), { value: "93.184.215.14" });
    assert.deepEqual(await call("locate", [url], { passMs: 29_000 }), { value: "93.184.215.14" });
    assert.equal((await call("locate", [url], { passMs: 1_500 })).error?.address, "10.0.0.1");
  });

  const LEADING_INSIDE: [what: string, addresses: string[]][] = [
    ["loopback", ["127.0.0.1"]],
    ["IPv6 loopback", ["::1"]],
    ["cloud metadata", ["169.254.169.254"]],
    ["IPv6 cloud metadata", ["fd00:ec2::254"]],
    ["a private network behind a public address", ["93.184.215.14", "192.168.0.1"]],
    ["a private network beside a public address", ["10.0.0.1", "93.184.215.14"]],
    ["IPv6 link-local beside a public IPv4 address", ["93.184.215.14", "fe80::1"]],
    ["a mapped IPv4 address", ["93.184.215.14", "::ffff:10.0.0.1"]],
    ["a NAT64 address", ["64:ff9b::a9fe:a9fe"]],
    ["the unspecified address", ["0.0.0.0"]],
    ["a shared network", ["100.64.0.1"]],
  ];
  for (const [what, addresses] of LEADING_INSIDE) {
    test(`refuses a public name that leads to ${what}`, async () => {
      const host = newHost(addresses);

      const { error } = await guardedFetch(`https://${host}/`);
      const atCreation = await call("locate", [`https://${host}/`]);

      assert.equal(error?.kind, "unsafe_address");
      assert.equal(atCreation.error?.name, "UnsafeAddress");
      assert.equal(received.length, 0);
    });
  }

  test("asks and calls nobody for a URL that may not be called", async () => {
    for (const url of [
      "https://127.0.0.1/",
      "http://public.example.com/",
      "http://localhost/",
      "https://x.internal/",
    ]) {
      const { error } = await guardedFetch(url);
      assert.deepEqual([error?.kind, error?.address, error?.status], ["unsafe_url", null, null]);
    }
    assert.deepEqual(resolver.questions, []);
  });

  test("takes a redirect as the answer", async () => {
    const { value } = await guardedFetch(`https://${newHost()}/moved`);

    assert.deepEqual([value?.status, value?.body], [302, "over there"]);
    assert.deepEqual(
      received.map(({ path }) => path),
      ["/moved"],
    );
  });

  test("gives up at its deadline when nothing is answered", async () => {
    const { error } = await guardedFetch(`https://${newHost()}/silent`, { timeoutMs: 1000 });

    assert.deepEqual([error?.kind, error?.address, error?.status], ["timeout", "93.184.215.14", null]);
    assert.ok(Number(error?.ms) >= 995 && Number(error?.ms) < 5000, `after ${error?.ms} ms`);
  });

  test("has one deadline for the head of an answer and its body", async () => {
    const { error } = await guardedFetch(`https://${newHost()}/stalls`, { timeoutMs: 1000 });

    assert.deepEqual([error?.kind, error?.status], ["timeout", 200]);
  });

  test("reads no more of a body than it was told", async () => {
    const { value } = await guardedFetch(`https://${newHost()}/endless`, { maxBytes: 100_000 });

    assert.deepEqual([value?.body, value?.truncated], ["x".repeat(100_000), true]);
  });

  for (const path of ["/endless", "/silent", "/stalls"]) {
    test(`hangs up on ${path} as soon as it is done`, async () => {
      const url = `https://${newHost()}${path}`;

      const { value } = await call("hangsUp", [url, {}, { timeoutMs: 1000, maxBytes: 1000 }]);

      assert.equal(value, "true");
    });
  }

  test("tells a body of just the allowed length from a longer one", async () => {
    const host = newHost();
    const [exact, longer, none] = [
      await guardedFetch(`https://${host}/`, { maxBytes: 10 }),
      await guardedFetch(`https://${host}/`, { maxBytes: 9 }),
      await guardedFetch(`https://${host}/`, { maxBytes: 0 }),
    ];

    assert.deepEqual([exact.value?.body, exact.value?.truncated], ["0123456789", false]);
    assert.deepEqual([longer.value?.body, longer.value?.truncated], ["012345678", true]);
    assert.deepEqual([none.value?.body, none.value?.truncated], ["", true]);
  });

  test("tells how a connection failed", async () => {
    const refused = await guardedFetch(`https://${newHost(undefined, "closed")}/`);
    const untrusted = await guardedFetch(`https://${newHost(undefined, "untrusted")}/`);
    const lost = await guardedFetch(`https://${newHost()}/resets`);
    const edge = await guardedFetch(`https://${newHost()}/edge`);
    const own = await guardedFetch(`https://${newHost()}/own-526`);

    assert.deepEqual([refused.error?.kind, refused.error?.address], ["connect", "93.184.215.14"]);
    assert.equal(untrusted.error?.kind, "connect");
    assert.deepEqual([lost.error?.kind, lost.error?.status], ["connect", 200]);
    assert.deepEqual([edge.error?.kind, edge.error?.status], ["tls", 526]);
    assert.deepEqual([own.value?.status, own.value?.body], [526, "mine"]);
  });

  test("keeps the connection's own headers from the tenant", async () => {
    const headers = {
      Host: "inside.example.com",
      Expect: "100-continue",
      "CF-Connecting-IP": "10.0.0.1",
      "X-Mine": "1",
    };
    await guardedFetch(`https://${newHost()}/`, {}, { method: "POST", headers, body: "{}" });

    const seen = received[0]!.headers;
    assert.deepEqual([seen["x-mine"], seen.expect, seen["cf-connecting-ip"]], ["1", undefined, undefined]);
    assert.notEqual(seen.host, "inside.example.com");
  });

  test("calls this machine without asking the resolver, on the local stack alone", async () => {
    const url = `http://127.0.0.1:${portOf(receiver)}/`;

    const local = await guardedFetch(url, {}, {}, { LOCAL_MODE: "1" });
    const deployed = await guardedFetch(url, {}, {}, { LOCAL_MODE: "" });

    assert.deepEqual([local.value?.status, local.value?.address], [200, null]);
    assert.equal(deployed.error?.kind, "unsafe_url");
    assert.deepEqual(resolver.questions, []);
  });

  test("does not call the deployment's own host", async () => {
    const host = newHost();
    const { error } = await guardedFetch(`https://${host}/v1/messages`, {}, {}, { DEPLOYMENT_URL: `https://${host}` });

    assert.equal(error?.kind, "unsafe_url");
  });

  test("names the resolver when the deadline passes while it thinks", async () => {
    const host = newName();
    resolver.zones.set(host, () => () => undefined);

    const { error } = await guardedFetch(`https://${host}/`, { timeoutMs: 200 });

    assert.deepEqual([error?.kind, error?.message], ["dns", "The resolver did not answer in time."]);
  });
});

describe("resolve", () => {
  test("asks for both families once, and finds the addresses behind an alias", async () => {
    const name = newName();
    resolver.zones.set(name, (type) => ({
      Answer: [
        entry("CNAME", "Edge.Example.net.", 60, `${name}.`),
        type === "A" ? entry("A", "93.184.215.14", 60) : entry("AAAA", "2606:2800::1", 60),
      ],
    }));

    assert.deepEqual(await call("resolve", [name]), { value: ["93.184.215.14", "2606:2800::1"] });
    assert.deepEqual(await call("resolve", [name.toUpperCase()]), { value: ["93.184.215.14", "2606:2800::1"] });
    assert.deepEqual(resolver.questions.sort(), [`${name} A`, `${name} AAAA`]);
  });

  test("asks again once the shortest time to live of an answer is over", async () => {
    const name = newName();
    resolver.zones.set(name, () => ({ Answer: [entry("CNAME", "edge.example.net.", 5), entry("TXT", "x", 60)] }));

    await call("lookup", [name, "TXT"]);
    await call("lookup", [name, "TXT"], { passMs: 4_000 });
    assert.equal(resolver.questions.length, 1);
    await call("lookup", [name, "TXT"], { passMs: 1_500 });
    assert.equal(resolver.questions.length, 2);
  });

  test("remembers that a family is missing as long as its zone says, and without a word not at all", async () => {
    const [told, untold] = [newName(), newName()];
    const soa = entry("SOA", "ns.example.com. admin.example.com. 1 7200 3600 1209600 10", 3600);
    resolver.zones.set(told, () => ({ Authority: [soa] }));
    resolver.zones.set(untold, () => ({}));

    for (const passMs of [0, 9_000, 1_500]) await call("lookup", [told, "AAAA"], { passMs });
    for (let i = 0; i < 2; i++) await call("lookup", [untold, "AAAA"]);

    assert.equal(resolver.questions.filter((question) => question.startsWith(told)).length, 2);
    assert.equal(resolver.questions.filter((question) => question.startsWith(untold)).length, 2);
  });

  test("forgets the oldest answers before it holds too many", async () => {
    const [oldest, ...others] = Array.from({ length: 1001 }, () => newName());
    const ask = async (name: string) => {
      resolver.zones.set(name, () => ({ Answer: [entry("TXT", name, 3600)] }));
      assert.ok((await call("lookup", [name, "TXT"])).value);
    };
    const timesAsked = (name: string) => resolver.questions.filter((question) => question === `${name} TXT`).length;

    // The oldest is the one that was answered first, so it is answered before another is asked for.
    await ask(oldest!);
    for (let i = 0; i < others.length; i += 50) await Promise.all(others.slice(i, i + 50).map(ask));
    const newest = newName();
    await ask(newest);

    for (const name of [newest, oldest!]) await ask(name);
    assert.deepEqual([timesAsked(newest), timesAsked(oldest!)], [1, 2]);
  });

  const UNUSABLE: [what: string, zone: Parameters<typeof resolver.zones.set>[1], message: RegExp][] = [
    ["does not exist", () => ({ Status: 3 }), /has no address/],
    ["has no address", () => ({}), /has no address/],
    ["has an alias that leads nowhere", () => ({ Answer: [entry("CNAME", "gone.example.net.")] }), /has no address/],
    ["cannot be resolved", () => ({ Status: 2 }), /DNS status 2/],
    ["has one family that cannot", (t) => (t === "A" ? hostWith(["93.184.215.14"])(t, 1) : { Status: 5 }), /status 5/],
    ["got a cut answer", () => ({ TC: true, Answer: [entry("A", "93.184.215.14")] }), /cut its answer short/],
    ["got an address that is none", () => ({ Answer: [entry("A", "93.184.215"), entry("AAAA", "x")] }), /address/],
    ["got an IPv6 address for IPv4", () => ({ Answer: [entry("A", "2606:2800::1")] }), /address that is none/],
    ["got entries that are none", () => ({ Answer: [{}] as never }), /no record/],
    ["got an answer that is no JSON", () => (response) => void response.end("<html>"), /not answer in JSON/],
    ["got an error", () => (response) => void response.writeHead(503).end("{}"), /answered with status 503/],
    ["got a redirect", () => (r) => void r.writeHead(302, { location: "/" }).end(), /answered with status 302/],
    ["got a broken connection", () => (response) => void response.destroy(), /could not be reached/],
  ];
  for (const [what, zone, message] of UNUSABLE) {
    test(`fails for a name that ${what}`, async () => {
      const name = newName();
      resolver.zones.set(name, zone);

      const { error } = await call("resolve", [name]);

      assert.equal(error?.name, "DnsError");
      assert.match(String(error?.message), message);
    });
  }
});

describe("lookup", () => {
  const found = async (type: string, ...data: string[]) => {
    const name = newName();
    resolver.zones.set(name, () => ({ Answer: data.map((text) => entry(type, text, 300, `${name}.`)) }));
    return { name, records: (await call("lookup", [name, type])).value };
  };

  test("gives texts whole, whether the resolver quotes, splits, escapes or joins them", async () => {
    const { name, records } = await found(
      "TXT",
      '"v=spf1 -all"',
      '"v=DKIM1; p=MIG" "fMA0G"',
      '"a \\"quoted\\" \\\\ \\195\\169"',
      "v=spf1 include:_spf.example.net ~all",
      '"h\u00e9"',
      '""',
    );

    const texts = [
      "v=spf1 -all",
      "v=DKIM1; p=MIGfMA0G",
      'a "quoted" \\ \u00e9',
      "v=spf1 include:_spf.example.net ~all",
      "h\u00e9",
      "",
    ];
    assert.deepEqual(
      records,
      texts.map((data) => ({ name, ttl: 300, data })),
    );
  });

  test("gives mail servers with their preference, and the null one as a dot", async () => {
    const { name, records } = await found("MX", "10 Mail.Example.com.", "0 .");

    assert.deepEqual(records, [
      { name, ttl: 300, data: "mail.example.com", preference: 10 },
      { name, ttl: 300, data: ".", preference: 0 },
    ]);
  });

  test("gives an alias in lower case without its last dot", async () => {
    const { name, records } = await found("CNAME", "Edge.Example.NET.");

    assert.deepEqual(records, [{ name, ttl: 300, data: "edge.example.net" }]);
  });

  test("finds nothing, without failing, for a name that is not there", async () => {
    assert.deepEqual(await call("lookup", [newName(), "TXT"]), { value: [] });
  });

  test("fails for a mail server that is none", async () => {
    resolver.zones.set("bad-mx.example.com", () => ({ Answer: [entry("MX", "mail.example.com.")] }));

    assert.match(String((await call("lookup", ["bad-mx.example.com", "MX"])).error?.message), /MX that is none/);
  });
});

async function until(condition: () => boolean) {
  for (const end = Date.now() + 10_000; !condition(); ) {
    assert.ok(Date.now() < end, "it did not come true in 10 s");
    await new Promise((resume) => setTimeout(resume, 5));
  }
}
