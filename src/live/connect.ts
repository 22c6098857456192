import { sql } from "drizzle-orm";
import { ruleOf } from "../channels/access";
import { selectUnreadTotals, type UnreadTotals } from "../channels/reads";
import { callerAddress } from "../lib/addresses";
import { type Actor, type Context, systemContext } from "../lib/context";
import { enterCredential } from "../lib/credential";
import { asTenant, db } from "../lib/db";
import { ApiError } from "../lib/errors";
import { newId } from "../lib/ids";
import { channelObject, userObject } from "../lib/objects";
import { found } from "../lib/rows";
import { ADMITTED, type Admitted, type Presence } from "./protocol";

type Wish = {
  channelId?: string;
  deviceId?: string | undefined;
  presence?: Presence | undefined;
  after?: number | undefined;
  ticket?: string | undefined;
};

/** Lets the user in, in one batch with the row by which every end of the credential finds the socket; then hands it over. */
export async function connectSocket(
  ctx: Context,
  request: Request,
  { channelId, deviceId, presence, after, ticket }: Wish,
): Promise<Response> {
  if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket")
    throw new ApiError("malformed_header", "Ask for a WebSocket: Upgrade: websocket.");
  const { actor, env, tenantId } = ctx;
  const row = {
    id: newId(),
    place: channelId ? "channel" : "user",
    placeId: channelId,
    deviceId,
    keyId: actor.kind === "key" ? actor.key.id : actor.kind === "token" ? actor.authKeyId : undefined,
    jti: "jti" in actor ? actor.jti : undefined,
    until: "expiresAt" in actor && actor.expiresAt ? new Date(actor.expiresAt * 1000).toISOString() : undefined,
    ticket,
    may: ruleOf(ctx, "message.send"),
  };
  const [rows, totals] = await asTenant(ctx, [
    db
      .select({ opened: sql<Opened>`opened`.as("opened") })
      .from(sql`open_socket(${JSON.stringify(enterCredential(ctx))}::jsonb, ${JSON.stringify(row)}::jsonb) opened`),
    ...(channelId === undefined ? [selectUnreadTotals()] : []),
  ]);
  const { opened } = found(rows);
  const unread = totals?.[0] as UnreadTotals | undefined;
  const admitted: Admitted = {
    ...opened,
    presence,
    unread,
    actor: asUser(actor, opened.userId),
    ip: callerAddress(request.headers),
    after: after ?? null,
  };
  const object = channelId ? channelObject(env, tenantId, channelId) : userObject(env, tenantId, opened.userId);
  const answer = await object.fetch("http://object/", {
    headers: { Upgrade: "websocket", [ADMITTED]: JSON.stringify(admitted) },
  });
  return new Response(null, { status: 101, webSocket: answer.webSocket });
}

type Opened = Omit<Admitted, "actor" | "ip" | "after" | "presence" | "unread">;

/** What a socket keeps of its credential: enough to be judged by, with the user it acts for named by id. */
function asUser(actor: Actor, userId: string): Actor {
  if (actor.kind === "key") return { ...actor, key: { ...actor.key, addresses: [] }, user: { id: userId } };
  return actor;
}

export async function forgetSockets(env: Env, tenantId: string, ids: readonly string[]): Promise<void> {
  await asTenant(
    systemContext(env, tenantId, () => undefined),
    [
      db.execute(
        sql`delete from live_sockets where tenant_id = current_tenant() and id in (select value::uuid from jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))`,
      ),
    ],
  );
}
