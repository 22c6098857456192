import { z } from "@hono/zod-openapi";
import { CATALOGUE, type EventKind } from "../src/events/catalogue.ts";
import { queryRows } from "./migrate.ts";
import type { Session } from "./session.ts";

const DEPLOYMENT = "00000000-0000-0000-0000-000000000000";

/** The catalogue as rows of the deployment's, for whoever asks the database; one that is gone from it is kept inactive. */
export async function storeEventTypes(owner: Session): Promise<void> {
  const rows = Object.entries(CATALOGUE as Record<string, EventKind>).map(([name, kind]) => ({
    ...kind,
    name,
    data: undefined,
    schema: z.toJSONSchema(kind.data, { unrepresentable: "any" }),
  }));
  await queryRows(owner, STORE, [DEPLOYMENT, JSON.stringify(rows)]);
  await queryRows(owner, RETIRE, [DEPLOYMENT, JSON.stringify(rows.map(({ name }) => name))]);
}

const STORE = `
insert into webhook_event_types as e (tenant_id, name, category, description, version, durable, stream, schema, active)
  select $1::uuid, name, category, description, version, durable, stream, schema, active
    from jsonb_to_recordset($2::jsonb) r(name text, category text, description text, version int, durable boolean, stream text, schema jsonb, active boolean)
  on conflict (tenant_id, name) do update set (category, description, version, durable, stream, schema, active)
    = (excluded.category, excluded.description, excluded.version, excluded.durable, excluded.stream, excluded.schema, excluded.active)
   where (e.category, e.description, e.version, e.durable, e.stream, e.schema, e.active)
     is distinct from (excluded.category, excluded.description, excluded.version, excluded.durable, excluded.stream, excluded.schema, excluded.active)`;

const RETIRE = `
update webhook_event_types set active = false
 where tenant_id = $1::uuid and active and not $2::jsonb ? name`;
