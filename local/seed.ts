import { createHash, randomBytes } from "node:crypto";
import { newApiKey, newId } from "../src/lib/ids.ts";
import { TENANT_SCOPES } from "../src/lib/scopes.ts";
import { queryRows } from "./migrate.ts";
import type { Session } from "./session.ts";

export type Keys = { adminKey: string; demoKey: string };

const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";

/** The deployment's admin key, and a tenant to try things with. Keys that exist already are left as they are. */
export async function seed(owner: Session, known: Partial<Keys> = {}): Promise<Keys> {
  const adminKey = known.adminKey ?? newApiKey("admin", randomBytes(64));
  const demoKey = known.demoKey ?? newApiKey("live", randomBytes(64));
  if (!(await hasKey(owner, adminKey)))
    await insertKey(owner, {
      tenant: DEPLOYMENT,
      key: adminKey,
      kind: "admin",
      name: "Local admin",
      scopes: ["deployment:admin", "keys:read", "keys:write", "audit:read", "jobs:read", "jobs:write"],
    });
  if (!(await hasKey(owner, demoKey))) {
    const tenant = newId();
    await queryRows(owner, "insert into tenants (id, name) values ($1, 'Demo')", [tenant]);
    await insertKey(owner, { tenant, key: demoKey, kind: "live", name: "Demo", scopes: TENANT_SCOPES });
    for (const [externalId, name] of [
      ["ada", "Ada Lovelace"],
      ["grace", "Grace Hopper"],
    ] as const)
      await queryRows(owner, "insert into users (tenant_id, id, external_id, display_name) values ($1, $2, $3, $4)", [
        tenant,
        newId(),
        externalId,
        name,
      ]);
    await insertInbox(owner, tenant);
  }
  return { adminKey, demoKey };
}

/** At a domain that no resolver knows, and that need not be proven here. */
async function insertInbox(owner: Session, tenant: string): Promise<void> {
  const domain = newId();
  const made = await queryRows(
    owner,
    "insert into domains (tenant_id, id, name, status) values ($1, $2, 'demo.test', 'verified') on conflict do nothing returning id",
    [tenant, domain],
  );
  if (made.length > 0)
    await queryRows(
      owner,
      "insert into inboxes (tenant_id, id, domain_id, local_part, name) values ($1, $2, $3, 'hello', 'Demo')",
      [tenant, newId(), domain],
    );
}

const hashOf = (key: string) => `\\x${createHash("sha256").update(key).digest("hex")}`;

async function hasKey(owner: Session, key: string): Promise<boolean> {
  return (await queryRows(owner, "select from api_keys where hash = $1", [hashOf(key)])).length > 0;
}

type NewKey = { tenant: string; key: string; kind: string; name: string; scopes: readonly string[] };

async function insertKey(owner: Session, { tenant, key, kind, name, scopes }: NewKey): Promise<void> {
  const id = newId();
  await queryRows(
    owner,
    "insert into api_keys (tenant_id, id, name, kind, hash, hint) values ($1, $2, $3, $4, $5, $6)",
    [tenant, id, name, kind, hashOf(key), key.slice(-4)],
  );
  for (const scope of scopes)
    await queryRows(owner, "insert into api_key_scopes (tenant_id, key_id, scope) values ($1, $2, $3)", [
      tenant,
      id,
      scope,
    ]);
}
