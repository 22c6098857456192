import { OpenAPIHono } from "@hono/zod-openapi";
import type { Hono } from "hono";
import { ERRORS } from "./errors";
import type { AppEnv } from "./route";
import { SCOPES } from "./scopes";

/** What features add to the document beside their routes. */
export type Documented = Pick<OpenAPIHono<AppEnv>, "openAPIRegistry">;

let built: { url: string; document: Record<string, unknown> } | undefined;

/** Made from the schemas that validate, once per isolate. */
export function openApiDocument(
  features: (readonly [base: string, routes: Hono<AppEnv>])[],
  url: string,
  describe: (app: Documented) => string,
): Record<string, unknown> {
  if (built?.url === url) return built.document;
  const app = new OpenAPIHono<AppEnv>();
  for (const [base, routes] of features) app.route(base, routes);
  const sections = describe(app);
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: `An API key or a token. Scopes: ${SCOPES.join(", ")}.`,
  });
  for (const [name, header] of Object.entries(HEADERS)) {
    app.openAPIRegistry.registerComponent("parameters", name, header);
  }
  const codes = Object.entries(ERRORS).map(([code, [status, title]]) => `| \`${code}\` | ${status} | ${title} |`);
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Parley",
      version: "1",
      description: `One messaging API for an app and everyone it talks to.\n\n## Error codes\n\n| code | status | meaning |\n|---|---|---|\n${codes.join("\n")}\n\n${sections}`,
      license: { name: "MIT", url: "https://opensource.org/license/mit" },
    },
    servers: [{ url }],
    security: [{ bearer: [] }],
  });
  for (const operation of Object.values(document.paths ?? {}).flatMap((path) => Object.values(path as object))) {
    complete(operation as Operation);
  }
  built = { url, document: document as unknown as Record<string, unknown> };
  return built.document;
}

type Operation = {
  parameters?: ({ schema: { type?: string | string[] } } | { $ref: string })[];
  "x-scope"?: string;
  "x-once"?: boolean;
};

/** What no route says for itself: the headers that all of them read, and that a URL cannot hold null. */
function complete(operation: Operation): void {
  const own = operation.parameters ?? [];
  for (const parameter of own) {
    if ("schema" in parameter && Array.isArray(parameter.schema.type)) {
      parameter.schema.type = parameter.schema.type.find((type) => type !== "null")!;
    }
  }
  const open = ["public", "deployment:admin"].includes(operation["x-scope"] ?? "public");
  operation.parameters = [
    ...own,
    ...(open ? [] : [{ $ref: "#/components/parameters/ActingUser" }]),
    ...(operation["x-once"] ? [{ $ref: "#/components/parameters/IdempotencyKey" }] : []),
  ];
}

const HEADERS = {
  ActingUser: {
    name: "Parley-User",
    in: "header",
    description: "With an API key: the user to act for, by id, or by external: and the percent-encoded externalId.",
    schema: { type: "string", maxLength: 1000 },
  },
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description: "The same key and body get the first call's answer again, for 24 hours.",
    schema: { type: "string", minLength: 1, maxLength: 255, pattern: "^[\\x21-\\x7e]+$" },
  },
} as const;
