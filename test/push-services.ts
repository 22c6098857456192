import { importSPKI, jwtVerify } from "jose";
import { vi } from "vitest";
import type { Any } from "./helpers";

/** Stand-ins for Firebase, Apple and a browser's push service: they check what the real ones check. */
export type Told = { service: "fcm" | "apns" | "webpush"; token: string; headers: Headers; payload: Any };
type Refusal = { status: number; body?: unknown; headers?: Record<string, string> };

const PEM = (label: string, bytes: ArrayBuffer) =>
  `-----BEGIN ${label} KEY-----\n${btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll(/(.{64})/g, "$1\n")}\n-----END ${label} KEY-----\n`;

export async function newKeys(kind: "RS256" | "ES256") {
  const algorithm =
    kind === "ES256"
      ? { name: "ECDSA", namedCurve: "P-256" }
      : { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
  const { privateKey, publicKey } = (await crypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  const [own, theirs] = await Promise.all([
    crypto.subtle.exportKey("pkcs8", privateKey) as Promise<ArrayBuffer>,
    crypto.subtle.exportKey("spki", publicKey) as Promise<ArrayBuffer>,
  ]);
  return { privateKey: PEM("PRIVATE", own), publicKey: await importSPKI(PEM("PUBLIC", theirs), kind) };
}

const base64Url = (bytes: Uint8Array) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
export const bytesOf = (text: string) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

export async function newVapid() {
  const pair = (await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ])) as CryptoKeyPair;
  const jwk = (await crypto.subtle.exportKey("jwk", pair.privateKey)) as JsonWebKey;
  const raw = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  return { privateKey: jwk.d!, publicKey: base64Url(raw), verifyWith: pair.publicKey };
}

/** A browser's subscription, and what it reads out of a message for it: RFC 8291 from the other end. */
export async function newBrowser(endpoint: string, given?: { pair: CryptoKeyPair; auth: Uint8Array<ArrayBuffer> }) {
  const P256 = { name: "ECDH", namedCurve: "P-256" };
  const pair = given?.pair ?? ((await crypto.subtle.generateKey(P256, true, ["deriveBits"])) as CryptoKeyPair);
  const auth = given?.auth ?? crypto.getRandomValues(new Uint8Array(16));
  const own = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  const hkdf = async (ikm: BufferSource, salt: BufferSource, info: BufferSource, bytes: number) => {
    const key = await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits"]);
    return crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, bytes * 8);
  };
  const utf8 = (text: string) => new TextEncoder().encode(text);
  async function read(body: Uint8Array<ArrayBuffer>): Promise<string> {
    const salt = body.slice(0, 16);
    const sender = body.slice(21, 21 + body[20]!);
    const theirs = await crypto.subtle.importKey("raw", sender, P256, false, []);
    const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs } as never, pair.privateKey, 256);
    const info = new Uint8Array([...utf8("WebPush: info\0"), ...own, ...sender]);
    const ikm = await hkdf(shared, auth, info, 32);
    const key = await crypto.subtle.importKey(
      "raw",
      await hkdf(ikm, salt, utf8("Content-Encoding: aes128gcm\0"), 16),
      "AES-GCM",
      false,
      ["decrypt"],
    );
    const iv = await hkdf(ikm, salt, utf8("Content-Encoding: nonce\0"), 12);
    const plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, body.slice(21 + body[20]!)));
    const end = plain.findLastIndex((byte) => byte !== 0);
    if (plain[end] !== 2) throw new Error("The last record ends otherwise.");
    return new TextDecoder().decode(plain.slice(0, end));
  }
  const subscription = { endpoint, keys: { p256dh: base64Url(own), auth: base64Url(auth) } };
  return { token: JSON.stringify(subscription), read };
}

type Known = {
  fcm?: { publicKey: CryptoKey; projectId: string };
  apns?: { publicKey: CryptoKey; teamId: string; topic: string };
  webpush?: { verifyWith: CryptoKey; publicKey: string; read(body: Uint8Array<ArrayBuffer>): Promise<string> };
};

export function pushServices(known: Known) {
  const told: Told[] = [];
  const refusals = new Map<string, Refusal[]>();
  let grants = 0;
  const real = globalThis.fetch;
  const refused = (token: string) => {
    const [next] = refusals.get(token) ?? [];
    if (!next) return null;
    if (refusals.get(token)!.length > 1) refusals.get(token)!.shift();
    return new Response(JSON.stringify(next.body ?? {}), { status: next.status, headers: next.headers ?? {} });
  };

  const google = async (request: Request): Promise<Response> => {
    if (new URL(request.url).hostname === "oauth2.googleapis.com") {
      const form = new URLSearchParams(await request.text());
      const { payload } = await jwtVerify(form.get("assertion")!, known.fcm!.publicKey, {
        audience: "https://oauth2.googleapis.com/token",
        algorithms: ["RS256"],
      });
      if (payload.scope !== "https://www.googleapis.com/auth/firebase.messaging")
        return new Response("{}", { status: 400 });
      return Response.json({ access_token: `access-${++grants}`, expires_in: 3600 });
    }
    if (!/^Bearer access-\d+$/.test(request.headers.get("Authorization") ?? ""))
      return new Response("{}", { status: 401 });
    const text = await request.text();
    const { message } = JSON.parse(text) as Any;
    if (new TextEncoder().encode(text).length > 4_096) return new Response("{}", { status: 400 });
    const refusal = refused(message.token);
    if (refusal) return refusal;
    told.push({ service: "fcm", token: message.token, headers: request.headers, payload: message });
    return Response.json({ name: `projects/${known.fcm!.projectId}/messages/${told.length}` });
  };

  const apple = async (request: Request): Promise<Response> => {
    const [scheme, jwt] = request.headers.get("Authorization")!.split(" ");
    const { protectedHeader, payload } = await jwtVerify(jwt!, known.apns!.publicKey, { algorithms: ["ES256"] });
    const inOrder =
      scheme === "bearer" &&
      protectedHeader.kid?.length === 10 &&
      payload.iss === known.apns!.teamId &&
      payload.exp === undefined;
    if (!inOrder || request.headers.get("apns-topic") !== known.apns!.topic)
      return Response.json({ reason: "InvalidProviderToken" }, { status: 403 });
    const token = new URL(request.url).pathname.split("/").at(-1)!;
    if (/^0+$/.test(token)) return Response.json({ reason: "BadDeviceToken" }, { status: 400 });
    const text = await request.text();
    if (new TextEncoder().encode(text).length > 4_096)
      return Response.json({ reason: "PayloadTooLarge" }, { status: 413 });
    const refusal = refused(token);
    if (refusal) return refusal;
    told.push({ service: "apns", token, headers: request.headers, payload: JSON.parse(text) });
    return new Response(null, { status: 200, headers: { "apns-id": request.headers.get("apns-id")! } });
  };

  const browserService = async (request: Request): Promise<Response> => {
    const [, jwt, key] = /^vapid t=([^,]+), k=(.+)$/.exec(request.headers.get("Authorization") ?? "") ?? [];
    const { payload } = await jwtVerify(jwt!, known.webpush!.verifyWith, {
      audience: new URL(request.url).origin,
      algorithms: ["ES256"],
    });
    if (key !== known.webpush!.publicKey || (payload.exp ?? 0) * 1000 > Date.now() + 86_400_000)
      return new Response("", { status: 403 });
    const body = new Uint8Array(await request.arrayBuffer());
    if (body.length > 4_096) return new Response("", { status: 413 });
    const refusal = refused(request.url);
    if (refusal) return refusal;
    told.push({
      service: "webpush",
      token: request.url,
      headers: request.headers,
      payload: JSON.parse(await known.webpush!.read(body)),
    });
    return new Response("", { status: 201, headers: { Location: `${request.url}/message` } });
  };

  vi.stubGlobal("fetch", (input: RequestInfo | URL, init?: RequestInit) => {
    const { hostname, pathname } = new URL(input instanceof Request ? input.url : String(input));
    if (hostname.endsWith(".googleapis.com")) return google(new Request(input as RequestInfo, init));
    if (hostname.endsWith("push.apple.com")) return apple(new Request(input as RequestInfo, init));
    if (pathname.startsWith("/web-push/")) return browserService(new Request(input as RequestInfo, init));
    return real(input as RequestInfo, init);
  });

  return {
    told,
    refuse: (token: string, ...answers: Refusal[]) => refusals.set(token, answers),
    grants: () => grants,
    toldOf: (token: string, count = 1) =>
      vi.waitUntil(
        () => {
          const own = told.filter((one) => one.token === token);
          return own.length >= count ? own : null;
        },
        { timeout: 10_000, interval: 20 },
      ),
  };
}
