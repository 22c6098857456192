import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Came, Question } from "./receiver-process.ts";

export type Receiver = { url: string; reset(): Promise<void>; wait(count: number): Promise<Came[]>; stop(): void };

export async function startReceiver(): Promise<Receiver> {
  const child = fork(fileURLToPath(new URL("receiver-process.ts", import.meta.url)), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const [url] = (await once(child, "message")) as [string];
  const ask = async (question: Question) => {
    const answered = once(child, "message");
    child.send(question);
    const [came] = (await answered) as [Came[]];
    return came;
  };
  return {
    url,
    reset: async () => void (await ask({ ask: "reset" })),
    /** Until so many have come since the last reset. */
    wait: (count) => ask({ ask: "wait", count }),
    stop: () => child.disconnect(),
  };
}
