import { eq, type SQL, sql } from "drizzle-orm";
import { mustHold, mustOutrank } from "../auth/grants";
import { liveSockets } from "../auth/schema";
import { endingSockets } from "../auth/sockets";
import { ruleOf } from "../channels/access";
import { announce, RECORDED, recordedIn } from "../events/service";
import { candidatesByType } from "../events/subscribers";
import { currentTenant } from "../lib/columns";
import type { Context } from "../lib/context";
import { asTenant, db } from "../lib/db";
import { newId } from "../lib/ids";
import type { ShadowedPlace } from "../lib/objects";
import { found, own } from "../lib/rows";
import { messages } from "../messages/schema";
import { audit } from "../tenants/audit";
import { users } from "../users/schema";
import { type BanInput, tellShadows, watchedPlaces } from "./bans";
import { type Entry, selectEntries, shownEntry } from "./queue";
import { moderationQueue } from "./schema";

export type Verdict = {
  approve: boolean;
  deleteMessage?: boolean | undefined;
  ban?: (Omit<BanInput, "deleteMessagesSince"> & { everywhere?: boolean | undefined }) | undefined;
};

const TYPES = [
  "message.new",
  "message.updated",
  "message.deleted",
  "message.pending",
  "message.shadowed",
  "user.banned",
  "moderation.reviewed",
];

const reviewing = (ctx: Context, place: SQL, { approve, deleteMessage, ban }: Verdict) => {
  const ask = {
    approve,
    delete: deleteMessage ?? false,
    ban: ban && { id: newId(), ...ban },
    rule: ruleOf(ctx, "moderation.review"),
    banRule: ruleOf(ctx, "moderation.ban"),
    hooks: candidatesByType(ctx.snapshot, TYPES),
  };
  return db.select(RECORDED).from(sql`review(${place}, ${JSON.stringify(ask)}::jsonb)`);
};

/** A verdict on an entry of the queue, and what follows for the message and its writer, in one. */
export async function review(ctx: Context, id: string, verdict: Verdict): Promise<Entry> {
  const { ban } = verdict;
  const of = (column: "user_id" | "channel_id") =>
    sql`(select q.${sql.raw(column)} from moderation_queue q where q.tenant_id = current_tenant() and q.id = ${id}::uuid)`;
  if (ban?.everywhere) mustHold(ctx, ["moderation:write"]);
  const everywhere = sql`${liveSockets.userId} = ${of("user_id")}`;
  const inChannel = sql`${everywhere} and ${liveSockets.place} = 'channel' and ${liveSockets.placeId} = ${of("channel_id")}`;
  const ended = !ban || ban.shadow ? sql`false` : ban.everywhere ? everywhere : inChannel;
  const judged = eq(users.id, of("user_id"));
  const outranked = ban?.everywhere ? mustOutrank(ctx, sql`${users.tenantId} = ${currentTenant} and ${judged}`) : [];
  const batch = await endingSockets(ctx, { where: ban ? ended : null, code: "banned" }, [
    reviewing(ctx, sql`${id}::uuid`, verdict),
    audit(ctx, "moderation.reviewed", { type: "moderation_queue", id }, verdict),
    selectEntries().where(own(moderationQueue, id)),
    watchedPlaces(of("user_id")),
    ...outranked,
  ]);
  announce(ctx, recordedIn(batch));
  const entry = shownEntry(found(batch[2]));
  if (ban && entry.userId) tellShadows(ctx, entry.userId, batch[3] as ShadowedPlace[]);
  return entry;
}

/** The same for a message that waits: approved, it appears as if it were sent now; rejected, it stays its writer's alone. */
export async function reviewMessage(ctx: Context, id: string, approve: boolean): Promise<Record<string, unknown>> {
  const batch = await asTenant(ctx, [
    reviewing(ctx, sql`queue_entry_of(${id}::uuid)`, { approve }),
    audit(ctx, "moderation.reviewed", { type: "message", id }, { approve }),
    db
      .select({ message: sql<Record<string, unknown>>`message_json(messages, current_user_id())`.as("message") })
      .from(messages)
      .where(own(messages, id)),
  ]);
  announce(ctx, recordedIn(batch));
  return found(batch[2]).message;
}
