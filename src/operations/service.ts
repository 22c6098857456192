import { sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";

type Size = { table: string; rows: number; bytes: number };

export async function sizes(ctx: Context): Promise<Size[]> {
  const [result] = await asTenant(ctx, [
    db.execute<Size>(sql`select c.relname as table, greatest(c.reltuples, 0)::float8 as rows, pg_total_relation_size(c.oid)::float8 as bytes
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and c.relkind = 'r' order by bytes desc, c.relname`),
  ]);
  return result.rows;
}
