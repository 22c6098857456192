import { createRoute, OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Context as HonoContext, MiddlewareHandler } from "hono";
import { mustBeWithinBounds } from "./bounds";
import { boundsOf, type Context } from "./context";
import { Replay, StaleSnapshot } from "./db";
import { ApiError, SnapshotError } from "./errors";
import { RESOURCE_KINDS, type Scope } from "./scopes";
import { namedIn, Problem, violations } from "./validate";

/** What a route asks of the caller. */
export type Demand = { scope: Scope | "any"; once: boolean; reads?: boolean };

export type AppEnv = {
  Bindings: Env;
  Variables: {
    requestId: string;
    ctx: Context;
    /** Identifies the caller anew; set by app.ts, so that lib need not know of credentials. */
    admit: (demand: Demand) => Promise<Context>;
    demand: Demand;
  };
};

type Handler = (c: HonoContext<AppEnv>, next: () => Promise<void>) => Promise<Response>;

/** Whoever changes a tenant's settings makes all others' copies stale: so many may do it at the same time. */
const MOST_STALE = 6;

/** A stale snapshot means: identify again. A replay means: run once more on what the first call got. */
function retrying(run: Handler): Handler {
  return async (c, next) => {
    for (let stale = 0; ; ) {
      try {
        return await run(c, next);
      } catch (error) {
        const { ctx } = c.var;
        const old = error instanceof StaleSnapshot || (error instanceof SnapshotError && stale === 0);
        if (old && ++stale <= MOST_STALE) {
          c.set("ctx", await c.var.admit(c.var.demand));
        } else if (error instanceof Replay && ctx.once && !ctx.once.answer) {
          c.set("ctx", { ...ctx, once: { ...ctx.once, seed: error.seed, answer: error.answer } });
          c.header("Idempotency-Replayed", "true");
        } else throw error;
      }
    }
  };
}

type Inputs = { params?: unknown; query?: unknown; body?: { content: Partial<Json<unknown>> } };
type Route = { path: string; request: Inputs };

function withinBounds({ path, request }: Route, run: Handler): Handler {
  const kind = RESOURCE_KINDS[path.split("/")[1] ?? ""];
  return async (c, next) => {
    const ctx = c.var.ctx as Context | undefined;
    if (ctx && Object.keys(boundsOf(ctx.actor)).length > 0) {
      const given = (target: string): unknown => c.req.valid(target as never);
      const inPath = namedIn(request.params, given("param"));
      const body = request.body?.content["application/json"]?.schema;
      const named = [...inPath, ...namedIn(request.query, given("query")), ...namedIn(body, given("json"))];
      await mustBeWithinBounds(ctx, kind, inPath, named);
    }
    return run(c, next);
  };
}

/** A feature's routes: small modules, mounted with `.route()`. */
export function feature(): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw new ApiError("invalid_request", undefined, { errors: violations(result) });
    },
  });
  const openapi = app.openapi.bind(app) as (...args: unknown[]) => unknown;
  app.openapi = ((route: unknown, run: Handler, hook: unknown) =>
    openapi(route, retrying(withinBounds(route as Route, run)), hook)) as never;
  return app;
}

type Method = "get" | "post" | "put" | "patch" | "delete";
type Json<T> = { "application/json": { schema: T } };
type Body<B> = B extends z.ZodType ? { content: Json<B>; required: true } : undefined;
type Answer<R, S extends number> = R extends z.ZodType
  ? { [K in S]: { description: string; content: Json<R> } }
  : { [K in S]: { description: string } };

/** What an operation without query members refuses; a schema for it would cost each request a parse. */
function refuseQuery(url: string): void {
  const at = url.indexOf("?");
  if (at === -1) return;
  const names = [...new Set(new URLSearchParams(url.slice(at)).keys())];
  const errors = names.map((name) => ({ path: `query.${name}`, message: "There is no such field." }));
  if (errors.length > 0) throw new ApiError("invalid_request", undefined, { errors });
}

/** One operation: its place, its contract, and who may call it. */
export function op<
  const M extends Method,
  const Path extends string,
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
  R extends z.ZodType | undefined = undefined,
  const S extends 200 | 201 | 202 | 204 = 200,
>(spec: {
  id: string;
  method: M;
  path: Path;
  summary: string;
  tag: string;
  /** "any": whoever has a credential. */
  scope: Scope | "any" | "public";
  description?: string;
  params?: P;
  query?: Q;
  body?: B;
  returns?: R;
  /** Of an answer that is no JSON. */
  media?: string;
  status?: S;
  once?: boolean;
  /** Of a POST that writes nothing for anybody else to see. */
  reads?: boolean;
}) {
  const { scope } = spec;
  const reads = spec.reads ?? spec.method === "get";
  const demand = scope === "public" ? null : { scope, once: spec.method === "post" && spec.once !== false, reads };
  const admit: MiddlewareHandler<AppEnv> = async (c, next) => {
    if (demand) {
      c.set("demand", demand);
      c.set("ctx", await c.var.admit(demand));
    }
    if (!spec.query) refuseQuery(c.req.url);
    await next();
  };
  const status = (spec.status ?? 200) as S;
  const answer = spec.returns
    ? { description: "Done", content: { "application/json": { schema: spec.returns } } }
    : { description: "Done", ...(spec.media && { content: { [spec.media]: { schema: {} } } }) };
  return createRoute({
    method: spec.method,
    path: spec.path,
    operationId: spec.id,
    summary: spec.summary,
    description: spec.description,
    tags: [spec.tag],
    security: demand ? [{ bearer: [] }] : [],
    "x-scope": scope,
    "x-once": demand?.once || undefined,
    middleware: [admit] as const,
    request: {
      params: spec.params as P,
      query: spec.query as Q,
      body: (spec.body && {
        content: { "application/json": { schema: spec.body } },
        required: !spec.body.safeParse(undefined).success,
      }) as Body<B>,
    },
    responses: {
      [status]: answer,
      default: { description: "A problem", content: { "application/problem+json": { schema: Problem } } },
    } as unknown as Answer<R, S>,
  });
}
