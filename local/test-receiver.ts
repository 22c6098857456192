import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";
import "../test/setup/provided.ts";

type Reply = { status?: number; headers?: Record<string, string>; body?: string; delayMs?: number; hangUp?: boolean };
type Box = { replies: Reply[]; received: { headers: Record<string, unknown>; body: string; at: number }[] };

/**
 * Stands in for the endpoints of tenants. `/box/<name>` receives; `PUT /replies/<name>` says how it answers
 * (the last reply stays); `GET /received/<name>` tells what came. `/dns-query` is a resolver that knows no name.
 */
export async function startReceiver(): Promise<{ url: string; close(): Promise<void> }> {
  const boxes = new Map<string, Box>();
  const boxOf = (name: string): Box => {
    const box = boxes.get(name) ?? { replies: [{}], received: [] };
    boxes.set(name, box);
    return box;
  };
  const server = createServer(async (request, response) => {
    const [, place = "", name = ""] = (request.url ?? "").split(/[/?]/);
    const body = await textOf(request);
    const box = boxOf(name);
    if (place === "replies") {
      box.replies = JSON.parse(body) as Reply[];
      response.end("{}");
    } else if (place === "received") {
      response.setHeader("content-type", "application/json").end(JSON.stringify(box.received));
    } else if (place === "dns-query") {
      response.setHeader("content-type", "application/dns-json").end('{"Status":3}');
    } else {
      box.received.push({ headers: request.headers, body, at: Date.now() });
      reply(box.replies.length > 1 ? box.replies.shift()! : box.replies[0]!, response);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function reply(
  { status = 200, headers = {}, body = "ok", delayMs = 0, hangUp = false }: Reply,
  response: ServerResponse,
): void {
  setTimeout(() => (hangUp ? response.destroy() : response.writeHead(status, headers).end(body)), delayMs);
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const receiver = await startReceiver();
  project.provide("receiverUrl", receiver.url);
  return receiver.close;
}
