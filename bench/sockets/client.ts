import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ADAPTERS } from "./adapters.ts";
import type { Fanout, Question } from "./client-process.ts";

export type { Fanout };
export type At = { url: string; headers: Record<string, string> };

/** Sockets of one server in a process of their own. A peer is measured with an adapter of its own and the same runs. */
export async function openSockets(adapter: keyof typeof ADAPTERS, at: At[]) {
  const child = fork(fileURLToPath(new URL("client-process.ts", import.meta.url)), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ask = async <T>(question: Question): Promise<T> => {
    const answered = once(child, "message");
    child.send(question);
    const [answer] = (await answered) as [T & { error?: string }];
    if (answer.error) throw new Error(`${adapter}: ${answer.error}`);
    return answer;
  };
  await ask({ ask: "open", adapter, at });
  return {
    run: (perSecond: number, seconds: number, bytes: number) => ask<Fanout>({ ask: "run", perSecond, seconds, bytes }),
    async close() {
      await ask({ ask: "close" });
      child.disconnect();
    },
  };
}
