import { type SQL, sql } from "drizzle-orm";
import type { BatchItem, BatchResponse } from "drizzle-orm/batch";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { endSockets, type SocketPlace } from "../lib/objects";
import { liveSockets } from "./schema";

const lock = () => db.execute(sql`select lock_sockets(true)`);

const ended = (where: SQL) =>
  db
    .delete(liveSockets)
    .where(sql`${liveSockets.tenantId} = current_tenant() and (${where})`)
    .returning({ id: liveSockets.id, place: liveSockets.place, placeId: liveSockets.placeId });

/** A batch that ends sockets, if there is a condition. None is let in beside it: whoever comes later is judged by what it wrote. */
export async function endingSockets<U extends BatchItem<"pg">, T extends Readonly<[U, ...U[]]>>(
  ctx: Context,
  { where, code }: { where: SQL | null; code: string },
  queries: T,
): Promise<BatchResponse<T>> {
  if (!where) return asTenant(ctx, queries);
  const [, places, ...results] = await asTenant(ctx, [lock(), ended(where), ...queries] as const);
  tellEnded(ctx, ctx.tenantId, places as SocketPlace[], code);
  return results as never;
}

/** For a batch that changes who may see what: locked before its writes, ended behind them, by what they leave. */
export const judgingSockets = (where: SQL) => ({ lock: lock(), ended: ended(where) });

/** All of the tenant that the batch works for at this point. */
export const endAllSockets = () => [lock(), ended(sql`true`)] as const;

export function tellEnded(
  { env, waitUntil }: Context,
  tenantId: string,
  places: readonly SocketPlace[],
  code: string,
): void {
  if (places.length > 0) waitUntil(endSockets(env, tenantId, places, code));
}

export const socketsOfUser = (userId: string): SQL => sql`${liveSockets.userId} = ${userId}::uuid`;
export const socketsOfKey = (keyId: string): SQL => sql`${liveSockets.keyId} = ${keyId}::uuid`;
export const socketsOfToken = (jti: string): SQL => sql`${liveSockets.jti} = ${jti}`;
/** Which channels a user sees follows from their teams. */
export const socketsInChannels = (userId: string): SQL =>
  sql`${liveSockets.userId} = ${userId}::uuid and ${liveSockets.place} = 'channel'`;
