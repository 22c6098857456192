import { z } from "../lib/validate.ts";

export type StreamKind = "channel" | "user" | "tenant";
export type EventKind = {
  category: string;
  description: string;
  version: number;
  /** Ephemeral ones carry no seq and leave no row: they reach sockets and the webhooks that ask for them at most once. */
  durable: boolean;
  stream: StreamKind;
  /** Where else it is told: a ban from all channels in the tenant's stream, for example. */
  alsoIn: StreamKind | null;
  /** members: who may see the channel; explicit: webhooks that name the type, nobody else. */
  audience: "members" | "user" | "tenant" | "explicit";
  active: boolean;
  data: z.ZodType;
};

const kind = <D extends z.ZodType>(
  stream: StreamKind,
  category: string,
  description: string,
  data: D,
  more: Partial<Pick<EventKind, "version" | "audience" | "active" | "alsoIn">> = {},
) => {
  const audience: EventKind["audience"] = stream === "channel" ? "members" : stream;
  const usual = { version: 1, durable: true as const, audience, active: true, alsoIn: null };
  return { stream, category, description, data, ...usual, ...more };
};

const ephemeral = <D extends z.ZodType>(category: string, description: string, data: D) => ({
  ...kind("channel", category, description, data),
  durable: false as const,
});

const id = z.uuid();
const user = z.object({ id, displayName: z.string().nullable(), avatarUrl: z.string().nullable() });
const message = z.object({
  id,
  channelId: id,
  seq: z.int().nullable(),
  userId: id.nullable(),
  contactId: id.nullable(),
  direction: z.enum(["inbound", "outbound", "internal"]).nullable(),
  clientId: z.string().nullable(),
  kind: z.enum(["text", "system"]),
  state: z.enum(["visible", "pending", "rejected", "scheduled"]),
  text: z.string(),
  parentId: id.nullable(),
  quotedId: id.nullable(),
  quoted: z
    .object({
      id,
      userId: id.nullable(),
      kind: z.enum(["text", "system"]),
      text: z.string(),
      attachments: z.array(z.record(z.string(), z.unknown())),
      deletedAt: z.string().nullable(),
      createdAt: z.string(),
    })
    .nullable(),
  showInChannel: z.boolean(),
  silent: z.boolean(),
  metadata: z.record(z.string(), z.unknown()),
  mentions: z.array(id),
  mentioning: z.enum(["channel", "here"]).nullable(),
  attachments: z.array(z.record(z.string(), z.unknown())),
  reactions: z.array(z.object({ emoji: z.string(), count: z.int(), latestUserIds: z.array(id) })),
  replyCount: z.int(),
  participants: z.array(id),
  createdAt: z.string(),
  editedAt: z.string().nullable(),
  deletedAt: z.string().nullable(),
  pinnedAt: z.string().nullable(),
});
const channel = z.object({
  id,
  medium: z.string(),
  type: z.string(),
  name: z.string().nullable(),
  description: z.string().nullable(),
  avatarUrl: z.string().nullable(),
  teamId: id.nullable(),
  inboxId: id.nullable(),
  mergedInto: id.nullable(),
  frozen: z.boolean(),
  slowMode: z.int(),
  cooldown: z.int(),
  language: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  settings: z.record(z.string(), z.unknown()),
  createdBy: id.nullable(),
  truncatedAt: z.string().nullable(),
  trashedAt: z.string().nullable(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
const inChannel = z.object({ channelId: id });
const received = inChannel.extend({
  messageId: id,
  inboxId: id,
  from: z.object({ address: z.string(), name: z.string().nullable() }),
  subject: z.string(),
  flags: z.object({ autoReply: z.boolean(), bounce: z.boolean(), list: z.boolean(), spam: z.boolean() }),
  verdicts: z.object({
    spf: z.string(),
    dkim: z.string(),
    dmarc: z.string(),
    aligned: z.boolean(),
    unauthenticated: z.boolean(),
  }),
});
const suppression = z.object({
  suppressionId: id,
  address: z.string(),
  stream: z.string(),
  reason: z.string(),
  deliveryId: id.nullable(),
  messageId: id.nullable(),
  expiresAt: z.string().nullable(),
});
const webhook = z.object({ webhookId: id, name: z.string(), url: z.string(), reason: z.string() });

const flagged = z.object({
  queueId: id,
  messageId: id.nullable(),
  userId: id.nullable(),
  channelId: id.nullable(),
  flaggedBy: id.nullable(),
  reason: z.string(),
  details: z.string().nullable(),
});

/** Every event there is. What is not here cannot be recorded: it does not compile. */
export const CATALOGUE = {
  "message.new": kind("channel", "message", "A message was sent.", z.object({ message })),
  "message.updated": kind("channel", "message", "A message was edited.", z.object({ message })),
  "message.deleted": kind(
    "channel",
    "message",
    "A message was deleted.",
    inChannel.extend({ messageId: id, hard: z.boolean() }),
  ),
  "message.pending": kind(
    "channel",
    "message",
    "A message waits for approval, or waited in vain.",
    z.object({ message }),
    { audience: "explicit" },
  ),
  "message.shadowed": kind(
    "channel",
    "message",
    "A user under a shadow ban wrote, changed or deleted a message.",
    z.object({ message }),
    { audience: "explicit" },
  ),
  "message.refused": kind(
    "user",
    "message",
    "A scheduled message was refused at its time; of a key's own it is told in the tenant's stream.",
    inChannel.extend({ messageId: id, code: z.string() }),
    { alsoIn: "tenant" },
  ),
  "draft.updated": kind(
    "user",
    "draft",
    "A user's draft was changed; for their other devices.",
    inChannel.extend({
      parentId: id.nullable(),
      quotedId: id.nullable(),
      text: z.string(),
      mentions: z.array(id),
      attachments: z.array(z.record(z.string(), z.unknown())),
      updatedAt: z.string(),
      deviceId: z.string().nullable(),
    }),
    { audience: "explicit" },
  ),
  "draft.deleted": kind(
    "user",
    "draft",
    "A user's draft was thrown away; for their other devices.",
    inChannel.extend({ parentId: id.nullable(), deviceId: z.string().nullable() }),
    { audience: "explicit" },
  ),
  "channel.created": kind("channel", "channel", "A channel was created.", z.object({ channel })),
  "channel.updated": kind(
    "channel",
    "channel",
    "A channel's settings changed: the new values of what did.",
    z.object({ channelId: id, changed: z.record(z.string(), z.unknown()) }),
  ),
  "channel.deleted": kind("channel", "channel", "A channel was deleted.", inChannel),
  "user.presence.changed": ephemeral(
    "user",
    "A user came online in a channel, went away or went offline.",
    inChannel.extend({ userId: id, presence: z.enum(["online", "away", "offline"]) }),
  ),
  "user.banned": kind(
    "channel",
    "user",
    "A user was banned: from a channel, or, told in the tenant's stream, from all.",
    z.object({
      userId: id,
      channelId: id.nullable(),
      shadow: z.boolean(),
      expiresAt: z.string().nullable(),
      reason: z.string().nullable(),
    }),
    { alsoIn: "tenant" },
  ),
  "user.unbanned": kind(
    "channel",
    "user",
    "A ban was lifted before its time.",
    z.object({ userId: id, channelId: id.nullable() }),
    { alsoIn: "tenant" },
  ),
  "message.flagged": kind(
    "channel",
    "moderation",
    "A message was flagged. Servers alone are told.",
    flagged.extend({ messageId: id, channelId: id }),
    { audience: "tenant" },
  ),
  "user.flagged": kind(
    "tenant",
    "moderation",
    "A user was flagged: told in the channel's stream where one was named. Servers alone are told.",
    flagged,
    { audience: "tenant", alsoIn: "channel" },
  ),
  "moderation.reviewed": kind(
    "channel",
    "moderation",
    "An entry of the review queue had its verdict; told in the tenant's stream where it is of no channel. Servers alone are told.",
    z.object({
      queueId: id,
      kind: z.enum(["message", "user"]),
      messageId: id.nullable(),
      userId: id.nullable(),
      channelId: id.nullable(),
      status: z.enum(["approved", "rejected"]),
      reviewedBy: id.nullable(),
    }),
    { audience: "tenant", alsoIn: "tenant" },
  ),
  "user.updated": kind("user", "user", "A user's profile changed.", z.object({ user })),
  "member.added": kind(
    "channel",
    "member",
    "A user became a member of a channel.",
    inChannel.extend({ userId: id, role: z.string() }),
  ),
  "member.removed": kind(
    "channel",
    "member",
    "A user is no longer a member of a channel.",
    inChannel.extend({ userId: id }),
  ),
  "member.updated": kind(
    "channel",
    "member",
    "A member's role changed.",
    inChannel.extend({ userId: id, role: z.string() }),
  ),
  "channel.truncated": kind(
    "channel",
    "channel",
    "Messages up to a number were hidden or deleted.",
    inChannel.extend({ upToSeq: z.int(), hard: z.boolean() }),
  ),
  "message.read": kind(
    "channel",
    "message",
    "A member has read up to a number, of the channel or of a thread.",
    inChannel.extend({ parentId: id.optional(), userId: id, seq: z.int(), readAt: z.string() }),
  ),
  "invitation.created": kind(
    "user",
    "invitation",
    "A user was invited to a channel.",
    inChannel.extend({ invitationId: id, userId: id, invitedBy: id.nullable() }),
  ),
  "invitation.accepted": kind(
    "channel",
    "invitation",
    "A user accepted an invitation.",
    inChannel.extend({ userId: id }),
  ),
  "invitation.rejected": kind(
    "channel",
    "invitation",
    "A user rejected an invitation.",
    inChannel.extend({ userId: id }),
  ),
  "reaction.new": kind(
    "channel",
    "reaction",
    "A reaction was added.",
    inChannel.extend({ messageId: id, userId: id, emoji: z.string() }),
  ),
  "reaction.deleted": kind(
    "channel",
    "reaction",
    "A reaction was taken back.",
    inChannel.extend({ messageId: id, userId: id, emoji: z.string() }),
  ),
  "typing.start": ephemeral(
    "typing",
    "A user began to type.",
    inChannel.extend({ userId: id, parentId: id.nullable() }),
  ),
  "typing.stop": ephemeral(
    "typing",
    "A user stopped typing.",
    inChannel.extend({ userId: id, parentId: id.nullable() }),
  ),
  "delivery.updated": kind(
    "channel",
    "delivery",
    "A delivery's status changed.",
    inChannel.extend({
      deliveryId: id,
      messageId: id,
      medium: z.string(),
      recipient: z.string(),
      status: z.string(),
      receipt: z.string(),
      details: z.record(z.string(), z.unknown()),
    }),
  ),
  "email.received": kind("channel", "email", "A mail was received whose sender is vouched for.", received),
  "email.unauthenticated": kind(
    "channel",
    "email",
    "A mail was received for whose sender nobody vouches: it may be forged.",
    received,
  ),
  "email.sent": kind(
    "channel",
    "email",
    "A mail was accepted; each recipient has a delivery, which tells how it goes on.",
    inChannel.extend({
      messageId: id,
      inboxId: id,
      from: z.object({ address: z.string(), name: z.string().nullable() }),
      subject: z.string(),
      recipients: z.array(z.object({ deliveryId: id, address: z.string(), kind: z.enum(["to", "cc", "bcc"]) })),
      suppressed: z.array(z.string()),
      stream: z.string(),
      tags: z.array(z.string()),
    }),
  ),
  "email.failed": kind(
    "tenant",
    "email",
    "A mail was received that cannot be read; it is kept as it came.",
    z.object({ rawId: id, inboxId: id, reason: z.string() }),
  ),
  "address.suppressed": kind(
    "tenant",
    "address",
    "Nothing is sent to an address any more, in one stream or, where it is *, in any.",
    suppression,
  ),
  "address.unsuppressed": kind(
    "tenant",
    "address",
    "A suppression was taken away before its time: by hand, by its address itself, or as a mail arrived after all.",
    suppression.extend({ because: z.enum(["removed", "undone", "takenBack", "delivered"]) }),
  ),
  "channel.merged": kind(
    "channel",
    "channel",
    "A mail showed that two conversations are one: that of mergedId goes on in channelId.",
    inChannel.extend({ mergedId: id, messageIds: z.array(id) }),
  ),
  "message.moved": kind(
    "channel",
    "message",
    "A message came from a conversation that was merged into this one.",
    z.object({ fromChannelId: id, message }),
  ),
  "domain.verified": kind(
    "tenant",
    "domain",
    "A domain was proven to be the tenant's: it receives mail.",
    z.object({ domainId: id, name: z.string() }),
  ),
  "domain.lost": kind(
    "tenant",
    "domain",
    "Records are no longer in a domain's DNS; without its proof it receives no mail.",
    z.object({
      domainId: id,
      name: z.string(),
      records: z.array(z.enum(["proof", "mx", "spf", "dkim", "dmarc", "return_path"])),
    }),
  ),
  "webhook.warning": kind("tenant", "webhook", "An endpoint fails event after event.", webhook),
  "webhook.disabled": kind("tenant", "webhook", "An endpoint gets no more events until it is enabled again.", webhook),
  "webhook.recovered": kind("tenant", "webhook", "An endpoint that failed works again.", webhook),
  "webhook.exhausted": kind(
    "tenant",
    "webhook",
    "An event was given up after its last attempt.",
    webhook.extend({ deliveryId: id, eventId: id, eventType: z.string(), attempts: z.int() }),
  ),
  "webhook.test": kind(
    "tenant",
    "webhook",
    "Sent to try an endpoint out.",
    z.object({ webhookId: id, message: z.string() }),
  ),
  "usage.limit_reached": kind(
    "tenant",
    "usage",
    "A plan's limit was reached.",
    z.object({ metric: z.string(), limit: z.number(), use: z.number(), reset: z.string().nullable() }),
  ),
} as const satisfies Record<string, EventKind>;

export type EventType = keyof typeof CATALOGUE;
export const EVENT_TYPES = Object.keys(CATALOGUE) as [EventType, ...EventType[]];
export type DurableType = { [T in EventType]: (typeof CATALOGUE)[T]["durable"] extends false ? never : T }[EventType];
export type EphemeralType = Exclude<EventType, DurableType>;
export type EventData<T extends EventType> = z.input<(typeof CATALOGUE)[T]["data"]>;

export const categoryOf = (type: string): string => CATALOGUE[type as EventType]?.category ?? "custom";
