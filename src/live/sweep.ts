import { askDoor } from "../lib/db";
import { objectAt, type SocketPlace } from "../lib/objects";

const MOST = 5_000;
const AT_ONCE = 100;

type Live = { tenantId: string; lastSeq: number } & Pick<SocketPlace, "place" | "placeId">;

/** Each minute: objects with sockets learn the newest number of their stream, in case a Worker died before it told them. */
export async function tellLiveSockets(env: Env): Promise<void> {
  const row = await askDoor<{ places: Live[] | null }>(
    env,
    `select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'place', place, 'placeId', place_id, 'lastSeq', last_seq)) as places
       from door.live_places($1)`,
    [MOST],
  );
  const places = row?.places ?? [];
  for (let i = 0; i < places.length; i += AT_ONCE)
    await Promise.allSettled(
      places
        .slice(i, i + AT_ONCE)
        .map(({ tenantId, place, placeId, lastSeq }) => objectAt(env, tenantId, place, placeId).know(lastSeq)),
    );
}
