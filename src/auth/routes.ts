import { startsItsRange } from "../lib/addresses";
import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { type ResourceKind, SCOPES, TENANT_SCOPES } from "../lib/scopes";
import { Instant, idOf, Moment, pathId, text, z } from "../lib/validate";
import { createAuthKey, getAuthKey, listAuthKeys, revokeAuthKey } from "./auth-keys";
import { createKey, getKey, listKeys, PUBLISHABLE, rerollKey, revokeKey, updateKey } from "./keys";
import { ALGORITHMS } from "./schema";
import { revokeToken } from "./tokens";
import { whoAmI } from "./whoami";

export const authRoutes = feature();

const WhoAmI = z
  .object({
    tenantId: z.uuid(),
    tenantName: z.string(),
    credential: z.enum(["key", "token", "user", "system"]),
    keyId: z.uuid().nullable(),
    userId: z.uuid().nullable(),
    scopes: z.array(z.string()).nullable(),
  })
  .openapi("WhoAmI");

authRoutes.openapi(
  op({
    id: "whoAmI",
    method: "get",
    path: "/whoami",
    tag: "Credentials",
    scope: "any",
    summary: "Who the caller is",
    returns: WhoAmI,
  }),
  async (c) => c.json(await whoAmI(c.var.ctx), 200),
);

const ApiKey = z
  .object({
    id: z.uuid(),
    name: z.string(),
    kind: z.enum(["live", "pub", "admin"]),
    hint: z.string().openapi({ description: "The key's last four characters" }),
    enabled: z.boolean(),
    scopes: z.array(z.string()),
    addresses: z.array(z.string()),
    resources: z.array(z.object({ kind: z.string(), id: z.uuid() })),
    requestsPerMinute: z.int().nullable(),
    expiresAt: Moment.nullable(),
    revokedAt: Moment.nullable(),
    replacedBy: z.uuid().nullable(),
    lastUsedAt: Moment.nullable(),
    requests: z.int().openapi({ description: "How many it made so far, within a minute" }),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("ApiKey");
const NewApiKey = ApiKey.extend({
  secret: z.string().openapi({ description: "The key itself, shown this once" }),
}).openapi("NewApiKey");

const Cidr = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()])
  .refine(startsItsRange, "The address is not the first of its range, as in 192.0.2.0/24.")
  .openapi({ type: "string", description: "An IP address, or a range of them as in 192.0.2.0/24" });
const some = (kind: ResourceKind) => z.array(idOf(kind)).max(1000).optional();
const Resources = z.strictObject({
  user: some("user"),
  team: some("team"),
  channel: some("channel"),
  webhook: some("webhook"),
  inbox: some("inbox"),
} satisfies Record<ResourceKind, z.ZodType>);
const common = {
  addresses: z.array(Cidr).max(100).optional(),
  resources: Resources.optional(),
};
const KeyInput = z
  .strictObject({
    name: text(255, 1),
    kind: z.enum(["live", "pub"]).default("live"),
    scopes: z
      .array(z.enum(SCOPES))
      .min(1)
      .max(SCOPES.length)
      .default([...TENANT_SCOPES]),
    expiresAt: Instant.optional(),
    requestsPerMinute: z.int().min(1).max(1_000_000).optional(),
    ...common,
  })
  .refine((key) => !key.scopes.includes("deployment:admin"), {
    path: ["scopes"],
    message: "deployment:admin belongs to the deployment.",
  })
  .refine((key) => key.kind === "live" || key.scopes.every((scope) => PUBLISHABLE.includes(scope)), {
    path: ["scopes"],
    message: "A publishable key may have users:guest only.",
  });

const KeyPatch = z.strictObject({
  name: text(255, 1).optional(),
  enabled: z.boolean().optional(),
  scopes: z
    .array(z.enum([...TENANT_SCOPES, ...PUBLISHABLE]))
    .min(1)
    .max(SCOPES.length)
    .optional(),
  expiresAt: Instant.nullable().optional(),
  requestsPerMinute: z.int().min(1).max(1_000_000).nullable().optional(),
  ...common,
});

const keys = { tag: "Credentials", path: "/api-keys" } as const;
const key = { tag: "Credentials", path: "/api-keys/{id}", params: pathId("apiKey") } as const;

authRoutes.openapi(
  op({
    ...keys,
    id: "createApiKey",
    method: "post",
    scope: "keys:write",
    summary: "Create an API key; its text is shown once",
    body: KeyInput,
    returns: NewApiKey,
    status: 201,
  }),
  async (c) => c.json(await createKey(c.var.ctx, c.req.valid("json")), 201),
);
authRoutes.openapi(
  op({
    ...keys,
    id: "listApiKeys",
    method: "get",
    scope: "keys:read",
    summary: "List API keys",
    query: z.strictObject(PageQuery),
    returns: listOf(ApiKey),
  }),
  async (c) => c.json(await listKeys(c.var.ctx, c.req.valid("query")), 200),
);
authRoutes.openapi(
  op({ ...key, id: "getApiKey", method: "get", scope: "keys:read", summary: "Get an API key", returns: ApiKey }),
  async (c) => c.json(await getKey(c.var.ctx, c.req.valid("param").id), 200),
);
authRoutes.openapi(
  op({
    ...key,
    id: "updateApiKey",
    method: "patch",
    scope: "keys:write",
    summary: "Change, enable or disable an API key",
    body: KeyPatch,
    returns: ApiKey,
  }),
  async (c) => c.json(await updateKey(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
authRoutes.openapi(
  op({
    ...key,
    id: "revokeApiKey",
    method: "delete",
    scope: "keys:write",
    summary: "Revoke an API key at once",
    status: 204,
  }),
  async (c) => {
    await revokeKey(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
authRoutes.openapi(
  op({
    ...key,
    id: "rerollApiKey",
    method: "post",
    path: "/api-keys/{id}/reroll",
    scope: "keys:write",
    summary: "Replace an API key; the old one works on for the overlap",
    body: z.strictObject({ overlapSeconds: z.int().min(0).max(604_800).default(86_400) }),
    returns: NewApiKey,
    status: 201,
  }),
  async (c) => c.json(await rerollKey(c.var.ctx, c.req.valid("param").id, c.req.valid("json").overlapSeconds), 201),
);

const AuthKey = z
  .object({
    id: z.uuid().openapi({ description: "What a token's kid names" }),
    name: z.string(),
    algorithm: z.enum(ALGORITHMS),
    publicKeyPem: z.string().nullable(),
    jwk: z.record(z.string(), z.unknown()).nullable(),
    jwksUrl: z.string().nullable(),
    scopes: z.array(z.string()),
    revokedAt: Moment.nullable(),
    createdAt: Moment,
  })
  .openapi("AuthKey");

const AuthKeyInput = z
  .strictObject({
    name: text(255, 1),
    algorithm: z.enum(ALGORITHMS),
    scopes: z.array(z.enum(TENANT_SCOPES)).min(1).max(SCOPES.length),
    publicKeyPem: text(16_384).optional(),
    jwk: z.record(z.string(), z.unknown()).optional(),
    jwksUrl: text(2048).optional(),
  })
  .refine(
    (input) => [input.publicKeyPem, input.jwk, input.jwksUrl].filter((given) => given !== undefined).length === 1,
    {
      message: "Give exactly one of publicKeyPem, jwk and jwksUrl.",
    },
  );

const authKeys = { tag: "Credentials", path: "/auth-keys" } as const;
const authKey = { tag: "Credentials", path: "/auth-keys/{id}", params: pathId("authKey") } as const;

authRoutes.openapi(
  op({
    ...authKeys,
    id: "createAuthKey",
    method: "post",
    scope: "keys:write",
    summary: "Register a public key that your tokens are signed with",
    body: AuthKeyInput,
    returns: AuthKey,
    status: 201,
  }),
  async (c) => c.json(await createAuthKey(c.var.ctx, c.req.valid("json")), 201),
);
authRoutes.openapi(
  op({
    ...authKeys,
    id: "listAuthKeys",
    method: "get",
    scope: "keys:read",
    summary: "List public keys",
    query: z.strictObject(PageQuery),
    returns: listOf(AuthKey),
  }),
  async (c) => c.json(await listAuthKeys(c.var.ctx, c.req.valid("query")), 200),
);
authRoutes.openapi(
  op({
    ...authKey,
    id: "getAuthKey",
    method: "get",
    scope: "keys:read",
    summary: "Get a public key",
    returns: AuthKey,
  }),
  async (c) => c.json(await getAuthKey(c.var.ctx, c.req.valid("param").id), 200),
);
authRoutes.openapi(
  op({
    ...authKey,
    id: "revokeAuthKey",
    method: "delete",
    scope: "keys:write",
    summary: "Revoke a public key, and with it all tokens it signed",
    status: 204,
  }),
  async (c) => {
    await revokeAuthKey(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);

authRoutes.openapi(
  op({
    id: "revokeToken",
    method: "post",
    path: "/tokens/revoke",
    tag: "Credentials",
    scope: "tokens:write",
    summary: "Revoke one token by its jti",
    body: z.strictObject({ jti: text(255, 1), expiresAt: Instant.optional() }),
    status: 204,
  }),
  async (c) => {
    const { jti, expiresAt } = c.req.valid("json");
    await revokeToken(c.var.ctx, jti, expiresAt);
    return c.body(null, 204);
  },
);
