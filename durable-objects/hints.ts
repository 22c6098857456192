import { userObject } from "../src/lib/objects";
import type { Sockets } from "./sockets";

const HINT_MS = 1_000;

type Around = {
  ctx: DurableObjectState;
  env: Env;
  tenantId: string;
  channelId: string;
  sockets: Sockets;
  /** The members with a socket of their own, where a commit did not tell. */
  readListeners(): Promise<string[]>;
};

/** To members who look elsewhere: that there are new messages, at once and then at most once a second. */
export function newHints({ ctx, env, tenantId, channelId, sockets, readListeners }: Around) {
  let toldAt = 0;
  let isDue = false;
  let last: { seq: number; listeners: string[] | null } = { seq: 0, listeners: [] };

  const isTime = () => Date.now() >= toldAt + HINT_MS;

  /** `listeners` is null where nobody has asked for them. */
  function tell(seq: number, listeners: string[] | null): void {
    const now = Date.now();
    if (isTime()) {
      last = { seq, listeners };
      send();
      return;
    }
    last = { seq: Math.max(seq, last.seq), listeners: last.listeners };
    if (isDue || last.listeners?.length === 0) return;
    isDue = true;
    setTimeout(
      () => {
        isDue = false;
        send();
      },
      toldAt + HINT_MS - now,
    );
  }

  function send(): void {
    toldAt = Date.now();
    ctx.waitUntil(spread(last));
  }

  async function spread({ seq, listeners }: typeof last): Promise<void> {
    const among = listeners ?? (await readListeners().catch(() => []));
    const watching = new Set([...sockets.watchers.values()].map(({ userId }) => userId));
    const told = among.filter((userId) => !watching.has(userId));
    await Promise.allSettled(told.map((userId) => userObject(env, tenantId, userId).hint(channelId, seq)));
  }

  return { isTime, tell };
}
