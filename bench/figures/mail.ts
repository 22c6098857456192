import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { atMost, type Bench } from "../figure.ts";
import { median, quantile } from "../load.ts";
import { buildFloor, ENTRY } from "../stack.ts";

const CORPUS = new URL("../../test/mail/corpus/", import.meta.url);
const TIMES = 20;
const MIB = 1024 * 1024;

/** What is read out of a mail, in workerd: each mail of the corpus by itself, and one as large as is taken in. */
export const mail: Bench = {
  names: ["reply_text_ms", "bounce_ms", "inbound_25mib_ms", "inbound_25mib_memory_mb"],
  async measure() {
    const small = await inWorkerd(async (url) => {
      const mails = readdirSync(CORPUS)
        .filter((name) => name.endsWith(".eml"))
        .map((name) => readFileSync(new URL(name, CORPUS)));
      const note = `p99 of ${mails.length} mails`;
      const reply = quantile(await perMail(url, "reply", mails), 0.99);
      const bounce = quantile(await perMail(url, "bounce", mails), 0.99);
      return { reply_text_ms: atMost(reply, 5, "ms", note), bounce_ms: atMost(bounce, 5, "ms", note) };
    });
    return { ...small, ...(await inWorkerd(large)) };
  },
};

/** A workerd of its own, so that nothing else counts. */
async function inWorkerd<T>(measure: (url: URL) => Promise<T>): Promise<T> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      telemetry: { enabled: false },
      workers: [
        {
          name: "mail",
          modules: [{ type: "ESModule", path: "index.js", contents: await buildFloor("mail-worker") }],
          ...ENTRY,
          unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
        },
      ],
    } as never),
  );
  try {
    return await measure(await miniflare.unsafeGetDirectURL("mail"));
  } finally {
    await miniflare.dispose();
  }
}

async function timed(url: URL, path: string, body: Buffer): Promise<number> {
  const started = performance.now();
  const response = await fetch(new URL(path, url), { method: "POST", body: new Uint8Array(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  await response.arrayBuffer();
  return performance.now() - started;
}

/** The same request without the work is taken off; the best of three is the least disturbed. Sorted. */
async function perMail(url: URL, what: string, mails: Buffer[]): Promise<number[]> {
  for (const body of mails) await timed(url, `/${what}?times=${TIMES}`, body);
  const times: number[] = [];
  for (const body of mails) {
    const rounds: number[] = [];
    for (let round = 0; round < 3; round++) {
      const bare = await timed(url, `/${what}?times=0`, body);
      rounds.push((await timed(url, `/${what}?times=${TIMES}`, body)) - bare);
    }
    times.push(Math.max(0, Math.min(...rounds)) / TIMES);
  }
  return times.sort((a, b) => a - b);
}

async function large(url: URL) {
  const body = largeMail();
  const before = resident();
  const times = [await timed(url, "/read", body)];
  // Later rounds count what is not collected yet as well.
  const grown = before === null ? Number.NaN : (peak()! - before) / 1e6;
  for (let round = 0; round < 4; round++) times.push(await timed(url, "/read", body));
  const note = `one attachment in base64, ${(body.length / MIB).toFixed(0)} MiB; with the way to the Worker`;
  return {
    inbound_25mib_ms: atMost(median(times), 2000, "ms", note),
    inbound_25mib_memory_mb: atMost(grown, 100, "MB", "growth of the process at its peak, the mail itself included"),
  };
}

function largeMail(): Buffer {
  const encoded = randomBytes(18 * MIB)
    .toString("base64")
    .replace(/.{76}/g, "$&\r\n");
  const head = [
    "From: ann@example.com",
    "Subject: large",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "Content-Type: text/plain; charset=utf-8",
    "",
    "See the attachment.",
    "--b",
    'Content-Type: application/octet-stream; name="large.bin"',
    "Content-Transfer-Encoding: base64",
    "",
    "",
  ];
  return Buffer.from(`${head.join("\r\n")}${encoded}\r\n--b--\r\n`);
}

// Linux tells of another process; elsewhere there is no figure.
function workerd(): string | null {
  try {
    return execFileSync("pgrep", ["-P", String(process.pid), "-n", "workerd"], { encoding: "utf8" }).trim() || null;
  } catch {
    return null;
  }
}

const bytesOf = (pid: string, name: string): number =>
  1024 * Number(new RegExp(`${name}:\\s*(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);

/** What the Worker's process holds now; from here on its peak is counted. */
function resident(): number | null {
  const pid = workerd();
  if (pid === null) return null;
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  return bytesOf(pid, "VmRSS");
}

function peak(): number | null {
  const pid = workerd();
  return pid === null ? null : bytesOf(pid, "VmHWM");
}
