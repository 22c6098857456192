import { type SQL, sql } from "drizzle-orm";
import { own, shown } from "../lib/rows";
import { users } from "../users/schema";
import { files } from "./schema";

const { uploadId: _, ...columns } = shown(files);

/** What the API shows of a file. */
export const shownFile = columns;

/** A user reaches what they uploaded themselves; an operator, or a key that acts for nobody, all of the tenant's. */
export const reachable: SQL = sql`(current_user_id() is null or ${files.createdBy} = current_user_id()
  or exists (select 1 from ${users} where ${users.tenantId} = current_tenant() and ${users.id} = current_user_id() and ${users.role} is not null))`;

export const ownFile = (id: string, ...more: (SQL | undefined)[]): SQL => own(files, id, reachable, ...more);
