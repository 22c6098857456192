import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import type { Answer, Any } from "../helpers";
import { asOwner } from "../setup/owner";
import type { Act, Turn } from "./steps";
import { MODERATOR, mayWatch, type Saying, type World } from "./world";

const EMOJI = ["👍", "🎉", "👀"];

/** A refusal is an answer too: others may have been faster. A fault is none. */
function answered(world: World, user: number, answer: Answer<Any>): Answer<Any> {
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
  world.heard.push({ user, text: JSON.stringify(answer.body) });
  return answer;
}

/** The secrecy of a message is that of its writer when it was sent, until somebody approves it. */
function newSaying({ standings }: World, room: number, writer: number, isPending = false): Saying {
  const isShadowed = standings[room]![writer]!.shadowed;
  return { room, writer, message: { isShadowed, isSecret: isPending || isShadowed } };
}

const sayingOf = ({ sayings }: World, { text }: Any): Saying | undefined =>
  sayings.get(/word\d+x/.exec(text ?? "")?.[0] ?? "");

export async function perform(world: World, { what, user, room, pick }: Act): Promise<void> {
  const { people, rooms, watches, standings } = world;
  const person = people[user]!;
  const watch = watches[room]![user]!;
  const path = `/v1/channels/${rooms[room]}`;
  const shown = [...watch.view.values()].filter(({ deletedAt }) => !deletedAt);
  const chosen = (among: Any[]) => among[pick % Math.max(1, among.length)];
  const own = chosen(shown.filter(({ userId }) => userId === person.id));
  const send = async (more: Record<string, unknown>, isPending = false) => {
    const text = world.nextWord(newSaying(world, room, user, isPending));
    answered(world, user, await person.post(`${path}/messages`, { text, ...more }));
  };
  switch (what) {
    case "send":
      return send({ clientId: crypto.randomUUID() });
    case "send silently":
      return send({ silent: true });
    case "send pending":
      return send({ pending: true }, true);
    case "send over the socket": {
      const socket = watch.socket();
      if (!socket || socket.closed) return;
      const text = world.nextWord(newSaying(world, room, user));
      const id = crypto.randomUUID();
      socket.say({ id, op: "send", message: { text } });
      await vi.waitUntil(() => socket.closed || socket.frames.some((frame) => frame.id === id), {
        timeout: 10_000,
        interval: 3,
      });
      return;
    }
    case "edit": {
      const saying = own && sayingOf(world, own);
      // What a shadowed user does to what others know already is a change for them alone, of a message that is none.
      if (!saying || (standings[room]![user]!.shadowed && !saying.message.isSecret)) return;
      const text = world.nextWord(saying);
      answered(world, user, await person.patch(`/v1/messages/${own.id}`, { text }));
      return;
    }
    case "delete":
    case "delete for good":
      if (!own || (standings[room]![user]!.shadowed && !sayingOf(world, own)?.message.isSecret)) return;
      answered(world, user, await person.delete(`/v1/messages/${own.id}${what === "delete" ? "" : "?hard=true"}`));
      return;
    case "react":
    case "take a reaction back": {
      const on = chosen(shown);
      if (!on || standings[room]![user]!.shadowed) return;
      const reaction = `/v1/messages/${on.id}/reactions/${encodeURIComponent(EMOJI[pick % EMOJI.length]!)}`;
      answered(world, user, what === "react" ? await person.put(reaction) : await person.delete(reaction));
      return;
    }
    case "read":
      answered(world, user, await person.post(`${path}/read`, { seq: watch.cursor(), private: pick % 2 === 0 }));
      return;
    case "approve":
    case "reject": {
      const { body } = await people[MODERATOR]!.get(`${path}/pending`);
      const pending = chosen(body.data ?? []);
      const saying = pending && sayingOf(world, pending);
      if (!saying) return;
      if (what === "approve" && !saying.message.isShadowed) saying.message.isSecret = false;
      const { status } = await people[MODERATOR]!.post(`/v1/messages/${pending.id}/${what}`);
      expect(status).toBeLessThan(500);
      return;
    }
    case "drop":
      return watch.drop();
    case "come back":
      // Somebody may take the channel from them at the same moment.
      if (mayWatch(standings[room]![user]!))
        await watch.open().catch((refused) => expect([403, 404]).toContain(refused.status));
  }
}

/** The number of the event by which a user's watching ended, when the turn ends it. */
export async function turnOf(world: World, { what, user, room }: Turn): Promise<number | null> {
  const { tenant, people, rooms, standings } = world;
  const standing = standings[room]![user]!;
  const { id } = people[user]!;
  const ban = `/v1/channels/${rooms[room]}/bans/${id}`;
  const done = (answer: Answer<Any>) => expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  switch (what) {
    case "remove":
      if (!standing.member || room === 1) return null;
      done(await tenant.delete(`/v1/channels/${rooms[room]}/members/${id}`));
      standing.member = false;
      return standing.banned ? null : endOf(rooms[room]!, "member.removed", id);
    case "add":
      if (standing.member || room === 1) return null;
      done(await tenant.post(`/v1/channels/${rooms[room]}/members`, { members: [{ userId: id }] }));
      standing.member = true;
      return null;
    case "ban":
      if (!standing.member) return null;
      done(await tenant.put(ban, {}));
      Object.assign(standing, { banned: true, shadowed: false });
      return endOf(rooms[room]!, "user.banned", id);
    case "shadow":
      if (!standing.member) return null;
      done(await tenant.put(ban, { shadow: true }));
      Object.assign(standing, { banned: false, shadowed: true });
      return null;
    case "unban":
      if (!standing.banned && !standing.shadowed) return null;
      done(await tenant.delete(ban));
      Object.assign(standing, { banned: false, shadowed: false });
      return null;
    case "evict":
      await evictDurableObject(env.CHANNEL.getByName(`${tenant.id}:${rooms[room]}`)).catch((asleep) =>
        expect(String(asleep)).toContain("not currently running"),
      );
      return null;
  }
}

async function endOf(channelId: string, type: string, userId: string): Promise<number> {
  const [row] = await asOwner<{ seq: string }>(
    `select max(seq) as seq from events where stream_id = $1 and type = $2 and payload::jsonb #>> '{data,userId}' = $3`,
    [channelId, type, userId],
  );
  return Number(row!.seq);
}
