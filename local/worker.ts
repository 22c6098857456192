import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { plain } from "./fail.ts";
import { type Place, ROOT } from "./place.ts";

export type RunningWorker = { ready: Promise<void>; exited: Promise<void>; stop(): Promise<void>; kill(): boolean };

/** Fails in one line where something listens already, on either of the addresses that localhost may mean. */
export async function requireFreePort(port: number): Promise<void> {
  for (const host of ["127.0.0.1", "::1"]) {
    const server = createServer();
    const code = await new Promise<string | undefined>((resolve) => {
      server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      server.listen(port, host, () => server.close(() => resolve(undefined)));
    });
    if (code === "EADDRINUSE")
      throw plain(`Port ${port} is taken. Stop what listens there, or choose another with --port.`);
    if (code === "EACCES") throw plain(`Port ${port} may not be used by this account. Choose another with --port.`);
  }
}

/** The Worker with every binding, in workerd under `wrangler dev`, restarted by it when a source changes. */
export function startWorker(place: Place, port: number, vars: Record<string, string>): RunningWorker {
  const lines = Object.entries(vars).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`);
  writeFileSync(place.workerEnv, lines.join(""), { mode: 0o600 });
  const args = ["dev", "--local", "--ip", "127.0.0.1", "--port", String(port), "--inspector-port", "0"];
  args.push("--env-file", place.workerEnv, "--persist-to", place.workerState, "--show-interactive-dev-session=false");
  // In a process group of its own: Ctrl-C reaches only us, and we end the group as a whole.
  const child = spawn(process.execPath, [`${ROOT}/node_modules/wrangler/bin/wrangler.js`, ...args], {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...QUIET },
  });
  const output = collect(child);
  const exited = once(child, "exit").then(() => undefined);
  const kill = () => endGroup(child, "SIGKILL");
  const stop = async () => {
    endGroup(child, "SIGINT");
    await Promise.race([exited, delay(5_000, undefined, { ref: false })]);
    for (let tries = 0; kill() && tries < 30; tries++) await delay(10);
  };
  const ready = Promise.race([untilHealthy(port, child), exited, output.failed]).then((failed) => {
    if (failed || hasEnded(child)) throw plain(`The Worker did not start:\n${output.held().join("\n")}`);
    output.show();
  });
  return { ready, exited, stop, kill };
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

const QUIET = {
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_SEND_METRICS: "false",
  FORCE_COLOR: "0",
};

/** False when nothing is left of the group. */
function endGroup(child: ChildProcess, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-child.pid!, signal);
  } catch {
    return false;
  }
}

// wrangler's own talk, among the lines of the Worker and its warnings and errors.
const CHATTER = /^(⎔|\[wrangler:info\]|Your Worker has access|Using secrets defined|Binding |env\.\w+ \()|^\s*$/;

/** Held back until the Worker runs. A build that fails leaves wrangler waiting for a change, so it is told by its output. */
function collect(child: ChildProcess) {
  const held: string[] = [];
  let shown = false;
  const failed = new Promise<"failed">((resolve) => {
    for (const stream of [child.stdout!, child.stderr!])
      createInterface(stream).on("line", (line) => {
        if (shown && !CHATTER.test(line)) console.log(line);
        if (!shown && held.push(line) && line.includes("ERROR")) setTimeout(resolve, 500, "failed");
      });
  });
  return {
    failed,
    held: () => held.filter((line) => !CHATTER.test(line)),
    show: () => {
      shown = true;
    },
  };
}

async function untilHealthy(port: number, child: ChildProcess): Promise<void> {
  while (!hasEnded(child)) {
    const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) return;
    await delay(100);
  }
}
