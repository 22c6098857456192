import { type SQL, sql } from "drizzle-orm";
import { db } from "../lib/db";
import { own } from "../lib/rows";
import { messages } from "../messages/schema";

/** Of a change to a message: that it is one for everybody who sees the message. */
export const openly: SQL = sql`not is_private_change(messages)`;

/** What a shadow-banned user changes of a message is kept beside it, for them alone; any other change ends such a version. */
export const changePrivately = (id: string, patch: SQL) => [
  db.execute(sql`insert into message_shadows as s (tenant_id, message_id, user_id, patch)
    select tenant_id, id, current_user_id(), ${patch} from ${messages} where ${own(messages, id)} and is_private_change(messages)
    on conflict (tenant_id, message_id, user_id) do update set patch = s.patch || excluded.patch`),
  db.execute(sql`delete from message_shadows s using ${messages} where ${own(messages, id)} and s.tenant_id = ${messages.tenantId}
    and s.message_id = ${messages.id} and s.user_id = current_user_id() and ${openly}`),
];
