import type { Context } from "../lib/context";
import { equalBytes, fromBase64Url, hkdf, hmac, masterSecrets, newestMaster, toBase64Url, utf8 } from "../lib/crypto";
import { asTenant } from "../lib/db";
import { ApiError } from "../lib/errors";
import { mustExist } from "../lib/rows";
import { audit } from "../tenants/audit";
import { webhooks } from "./schema";

export const PORTAL_EDITS = ["url", "events", "secret"] as const;
export type PortalEdit = (typeof PORTAL_EDITS)[number];

/** What a link opens: one endpoint of one tenant, until then; and what may be changed of it. */
export type PortalPass = { tenantId: string; webhookId: string; expiresAt: number; allow: PortalEdit[] };

const LIFETIME_MS = 3_600_000;

const signingKey = (master: Uint8Array<ArrayBuffer>) => hkdf(master, "", "portal links");

/** The link itself is the credential: whoever has it sees this endpoint's deliveries for an hour. */
export async function createPortalLink(ctx: Context, webhookId: string, allow: PortalEdit[]) {
  await asTenant(ctx, [
    mustExist(webhooks, webhookId),
    audit(ctx, "webhook.portal_opened", { type: "webhook", id: webhookId }, { allow }),
  ]);
  const { version, secret } = newestMaster(ctx.env);
  const expiresAt = Date.now() + LIFETIME_MS;
  const pass = toBase64Url(utf8(JSON.stringify([version, ctx.tenantId, webhookId, expiresAt, allow])));
  const signature = toBase64Url(await hmac(await signingKey(secret), pass));
  return { url: `${ctx.env.DEPLOYMENT_URL}/portal/${pass}.${signature}`, expiresAt: new Date(expiresAt).toISOString() };
}

export async function readPortalPass(env: Env, token: string): Promise<PortalPass> {
  const [pass = "", signature = ""] = token.split(".");
  const refused = new ApiError("not_found", "This link is not valid. Ask for a new one.");
  try {
    const [version, tenantId, webhookId, expiresAt, allow = []] = JSON.parse(
      new TextDecoder().decode(fromBase64Url(pass)),
    );
    const master = masterSecrets(env).get(version);
    if (!master || !equalBytes(await hmac(await signingKey(master), pass), fromBase64Url(signature))) throw refused;
    if (expiresAt < Date.now()) throw new ApiError("link_expired", "This link has expired. Ask for a new one.");
    return { tenantId, webhookId, expiresAt, allow };
  } catch (error) {
    throw error instanceof ApiError ? error : refused;
  }
}
