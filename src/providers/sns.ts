import { importX509 } from "jose";
import { fromBase64, utf8 } from "../lib/crypto";
import { z } from "../lib/validate";
import { BadCallback, BadSignature, type Io, ProviderError } from "./provider";

const Signed = z.object({
  Type: z.enum(["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]),
  MessageId: z.string(),
  TopicArn: z.string(),
  Timestamp: z.string(),
  Message: z.string(),
  Subject: z.string().optional(),
  Token: z.string().optional(),
  SubscribeURL: z.string().optional(),
  SignatureVersion: z.enum(["1", "2"]),
  Signature: z.string(),
  SigningCertURL: z.string(),
});
export type SnsMessage = z.infer<typeof Signed>;

export const topicArn = z
  .string()
  .regex(/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$/, "The ARN of a topic of SNS.");

/** Where AWS keeps what it signs with, and where it confirms; another place in tests alone. */
export const isOfAws = ({ SNS_ORIGIN }: Pick<Io["env"], "SNS_ORIGIN">, url: string): boolean =>
  SNS_ORIGIN !== "" ? url.startsWith(SNS_ORIGIN) : /^https:\/\/sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?\//.test(url);

const FIELDS = {
  Notification: ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
  SubscriptionConfirmation: ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
} as const;

/** What SNS signs: names and values, line by line. */
export function signedText(message: Omit<SnsMessage, "Signature">): string {
  const fields = message.Type === "Notification" ? FIELDS.Notification : FIELDS.SubscriptionConfirmation;
  return fields.flatMap((name) => (message[name] === undefined ? [] : [`${name}\n${message[name]}\n`])).join("");
}

const keys = new Map<string, ArrayBuffer>();
const MOST_KEYS = 20;

/** The public key of the certificate that lies there; that it does tells that it is AWS's. */
async function keyAt(url: string, io: Pick<Io, "guardedFetch">): Promise<ArrayBuffer> {
  const known = keys.get(url);
  if (known) return known;
  const answer = await io.guardedFetch(url, { method: "GET" });
  if (answer.status !== 200) throw new ProviderError("retry", "The certificate of SNS cannot be had.");
  const key = await importX509(new TextDecoder().decode(answer.body), "RS256", { extractable: true });
  const spki = (await crypto.subtle.exportKey("spki", key)) as ArrayBuffer;
  if (keys.size >= MOST_KEYS) keys.clear();
  keys.set(url, spki);
  return spki;
}

const HASHES = { "1": "SHA-1", "2": "SHA-256" } as const;
const FRESH_MS = 3_600_000;

type World = Pick<Io, "guardedFetch" | "env">;

/** A message that SNS signed, whoever owns its topic: that is to be known beforehand. */
export async function readSns(body: string, io: World): Promise<SnsMessage> {
  const message = readJson(Signed, body);
  const age = Math.abs(Date.now() - Date.parse(message.Timestamp));
  if (!isOfAws(io.env, message.SigningCertURL) || !(age < FRESH_MS)) throw new BadSignature();
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: HASHES[message.SignatureVersion] };
  const key = await crypto.subtle.importKey("spki", await keyAt(message.SigningCertURL, io), algorithm, false, [
    "verify",
  ]);
  const signature = base64In(message.Signature);
  if (!(await crypto.subtle.verify(algorithm.name, key, signature, utf8(signedText(message)))))
    throw new BadSignature();
  return message;
}

/** Goes on with a subscription to a topic of ours. */
export async function confirmSubscription({ SubscribeURL = "" }: SnsMessage, io: World): Promise<void> {
  if (!isOfAws(io.env, SubscribeURL)) throw new BadCallback("It is to be confirmed elsewhere than at AWS.");
  const answer = await io.guardedFetch(SubscribeURL, { method: "GET" });
  if (answer.status !== 200) throw new ProviderError("retry", `SNS does not confirm: status ${answer.status}.`);
}

/** What a message of SNS or of SES says, where it is of this shape. */
export function readJson<T extends z.ZodType>(schema: T, text: string): z.output<T> {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new BadCallback("It is no message that is known here.");
  }
}

export function base64In(text: string): Uint8Array<ArrayBuffer> {
  try {
    return fromBase64(text);
  } catch {
    throw new BadCallback("It holds what is no base64.");
  }
}
