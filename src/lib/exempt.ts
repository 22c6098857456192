/**
 * Operations that may call the database more than once: why, and how often at most. The benchmark holds each to its
 * bound, and every other one to a single call.
 */
export const EXEMPT: Record<string, { calls: number; reason: string }> = {
  runAction: { calls: 2, reason: "What the endpoint answered is logged after it has answered." },
  uploadFile: {
    calls: 2,
    reason: "The bytes are streamed to the bucket between reserving room and recording the hash.",
  },
  deleteFile: { calls: 2, reason: "The object is removed between giving the row up and deleting it." },
  completeUpload: {
    calls: 2,
    reason: "The joined file is read once between finding the upload and recording the hash.",
  },
  checkIntegration: { calls: 2, reason: "The provider is asked between reading the account and keeping its answer." },
  receiveMime: {
    calls: 3,
    reason:
      "The credential is checked and the inbox found before the mail is streamed to the bucket, whose row comes last.",
  },
  sendEmail: { calls: 2, reason: "An isolate that does not know what mail from the inbox bears reads that first." },
  sendEmails: { calls: 2, reason: "What mail from the inbox bears is read before the mails are composed." },
  changeScheduledEmail: { calls: 2, reason: "What was said for the mail is read before the mail is made anew of it." },
  createDomain: { calls: 2, reason: "The account is read before its provider is asked for an identity." },
  deleteDomain: { calls: 2, reason: "The provider forgets the domain between finding its identities and deleting it." },
  verifyDomain: { calls: 2, reason: "DNS is asked between reading what is expected and keeping what was found." },
  saySandboxReceipt: {
    calls: 2,
    reason: "The delivery is read, and moved on if it still is as it was; twice more for each receipt that was faster.",
  },
  replayCallback: {
    calls: 4,
    reason: "What was kept is read and then heard as saySandboxReceipt, and what came of it noted.",
  },
  truncateChannel: {
    calls: 2,
    reason: "A system message that tells of it goes the way of all messages, through the channel's object.",
  },
};

/** Operations whose calls are not counted at all, and why. */
export const NOT_COUNTED: Record<string, string> = {
  watchChannel: "It answers with a socket. To open it is one call; what is said on it goes the operations' way.",
  connectUser: "As watchChannel.",
  receiveCallback:
    "A provider must sign it. Its account's secret is read before it is believed; then as saySandboxReceipt; then it is kept.",
  startExport: "It is one call; its job goes on behind it while others are counted.",
  receiveFromSes: "Amazon must sign it. Each recipient's inbox is found, and each mail has its own row.",
};
