import { Agent, type IncomingMessage, request } from "node:http";

export type Ask = { method?: string; path: string; headers?: Record<string, string>; body?: string };
export type Load = { perSecond: number; p50: number; p99: number };

/** So many requests at a time, for so long; what is not 2xx ends the run. */
export async function load(
  base: URL,
  ask: () => Ask,
  { concurrency, ms }: { concurrency: number; ms: number },
): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const times: number[] = [];
  const until = performance.now() + ms;
  const started = performance.now();
  const worker = async () => {
    while (performance.now() < until) {
      const before = performance.now();
      await once(agent, base, ask());
      times.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  return { perSecond: times.length / seconds, p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

export const quantile = (sorted: number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
export const median = (values: number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

export function once(agent: Agent, base: URL, { method = "GET", path, headers = {}, body }: Ask): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        agent,
        host: base.hostname,
        port: base.port,
        method,
        path,
        headers: { ...headers, ...(body !== undefined && { "Content-Length": Buffer.byteLength(body) }) },
      },
      (response: IncomingMessage) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () =>
          response.statusCode! < 300
            ? resolve(text)
            : reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`)),
        );
        response.on("error", reject);
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

/** One against the other in turn, after a warm-up and `settle`: the median ratio. */
export async function interleaved(
  mine: () => Promise<number>,
  theirs: () => Promise<number>,
  { settle, rounds = 3 }: { settle?: () => Promise<unknown>; rounds?: number } = {},
): Promise<{ ratio: number; mine: number; theirs: number }> {
  await mine();
  await theirs();
  await settle?.();
  const pairs: { mine: number; theirs: number }[] = [];
  for (let round = 0; round < rounds; round++) pairs.push({ mine: await mine(), theirs: await theirs() });
  const middle = median(pairs.map((pair) => pair.mine / pair.theirs));
  return {
    ratio: middle,
    mine: median(pairs.map((pair) => pair.mine)),
    theirs: median(pairs.map((pair) => pair.theirs)),
  };
}
