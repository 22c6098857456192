import { NeonDbError, neonConfig, types } from "@neondatabase/serverless";
import { isoOf } from "./columns";

/**
 * The driver's protocol, by the driver's own settings, readers and errors. Its query functions parse the connection string
 * several times for each call.
 */
export type Statement = { query: string; params: unknown[] };
export type Result = { fields: { name: string; dataTypeID: number }[]; rows: unknown[][]; rowCount: number | null };

type Raw = Omit<Result, "rows"> & { rows: (string | null)[][] };
type Reader = (text: string) => unknown;

const FAULT_FIELDS = [
  "severity",
  "code",
  "detail",
  "hint",
  "where",
  "schema",
  "table",
  "column",
  "constraint",
] as const;

/** One statement, or several in one transaction. */
export async function run(connectionString: string, statements: Statement[]): Promise<Result[]> {
  const queries = statements.map(({ query, params }) => ({ query, params: params.map(sendable) }));
  const headers = {
    "Neon-Connection-String": connectionString,
    "Neon-Raw-Text-Output": "true",
    "Neon-Array-Mode": "true",
  };
  const body = JSON.stringify(queries.length === 1 ? queries[0] : { queries });
  const response = await ask(endpointOf(connectionString), { method: "POST", body, headers });
  if (response.ok) {
    const answer = (await response.json()) as Raw | { results: Raw[] };
    return ("results" in answer ? answer.results : [answer]).map(readResult);
  }
  if (response.status !== 400) throw fault(`Server error (HTTP status ${response.status}): ${await response.text()}`);
  const told = (await response.json()) as Record<string, string>;
  throw Object.assign(fault(told.message), Object.fromEntries(FAULT_FIELDS.map((name) => [name, told[name]])));
}

const fault = (message = "") => new NeonDbError(message);

async function ask(url: string, init: RequestInit): Promise<Response> {
  const { fetchFunction } = neonConfig;
  try {
    return await (fetchFunction ? fetchFunction(url, init) : fetch(url, init));
  } catch (error) {
    throw fault(`Error connecting to database: ${error}`);
  }
}

const parsed = new Map<string, URL>();

function endpointOf(connectionString: string): string {
  const { fetchEndpoint } = neonConfig;
  if (typeof fetchEndpoint === "string") return fetchEndpoint;
  const url = parsed.get(connectionString) ?? new URL(connectionString);
  parsed.set(connectionString, url);
  return fetchEndpoint(url.hostname, url.port);
}

/** As text, which PostgreSQL reads by the type it expects. */
function sendable(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return `{${value.map((one) => `"${String(one).replaceAll(/["\\]/g, "\\$&")}"`).join(",")}}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A moment is text, in code as on the wire: making a Date of it and text of that took a tenth of a list's time. */
const readerOf = (type: number): Reader =>
  type === types.builtins.TIMESTAMPTZ ? isoOf : (types.getTypeParser(type) as Reader);

function readResult({ fields, rows, rowCount }: Raw): Result {
  const readers = fields.map(({ dataTypeID }) => readerOf(dataTypeID));
  const read = rows.map((row) => row.map((text, i) => (text === null ? null : readers[i]!(text))));
  return { fields, rowCount, rows: read };
}

/** With the names of its columns. */
export function named({ fields }: Result, row: unknown[]): Record<string, unknown> {
  return Object.fromEntries(row.map((value, i) => [fields[i]!.name, value]));
}
