import { createHash, randomBytes } from "node:crypto";
import { newApiKey, newId } from "../src/lib/ids.ts";
import { queryRows } from "./migrate.ts";
import type { Session } from "./session.ts";

const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";
const ADMIN_SCOPES = ["deployment:admin", "keys:read", "keys:write", "audit:read", "jobs:read", "jobs:write"];

async function isMade(owner: Session): Promise<boolean> {
  const [row] = await queryRows(owner, "select to_regclass('public.tenants') is not null as made");
  return row!.made === "t";
}

/** Whether a tenant lives here: then what its data was sealed and signed with must not be made anew. */
export async function isInUse(owner: Session): Promise<boolean> {
  if (!(await isMade(owner))) return false;
  return (await queryRows(owner, "select from tenants where id <> $1 limit 1", [DEPLOYMENT])).length > 0;
}

/** Other databases of this server that know the Worker's role, and the Worker that was deployed on this one. */
export async function usesOfAppRole(owner: Session): Promise<string[]> {
  const others = await queryRows(
    owner,
    `select distinct d.datname as name from pg_shdepend s join pg_roles r on r.oid = s.refobjid and s.refclassid = 'pg_authid'::regclass
       join pg_database d on d.oid = s.dbid where r.rolname = 'parley_app' and d.datname <> current_database() order by 1`,
  );
  const url = await rememberedUrl(owner);
  return [...others.map(({ name }) => `the database ${name}`), ...(url === undefined ? [] : [`the Worker at ${url}`])];
}

/** Where this deployment answers: said once, kept with it. */
export async function rememberedUrl(owner: Session): Promise<string | undefined> {
  if (!(await isMade(owner))) return undefined;
  const rows = await queryRows(owner, "select metadata ->> 'deploymentUrl' as url from tenants where id = $1", [
    DEPLOYMENT,
  ]);
  return rows[0]?.url ?? undefined;
}

export async function rememberUrl(owner: Session, url: string): Promise<void> {
  await queryRows(
    owner,
    "update tenants set metadata = metadata || jsonb_build_object('deploymentUrl', $2::text) where id = $1",
    [DEPLOYMENT, url],
  );
}

/** The key's text where it was made just now; only its hash is kept. */
export async function ensureAdminKey(owner: Session): Promise<string | null> {
  const known = await queryRows(
    owner,
    "select from api_keys where tenant_id = $1 and kind = 'admin' and enabled and coalesce(revoked_at > now(), true) and coalesce(expires_at > now(), true)",
    [DEPLOYMENT],
  );
  if (known.length) return null;
  const key = newApiKey("admin", randomBytes(64));
  const hash = createHash("sha256").update(key).digest("hex");
  await queryRows(
    owner,
    `with made as (
       insert into api_keys (tenant_id, id, name, kind, hash, hint)
       values ($1, $2, 'First admin key', 'admin', decode($3, 'hex'), $4) returning tenant_id, id)
     insert into api_key_scopes (tenant_id, key_id, scope) select made.*, unnest($5::text[]) from made`,
    [DEPLOYMENT, newId(), hash, key.slice(-4), `{${ADMIN_SCOPES.join(",")}}`],
  );
  return key;
}
