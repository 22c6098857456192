import { findInbox, MAIL_BYTES, takeIn } from "./arrival";

/** Cloudflare's Email Routing. Whatever fails on our side is thrown, so that the sender tries again. */
export async function receiveEmail(message: ForwardableEmailMessage, env: Env, ctx: ExecutionContext): Promise<void> {
  if (message.rawSize > MAIL_BYTES) return message.setReject("552 5.3.4 The message is too large");
  const inbox = await findInbox(env, message.to);
  if (!inbox) return message.setReject("550 5.1.1 There is no such mailbox here");
  const envelope = { from: message.from, to: message.to };
  const bytes = message.raw.pipeThrough(new IdentityTransformStream());
  await takeIn(env, { source: "smtp", envelope, inbox }, bytes, message.rawSize, (work) => ctx.waitUntil(work));
}
