/** One durable event on its way to sockets; `payload` is the text that webhooks get too. */
export type Frame = {
  stream: { kind: "channel" | "user" | "tenant"; id: string };
  seq: number;
  type: string;
  payload: string;
  /** Shown to this user alone. */
  audience: string | null;
};

/** Sockets by their rows in live_sockets: objects remember the ids for a minute, for those that arrive late. */
export type Ended = { ids: string[]; code: string };
export type SocketPlace = { place: "channel" | "user"; placeId: string; id: string };

export const channelObject = (env: Env, tenantId: string, id: string) => env.CHANNEL.getByName(`${tenantId}:${id}`);
export const userObject = (env: Env, tenantId: string, id: string) => env.USER.getByName(`${tenantId}:${id}`);

export const objectAt = (env: Env, tenantId: string, place: SocketPlace["place"], id: string) =>
  place === "channel" ? channelObject(env, tenantId, id) : userObject(env, tenantId, id);

/** Tells each stream's object. After the commit, and a mere speed-up: the objects find what they miss. */
export async function publish(env: Env, tenantId: string, frames: readonly Frame[]): Promise<void> {
  const streams = Map.groupBy(frames, ({ stream }) => `${stream.kind} ${stream.id}`);
  await Promise.allSettled(
    [...streams.values()].map((own) => {
      const { kind, id } = own[0]!.stream;
      if (kind === "channel") return channelObject(env, tenantId, id).publish(own);
      return kind === "user" ? userObject(env, tenantId, id).publish(own) : undefined;
    }),
  );
}

/** Closes sockets whose rows were found by the verb that ends them. */
export async function endSockets(
  env: Env,
  tenantId: string,
  places: readonly SocketPlace[],
  code: string,
): Promise<void> {
  const objects = Map.groupBy(places, ({ place, placeId }) => `${place} ${placeId}`);
  await Promise.allSettled(
    [...objects.values()].map((own) => {
      const { place, placeId } = own[0]!;
      return objectAt(env, tenantId, place, placeId).end({ ids: own.map(({ id }) => id), code });
    }),
  );
}

export type ShadowedPlace = { channelId: string; until: number | null };

/** What a user types is to be shown to them alone, or no longer, where they watch. */
export async function shadowTyping(
  env: Env,
  tenantId: string,
  userId: string,
  places: readonly ShadowedPlace[],
): Promise<void> {
  await Promise.allSettled(
    places.map(({ channelId, until }) => channelObject(env, tenantId, channelId).shadow(userId, until)),
  );
}

/** What a user cleared of a channel's history is to be shown to them no more, where they watch. */
export async function beginHistory(env: Env, tenantId: string, channelId: string, userId: string, behind: number) {
  await channelObject(env, tenantId, channelId)
    .beginHistory(userId, behind)
    .catch(() => {});
}
