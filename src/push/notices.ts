import type { NOTICE_KINDS } from "./schema";

export type NoticeKind = (typeof NOTICE_KINDS)[number];
export type Template = { title: string; body: string };

/** As `push_subject` tells it. */
export type Subject = {
  channelId: string;
  channel: string | null;
  sender: string | null;
  text: string;
  messageId: string;
  seq: number;
  parentId: string | null;
  attachments: string[];
  templates: Partial<Record<NoticeKind, Template>>;
};

export const PLACEHOLDERS = ["sender", "channel", "text"] as const;

const DEFAULTS: Record<NoticeKind, { named: Template; unnamed: Template }> = {
  message: {
    named: { title: "{{sender}} in {{channel}}", body: "{{text}}" },
    unnamed: { title: "{{sender}}", body: "{{text}}" },
  },
  mention: {
    named: { title: "{{sender}} mentioned you in {{channel}}", body: "{{text}}" },
    unnamed: { title: "{{sender}} mentioned you", body: "{{text}}" },
  },
  reply: {
    named: { title: "{{sender}} replied in {{channel}}", body: "{{text}}" },
    unnamed: { title: "{{sender}} replied", body: "{{text}}" },
  },
};

export const defaultOf = (kind: NoticeKind): Template => DEFAULTS[kind].named;

/** In one pass, so that what somebody wrote is never taken for a placeholder. */
const filled = (template: string, values: Record<string, string>): string =>
  template.replaceAll(/\{\{(\w+)\}\}/g, (whole, name: string) => values[name] ?? whole);

/** Beyond that no device shows anything; each of a channel's devices gets a copy. */
const TEXT_MOST = 1_000;
const TITLE_MOST = 250;
const BODY_MOST = 2_000;
const segmenter = new Intl.Segmenter();

function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  let cut = 0;
  for (const { index } of segmenter.segment(text.slice(0, most))) cut = index;
  return `${text.slice(0, cut)}…`;
}

const ATTACHED: Record<string, string> = {
  image: "Sent an image",
  video: "Sent a video",
  audio: "Sent an audio recording",
  file: "Sent a file",
  location: "Shared a location",
};

/** What devices are shown, by kind of notice. Lines are joined: a notification has few of them. */
export function noticesOf({ templates, channel, sender, text, attachments, ...ids }: Subject) {
  const words = shortened(
    text
      .slice(0, 4 * TEXT_MOST)
      .replaceAll(/\s+/g, " ")
      .trim(),
    TEXT_MOST,
  );
  const values = {
    sender: sender ?? "Somebody",
    channel: channel ?? "",
    text: words === "" ? (ATTACHED[attachments[0] ?? ""] ?? "Sent a message") : words,
  };
  const data = Object.fromEntries(
    Object.entries(ids).flatMap(([name, value]) => (value === null ? [] : [[name, String(value)]])),
  );
  const notice = (kind: NoticeKind) => {
    const { title, body } = templates[kind] ?? DEFAULTS[kind][channel ? "named" : "unnamed"];
    return {
      title: shortened(filled(title, values), TITLE_MOST),
      body: shortened(filled(body, values), BODY_MOST),
      collapse: ids.messageId,
      data: { ...data, type: "message.new", notice: kind },
    };
  };
  return { message: notice("message"), mention: notice("mention"), reply: notice("reply") };
}
