import type { UnreadTotals } from "../channels/reads";
import type { Actor } from "../lib/context";
import { text, z } from "../lib/validate";
import { NewMessage } from "../messages/input";

/** Answered by the runtime itself, so that it wakes no object. */
export const PING = '{"type":"ping"}';
export const PONG = '{"type":"pong"}';

export const PING_SECONDS = 10;
export const MOST_FRAME_BYTES = 65_536;
export const PAGE_EVENTS = 1_000;
export const PAGE_BYTES = 1_048_576;

const seq = z.int().min(0);
const id = z.union([text(100, 1), z.int()]).describe("Of the client's choice: its answer has the same");
const stream = z.object({ kind: z.enum(["channel", "user"]), id: z.uuid() });
const typist = z.object({ userId: z.uuid(), parentId: z.uuid().nullable() });
const present = z.object({ userId: z.uuid(), presence: z.enum(["online", "away"]) });

export const Presence = z.enum(["online", "away", "invisible"]);
export type Presence = z.infer<typeof Presence>;

export const Cursors = z.record(z.uuid().toLowerCase(), seq);

/** What a client may say. */
export const COMMANDS = {
  send: z
    .strictObject({ id, op: z.literal("send"), message: NewMessage })
    .describe("A message into the watched channel. The ack holds it, and comes after it is stored.")
    .openapi("CommandSend"),
  resume: z
    .strictObject({ id, op: z.literal("resume"), cursors: Cursors })
    .describe(
      "What came after these numbers: of many streams on a user's socket, of its own channel on a channel's. The ack holds `streams`, as `POST /v1/sync` answers; while one has `more`, ask again from its `seq`.",
    )
    .openapi("CommandResume"),
  typing: z
    .strictObject({ id, op: z.literal("typing"), typing: z.boolean(), parentId: z.uuid().nullable().default(null) })
    .describe("In the channel, or in the thread of `parentId`. Lasts five seconds; repeat it every four.")
    .openapi("CommandTyping"),
  presence: z
    .strictObject({ id, op: z.literal("presence"), presence: Presence })
    .describe(
      "Of this socket, and on a user's own one of its device in all channels. Others see the brightest of a user's sockets; after five idle minutes one is away.",
    )
    .openapi("CommandPresence"),
};
export const Command = z
  .discriminatedUnion("op", [COMMANDS.send, COMMANDS.resume, COMMANDS.typing, COMMANDS.presence])
  .openapi("Command");
export type Command = z.infer<typeof Command>;

/** What the server says, beside events, which look as they do in webhooks. */
export const FRAMES = {
  hello: z
    .object({
      type: z.literal("hello"),
      socketId: z.uuid(),
      userId: z.uuid(),
      stream,
      seq: seq.describe("Events with higher numbers follow by themselves"),
      serverTime: z.string().openapi({ format: "date-time" }),
      pingSeconds: z.int().describe("How often to send the ping"),
      watchers: z.array(present).optional().describe("Up to 100 of those who watch the channel"),
      watcherCount: z.int().optional(),
      typing: z.array(typist).optional(),
      unread: z
        .object({ channels: z.int(), messages: z.int(), mentions: z.int(), threads: z.int() })
        .optional()
        .describe("On a user's own socket"),
    })
    .describe("The first frame of each socket.")
    .openapi("FrameHello"),
  skip: z
    .object({ type: z.literal("skip"), stream, from: seq, to: seq })
    .describe("Events with these numbers exist and are not for this reader: nothing was lost.")
    .openapi("FrameSkip"),
  gap: z
    .object({ type: z.literal("gap"), stream, from: seq, to: seq })
    .describe(
      "Events with these numbers were removed after the time that the plan keeps them. Messages stay: list them by their numbers.",
    )
    .openapi("FrameGap"),
  ack: z
    .object({ type: z.literal("ack"), id, result: z.unknown() })
    .describe("A command was carried out.")
    .openapi("FrameAck"),
  nack: z
    .object({
      type: z.literal("nack"),
      id: id.nullable(),
      code: z.string().describe("From the table of error codes, or unknown_command"),
      detail: z.string().optional(),
      retryAfter: z.number().optional().describe("Seconds after which the same may succeed"),
    })
    .describe("A command was not carried out; `id` is null where none could be read.")
    .openapi("FrameNack"),
  typing: z
    .object({ type: z.literal("typing"), channelId: z.uuid(), typing: z.array(typist) })
    .describe("All who type now. Put it in place of what was known before.")
    .openapi("FrameTyping"),
  presence: z
    .object({
      type: z.literal("presence"),
      channelId: z.uuid(),
      userId: z.uuid(),
      presence: z.enum(["online", "away", "offline"]),
    })
    .describe("A watcher came, went away or went.")
    .openapi("FramePresence"),
  hint: z
    .object({ type: z.literal("hint"), channelId: z.uuid(), lastSeq: seq })
    .describe(
      "On a user's own socket: a channel that it does not watch has new messages, up to this number. At most once a second for each channel.",
    )
    .openapi("FrameHint"),
  bye: z
    .object({ type: z.literal("bye"), code: z.string() })
    .describe("The last frame before the server closes the socket (close code 4000), and why.")
    .openapi("FrameBye"),
  pong: z
    .object({ type: z.literal("pong") })
    .describe("Answers the ping.")
    .openapi("FramePong"),
};
export const ServerFrame = z
  .discriminatedUnion("type", [
    FRAMES.hello,
    FRAMES.skip,
    FRAMES.gap,
    FRAMES.ack,
    FRAMES.nack,
    FRAMES.typing,
    FRAMES.presence,
    FRAMES.hint,
    FRAMES.bye,
    FRAMES.pong,
  ])
  .openapi("Frame");
export type ServerFrame = z.infer<typeof ServerFrame>;

/** What the Worker tells an object of a socket that it lets in. */
export type Admitted = {
  id: string;
  userId: string;
  deviceId: string | null;
  until: number;
  firstSeq: number;
  lastSeq: number;
  shadowedUntil: number | null;
  actor: Actor;
  ip: string | null;
  after: number | null;
  presence?: Presence | undefined;
  mayType?: boolean;
  unread?: UnreadTotals | undefined;
};
export const ADMITTED = "Parley-Admitted";
