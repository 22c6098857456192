import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { TrieRouter } from "hono/router/trie-router";
import { getPath } from "hono/utils/url";
import { admit, newPaid } from "./auth/admit";
import { forget } from "./auth/snapshots";
import type { Context } from "./lib/context";
import { ApiError, problem } from "./lib/errors";
import { newId } from "./lib/ids";
import { lazily } from "./lib/lazy";
import { logFault, logRequest } from "./lib/log";
import { openApiDocument } from "./lib/openapi";
import type { AppEnv } from "./lib/route";

type Feature = [base: "/" | "/v1", begins: string[], routes: () => Promise<Hono<AppEnv>>];

/**
 * Where each feature is mounted, which first segments its paths have there, and its routes. They are evaluated with the
 * first request for such a path, so that start-up does not grow with features.
 */
const FEATURES: Feature[] = [
  ["/", ["health", "ready", "admin"], async () => (await import("./operations/routes")).operationRoutes],
  ["/v1", ["tenants", "tenant", "usage", "audit-logs"], async () => (await import("./tenants/routes")).tenantRoutes],
  ["/v1", ["plans"], async () => (await import("./tenants/plan-routes")).planRoutes],
  ["/v1", ["api-keys", "auth-keys", "tokens", "whoami"], async () => (await import("./auth/routes")).authRoutes],
  ["/v1", ["users", "guests"], async () => (await import("./users/routes")).userRoutes],
  ["/v1", ["users"], async () => (await import("./users/device-routes")).deviceRoutes],
  ["/v1", ["teams"], async () => (await import("./teams/routes")).teamRoutes],
  ["/v1", ["channels"], async () => (await import("./channels/routes")).channelRoutes],
  ["/v1", ["channels", "messages"], async () => (await import("./messages/routes")).messageRoutes],
  ["/v1", ["channels", "bans"], async () => (await import("./moderation/ban-routes")).banRoutes],
  [
    "/v1",
    ["moderation", "messages", "users", "channels"],
    async () => (await import("./moderation/routes")).moderationRoutes,
  ],
  ["/v1", ["block-lists"], async () => (await import("./moderation/block-list-routes")).blockListRoutes],
  ["/v1", ["channels", "messages", "threads"], async () => (await import("./messages/thread-routes")).threadRoutes],
  ["/v1", ["channels", "drafts"], async () => (await import("./messages/draft-routes")).draftRoutes],
  [
    "/v1",
    ["channels", "scheduled-messages"],
    async () => (await import("./messages/scheduled-routes")).scheduledRoutes,
  ],
  ["/v1", ["link-preview"], async () => (await import("./messages/preview-routes")).previewRoutes],
  ["/v1", ["search"], async () => (await import("./messages/search-routes")).searchRoutes],
  ["/v1", ["channels", "users", "connect", "sync", "tickets"], async () => (await import("./live/routes")).liveRoutes],
  ["/v1", ["channels", "invitations"], async () => (await import("./channels/member-routes")).memberRoutes],
  ["/v1", ["channels", "read-all", "unread"], async () => (await import("./channels/read-routes")).readRoutes],
  ["/v1", ["channel-types"], async () => (await import("./channels/type-routes")).typeRoutes],
  ["/v1", ["users", "push-templates"], async () => (await import("./push/routes")).pushRoutes],
  ["/v1", ["campaigns"], async () => (await import("./campaigns/routes")).campaignRoutes],
  ["/v1", ["events", "event-types"], async () => (await import("./events/routes")).eventRoutes],
  ["/v1", ["webhooks", "actions"], async () => (await import("./webhooks/routes")).webhookRoutes],
  ["/v1", ["webhooks"], async () => (await import("./webhooks/key-routes")).webhookKeyRoutes],
  [
    "/v1",
    ["webhooks", "webhook-deliveries", "webhook-attempts", "webhook-statistics"],
    async () => (await import("./webhooks/log-routes")).webhookLogRoutes,
  ],
  ["/v1", ["files"], async () => (await import("./files/routes")).fileRoutes],
  ["/v1", ["usage"], async () => (await import("./files/usage-routes")).fileUsageRoutes],
  ["/v1", ["exports"], async () => (await import("./exports/routes")).exportRoutes],
  ["/v1", ["jobs"], async () => (await import("./jobs/routes")).jobRoutes],
  ["/v1", ["integrations"], async () => (await import("./integrations/routes")).integrationRoutes],
  ["/v1", ["sandbox", "callbacks", "deliveries"], async () => (await import("./deliveries/routes")).deliveryRoutes],
  ["/v1", ["provider-callbacks"], async () => (await import("./deliveries/callback-routes")).callbackRoutes],
  ["/v1", ["contacts"], async () => (await import("./contacts/routes")).contactRoutes],
  ["/v1", ["suppressions"], async () => (await import("./suppressions/routes")).suppressionRoutes],
  ["/v1", ["domains"], async () => (await import("./inboxes/domain-routes")).domainRoutes],
  ["/v1", ["inboxes", "sender-rules"], async () => (await import("./inboxes/routes")).inboxRoutes],
  ["/v1", ["inboxes", "channels", "messages"], async () => (await import("./email/routes")).emailRoutes],
  ["/v1", ["inboxes"], async () => (await import("./email/raw-mail-routes")).rawMailRoutes],
  [
    "/v1",
    ["inboxes", "channels", "scheduled-messages"],
    async () => (await import("./email/sending-routes")).sendingRoutes,
  ],
  ["/v1", ["email-statistics"], async () => (await import("./email/statistics-routes")).statisticsRoutes],
  ["/v1", ["inbound"], async () => (await import("./email/inbound-routes")).inboundRoutes],
  ["/", [".well-known"], async () => (await import("./webhooks/key-routes")).publicKeyRoutes],
  ["/", ["unsubscribe"], async () => (await import("./suppressions/pages")).unsubscribePages],
  ["/", ["portal"], async () => (await import("./webhooks/pages")).portalPages],
];

const JSON_LIMIT = 1_048_576;
const ASKED =
  "Authorization, Content-Type, Content-Disposition, Idempotency-Key, Parley-User, Parley-Sha256, Range, If-None-Match, If-Range";
const MEANINGFUL =
  "RateLimit, RateLimit-Policy, Retry-After, Parley-Request-Id, Idempotency-Replayed, Location, ETag, Content-Range, Content-Disposition, Accept-Ranges";

const limitJson = bodyLimit({
  maxSize: JSON_LIMIT,
  onError: () => Promise.reject(new ApiError("payload_too_large", "A JSON body may take 1 MiB.")),
});
/** Mails may have files in them, and long html. */
const ENCLOSING = /^\/v1\/((inboxes|channels)\/[^/]+\/messages(\/batch)?|scheduled-messages\/[^/]+\/email)$/;
const limitMail = bodyLimit({
  maxSize: 10 * JSON_LIMIT,
  onError: () =>
    Promise.reject(
      new ApiError("payload_too_large", "A mail's JSON may take 10 MiB: upload larger files, and name their ids."),
    ),
});
/** Files and mails go to the bucket as they come, within limits of their own. */
const STREAMED = /^\/v1\/(files(\/[^/]+\/parts\/\d+)?|inbound\/(mime|parse))$/;

const parts = new Map<string, Hono<AppEnv>>();

export const app = {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const first =
      getPath(request)
        .split("/")
        .find((part) => part !== "" && part !== "v1") ?? "";
    return (parts.get(first) ?? (await partFor(first))).fetch(request, env, ctx);
  },
  /** All of it at once. */
  whole: () => assembled(FEATURES),
};

async function partFor(first: string): Promise<Hono<AppEnv>> {
  const features = FEATURES.filter(([, begins]) => begins.includes(first));
  const name = features.length > 0 ? first : "";
  const part = parts.get(name) ?? (await assembled(features));
  parts.set(name, part);
  return part;
}

const loaded = (features: Feature[]) =>
  Promise.all(features.map(async ([base, , routes]) => [base, await routes()] as const));

/** The path of such a page is its credential. */
const withoutPass = (path: string): string => path.replace(/^\/(portal|unsubscribe)\/[^/]+/, "/$1/…");

/** What is before and behind every feature's routes. */
async function assembled(features: Feature[]): Promise<Hono<AppEnv>> {
  // A tree of paths is ready at once; the faster default is built from all of them at an isolate's first request.
  const app = new Hono<AppEnv>({ router: new TrieRouter() });
  app.use(async (c, next) => {
    const startedAt = Date.now();
    c.set("requestId", newId());
    await next();
    c.res.headers.set("Parley-Request-Id", c.var.requestId);
    c.res.headers.set("Access-Control-Allow-Origin", "*");
    c.res.headers.set("Access-Control-Expose-Headers", MEANINGFUL);
    logRequest(c.var.requestId, c.req.method, withoutPass(c.req.path), c.res.status, Date.now() - startedAt, c.var.ctx);
  });

  app.options("*", (c) => {
    c.header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    c.header("Access-Control-Allow-Headers", ASKED);
    c.header("Access-Control-Max-Age", "86400");
    return c.body(null, 204);
  });

  app.use((c, next) =>
    STREAMED.test(c.req.path) ? next() : (ENCLOSING.test(c.req.path) ? limitMail : limitJson)(c, next),
  );

  app.use(async (c, next) => {
    const paid = newPaid();
    c.set("admit", (demand) => {
      const known = c.var.ctx as Context | undefined;
      if (known) forget(known.tenantId);
      return admit(
        {
          env: c.env,
          request: c.req.raw,
          requestId: c.var.requestId,
          waitUntil: (work) => c.executionCtx.waitUntil(work),
          body: () => c.req.text(),
          paid,
          onIdentified: (ctx) => c.set("ctx", ctx),
          onAllowance: ({ limit, remaining, resetSeconds }) => {
            c.header("RateLimit-Policy", `"default";q=${limit};w=60`);
            c.header("RateLimit", `"default";r=${remaining};t=${resetSeconds}`);
          },
        },
        demand,
      );
    });
    await next();
  });

  for (const [base, routes] of await loaded(features)) app.route(base, routes);

  app.get("/openapi.json", async (c) => c.json(await description(c.env.DEPLOYMENT_URL)));

  app.notFound(() => {
    throw new ApiError("not_found", "There is no such path.");
  });

  app.onError((thrown, c) => {
    const error = asApiError(thrown);
    if (error.code === "internal") logFault(c.var.requestId, thrown);
    if (error.code === "plan_limit_reached")
      c.executionCtx.waitUntil(tellLimitReached(c.var.ctx, error.facts as never));
    const body = problem(error, c.var.requestId);
    const headers: Record<string, string> = { "Content-Type": "application/problem+json" };
    if (body.status === 429 || body.status === 503) headers["Retry-After"] = String(error.facts.reset ?? 1);
    if (body.status === 401) headers["WWW-Authenticate"] = 'Bearer realm="parley"';
    return c.body(JSON.stringify(body), body.status, headers);
  });
  return app;
}

/** The OpenAPI document. */
async function description(url: string): Promise<Record<string, unknown>> {
  const [{ documentEvents }, { aboutSockets }] = await Promise.all([
    import("./events/document"),
    import("./live/document"),
  ]);
  return openApiDocument(await loaded(FEATURES), url, (app) => {
    documentEvents(app);
    return aboutSockets();
  });
}

const tellLimitReached = lazily(async () => (await import("./tenants/limit-events")).tellLimitReached);

function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof HTTPException && [400, 415].includes(thrown.status)) return new ApiError("malformed_json");
  return new ApiError("internal");
}
