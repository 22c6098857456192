import type { Context } from "./context";
import { isClientScope, rolesWith } from "./scopes";

/** What `door.enter` checks: the facts that a cached snapshot cannot vouch for. */
export function enterCredential(ctx: Context): Record<string, unknown> {
  const { actor, tenantId, snapshot, scope } = ctx;
  const credential: Record<string, unknown> = { kind: actor.kind, tenant: tenantId };
  if (snapshot) credential.version = snapshot.version;
  if (ctx.blockVersion !== undefined) credential.blockVersion = ctx.blockVersion;
  if (actor.user && "id" in actor.user) credential.user = actor.user.id;
  if (actor.kind === "system") return credential;
  if (actor.user && !ctx.reads) credential.writes = true;
  if (actor.user && "externalId" in actor.user) credential.external = actor.user.externalId;
  if (actor.kind === "key") return { ...credential, id: actor.key.id };
  if (actor.jti) credential.jti = actor.jti;
  credential.iat = actor.issuedAt;
  if (actor.user && !isClientScope(scope)) Object.assign(credential, { scope, roles: rolesWith(scope) });
  return actor.kind === "token" ? { ...credential, id: actor.authKeyId } : credential;
}
