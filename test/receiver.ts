import { inject, vi } from "vitest";
import "./setup/provided";

type Reply = { status?: number; headers?: Record<string, string>; body?: string; delayMs?: number; hangUp?: boolean };
export type Received = {
  headers: Record<string, string>;
  body: string;
  at: number;
  json: { id: string; type: string; seq: number; data: Record<string, unknown> };
};

/** An endpoint of a tenant: how it answers, and what came. */
export function newReceiver() {
  const name = crypto.randomUUID();
  const base = inject("receiverUrl");
  const received = async (): Promise<Received[]> => {
    const all = (await (await fetch(`${base}/received/${name}`)).json()) as Received[];
    return all.map((one) => ({ ...one, json: JSON.parse(one.body) }));
  };
  return {
    url: `${base}/box/${name}`,
    answers: (...replies: Reply[]) =>
      fetch(`${base}/replies/${name}`, { method: "PUT", body: JSON.stringify(replies) }),
    received,
    /** Waits until so many have come. */
    async got(count: number): Promise<Received[]> {
      return vi.waitFor(
        async () => {
          const all = await received();
          if (all.length < count) throw new Error(`${all.length} of ${count} came`);
          return all;
        },
        { timeout: 8000, interval: 30 },
      );
    },
  };
}
