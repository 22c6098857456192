import { type Schema, Validator } from "@cfworker/json-schema";
import { channels } from "../channels/schema";
import type { Context } from "../lib/context";
import { asTenant } from "../lib/db";
import { SnapshotError } from "../lib/errors";
import { spend } from "../lib/quota";
import { found, mustExist } from "../lib/rows";
import { users } from "../users/schema";
import { announce, recordCustomEvents } from "./service";

export type CustomEventInput = {
  type: `custom.${string}`;
  data: unknown;
  channelId?: string | undefined;
  userId?: string | undefined;
};

const MOST_BYTES = 65_536;

/** An event of the tenant's own making, in the stream its type was registered for. */
export async function sendCustomEvent(ctx: Context, { type, data, channelId, userId }: CustomEventInput) {
  const refused = (path: string, message: string) =>
    new SnapshotError("invalid_request", undefined, { errors: [{ path, message }] });
  const registered = ctx.snapshot?.customTypes.find((custom) => custom.name === type);
  if (!registered) throw refused("type", "Register this type first: PUT /v1/event-types/{name}.");
  const places = { channel: channelId, user: userId, tenant: ctx.tenantId };
  const id = places[registered.stream];
  if (id === undefined)
    throw refused(`${registered.stream}Id`, `Events of this type belong to a ${registered.stream}.`);
  if (registered.stream !== "channel" && channelId !== undefined)
    throw refused("channelId", "Events of this type belong to no channel.");
  if (registered.stream !== "user" && userId !== undefined)
    throw refused("userId", "Events of this type belong to no user.");
  if (JSON.stringify(data).length > MOST_BYTES) throw refused("data", "It may take 64 KiB as JSON.");
  const { valid, errors } = new Validator(registered.schema as Schema, "2020-12", false).validate(data);
  if (!valid) {
    throw new SnapshotError("invalid_request", "data does not fit the type's JSON Schema.", {
      errors: errors.slice(0, 20).map(({ instanceLocation, error }) => ({
        path: `data${instanceLocation.slice(1).replaceAll("/", ".")}`,
        message: error,
      })),
    });
  }
  await spend(ctx, "events", 1);
  const exists =
    registered.stream === "channel"
      ? [mustExist(channels, id)]
      : registered.stream === "user"
        ? [mustExist(users, id)]
        : [];
  const event = { type, stream: { kind: registered.stream, id }, data };
  const results = await asTenant(ctx, [...exists, recordCustomEvents(ctx, [event])] as [
    ReturnType<typeof recordCustomEvents>,
  ]);
  const recorded = results.at(-1) as (typeof results)[0];
  announce(ctx, recorded);
  const { deliveries: _, ...shown } = found(recorded);
  return {
    id: shown.id,
    type: shown.type,
    stream: { kind: shown.streamKind, id: shown.streamId },
    seq: shown.seq,
    data,
    createdAt: shown.createdAt,
  };
}
