import { z } from "../lib/validate";
import { judge } from "../mail/bounce-verdict";
import type { Heard, Receipt, Said } from "./provider";
import { readJson } from "./sns";
import { readSvix } from "./svix";

/** By a tag Resend gives back which delivery it tells of, where there is one alone. */
export const DELIVERY_TAG = "parley_delivery";

const Told = z.object({
  type: z.string(),
  data: z.looseObject({
    email_id: z.string().optional(),
    message_id: z.string().optional(),
    to: z.array(z.string()).optional(),
    tags: z
      .union([z.record(z.string(), z.string()), z.array(z.object({ name: z.string(), value: z.string() }))])
      .optional(),
    bounce: z
      .object({
        message: z.string().optional(),
        type: z.string().optional(),
        subType: z.string().optional(),
        diagnosticCode: z.array(z.string()).optional(),
      })
      .optional(),
    click: z
      .object({ link: z.string(), ipAddress: z.string().optional(), userAgent: z.string().optional() })
      .optional(),
    open: z.object({ ipAddress: z.string().optional(), userAgent: z.string().optional() }).optional(),
    failed: z.object({ reason: z.string().optional() }).optional(),
    suppressed: z.object({ message: z.string().optional(), type: z.string().optional() }).optional(),
  }),
});
type Data = z.output<typeof Told>["data"];

const SAYS: Record<string, Said> = {
  "email.sent": "sent",
  "email.delivered": "delivered",
  "email.delivery_delayed": "deferred",
  "email.bounced": "bounced",
  // Once it has taken a mail, what it does not send after all has come back.
  "email.failed": "bounced",
  "email.suppressed": "bounced",
  "email.complained": "complained",
  "email.opened": "opened",
  "email.clicked": "clicked",
};

/** Of contacts and domains it may tell too, which is nothing to us. */
export async function readResendCallback(request: Request, secret: string | undefined): Promise<Heard> {
  const { id, body } = await readSvix(request, secret);
  const { type, data } = readJson(Told, body);
  const status = SAYS[type];
  if (status === undefined || data.email_id === undefined) return { receipts: [], replies: [] };
  const deliveryId = z.uuid().safeParse(tagOf(data)).data;
  // Named are those whom it concerns, of all that the mail went to.
  const recipients: (string | undefined)[] = deliveryId ? [undefined] : (data.to ?? [undefined]).map(addressIn);
  const receipts = recipients.map(
    (recipient): Receipt => ({
      eventId: recipient === undefined ? id : `${id} ${recipient}`,
      providerMessageId: data.email_id!,
      status,
      details: detailsOf(type, data, recipient ?? null),
      ...(deliveryId && { deliveryId }),
      ...(recipient !== undefined && { recipient }),
      ...(data.message_id && { rfcId: data.message_id.replaceAll(/[<>\s]/g, "") }),
    }),
  );
  return { receipts, replies: [] };
}

const tagOf = ({ tags }: Data): string | undefined =>
  Array.isArray(tags) ? tags.find(({ name }) => name === DELIVERY_TAG)?.value : tags?.[DELIVERY_TAG];

const addressIn = (text: string | undefined): string | undefined => text && (/<([^<>]+)>\s*$/.exec(text)?.[1] ?? text);

function detailsOf(type: string, data: Data, recipient: string | null): Record<string, unknown> {
  if (type === "email.clicked") return { ...data.click };
  if (type === "email.opened") return { ...data.open };
  if (type === "email.complained") return { type: "abuse" };
  if (type === "email.failed")
    return { hard: false, status: null, reason: "system", diagnostic: data.failed?.reason ?? null };
  if (type === "email.suppressed")
    return { hard: false, status: null, reason: "policy", diagnostic: data.suppressed?.message ?? null };
  return type === "email.bounced" && data.bounce ? bounceOf(data.bounce, recipient) : {};
}

/** The receiving server's words, where it gives them; Resend's own are of its kind of bounce alone. */
function bounceOf({ message, type, subType, diagnosticCode }: NonNullable<Data["bounce"]>, recipient: string | null) {
  const diagnostic = diagnosticCode?.join(" ").replace(/^\s*smtp\s*;\s*/i, "") || (message ?? null);
  const said = judge({ recipient, action: "failed", status: null, diagnostic, remote: diagnosticCode !== undefined });
  const isSuppressed = /suppress/i.test(subType ?? "");
  const hard = said.hard && type !== "Transient" && !isSuppressed;
  const reason = isSuppressed ? "policy" : said.reason;
  return { hard, status: said.status, reason, diagnostic, bounceType: type ?? null, bounceSubType: subType ?? null };
}
