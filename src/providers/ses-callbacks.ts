import { z } from "../lib/validate";
import { judge } from "../mail/bounce-verdict";
import type { Reason } from "../mail/facts";
import { BadSignature, type Heard, type Io, type Receipt } from "./provider";
import { confirmSubscription, readJson, readSns } from "./sns";

/** The tag by which SES tells of a delivery under our own id. */
export const DELIVERY_TAG = "ParleyDelivery";

const Recipient = z.object({
  emailAddress: z.string(),
  status: z.string().optional(),
  diagnosticCode: z.string().optional(),
});
type Recipient = z.output<typeof Recipient>;
const seen = { timestamp: z.string(), ipAddress: z.string().optional(), userAgent: z.string().optional() };

/** Both formats: of events, which name the type `eventType`, and of feedback, which names it `notificationType`. */
const Notice = z.object({
  eventType: z.string().optional(),
  notificationType: z.string().optional(),
  mail: z.object({
    messageId: z.string(),
    timestamp: z.string().optional(),
    tags: z.record(z.string(), z.array(z.string())).optional(),
  }),
  bounce: z
    .object({
      bounceType: z.string(),
      bounceSubType: z.string(),
      bouncedRecipients: z.array(Recipient),
      timestamp: z.string(),
    })
    .optional(),
  complaint: z
    .object({
      complainedRecipients: z.array(Recipient),
      complaintFeedbackType: z.string().nullish(),
      timestamp: z.string(),
    })
    .optional(),
  delivery: z
    .object({ recipients: z.array(z.string()), smtpResponse: z.string().optional(), timestamp: z.string() })
    .optional(),
  deliveryDelay: z
    .object({ delayType: z.string(), delayedRecipients: z.array(Recipient), timestamp: z.string() })
    .optional(),
  reject: z.object({ reason: z.string() }).optional(),
  failure: z.object({ errorMessage: z.string() }).optional(),
  open: z.object(seen).optional(),
  click: z.object({ ...seen, link: z.string() }).optional(),
  subscription: z
    .object({ newTopicPreferences: z.object({ unsubscribeAll: z.boolean().optional() }).optional() })
    .optional(),
});
type Notice = z.output<typeof Notice>;

/** By SNS alone, and of the one topic that the account names: anybody can have SNS sign for a topic of theirs. */
export async function readSesCallback(
  request: Request,
  { eventTopicArn }: { eventTopicArn?: string | undefined },
  io: Io,
): Promise<Heard> {
  const message = await readSns(await request.text(), io);
  if (eventTopicArn === undefined || message.TopicArn !== eventTopicArn) throw new BadSignature();
  if (message.Type === "SubscriptionConfirmation") await confirmSubscription(message, io);
  if (message.Type !== "Notification" || !message.Message.startsWith("{")) return { receipts: [], replies: [] };
  return { receipts: receiptsOf(readJson(Notice, message.Message)), replies: [] };
}

type Said = Pick<Receipt, "status" | "details"> & { at: string; whom?: string };

function receiptsOf(notice: Notice): Receipt[] {
  const { messageId, tags } = notice.mail;
  const type = notice.eventType ?? notice.notificationType ?? "";
  const deliveryId = z.uuid().safeParse(tags?.[DELIVERY_TAG]?.[0]).data;
  return saidBy(notice, type).map(({ at, whom = "", ...said }) => ({
    ...said,
    eventId: [type, messageId, whom, at].join(" "),
    providerMessageId: messageId,
    ...(deliveryId && { deliveryId }),
  }));
}

function saidBy(notice: Notice, type: string): Said[] {
  const { bounce, complaint, delivery, deliveryDelay, reject, failure, open, click, subscription, mail } = notice;
  const sentAt = mail.timestamp ?? "";
  if (type === "Bounce" && bounce)
    return bounce.bouncedRecipients.map((one) => ({
      status: "bounced",
      details: bounceOf(bounce.bounceType, bounce.bounceSubType, one),
      ...{ at: bounce.timestamp, whom: one.emailAddress },
    }));
  if (type === "Complaint" && complaint && !/^(not-spam|auth-failure)$/.test(complaint.complaintFeedbackType ?? ""))
    return complaint.complainedRecipients.map(({ emailAddress }) => ({
      status: "complained",
      details: { type: complaint.complaintFeedbackType ?? "abuse" },
      ...{ at: complaint.timestamp, whom: emailAddress },
    }));
  if (type === "Delivery" && delivery)
    return [{ status: "delivered", details: { diagnostic: delivery.smtpResponse ?? null }, at: delivery.timestamp }];
  if (type === "DeliveryDelay" && deliveryDelay)
    return deliveryDelay.delayedRecipients.map((one) => ({
      status: "deferred",
      details: { ...judged(one, "delayed"), delayType: deliveryDelay.delayType },
      ...{ at: deliveryDelay.timestamp, whom: one.emailAddress },
    }));
  // Neither ever left SES.
  if (type === "Reject" && reject)
    return [{ status: "bounced", details: { ...soft("virus"), diagnostic: reject.reason }, at: sentAt }];
  if (/^Rendering ?Failure$/.test(type) && failure)
    return [{ status: "bounced", details: { ...soft("content"), diagnostic: failure.errorMessage }, at: sentAt }];
  if (type === "Open" && open) {
    const { timestamp, ...details } = open;
    return [{ status: "opened", details, at: timestamp }];
  }
  if (type === "Click" && click) {
    const { timestamp, ...details } = click;
    return [{ status: "clicked", details, at: timestamp, whom: click.link }];
  }
  if (type === "Subscription" && subscription?.newTopicPreferences?.unsubscribeAll)
    return [{ status: "unsubscribed", at: sentAt }];
  return [];
}

const soft = (reason: Reason) => ({ hard: false, status: null, reason });

function judged({ emailAddress, status, diagnosticCode }: Recipient, action: "failed" | "delayed") {
  const diagnostic = diagnosticCode?.replace(/^\s*smtp\s*;\s*/i, "") ?? null;
  const verdict = judge({ recipient: emailAddress, action, status: status ?? null, diagnostic, remote: true });
  return { hard: verdict.hard, status: verdict.status, reason: verdict.reason, diagnostic };
}

/** Where SES is more precise than the server's own words. */
const OF_SUB_TYPES: Record<string, { reason: Reason; hard: boolean }> = {
  NoEmail: { reason: "userUnknown", hard: true },
  // It has bounced elsewhere, for good, not long ago.
  Suppressed: { reason: "userUnknown", hard: true },
  OnAccountSuppressionList: { reason: "policy", hard: false },
  UnsubscribedRecipient: { reason: "policy", hard: false },
  MailboxFull: { reason: "mailboxFull", hard: false },
  MessageTooLarge: { reason: "tooLarge", hard: false },
  ContentRejected: { reason: "content", hard: false },
  AttachmentRejected: { reason: "content", hard: false },
};

function bounceOf(type: string, subType: string, recipient: Recipient): Record<string, unknown> {
  const said = judged(recipient, "failed");
  const known = OF_SUB_TYPES[subType];
  const reason = known && (said.reason === "unknown" || known.hard) ? known.reason : said.reason;
  const hard = known ? known.hard : said.hard && type === "Permanent";
  return { ...said, reason, hard, bounceType: type, bounceSubType: subType };
}
