import { utf8 } from "../lib/crypto";
import { askDoor } from "../lib/db";
import { ApiError } from "../lib/errors";
import { logFault } from "../lib/log";
import { z } from "../lib/validate";
import { callProvider } from "../providers/call";
import { BadCallback, BadSignature, ProviderError } from "../providers/provider";
import { base64In, confirmSubscription, readJson, readSns, type SnsMessage } from "../providers/sns";
import { findInbox, refuseTooLarge, takeIn } from "./arrival";
import { fetchReceived } from "./ses-bucket";

const Received = z.object({
  notificationType: z.literal("Received"),
  mail: z.object({ source: z.string() }),
  receipt: z.object({
    recipients: z.array(z.string()).min(1).max(100),
    action: z.object({
      type: z.string(),
      encoding: z.string().optional(),
      bucketName: z.string().optional(),
      objectKey: z.string().optional(),
    }),
  }),
  content: z.string().optional(),
});
type Received = z.output<typeof Received>;

const PATIENCE_MS = 10_000;
type WaitUntil = (work: Promise<unknown>) => void;

/** Mail that SES received, by SNS: believed by its signature, and taken for domains alone that name the topic. */
export async function receiveFromSes(env: Env, body: string, waitUntil: WaitUntil): Promise<void> {
  const message = await callProvider(env, PATIENCE_MS, (io) => readSns(body, io)).catch(refuse);
  if (message.Type === "SubscriptionConfirmation") return confirm(env, message);
  if (message.Type !== "Notification") return;
  const received = read(message.Message);
  const mailOf = mailIn(env, message, received, waitUntil);
  for (const to of new Set(received.receipt.recipients)) {
    const inbox = await findInbox(env, to);
    // SES has answered the sender long ago: what nobody here takes is left to it.
    if (inbox?.topic !== message.TopicArn) continue;
    const { bytes, size } = await mailOf(inbox);
    refuseTooLarge(size);
    await takeIn(env, { source: "ses", envelope: { from: received.mail.source, to }, inbox }, bytes, size, waitUntil);
  }
}

type Found = { tenantId: string; address: string };

/** The mail is in the notification, or else in a bucket that it names. */
function mailIn(env: Env, { TopicArn }: SnsMessage, { content, receipt }: Received, waitUntil: WaitUntil) {
  const { encoding, bucketName: bucket, objectKey: key } = receipt.action;
  if (content !== undefined) {
    const raw = encoding?.toUpperCase() === "BASE64" ? unreadable(() => base64In(content)) : utf8(content);
    return async () => ({ bytes: new Response(raw).body, size: raw.length });
  }
  if (bucket === undefined || key === undefined)
    throw invalid("Message", "It brings no mail: let SES put it into the notification, or into a bucket of S3.");
  const place = { region: TopicArn.split(":")[3]!, bucket, key };
  return ({ tenantId, address }: Found) =>
    fetchReceived(env, tenantId, address.slice(address.lastIndexOf("@") + 1), place, waitUntil);
}

/** Only what a domain of ours waits for is subscribed to. */
async function confirm(env: Env, message: SnsMessage): Promise<void> {
  const row = await askDoor<{ known: boolean }>(env, "select door.is_inbound_topic($1) as known", [message.TopicArn]);
  if (!row?.known) throw new ApiError("not_found", "No domain names this topic.");
  await callProvider(env, PATIENCE_MS, (io) => confirmSubscription(message, io)).catch((error) => {
    if (error instanceof BadCallback) throw new ApiError("not_found", error.message);
    logFault("ses", error);
  });
}

const read = (text: string): Received => unreadable(() => readJson(Received, text));

function unreadable<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    return refuse(error);
  }
}

function refuse(error: unknown): never {
  if (error instanceof BadSignature) throw new ApiError("not_allowed", "The signature of SNS does not hold.");
  if (error instanceof BadCallback) throw invalid("body", error.message);
  if (error instanceof ProviderError) throw new ApiError("unavailable", error.message);
  throw error;
}

const invalid = (path: string, message: string) =>
  new ApiError("invalid_request", message, { errors: [{ path, message }] });
