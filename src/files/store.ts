import { toHex } from "../lib/crypto";
import { ApiError } from "../lib/errors";
import { logFault } from "../lib/log";

export type Body = ReadableStream<Uint8Array> | null;

const CHUNK = 262_144;

/** Lets `size` bytes through to the bucket and takes their SHA-256. Holds one chunk, and goes as fast as the bucket does. */
export async function store<T>(body: Body, size: number, put: (bytes: ReadableStream) => Promise<T>) {
  const through = new FixedLengthStream(size);
  const digest = new crypto.DigestStream("SHA-256");
  const sinks = [through.writable.getWriter(), digest.getWriter()];
  const stop = async (fault: unknown): Promise<never> => {
    await Promise.allSettled([...sinks.map((sink) => sink.abort(fault)), digest.digest]);
    throw fault;
  };

  const [stored, sent] = await Promise.allSettled([
    put(through.readable).catch(stop),
    pump(body, size, sinks).catch(stop),
  ]);

  if (sent.status === "rejected" && sent.reason instanceof ApiError) throw sent.reason;
  if (stored.status === "rejected") throw bucketFault(stored.reason);
  if (sent.status === "rejected") throw bucketFault(sent.reason);
  return { stored: stored.value, sha256: toHex(new Uint8Array(await digest.digest)) };
}

export function bucketFault(fault: unknown): ApiError {
  logFault("", fault);
  return new ApiError("unavailable", "The bucket did not take the file.");
}

async function pump(body: Body, size: number, sinks: WritableStreamDefaultWriter[]): Promise<void> {
  const reader = body?.getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(Math.min(CHUNK, size + 1));
  for (let left = size; ; ) {
    // One byte more than is due, so that the last read tells whether that was all.
    const chunk = await reader?.readAtLeast(Math.min(left + 1, buffer.byteLength), new Uint8Array(buffer)).then(
      ({ value }) => value,
      () => Promise.reject(notAsAnnounced("broke off", size - left, size)),
    );
    if (!chunk?.byteLength) {
      if (left > 0) throw notAsAnnounced("ended", size - left, size);
      break;
    }
    if (chunk.byteLength > left) {
      await reader?.cancel();
      throw notAsAnnounced("went on", size, size);
    }
    await Promise.all(sinks.map((sink) => sink.write(chunk)));
    left -= chunk.byteLength;
    buffer = chunk.buffer as ArrayBuffer;
  }
  await Promise.all(sinks.map((sink) => sink.close()));
}

function notAsAnnounced(what: string, read: number, size: number): ApiError {
  const message = `It ${what} after ${read} bytes where ${size} were announced.`;
  return new ApiError("invalid_request", message, { errors: [{ path: "body", message }] });
}
