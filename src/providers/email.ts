import { z } from "../lib/validate";

/** What one recipient's delivery knows of its mail; the mail itself is in the bucket. */
export const EmailContent = z.object({
  from: z.object({ address: z.string(), name: z.string().nullable() }),
  subject: z.string(),
  /** Names this delivery, so that a bounce to it does; empty for automatic answers, to which nothing may come back. */
  envelopeFrom: z.string(),
  kind: z.enum(["to", "cc", "bcc"]),
  rawKey: z.string(),
  /** This recipient's alone; they go in front of the mail's own. */
  headers: z.record(z.string(), z.string()),
  /** transactional, marketing, or one of the tenant's own. */
  stream: z.string(),
  /** As it was written, where that is not the delivery's own: what is sent is sent to this one. */
  recipient: z.string().optional(),
});
export type EmailContent = z.infer<typeof EmailContent>;

export const emailOf = ({ content }: { content: Record<string, unknown> }): EmailContent => EmailContent.parse(content);
