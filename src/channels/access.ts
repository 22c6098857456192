import { type SQL, sql } from "drizzle-orm";
import type { Context } from "../lib/context";
import { db } from "../lib/db";
import { standingsWith, type Verb } from "./permissions";

/** A rule of the permission table, and what channel types put in its place. */
export const ruleOf = (ctx: Context, verb: Verb) => ({
  standings: standingsWith(verb),
  replaced: Object.fromEntries(
    (ctx.snapshot?.channelTypes ?? []).flatMap(({ name, permissions }) =>
      permissions[verb] ? [[name, permissions[verb]]] : [],
    ),
  ),
});

/** Ends the batch with 404 where the acting user does not see the channel, with 403 where they may not do this in it. */
export function mustBeAllowed(ctx: Context, channelId: string, verb: Verb) {
  const { standings, replaced } = ruleOf(ctx, verb);
  return db.execute(sql`select must_be_allowed(${channelId}::uuid, array(select jsonb_array_elements_text(${JSON.stringify(standings)}::jsonb)),
    ${JSON.stringify(replaced)}::jsonb)`);
}

/** Known before the database is asked, so that a list of a user's own is planned as one. */
export const actsForUser = ({ actor }: Context): boolean => actor.kind !== "system" && actor.user !== undefined;

/** As a condition of a list: channels in the eyes of the acting user, all of them to a server. */
export const seen: SQL = sql`(select s.sees from seeing(channels, current_user_id()) s)`;

/** Reading: members, and anybody where the channel is public; the banned not at all. */
export const mustSee = (channelId: string) => db.execute(sql`select must_see(${channelId}::uuid)`);
