import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { type BuiltWorker, startBuiltWorker } from "./built-worker.ts";
import { ROOT } from "./place.ts";

type Deployed = { vars: Record<string, string>; secrets: Record<string, string>; domain?: string };

/** A Cloudflare account without Cloudflare: what wrangler would do is done here, on a built Worker. */
export type TestCloud = {
  /** To stand first in PATH: holds a `wrangler` that asks this cloud. */
  path: string;
  url: string;
  calls: string[];
  queues: Set<string>;
  buckets: Set<string>;
  workers: Map<string, Deployed>;
  loggedIn: boolean;
  /** Whether uploads succeed. */
  takesUploads: boolean;
  stop(): Promise<void>;
};

type Answer = { said?: string; refused?: string };

export async function startTestCloud(built: string): Promise<TestCloud> {
  const path = mkdtempSync(`${tmpdir()}/parley-cloud-`);
  let running: BuiltWorker | null = null;

  const deploy = async (args: string[], config: string, secretsFile: string | undefined, output: string) => {
    const { name } = readConfig(config);
    const before = cloud.workers.get(name)?.secrets;
    const secrets = { ...before, ...(secretsFile && JSON.parse(readFileSync(secretsFile, "utf8"))) };
    const vars = Object.fromEntries(optionsOf(args, "--var").map((pair) => splitOnce(pair, ":")));
    const [domain] = optionsOf(args, "--domain");
    cloud.workers.set(name, { vars, secrets, ...(domain && { domain }) });
    await running?.stop();
    running = await startBuiltWorker({ root: ROOT, built, vars, secrets });
    const targets = ["schedule: * * * * *", cloud.url];
    writeFileSync(output, `{"type":"wrangler-session"}\n${JSON.stringify({ type: "deploy", targets })}\n`);
    return {};
  };

  const answer = async (args: string[], output: string): Promise<Answer> => {
    const words = args.filter((arg, i) => !arg.startsWith("--") && !args[i - 1]?.startsWith("--"));
    const name = words.at(-1)!;
    const [option] = optionsOf(args, "--name");
    const worker = cloud.workers.get(option ?? "");
    switch (words.slice(0, words.length - (words[0] === "queues" || words[0] === "r2" ? 1 : 0)).join(" ")) {
      case "whoami":
        return cloud.loggedIn
          ? { said: JSON.stringify({ loggedIn: true, accounts: [{ id: "1", name: "Test" }] }) }
          : { refused: '{"loggedIn":false}' };
      case "queues info":
        return cloud.queues.has(name) ? {} : { refused: `Queue "${name}" does not exist.` };
      case "queues create":
        cloud.queues.add(name);
        return {};
      case "r2 bucket info":
        return cloud.buckets.has(name) ? {} : { refused: "The specified bucket does not exist. [code: 10006]" };
      case "r2 bucket create":
        cloud.buckets.add(name);
        return {};
      case "secret list":
        return worker
          ? { said: JSON.stringify(Object.keys(worker.secrets).map((key) => ({ name: key, type: "secret_text" }))) }
          : { refused: `Worker "${option}" not found.` };
      case "deploy":
        if (!cloud.takesUploads) return { refused: "The upload timed out." };
        return deploy(args, optionsOf(args, "--config")[0]!, optionsOf(args, "--secrets-file")[0], output);
      default:
        return { refused: `There is no such command: ${args.join(" ")}` };
    }
  };

  const server = createServer(async (request, response) => {
    const body = await readAll(request);
    if (request.url === "/.wrangler") {
      const form = new URLSearchParams(body);
      const args = form.getAll("arg");
      cloud.calls.push(args.join(" "));
      const said = await answer(args, form.get("output")!).catch((error): Answer => ({ refused: String(error) }));
      return response.writeHead(said.refused === undefined ? 200 : 400).end(said.refused ?? said.said);
    }
    if (!running) return response.writeHead(522).end();
    const { authorization = "", "content-type": type = "" } = request.headers;
    const headers = { authorization, "content-type": type };
    const passed = await fetch(new URL(request.url!, running.url), {
      method: request.method!,
      headers,
      ...(body && { body }),
    });
    response.writeHead(passed.status, { "content-type": passed.headers.get("content-type") ?? "" });
    response.end(await passed.text());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cloud: TestCloud = {
    path,
    url,
    calls: [],
    queues: new Set(),
    buckets: new Set(),
    workers: new Map(),
    loggedIn: true,
    takesUploads: true,
    async stop() {
      await running?.stop();
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      rmSync(path, { recursive: true });
    },
  };
  writeFileSync(`${path}/wrangler`, PROGRAM(url));
  chmodSync(`${path}/wrangler`, 0o755);
  return cloud;
}

// A deployment runs wrangler some twenty times: curl is started in a tenth of the time that Node takes.
const PROGRAM = (url: string) => `#!/bin/sh
for arg; do
  set -- "$@" --data-urlencode "arg=$arg"
  shift
done
if said=$(curl -s --fail-with-body "${url}/.wrangler" --data-urlencode "output=$WRANGLER_OUTPUT_FILE_PATH" "$@"); then
  printf %s "$said"
else
  printf %s "$said" >&2
  exit 1
fi
`;

const readConfig = (file: string): { name: string } =>
  file.endsWith(".json")
    ? JSON.parse(readFileSync(file, "utf8"))
    : { name: /^name = "(.+)"$/m.exec(readFileSync(file, "utf8"))![1]! };

const optionsOf = (args: string[], name: string) => args.flatMap((arg, i) => (arg === name ? [args[i + 1]!] : []));

function splitOnce(pair: string, by: string): [string, string] {
  const at = pair.indexOf(by);
  return [pair.slice(0, at), pair.slice(at + 1)];
}

async function readAll(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}
