import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { found } from "../lib/rows";
import { tenants } from "../tenants/schema";

/** The caller as Parley sees it: for a first request, and for finding out why another one is refused. */
export async function whoAmI(ctx: Context) {
  const { actor } = ctx;
  const [rows] = await asTenant(ctx, [
    db
      .select({ name: tenants.name, userId: sql<string | null>`current_user_id()` })
      .from(tenants)
      .where(sql`id = current_tenant()`),
  ]);
  const { name, userId } = found(rows);
  return {
    tenantId: ctx.tenantId,
    tenantName: name,
    credential: actor.kind,
    keyId: actor.kind === "key" ? actor.key.id : actor.kind === "token" ? actor.authKeyId : null,
    userId,
    scopes: actor.kind === "key" ? actor.key.scopes : actor.kind === "token" ? actor.scopes : null,
  };
}
