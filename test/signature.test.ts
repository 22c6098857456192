import fc from "fast-check";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { describe, expect, it, onTestFinished } from "vitest";
import { fromBase64, toBase64, utf8 } from "../src/lib/crypto";
import { asJwk, newKeyPair, newSecret, sign, verify, webhookHeaders } from "../src/webhooks/signature";

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));
const now = () => Math.floor(Date.now() / 1000);

type Delivery = { id: string; timestamp: number; signature: string; body: string };

const headersOf = ({ id, timestamp, signature }: Delivery) => ({
  "webhook-id": id,
  "webhook-timestamp": String(timestamp),
  "webhook-signature": signature,
});

const accepts = (check: () => unknown) => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};

/** Svix's verifier stands on the other library's, so a third shares no code with either. */
const verifiers: ((secret: string, delivery: Delivery) => boolean | Promise<boolean>)[] = [
  (secret, delivery) => accepts(() => new StandardWebhook(secret).verify(delivery.body, headersOf(delivery))),
  (secret, delivery) => accepts(() => new SvixWebhook(secret).verify(delivery.body, headersOf(delivery))),
  async (secret, { id, timestamp, signature, body }) => {
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", fromBase64(secret.slice("whsec_".length)), hmac, false, ["sign"]);
    const expected = await crypto.subtle.sign("HMAC", key, utf8(`${id}.${timestamp}.${body}`));
    return signature.split(" ").includes(`v1,${toBase64(new Uint8Array(expected))}`);
  },
  (secret, delivery) => verify([secret], new Headers(headersOf(delivery)), delivery.body),
];

const verdicts = (secret: string, delivery: Delivery) =>
  Promise.all(verifiers.map((verifier) => verifier(secret, delivery)));

const ALL = [true, true, true, true];
const NONE = [false, false, false, false];

/** What a delivery carries: any text but lone surrogates, inside JSON. */
const payload = fc
  .record({ key: fc.string({ unit: "grapheme", maxLength: 8 }), text: fc.string({ unit: "binary", maxLength: 80 }) })
  .map(({ key, text }) => JSON.stringify({ type: "message.new", data: { [key]: text } }));

const secret = fc.uint8Array({ minLength: 24, maxLength: 64 }).map(newSecret);

const flipBit = (base64: string, at: number) => {
  const bytes = fromBase64(base64);
  bytes[at % bytes.length]! ^= 1 << (at % 8);
  return toBase64(bytes);
};

const TAMPERED: Record<string, (delivery: Delivery, at: number) => Delivery> = {
  "a character more": (d, at) => {
    const index = at % (d.body.length + 1);
    return { ...d, body: `${d.body.slice(0, index)}x${d.body.slice(index)}` };
  },
  "a character less": (d, at) => {
    const index = at % d.body.length;
    return { ...d, body: d.body.slice(0, index) + d.body.slice(index + 1) };
  },
  "another character": (d) => ({ ...d, body: d.body.replace("message.new", "message.now") }),
  "a line break behind": (d) => ({ ...d, body: `${d.body}\n` }),
  "another id": (d) => ({ ...d, id: `${d.id}0` }),
  "a part of the id in the time": (d) => ({ ...d, id: d.id.slice(0, -1) }),
  "another time": (d, at) => ({ ...d, timestamp: d.timestamp + 1 + (at % 60) }),
  "a bit flipped in each signature": (d, at) => ({
    ...d,
    signature: d.signature.replace(/v1,(\S+)/g, (_, base64) => `v1,${flipBit(base64, at)}`),
  }),
  "another version": (d) => ({ ...d, signature: d.signature.replaceAll("v1,", "v1a,") }),
  "an unknown version": (d) => ({ ...d, signature: d.signature.replaceAll("v1,", "v2,") }),
  "no signature": (d) => ({ ...d, signature: "v1," }),
};

describe("a signed delivery", () => {
  it("verifies with the old and the new secret in every library, and in none once tampered with", async () => {
    // A refusal is an error in these libraries, and its stack costs more than the signature.
    const stacks = Error as ErrorConstructor & { stackTraceLimit: number };
    const { stackTraceLimit } = stacks;
    stacks.stackTraceLimit = 0;
    onTestFinished(() => {
      stacks.stackTraceLimit = stackTraceLimit;
    });
    const arrange = fc.record({
      old: secret,
      fresh: secret,
      foreign: secret,
      id: fc.uuid(),
      body: payload,
      how: fc.constantFrom(...Object.keys(TAMPERED)),
      at: fc.nat(),
    });
    const timestamp = now();
    const property = fc.asyncProperty(arrange, async ({ old, fresh, foreign, id, body, how, at }) => {
      const headers = await webhookHeaders([fresh, old], id, timestamp, body);
      const delivery = { id, timestamp, signature: headers["webhook-signature"], body };
      const forged = TAMPERED[how]!(delivery, at);
      const each = [
        verdicts(old, delivery),
        verdicts(fresh, delivery),
        verdicts(foreign, delivery),
        verdicts(fresh, forged),
      ];
      expect(await Promise.all(each)).toEqual([ALL, ALL, NONE, NONE]);
    });
    await fc.assert(property, { numRuns: 10_000 });
  }, 120_000);

  it.each(Object.keys(TAMPERED))("is refused with %s", async (how) => {
    const [key, id, timestamp, body] = [newSecret(random(32)), crypto.randomUUID(), now(), '{"type":"message.new"}'];
    const delivery = { id, timestamp, signature: await sign([key], id, timestamp, body), body };

    expect(await verdicts(key, delivery)).toEqual(ALL);
    expect(await verdicts(key, TAMPERED[how]!(delivery, 5))).toEqual(NONE);
  });

  it("verifies for five minutes before and after its time, and no longer", async () => {
    const key = newSecret(random(24));
    const headers = new Headers(await webhookHeaders([key], "evt_1", 1_800_000_000, "{}"));
    const at = (seconds: number) => verify([key], headers, "{}", 1_800_000_000 + seconds);

    expect(await Promise.all([-300, 0, 300].map(at))).toEqual([true, true, true]);
    expect(await Promise.all([-301, 301].map(at))).toEqual([false, false]);
  });

  it("verifies as text and as bytes alike, also when the bytes are no text", async () => {
    const key = newSecret(random(24));
    const bytes = new Uint8Array([0xff, 0x00, 0xc3, 0x28]);

    expect(await sign([key], "evt_1", 1, "h\u00e9")).toBe(await sign([key], "evt_1", 1, utf8("h\u00e9")));
    const headers = new Headers(await webhookHeaders([key], "evt_1", now(), bytes));
    expect(await verify([key], headers, bytes)).toBe(true);
    expect(await verify([key], headers, new TextDecoder().decode(bytes))).toBe(false);
  });

  it("matches the value that the specification's own reference implementation gives", async () => {
    const body = '{"test": 2432232314}';
    const signature = new StandardWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
      "msg_1",
      new Date(1614265330e3),
      body,
    );

    expect(await sign(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_1", 1614265330, body)).toBe(signature);
  });

  it.each([
    ["no headers", {}],
    ["no time", { "webhook-id": "evt_1", "webhook-signature": "v1,AAAA" }],
    ["a time that is no number", { "webhook-id": "evt_1", "webhook-timestamp": "now", "webhook-signature": "v1,AAAA" }],
    [
      "a signature that is no base64",
      { "webhook-id": "e", "webhook-timestamp": `${now()}`, "webhook-signature": "v1,?" },
    ],
    ["an empty id", { "webhook-id": "", "webhook-timestamp": `${now()}`, "webhook-signature": "v1,AAAA" }],
  ])("is refused with %s", async (_name, headers: Record<string, string>) => {
    expect(await verify([newSecret(random(24))], new Headers(headers), "{}")).toBe(false);
  });

  it("does not let part of the body pass as its time", async () => {
    const key = newSecret(random(24));
    const signature = await sign([key], "evt_1", 1_800_000_000, "1800000001.{}");
    const headers = {
      "webhook-id": "evt_1.1800000000",
      "webhook-timestamp": "1800000001",
      "webhook-signature": signature,
    };

    expect(await verify([key], new Headers(headers), "{}", 1_800_000_001)).toBe(false);
    await expect(sign([key], "evt.1", 1, "{}")).rejects.toThrow("no dot");
  });

  it("looks at no more than 32 signatures", async () => {
    const key = newSecret(random(24));
    const signature = await sign([key], "evt_1", now(), "{}");
    const among = (others: number) =>
      new Headers({
        "webhook-id": "evt_1",
        "webhook-timestamp": `${now()}`,
        "webhook-signature": `${"v1,AAAA ".repeat(others)}${signature}`,
      });

    expect(await verify([key], among(31), "{}")).toBe(true);
    expect(await verify([key], among(32), "{}")).toBe(false);
  });
});

describe("keys", () => {
  it("of too few or too many bytes are not made", () => {
    expect(() => newSecret(random(23))).toThrow(RangeError);
    expect(() => newSecret(random(65))).toThrow(RangeError);
    expect([24, 64].map((length) => newSecret(random(length)).length)).toEqual([6 + 32, 6 + 88]);
  });

  it.each(["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,whsec_MfKQ9r8G", "whsec_", "whsec_?", ""])(
    "that are none are refused: %j",
    async (key) => {
      await expect(sign([key], "evt_1", 1, "{}")).rejects.toThrow(TypeError);
    },
  );

  it("stay right when more of them are used than are remembered", async () => {
    const keys = Array.from({ length: 1100 }, () => newSecret(random(24)));
    const first = await sign(keys, "evt_1", 1, "{}");

    expect(await sign(keys, "evt_1", 1, "{}")).toBe(first);
  });
});

describe("an Ed25519 pair", () => {
  it("signs what its public key verifies, also as a JWK, beside the shared secret", async () => {
    const { privateKey, publicKey } = await newKeyPair(random(32));
    const shared = newSecret(random(24));
    const body = '{"type":"message.new","text":"\u{1f680}"}';
    const timestamp = now();

    const headers = await webhookHeaders([shared, privateKey], "evt_1", timestamp, body);

    const [v1, v1a] = headers["webhook-signature"].split(" ");
    expect([v1!.slice(0, 3), v1a!.slice(0, 4)]).toEqual(["v1,", "v1a,"]);
    expect(await verify([publicKey], new Headers(headers), body)).toBe(true);
    expect(await verify([publicKey], new Headers(headers), `${body} `)).toBe(false);
    expect(await verify([(await newKeyPair(random(32))).publicKey], new Headers(headers), body)).toBe(false);
    expect(accepts(() => new StandardWebhook(shared).verify(body, headers))).toBe(true);
    const key = await crypto.subtle.importKey("jwk", asJwk(publicKey), "Ed25519", false, ["verify"]);
    const content = utf8(`evt_1.${timestamp}.${body}`);
    expect(await crypto.subtle.verify("Ed25519", key, fromBase64(v1a!.slice(4)), content)).toBe(true);
  });

  it("is a 64-byte private key, seed first, and its 32-byte public half", async () => {
    const { privateKey, publicKey } = await newKeyPair(random(32));

    expect([privateKey.slice(0, 5), publicKey.slice(0, 5)]).toEqual(["whsk_", "whpk_"]);
    const bytes = fromBase64(privateKey.slice(5));
    expect(bytes.length).toBe(64);
    expect(toBase64(bytes.slice(32))).toBe(publicKey.slice(5));
    const seedAlone = `whsk_${toBase64(bytes.slice(0, 32))}`;
    expect(await sign([seedAlone], "evt_1", 1, "{}")).toBe(await sign([privateKey], "evt_1", 1, "{}"));
  });

  it("does not let a public key sign or a shared secret pass for one", async () => {
    const { publicKey } = await newKeyPair(random(32));
    const asSecret = publicKey.replace("whpk_", "whsec_");
    const forged = await webhookHeaders([asSecret], "evt_1", now(), "{}");

    await expect(sign([publicKey], "evt_1", 1, "{}")).rejects.toThrow();
    expect(await verify([publicKey], new Headers(forged), "{}")).toBe(false);
  });
});
