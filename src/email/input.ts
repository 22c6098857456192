import { ADDRESS, LOCAL_MOST } from "../lib/mailboxes";
import { Instant, idOf, Metadata, text, z } from "../lib/validate";
import { StreamName, TRANSACTIONAL } from "../suppressions/streams";

const AS_ADDRESS = "An address such as ann@example.com.";
const EmailAddress = text(320, 3)
  .regex(ADDRESS, AS_ADDRESS)
  .refine((address) => address.indexOf("@") <= LOCAL_MOST, AS_ADDRESS);

const Recipient = z.strictObject({ address: EmailAddress, name: text(255).nullable().optional() });
const Recipients = z.array(z.union([EmailAddress, Recipient])).max(50);
export type Recipient = string | { address: string; name?: string | null | undefined };

/** They say what the mail is and where it goes, which the other fields do. */
const RESERVED =
  /^(date|from|to|cc|bcc|subject|message-id|in-reply-to|references|reply-to|return-path|sender|mime-version|content-.*|dkim-.*|received|auto-submitted|list-unsubscribe.*|feedback-id|resent-.*|arc-.*|authentication-results|delivered-to|x-original-to)$/i;

const CustomHeaders = z
  .record(
    z
      .string()
      .regex(/^[!-9;-~]{1,76}$/, "A header's name is printable ASCII without a colon.")
      .refine((name) => !RESERVED.test(name), "This header is not yours to set."),
    text(2_048).refine((value) => !/[\r\n\0]/.test(value), "A header's value holds no line break."),
  )
  .refine((headers) => Object.keys(headers).length <= 50, "At most 50 headers.");

const Attached = z
  .strictObject({
    fileId: idOf("file").optional(),
    content: z
      .string()
      .max(35_000_000)
      .regex(/^[A-Za-z0-9+/=\s]*$/, "Base64.")
      .optional()
      .openapi({ description: "Base64; it becomes a file" }),
    name: text(255, 1).optional(),
    contentType: text(127, 3)
      .regex(/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/, "A media type such as application/pdf.")
      .optional(),
    contentId: z
      .string()
      .regex(/^[\w.@+-]{1,128}$/, "Letters, digits and . @ + - _")
      .optional()
      .openapi({ description: "By which the html shows it: cid:…" }),
  })
  .refine(({ fileId, content }) => (fileId === undefined) !== (content === undefined), {
    message: "Either a fileId or content.",
  });

const TagText = text(100, 1);
const Tag = z.union([TagText, z.strictObject({ name: TagText, value: TagText })]);

const said = {
  cc: Recipients.default([]),
  bcc: Recipients.default([]),
  text: text(1_000_000).optional().openapi({ description: "Made from the html where it is left out" }),
  html: text(2_000_000).optional(),
  attachments: z.array(Attached).max(50).default([]),
  headers: CustomHeaders.default({}),
  replyTo: z
    .array(z.union([EmailAddress, Recipient]))
    .max(10)
    .optional()
    .openapi({ description: "Where answers go; a signed address of the inbox where it is left out" }),
  tags: z.array(Tag).max(10).default([]).openapi({ description: "What statistics group by" }),
  metadata: Metadata.default({}),
  stream: StreamName.default(TRANSACTIONAL).openapi({
    description: "transactional, marketing, or one of your own: suppressions hold for a stream",
  }),
  sendAt: Instant.optional().openapi({ description: "Sends it then, if its sender still may" }),
};
const subject = text(998);

export const NewEmail = z
  .strictObject({ to: Recipients.default([]), subject: subject.default(""), ...said })
  .openapi("NewEmail");
export type NewEmail = z.infer<typeof NewEmail>;

export const MODES = ["reply", "replyAll", "forward"] as const;

/** What goes on in a conversation. */
export const EmailAnswer = z
  .strictObject({
    mode: z.enum(MODES),
    quotedId: idOf("message")
      .optional()
      .openapi({ description: "What is answered or forwarded; the last mail that came where it is left out" }),
    to: Recipients.optional().openapi({ description: "Of a reply: instead of whom it would go to" }),
    subject: subject.optional(),
    ...said,
  })
  .openapi("EmailAnswer");
export type EmailAnswer = z.infer<typeof EmailAnswer>;

/** What may still be changed while it waits for its time. */
export const EmailChange = z.strictObject({
  to: Recipients.optional(),
  cc: Recipients.optional(),
  bcc: Recipients.optional(),
  subject: subject.optional(),
  text: text(1_000_000).optional(),
  html: text(2_000_000).nullable().optional(),
});
export type EmailChange = z.infer<typeof EmailChange>;
