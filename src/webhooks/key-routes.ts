import { feature, op } from "../lib/route";
import { anotherId, Moment, pathId, z } from "../lib/validate";
import { makeSigningKey, publicKeys, rotateSecret } from "./keys";

/** What deliveries are signed with. */
export const webhookKeyRoutes = feature();
export const publicKeyRoutes = feature();

const webhook = { tag: "Webhooks", params: pathId("webhook"), scope: "webhooks:write", method: "post" } as const;
const Overlap = z.strictObject({ overlapSeconds: z.int().min(0).max(604_800).default(86_400) });

webhookKeyRoutes.openapi(
  op({
    ...webhook,
    id: "rotateWebhookSecret",
    path: "/webhooks/{id}/rotate-secret",
    summary: "Make a new secret; the old one signs too until the overlap is over",
    body: Overlap,
    returns: z.object({
      secret: z.string().openapi({ description: "whsec_…, shown this once" }),
      id: z.uuid(),
      createdAt: Moment,
    }),
    status: 201,
  }),
  async (c) => c.json(await rotateSecret(c.var.ctx, c.req.valid("param").id, c.req.valid("json").overlapSeconds), 201),
);
webhookKeyRoutes.openapi(
  op({
    ...webhook,
    id: "makeSigningKey",
    path: "/webhooks/{id}/signing-key",
    summary: "Sign with a new Ed25519 key too (v1a); the one before signs until the overlap is over",
    body: Overlap,
    returns: z.object({
      id: z.uuid(),
      publicKey: z.string().openapi({ description: "whpk_…" }),
      keysUrl: z.string().openapi({ description: "Where the public keys can be read without a credential" }),
      createdAt: Moment,
    }),
    status: 201,
  }),
  async (c) =>
    c.json(await makeSigningKey(c.var.ctx, c.req.valid("param").id, c.req.valid("json").overlapSeconds), 201),
);

const PublicKey = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  kid: z.uuid(),
  alg: z.literal("EdDSA"),
  use: z.literal("sig"),
  publicKey: z.string().openapi({ description: "The same as whpk_…" }),
});
publicKeyRoutes.openapi(
  op({
    id: "listPublicKeys",
    method: "get",
    path: "/.well-known/webhooks/{tenantId}/{webhookId}",
    tag: "Webhooks",
    scope: "public",
    summary: "The public keys of an endpoint's v1a signatures, as a JWKS",
    params: z.strictObject({
      tenantId: anotherId("tenant", "tenantId"),
      webhookId: anotherId("webhook", "webhookId"),
    }),
    returns: z.object({ keys: z.array(PublicKey) }),
  }),
  async (c) => {
    const { tenantId, webhookId } = c.req.valid("param");
    c.header("Cache-Control", "public, max-age=300");
    return c.json({ keys: await publicKeys(c.env, tenantId, webhookId) }, 200);
  },
);
