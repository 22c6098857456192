import { guardedConnect, guardedFetch } from "../lib/guard";
import { type Io, ProviderError } from "./provider";

const ANSWER_BYTES = 65_536;

/** What a provider may use of the world outside, for so long; then the call has failed, whatever it still does. */
export async function callProvider<T>(
  env: Env,
  milliseconds: number,
  run: (io: Io) => Promise<T>,
  { callBackIn = () => {}, keepCredentials = () => {} }: Partial<Pick<Io, "callBackIn" | "keepCredentials">> = {},
): Promise<T> {
  const tooLong = Promise.withResolvers<never>();
  const controller = new AbortController();
  // Not AbortSignal.timeout: its timers run on after the call, and a Worker may have ten thousand at most.
  let timer: number | null = null;
  const allow = (more: number) => {
    if (controller.signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      tooLong.reject(new ProviderError("retry", "The provider did not answer in time."));
      controller.abort();
    }, more);
  };
  allow(milliseconds);
  try {
    const io: Io = {
      fetch: (input, init) => fetch(input, init),
      guardedFetch: (url, request) =>
        guardedFetch(env, url, request, { timeoutMs: milliseconds, maxBytes: ANSWER_BYTES }),
      guardedConnect: (host, port, secureTransport) =>
        guardedConnect(env, host, port, { secureTransport, signal: controller.signal }),
      signal: controller.signal,
      allow,
      env,
      callBackIn,
      keepCredentials,
    };
    return await Promise.race([run(io), tooLong.promise]);
  } finally {
    clearTimeout(timer);
  }
}
