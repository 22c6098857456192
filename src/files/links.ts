import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { equalBytes, fromBase64Url, hkdf, hmac, masterSecrets, newestMaster, toBase64Url } from "../lib/crypto";
import { asTenant, db, refuseUnless } from "../lib/db";
import { ApiError } from "../lib/errors";
import { found } from "../lib/rows";
import { ownFile } from "./own";
import { files } from "./schema";
import type { Disposition } from "./types";

export const MOST_LINK_SECONDS = 604_800;

/** Whom and what a link lets in: signed, so that a download needs no database. */
export type Link = { tenantId: string; id: string; disposition: Disposition; expires: number };

const SIGNATURE = /^(\w+)\.([0-9a-f-]{36})\.([\w-]{43})$/;

async function mac(secret: Uint8Array<ArrayBuffer>, { tenantId, id, disposition, expires }: Link) {
  return hmac(await hkdf(secret, tenantId, "file links"), [id, disposition, expires].join("\n"));
}

/** `expires` in seconds since 1970. For whoever shows a file to those who may see what it is attached to. */
export async function signedLink(env: Env, link: Link): Promise<string> {
  const { version, secret } = newestMaster(env);
  const { tenantId, id, disposition, expires } = link;
  const signature = `${version}.${tenantId}.${toBase64Url(await mac(secret, link))}`;
  const query = new URLSearchParams({ disposition, expires: String(expires), signature });
  return `${env.DEPLOYMENT_URL}/v1/files/${id}/content?${query}`;
}

/** The tenant that this signature was made for, with the very link it stands in. */
export async function tenantOfLink(env: Env, link: Omit<Link, "tenantId">, signature: string): Promise<string> {
  const [, version, tenantId, bytes] = SIGNATURE.exec(signature) ?? [];
  const secret = masterSecrets(env).get(version ?? "");
  if (!secret || !equalBytes(await mac(secret, { ...link, tenantId: tenantId! }), fromBase64Url(bytes!))) {
    throw new ApiError("token_invalid", "The signature of this link does not hold.");
  }
  if (link.expires * 1000 <= Date.now()) throw new ApiError("token_expired", "This link has expired.");
  return tenantId!;
}

export async function createLink(ctx: Context, id: string, disposition: Disposition, seconds: number) {
  const [rows] = await asTenant(ctx, [
    db
      .select({ status: files.status, now: sql<number>`floor(extract(epoch from now()))`.mapWith(Number) })
      .from(files)
      .where(ownFile(id)),
    refuseUnless(
      sql`not exists (select 1 from ${files} where ${ownFile(id)} and ${files.status} <> 'completed')`,
      "conflict",
    ),
  ]);
  const expires = found(rows).now + seconds;
  const url = await signedLink(ctx.env, { tenantId: ctx.tenantId, id, disposition, expires });
  return { url, expiresAt: new Date(expires * 1000).toISOString() };
}
