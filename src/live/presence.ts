import { sql } from "drizzle-orm";
import { systemContext } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { channelObject } from "../lib/objects";
import type { Presence } from "./protocol";

const MOST_CHANNELS = 500;

/** What is said of a device on the user's own socket holds in every channel that it watches. */
export async function setPresence(
  env: Env,
  tenantId: string,
  userId: string,
  deviceId: string | null,
  presence: Presence,
): Promise<void> {
  const [places] = await asTenant(
    systemContext(env, tenantId, () => undefined),
    [
      db
        .selectDistinct({ id: sql<string>`place_id`.as("place_id") })
        .from(sql`live_sockets`)
        .where(
          sql`tenant_id = current_tenant() and user_id = ${userId}::uuid and place = 'channel' and until > now() and device_id is not distinct from ${deviceId}`,
        )
        .limit(MOST_CHANNELS),
    ],
  );
  await Promise.allSettled(
    places.map(({ id }) => channelObject(env, tenantId, id).setPresence(userId, deviceId, presence)),
  );
}
