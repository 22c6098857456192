import { neon, neonConfig } from "@neondatabase/serverless";
import { inject } from "vitest";
import "./provided";

/** What no tenant may do: move time, look behind the wall. Runs one statement as the database's owner. */
export async function asOwner<Row = Record<string, unknown>>(query: string, params: unknown[] = []): Promise<Row[]> {
  neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
  const sql = neon(inject("ownerDatabaseUrl"));
  return (await sql.query(query, params)) as Row[];
}

/** How often the Worker has called the database since the run began. */
export async function databaseCalls(): Promise<number> {
  const response = await fetch(`${inject("bridgeUrl")}/calls`);
  return ((await response.json()) as { calls: number }).calls;
}
