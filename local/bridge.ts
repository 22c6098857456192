import { isUtf8 } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Backend, Call, Login, Outcome } from "./session.ts";
import { type ArrayTypes, parameterText, rowAsJson } from "./sql-text.ts";
import type { ErrorFields, Result, Statement } from "./wire.ts";

export type Bridge = { url: string; calls(): number; close(): Promise<void> };

type Limits = { maxRequestBytes?: number; maxResponseBytes?: number };

/** Answers Neon's SQL-over-HTTP protocol in front of any PostgreSQL. */
export async function startBridge(backend: Backend, options: Limits & { port?: number } = {}): Promise<Bridge> {
  const { port = 0, maxRequestBytes = 10 << 20, maxResponseBytes = 10 << 20 } = options;
  const arraysOf = new Map<string, Map<number, number>>();
  let calls = 0;

  const answerSql = async (request: IncomingMessage, response: ServerResponse) => {
    calls++;
    const wishes = readHeaders(request);
    const statements = readBody(await readBytes(request, maxRequestBytes));
    const outcome = await backend.run(wishes.login, callOf(statements, wishes, maxResponseBytes));
    const results = resultsOf(outcome, maxResponseBytes);
    const arrays = wishes.raw ? NO_ARRAYS : await arrayTypes(backend, wishes.login, results, arraysOf);
    const texts = results.map((result, i) => resultAsJson(result, statements.list[i]!.arrayMode, wishes, arrays));
    if (!statements.batch) return send(response, 200, texts[0]!);
    for (const [name, value] of wishes.echo) response.setHeader(name, value);
    send(response, 200, `{"results":[${texts.join(",")}]}`);
  };

  const server = createServer(async (request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    try {
      if (request.url === "/calls" && request.method === "GET") return send(response, 200, JSON.stringify({ calls }));
      if (request.url !== "/sql") return send(response, 404, '{"message":"Not found."}');
      if (request.method === "OPTIONS") return sendPreflight(response);
      if (request.method !== "POST") return send(response, 405, '{"message":"Use POST."}');
      await answerSql(request, response);
    } catch (error) {
      const { status = 500, message } = error as Partial<Refusal>;
      send(response, status, status === 500 ? JSON.stringify({ ...NO_FIELDS, message }) : message!);
    }
  });
  // A worker that reuses a connection must never find it closed on a timer.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: () => calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Refusal = Error & { status: number };

const refusal = (status: number, body: string): Refusal => Object.assign(new Error(body), { status });

const refuse = (status: number, message: string) => refusal(status, JSON.stringify({ ...NO_FIELDS, message }));

function send(response: ServerResponse, status: number, body: string) {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function sendPreflight(response: ServerResponse) {
  response.writeHead(200, {
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers":
      "Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level, Neon-Batch-Deferrable, Authorization, Content-Type",
    "access-control-max-age": "86400",
  });
  response.end();
}

type Wishes = { login: Login; raw: boolean; arrayMode: boolean; begin: string; echo: [string, string][] };

const ISOLATION = new Map([
  ["Serializable", "serializable"],
  ["RepeatableRead", "repeatable read"],
  ["ReadCommitted", "read committed"],
  ["ReadUncommitted", "read uncommitted"],
]);

function readHeaders({ headers }: IncomingMessage): Wishes {
  const login = readLogin(headers["neon-connection-string"]);
  const echo: [string, string][] = [];
  let begin = "start transaction";
  const level = headers["neon-batch-isolation-level"];
  if (level !== undefined) {
    const words = ISOLATION.get(String(level));
    if (!words) throw refuse(400, "invalid isolation level");
    begin += ` isolation level ${words},`;
    echo.push(["neon-batch-isolation-level", String(level)]);
  }
  for (const [name, words] of [
    ["neon-batch-read-only", " read only,"],
    ["neon-batch-deferrable", " deferrable,"],
  ] as const) {
    if (headers[name] !== "true") continue;
    begin += words;
    echo.push([name, "true"]);
  }
  const raw = headers["neon-raw-text-output"] === "true";
  return { login, raw, arrayMode: headers["neon-array-mode"] === "true", begin: begin.replace(/,$/, ""), echo };
}

function readLogin(header: string | string[] | undefined): Login {
  if (typeof header !== "string") throw refuse(400, "missing header Neon-Connection-String");
  const url = URL.parse(header);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) throw refuse(400, "invalid connection string");
  const login = {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
  };
  if (!login.user) throw refuse(400, "missing user in the connection string");
  if (!login.database) throw refuse(400, "missing database in the connection string");
  if (!url.hostname) throw refuse(400, "missing host in the connection string");
  return login;
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
  }
  if (size > limit) throw refuse(413, `request is too large (max is ${limit} bytes)`);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

type Statements = { batch: boolean; list: (Statement & { arrayMode?: boolean })[] };

function readBody(bytes: Buffer): Statements {
  if (!isUtf8(bytes)) throw refuse(400, "the body is not UTF-8");
  let body: { queries?: unknown };
  try {
    body = parseJson(bytes.toString());
  } catch (error) {
    throw refuse(400, `the body is not JSON: ${(error as Error).message}`);
  }
  if (body === null || typeof body !== "object") throw refuse(400, "the body is neither a query nor a batch");
  if (!("query" in body) && Array.isArray(body.queries)) return { batch: true, list: body.queries.map(readStatement) };
  return { batch: false, list: [readStatement(body)] };
}

/** Numbers past what a double can hold keep their digits. */
function parseJson(text: string) {
  if (!/[[,:]\s*-?\d{16}/.test(text)) return JSON.parse(text);
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
  return JSON.parse(text, (_key, value, context?: { source?: string }) =>
    typeof value === "number" && context?.source && !Number.isSafeInteger(value) ? rawJSON(context.source) : value,
  );
}

function readStatement(value: unknown): Statements["list"][number] {
  const { query, params = [], arrayMode } = (value ?? {}) as { query?: unknown; params?: unknown; arrayMode?: unknown };
  if (typeof query !== "string") throw refuse(400, "the body is neither a query nor a batch");
  if (!Array.isArray(params)) throw refuse(400, "params is not an array");
  if (params.length > 65_535) throw refuse(400, "too many params");
  const texts = params.map(parameterText);
  if (query.includes("\0")) throw refuse(400, "the query holds a null character");
  if (!query.isWellFormed() || texts.some((text) => text !== null && !text.isWellFormed()))
    throw refuse(400, "the body holds a lone surrogate");
  return { query, params: texts, ...(typeof arrayMode === "boolean" && { arrayMode }) };
}

const callOf = ({ batch, list }: Statements, { begin }: Wishes, maxBytes: number): Call => ({
  statements: list,
  begin: batch ? begin : null,
  maxBytes,
});

/** Names of the error body and the protocol's letters for them. */
const ERROR_NAMES = {
  message: "M",
  code: "C",
  detail: "D",
  hint: "H",
  position: "P",
  internalPosition: "p",
  internalQuery: "q",
  severity: "S",
  where: "W",
  table: "t",
  column: "c",
  schema: "s",
  dataType: "d",
  constraint: "n",
  file: "F",
  line: "L",
  routine: "R",
};

const errorBody = (fields: ErrorFields) =>
  Object.fromEntries(Object.entries(ERROR_NAMES).map(([name, letter]) => [name, fields[letter] ?? null]));

const NO_FIELDS = errorBody({});

function resultsOf(outcome: Outcome, limit: number): Result[] {
  if ("error" in outcome) throw refusal(400, JSON.stringify(errorBody(outcome.error)));
  if ("tooLarge" in outcome) throw refuse(507, `response is too large (max is ${limit} bytes)`);
  return outcome.results;
}

const NO_ARRAYS: ArrayTypes = new Map();
const FIRST_OF_THE_DATABASE = 16_384;

async function arrayTypes(backend: Backend, login: Login, results: Result[], known: Map<string, Map<number, number>>) {
  const cached = known.get(login.database);
  const types = results.flatMap(({ fields }) => fields.map((field) => field.dataTypeID));
  if (cached && types.every((type) => type < FIRST_OF_THE_DATABASE || cached.has(type))) return cached;
  const query = "select oid, typelem from pg_type where typcategory = 'A'";
  const found = await backend.run(login, { statements: [{ query, params: [] }], begin: null, maxBytes: 1 << 20 });
  const rows = "results" in found ? found.results[0]!.rows : [];
  const fresh = new Map(rows.map(([array, element]) => [Number(array), Number(element)]));
  known.set(login.database, fresh);
  return fresh;
}

function resultAsJson(
  { fields, rows, tag }: Result,
  arrayMode: boolean | undefined,
  wishes: Wishes,
  arrays: ArrayTypes,
) {
  const asArray = arrayMode ?? wishes.arrayMode;
  const space = tag.indexOf(" ");
  const command = space < 0 ? tag : tag.slice(0, space);
  const count = space < 0 ? "" : tag.slice(command === "INSERT" ? tag.indexOf(" ", space + 1) : space).trim();
  const rowCount = /^\d+$/.test(count) ? count : "null";
  const list = wishes.raw && asArray ? JSON.stringify(rows) : `[${rows.map((row) => rowJson(row, asArray)).join(",")}]`;
  function rowJson(row: Result["rows"][number], inArray: boolean) {
    if (!wishes.raw) return rowAsJson(row, fields, arrays, inArray);
    return JSON.stringify(Object.fromEntries(row.map((text, i) => [fields[i]!.name, text])));
  }
  return `{"rowAsArray":${asArray},"fields":${JSON.stringify(fields)},"rows":${list},"command":${JSON.stringify(command)},"rowCount":${rowCount}}`;
}
