import { neonConfig } from "@neondatabase/serverless";
import { Column, fillPlaceholders, is, SQL, sql } from "drizzle-orm";
import type { BatchItem, BatchResponse } from "drizzle-orm/batch";
import { drizzle } from "drizzle-orm/neon-http";
import type { Context } from "./context";
import { enterCredential } from "./credential";
import { ApiError, constraintRefusal, databaseFault, type ErrorCode, isErrorCode } from "./errors";
import { named, type Result, run, type Statement } from "./neon";

/** Builds queries and cannot run them: `asTenant` is the only way to the database. */
export const db = drizzle.mock();

/** Knows no tenant: for looking up credentials and for doors that work across tenants. */
function connect(env: Env): (statements: Statement[]) => Promise<Result[]> {
  if (env.DATABASE_ENDPOINT) neonConfig.fetchEndpoint = () => env.DATABASE_ENDPOINT;
  return (statements) => run(env.APP_DATABASE_URL, statements);
}

/** One row of a door, outside any tenant. */
export async function askDoor<T>(env: Env, query: string, params: unknown[]): Promise<T | undefined> {
  const [result] = await connect(env)([{ query, params }]).catch(rethrow);
  const row = result!.rows[0];
  return row && (named(result!, row) as T);
}

/** The isolate's copy of the tenant's settings is out of date: reload it and try once more. */
export class StaleSnapshot extends ApiError {
  constructor() {
    super("unavailable", "The tenant's settings are changing; try again.");
  }
}

/** An earlier request with this Idempotency-Key did the work: run the verb again on what it got. */
export class Replay extends Error {
  readonly seed: string;
  readonly answer: unknown[][];
  constructor(seed: string, answer: unknown[][]) {
    super("replay");
    this.seed = seed;
    this.answer = answer;
  }
}

type Prepared = {
  getQuery(): { sql: string; params: unknown[] };
  fields?: { path: string[]; field: unknown }[];
  mapResult(result: { rows: unknown[] }, fromBatch: boolean): unknown;
};
type Preparable = { _prepare(): Prepared };

/** A query that differs in its `sql.placeholder`s alone, built once: building takes a tenth of a chat message's time. */
export function prebuilt<Q extends BatchItem<"pg">>(query: Q): (values: Record<string, unknown>) => Q {
  let built: { prepared: Prepared; sql: string; params: unknown[] } | undefined;
  return (values) => {
    if (!built) {
      const prepared = (query as unknown as Preparable)._prepare();
      built = { prepared, ...prepared.getQuery() };
    }
    const { prepared, sql: text, params } = built;
    const getQuery = () => ({ sql: text, params: fillPlaceholders(params, values) });
    const bound: Preparable = { _prepare: () => Object.assign(Object.create(prepared) as Prepared, { getQuery }) };
    return bound as unknown as Q;
  };
}

/** Entering, and all of the queries, in one transaction and one call: authenticated and behind the wall. */
export async function asTenant<U extends BatchItem<"pg">, T extends Readonly<[U, ...U[]]>>(
  ctx: Context,
  queries: T,
): Promise<BatchResponse<T>> {
  const prepared = queries.map((query) => (query as unknown as Preparable)._prepare());
  if (ctx.once?.answer) {
    const recorded = ctx.once.answer[Symbol.iterator]();
    return prepared.map((p) => (p.fields ? mapped(p, recorded.next().value ?? []) : undefined)) as never;
  }
  const before: Statement[] = [
    { query: "select * from door.enter($1::jsonb)", params: [JSON.stringify(enterCredential(ctx))] },
  ];
  if (ctx.once) {
    const { key, fingerprint, seed } = ctx.once;
    before.push({ query: "select once($1, $2, $3)", params: [key, fingerprint, seed] });
  }
  const work = prepared.map((p): Statement => {
    const { sql: text, params } = p.getQuery();
    return { query: ctx.once && p.fields ? remembered(text, p.fields.length) : text, params };
  });
  const results = await connect(ctx.env)([...before, ...work]).catch(rethrow);
  return prepared.map((p, i) => {
    const result = results[i + before.length]!;
    if (p.fields) return mapped(p, result.rows);
    return { ...result, rows: result.rows.map((row) => named(result, row)) };
  }) as never;
}

type Decoder = { mapFromDriverValue(value: unknown): unknown };
type Named = { sql: { decoder: Decoder } };

/** As drizzle maps them, which asks of each cell anew what it is; what joins nest is left to it. */
function mapped(prepared: Prepared, rows: unknown[]): unknown {
  const fields = prepared.fields!;
  if (fields.some(({ path }) => path.length > 1)) return prepared.mapResult({ rows }, true);
  const columns = fields.map(({ path, field }) => ({ name: path[0]!, decoder: decoderOf(field) }));
  return (rows as unknown[][]).map((row) => {
    const object: Record<string, unknown> = {};
    for (let i = 0; i < columns.length; i++) {
      const { name, decoder } = columns[i]!;
      object[name] = row[i] === null ? null : decoder.mapFromDriverValue(row[i]);
    }
    return object;
  });
}

function decoderOf(field: unknown): Decoder {
  if (is(field, Column)) return field;
  return (is(field, SQL) ? (field as unknown as Named["sql"]) : (field as Named).sql).decoder;
}

/** Keeps the rows of a statement for later calls with the same Idempotency-Key, in the statement itself. */
function remembered(text: string, width: number): string {
  const columns = Array.from({ length: width }, (_, i) => `c${i}`).join(", ");
  return `with r(${columns}) as (${text}),
    kept as materialized (select remember((select jsonb_agg(jsonb_build_array(${columns})) from r)))
    select r.* from r where (select * from kept)`;
}

function rethrow(error: unknown): never {
  const fault = databaseFault(error);
  if (fault?.code === "PA409") throw new StaleSnapshot();
  if (fault?.code === "PA200") {
    const { seed, answer } = JSON.parse(fault.detail ?? "{}") as { seed: string; answer: unknown[][] };
    throw new Replay(seed, answer);
  }
  if (fault?.code === "PA400") {
    const { code, ...facts } = JSON.parse(fault.detail ?? "{}") as Record<string, unknown>;
    if (isErrorCode(code)) throw new ApiError(code, undefined, facts);
  }
  if (fault?.code === "55P03") throw new ApiError("idempotency_in_progress");
  const refusal = fault && constraintRefusal(fault);
  if (refusal) throw refusal;
  if (fault?.code && PASSING.has(fault.code)) throw new ApiError("unavailable", "The database was busy; try again.");
  if (fault === null && error instanceof Error && error.name === "NeonDbError") {
    throw new ApiError("unavailable", "The database cannot be reached.");
  }
  throw error;
}

/** Deadlock, failed serialisation, too many connections, shutting down: what a repetition can cure. */
const PASSING = new Set(["40P01", "40001", "53300", "57P01", "57P03"]);

/** Stops the batch with `code` unless the condition holds when its turn comes. */
export const refuseUnless = (condition: SQL, code: ErrorCode, facts: Record<string, unknown> = {}) =>
  db.execute(sql`select refuse_unless((${condition}), ${code}, ${JSON.stringify(facts)}::jsonb)`);

/** Before a refusal that rests on cached facts: throws StaleSnapshot where they are out of date. */
export async function confirmFresh(ctx: Context): Promise<void> {
  await asTenant({ ...ctx, scope: "any", once: undefined }, [db.execute(sql`select 1`)]);
}
