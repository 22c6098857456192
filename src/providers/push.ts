import { importJWK, importPKCS8, type JWK, SignJWT } from "jose";
import { z } from "../lib/validate";
import { type Outgoing, ProviderError } from "./provider";

/** What a notification is made of, whoever carries it. `collapse` joins what a device is told of twice. */
export const PushContent = z.object({
  token: z.string(),
  title: z.string(),
  body: z.string(),
  collapse: z.string(),
  data: z.record(z.string(), z.string()),
});
export type PushContent = z.infer<typeof PushContent>;

export const contentOf = ({ content }: Outgoing): PushContent => PushContent.parse(content);

/** After a day nobody wants to be told any more. */
export const TTL_SECONDS = 86_400;

const size = (value: unknown) => new TextEncoder().encode(JSON.stringify(value)).length;
const segmenter = new Intl.Segmenter();

/** Shortens the body, between graphemes, until the whole fits: every vendor refuses what is too large. */
export function fitting<T>(content: PushContent, most: number, payloadOf: (content: PushContent) => T): T {
  const whole = payloadOf(content);
  if (size(whole) <= most) return whole;
  const graphemes = Array.from(segmenter.segment(content.body), ({ segment }) => segment);
  const cut = (length: number) => payloadOf({ ...content, body: `${graphemes.slice(0, length).join("")}…` });
  let [fits, exceeds] = [0, graphemes.length];
  while (fits + 1 < exceeds) {
    const middle = (fits + exceeds) >> 1;
    if (size(cut(middle)) <= most) fits = middle;
    else exceeds = middle;
  }
  const shortened = cut(fits);
  if (size(shortened) > most) throw new ProviderError("giveUp", "The notification is too large even without its body.");
  return shortened;
}

type Claims = {
  issuer?: string;
  subject?: string;
  audience?: string;
  lifetime?: number;
  more?: Record<string, unknown>;
};

/** A key that cannot be read is the account's fault, and stays so until somebody changes it. */
export async function signJwt(
  privateKey: string | JWK,
  header: { alg: "RS256" | "ES256"; kid?: string },
  { issuer, subject, audience, lifetime, more = {} }: Claims,
): Promise<string> {
  const reading =
    typeof privateKey === "string" ? importPKCS8(privateKey, header.alg) : importJWK(privateKey, header.alg);
  const key = await reading.catch(() => {
    throw new ProviderError("retry", "The account's private key cannot be read.", { accountFault: true });
  });
  const jwt = new SignJWT(more).setProtectedHeader({ typ: "JWT", ...header }).setIssuedAt();
  if (issuer) jwt.setIssuer(issuer);
  if (subject) jwt.setSubject(subject);
  if (audience) jwt.setAudience(audience);
  if (lifetime) jwt.setExpirationTime(`${lifetime}s`);
  return jwt.sign(key);
}

type Kept = { value: Promise<string>; until: number };
const MOST = 1_000;

/** What is good for a while, by account and what it was made from; who asks while it is being made waits for it. */
export function newKeep() {
  const kept = new Map<string, Kept>();
  return {
    get(key: string, make: () => Promise<{ value: string; seconds: number }>): Promise<string> {
      const known = kept.get(key);
      if (known && known.until > Date.now()) return known.value;
      const made = make();
      const place: Kept = { value: made.then(({ value }) => value), until: Number.POSITIVE_INFINITY };
      if (kept.size >= MOST) kept.clear();
      kept.set(key, place);
      made.then(
        ({ seconds }) => {
          place.until = Date.now() + seconds * 1000;
        },
        () => kept.get(key) === place && kept.delete(key),
      );
      return place.value;
    },
    forget: (key: string) => kept.delete(key),
  };
}

/** The token leads to nobody any more: it is taken out of its device. */
export const deadToken = (why: string) => new ProviderError("suppress", `The device's token is dead: ${why}.`);

export const pem = z
  .string()
  .max(10_000)
  .regex(/-----BEGIN PRIVATE KEY-----[\s\S]+-----END PRIVATE KEY-----/, "A private key in PKCS #8, as PEM.");
