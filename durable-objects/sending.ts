import { ApiError } from "../src/lib/errors";
import { type GroupAnswer, type Pace, recordGroup, type Timed } from "../src/messages/group";
import type { SendAnswer, SendAsk } from "../src/messages/send";

const MOST_IN_GROUP = 200;

type Waiting = { ask: SendAsk; answer(given: SendAnswer): void };
type Last = { any: number; own: [sender: string, at: number][] };

type Around = {
  ctx: DurableObjectState;
  env: Env;
  /** Whether members with a notification socket are to be told this time. */
  wantsListeners(): boolean;
  committed(group: GroupAnswer): void;
};

/** Group commit: sends that arrive while a commit is under way share the next one. */
export function newSending({ ctx, env, wantsListeners, committed }: Around) {
  const { kv } = ctx.storage;
  const waiting: Waiting[] = [];
  let isCommitting = false;
  let pace = kv.get<Pace>("pace");
  const known = kv.get<Last>("last");
  const own = new Map<string, number>(known?.own);
  let any = known?.any ?? 0;

  function send(ask: SendAsk): Promise<SendAnswer> {
    return new Promise((answer) => {
      waiting.push({ ask, answer });
      if (!isCommitting) ctx.waitUntil(commitAll());
    });
  }

  async function commitAll(): Promise<void> {
    isCommitting = true;
    void ctx.storage.put("committing", true, { allowUnconfirmed: true });
    try {
      while (waiting.length > 0) await commit(takeGroup());
    } finally {
      isCommitting = false;
      void ctx.storage.delete("committing", { allowUnconfirmed: true });
    }
  }

  /** Where the object went down between a commit and its publication, there is something to publish still. */
  async function finish(publish: () => Promise<void>): Promise<void> {
    if (isCommitting || !kv.get("committing")) return;
    await publish().then(
      () => kv.delete("committing"),
      () => undefined,
    );
  }

  /** The database judges pace by what it is told of earlier sends: so nobody it concerns stands in a group twice. */
  function takeGroup(): Waiting[] {
    if (!pace || pace.cooldown > 0) return waiting.splice(0, 1);
    if (pace.slowMode === 0) return waiting.splice(0, MOST_IN_GROUP);
    const senders = new Set<string>();
    const fits = ({ ask: { sender } }: Waiting) => sender === null || (!senders.has(sender) && senders.add(sender));
    const group: Waiting[] = [];
    const rest: Waiting[] = [];
    for (const one of waiting) (group.length < MOST_IN_GROUP && fits(one) ? group : rest).push(one);
    waiting.splice(0, waiting.length, ...rest);
    return group;
  }

  async function commit(group: Waiting[]): Promise<void> {
    try {
      const now = Date.now();
      const timed = group.map(({ ask }): Timed => {
        const last = ask.sender === null ? undefined : own.get(ask.sender);
        return {
          ...ask,
          sinceOwn: last === undefined ? null : (now - last) / 1000,
          sinceAny: any === 0 ? null : (now - any) / 1000,
        };
      });
      const recorded = await recordGroup(env, timed, wantsListeners(), (work) => ctx.waitUntil(work));
      noteTimes(group, recorded);
      committed(recorded);
      group.forEach(({ answer }, n) => {
        answer(recorded.answers[n]!);
      });
    } catch (error) {
      const code = error instanceof ApiError ? error.code : "internal";
      if (group.length > 1 && code !== "unavailable") {
        for (const one of group) await commit([one]);
        return;
      }
      if (code === "internal")
        console.error(JSON.stringify({ level: "error", message: "a send failed", error: String(error) }));
      for (const { answer } of group) answer({ ok: false, code });
    }
  }

  function noteTimes(group: Waiting[], { answers, pace: found }: GroupAnswer): void {
    const now = Date.now();
    if (found.slowMode !== pace?.slowMode || found.cooldown !== pace.cooldown) kv.put("pace", found);
    pace = found;
    group.forEach(({ ask: { sender } }, n) => {
      const answer = answers[n]!;
      if (!answer.ok || !answer.isNew) return;
      if (answer.isOpen) any = now;
      if (sender !== null) {
        own.delete(sender);
        own.set(sender, now);
      }
    });
    const memory = Math.max(pace.slowMode * 1000, 60_000);
    for (const [sender, at] of own) {
      if (at > now - memory) break;
      own.delete(sender);
    }
    if (pace.slowMode > 0 || pace.cooldown > 0) kv.put("last", { any, own: [...own] } satisfies Last);
  }

  /** The channel's settings changed. */
  function forgetPace(): void {
    pace = undefined;
    kv.delete("pace");
  }

  return { send, finish, forgetPace };
}
