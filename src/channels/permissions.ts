import type { MEMBER_ROLES } from "./schema";

export type MemberRole = (typeof MEMBER_ROLES)[number];
/** "none": who may see the channel and is no member, as in a public one. "own": the writer of the message in question. */
export type Standing = MemberRole | "none" | "own";

const MODERATORS = ["owner", "admin", "moderator"] as const;
const MEMBERS = [...MODERATORS, "member"] as const;

/** The one permission table: which standing in a channel brings which verb. A channel type may replace lines of it. */
export const PERMISSIONS = {
  "channel.update": ["owner", "admin"],
  "channel.delete": ["owner"],
  "channel.trash": MODERATORS,
  "channel.truncate": ["owner", "admin"],
  "channel.freeze": MODERATORS,
  "channel.join": ["none"],
  "member.add": MODERATORS,
  "member.remove": MODERATORS,
  "member.role": ["owner", "admin"],
  "member.invite": MEMBERS,
  "message.send": MEMBERS,
  "message.send_frozen": ["owner", "admin"],
  "message.skip_slow_mode": MODERATORS,
  "message.edit": ["own", ...MODERATORS],
  "message.delete": ["own", ...MODERATORS],
  "message.pin": MODERATORS,
  /** Servers alone, unless a channel type says otherwise. */
  "message.system": [],
  "message.mention": MEMBERS,
  "message.mention_all": MODERATORS,
  "message.mention_here": MODERATORS,
  "reaction.add": MEMBERS,
  "moderation.ban": MODERATORS,
  "moderation.review": MODERATORS,
} as const satisfies Record<string, readonly Standing[]>;

export type Verb = keyof typeof PERMISSIONS;

/** The standings that bring a verb in channels of a type. */
export function standingsWith(verb: Verb, replaced: Record<string, string[]> = {}): readonly string[] {
  return replaced[verb] ?? PERMISSIONS[verb];
}
