import { expect, it } from "vitest";
import { CATALOGUE, type EventKind, type EventType } from "../src/events/catalogue";
import { type Any, type Client, newUser, type Tenant } from "./helpers";
import { newPerson, newRoom } from "./live";
import { arrives, mail, newPost, read } from "./mail";
import { asOwner } from "./setup/owner";

async function done(answer: Promise<{ status: number; body: Any }>): Promise<Any> {
  const { status, body } = await answer;
  expect(status, JSON.stringify(body)).toBeLessThan(300);
  return body;
}

/** Some of everything that happens in a chat. */
async function chat(tenant: Tenant): Promise<void> {
  const [ann, bob, cid] = [await newPerson(tenant), await newPerson(tenant), await newUser(tenant)];
  const room = await newRoom(tenant, [ann, bob], { name: "general" });
  const send = (who: Client, more: object) =>
    done(who.post(`/v1/channels/${room}/messages`, { text: "hello", ...more }));
  const first = await send(ann, { metadata: { a: 1 }, mentions: [bob.id] });
  await send(bob, { parentId: first.id });
  const second = await send(bob, { quotedId: first.id });
  await done(ann.patch(`/v1/messages/${first.id}`, { text: "hello again" }));
  await done(bob.put(`/v1/messages/${first.id}/reactions/${encodeURIComponent("👍")}`));
  await done(bob.delete(`/v1/messages/${first.id}/reactions/${encodeURIComponent("👍")}`));
  await done(bob.post(`/v1/channels/${room}/read`, { seq: second.seq }));
  await done(bob.put(`/v1/channels/${room}/draft`, { text: "soon" }));
  await done(bob.delete(`/v1/channels/${room}/draft`));
  await done(tenant.patch(`/v1/channels/${room}`, { name: "all", metadata: { b: 2 } }));
  await done(tenant.post(`/v1/channels/${room}/invitations`, { userId: cid.id }));
  await done(tenant.post(`/v1/channels/${room}/invitations/accept`, undefined, { as: cid.id }));
  await done(tenant.patch(`/v1/channels/${room}/members/${cid.id}`, { role: "moderator" }));
  await done(tenant.delete(`/v1/channels/${room}/members/${cid.id}`));
  await done(tenant.patch(`/v1/users/${cid.id}`, { displayName: "Cid" }));
  const message = await done(bob.post(`/v1/messages/${first.id}/flags`, { reason: "spam" }));
  const user = await done(bob.post(`/v1/users/${ann.id}/flags`, { reason: "rude" }));
  const here = await done(bob.post(`/v1/users/${cid.id}/flags`, { reason: "rude", channelId: room }));
  for (const { queueId } of [message, user, here]) await done(tenant.post(`/v1/moderation/queue/${queueId}/approve`));
  for (const place of ["/v1", `/v1/channels/${room}`]) {
    await done(tenant.put(`${place}/bans/${bob.id}`, { reason: "rude" }));
    await done(tenant.delete(`${place}/bans/${bob.id}`));
  }
  await done(tenant.delete(`/v1/messages/${second.id}`));
  await done(tenant.post(`/v1/channels/${room}/truncate`, { upToSeq: first.seq }));
  await done(tenant.delete(`/v1/channels/${room}`));
}

it("every event that is stored is as its type says: its data, whole, and the stream it is told in", async () => {
  const { tenant, inbox } = await newPost();
  await chat(tenant);
  await arrives(inbox.address, mail());
  await arrives(inbox.address, "nonsense");
  await read(inbox.id);

  const stored = await asOwner<{ type: EventType; kind: string; payload: string }>(
    "select type, stream_kind as kind, payload from events where tenant_id = $1 order by created_at",
    [tenant.id],
  );

  const types = new Set(stored.map(({ type }) => type));
  expect([...types]).toEqual(
    expect.arrayContaining(["message.new", "moderation.reviewed", "user.flagged", "user.banned"]),
  );
  expect(types.size).toBeGreaterThan(20);
  for (const { type, kind, payload } of stored) {
    const { data, stream } = JSON.parse(payload);
    const known: EventKind = CATALOGUE[type];
    const { success, data: parsed, error } = known.data.safeParse(data);
    expect([type, success, error?.issues ?? []]).toEqual([type, true, []]);
    expect([type, parsed]).toEqual([type, data]);
    expect([type, [known.stream, known.alsoIn].includes(stream.kind), stream.kind]).toEqual([type, true, kind]);
  }
});
