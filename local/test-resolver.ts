import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const TYPES: Record<string, number> = { A: 1, CNAME: 5, SOA: 6, MX: 15, TXT: 16, AAAA: 28 };

export type Entry = { name: string; type: number; TTL: number; data: string };
export type Reply = { Status?: number; TC?: boolean; Answer?: Entry[] | null; Authority?: Entry[] };

/** How a name answers the nth question for a type; a function answers in its own way. */
export type Zone = (type: string, nth: number) => Reply | ((response: ServerResponse) => void);

export const entry = (type: string, data: string, ttl = 0, name = "any."): Entry => {
  return { name, type: TYPES[type]!, TTL: ttl, data };
};

/** A name with these addresses; with a `ttl` of 0 each call asks again. */
export const hostWith = (addresses: string[], ttl = 0): Zone => {
  return (type) => ({
    Answer: addresses
      .filter((address) => type === (address.includes(":") ? "AAAA" : "A"))
      .map((address) => entry(type, address, ttl)),
  });
};

/** Answers DNS over HTTPS in JSON, as public resolvers do; names it was not told of do not exist. */
export async function startResolver() {
  const zones = new Map<string, Zone>();
  const questions: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://resolver");
    const question = `${url.searchParams.get("name")} ${url.searchParams.get("type")}`;
    const [name, type] = question.split(" ") as [string, string];
    const asJson = request.method === "GET" && request.headers.accept === "application/dns-json";
    if (!asJson || url.pathname !== "/dns-query") return response.writeHead(400).end();
    questions.push(question);
    const nth = questions.filter((asked) => asked === question).length;
    const reply = zones.get(name)?.(type, nth) ?? { Status: 3 };
    if (typeof reply === "function") return reply(response);
    response.setHeader("content-type", "application/dns-json");
    response.end(JSON.stringify({ Status: 0, TC: false, ...reply }));
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/dns-query`,
    zones,
    questions,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
