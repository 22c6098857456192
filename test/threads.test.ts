import { expect, it } from "vitest";
import { type Any, expectProblem, newTenant } from "./helpers";
import { newPerson, newRoom, type Person } from "./live";
import { asOwner } from "./setup/owner";

async function room() {
  const tenant = await newTenant();
  const [ann, bob, eve] = [await newPerson(tenant), await newPerson(tenant), await newPerson(tenant)];
  const id = await newRoom(tenant, [ann, bob, eve]);
  const say = async (as: Person, text: string, more: object = {}): Promise<Any> => {
    const sent = await as.post(`/v1/channels/${id}/messages`, { text, ...more });
    expect(sent.status, JSON.stringify(sent.body)).toBe(201);
    return sent.body;
  };
  return { tenant, ann, bob, eve, id, say };
}

const threads = async (as: Person, query = ""): Promise<Any[]> => (await as.get(`/v1/threads${query}`)).body.data;

it("a message knows how many answered it and who; replies are shown in the channel only where that is asked for", async () => {
  const { ann, bob, id, say } = await room();
  const parent = await say(ann, "question");
  await say(bob, "answer", { parentId: parent.id });
  await say(ann, "thanks", { parentId: parent.id, showInChannel: true });

  const shown = (await bob.get(`/v1/messages/${parent.id}`)).body;
  expect(shown).toMatchObject({ replyCount: 2, participants: [bob.id, ann.id] });
  const texts = async (query: string) =>
    (await bob.get(`/v1/channels/${id}/messages${query}`)).body.data.map((m: Any) => m.text);
  expect(await texts("")).toEqual(["question", "thanks"]);
  expect(await texts(`?parentId=${parent.id}`)).toEqual(["answer", "thanks"]);
  const [reply] = (await bob.get(`/v1/channels/${id}/messages?parentId=${parent.id}`)).body.data;
  expectProblem(
    await ann.post(`/v1/channels/${id}/messages`, { text: "deeper", parentId: reply.id }),
    422,
    "invalid_request",
    "parentId",
  );
});

it("whoever is asked, answers or is mentioned follows a thread, with what is unread of others", async () => {
  const { ann, bob, eve, say } = await room();
  const first = await say(ann, "first");
  const second = await say(ann, "second");
  await say(bob, "answer", { parentId: first.id });
  await say(bob, "more", { parentId: first.id, mentions: [eve.id] });
  const last = await say(ann, "hm", { parentId: second.id });

  expect((await threads(ann)).map((t) => [t.parent.text, t.lastReply.text, t.unread])).toEqual([
    ["second", "hm", 0],
    ["first", "more", 2],
  ]);
  expect((await threads(bob)).map((t) => [t.parent.text, t.unread])).toEqual([["first", 0]]);
  expect((await threads(eve)).map((t) => [t.parent.text, t.unread])).toEqual([["first", 1]]);
  expect((await threads(ann, "?unread=true")).map((t) => t.parent.text)).toEqual(["first"]);
  expect((await ann.get("/v1/unread")).body.threads).toBe(1);
  const page = (await ann.get("/v1/threads?limit=1")).body;
  expect((await threads(ann, `?limit=1&cursor=${page.nextCursor}`)).map((t) => t.parent.text)).toEqual(["first"]);

  const read = await ann.post(`/v1/messages/${first.id}/read`, { seq: last.seq + 100 });
  expect(read.body).toMatchObject({ unread: 0, readAt: expect.any(String) });
  expect(read.body.readSeq).toBeLessThan(last.seq);
  expect((await ann.get("/v1/unread")).body.threads).toBe(0);
});

it("a thread is followed and left at will, and whoever left it is not brought back", async () => {
  const { ann, bob, eve, say } = await room();
  const parent = await say(ann, "question");
  await say(bob, "answer", { parentId: parent.id });

  expect((await eve.put(`/v1/messages/${parent.id}/follow`)).status).toBe(204);
  expect((await threads(eve)).map((t) => t.unread)).toEqual([0]);
  await say(bob, "more", { parentId: parent.id });
  expect((await threads(eve)).map((t) => t.unread)).toEqual([1]);
  expect((await ann.delete(`/v1/messages/${parent.id}/follow`)).status).toBe(204);
  await say(bob, "ann?", { parentId: parent.id, mentions: [ann.id] });
  expect(await threads(ann)).toEqual([]);
  expectProblem(await eve.put(`/v1/messages/${crypto.randomUUID()}/follow`), 404, "not_found");
});

it("who read a reply follows from the thread's marks, but for private ones", async () => {
  const { tenant, ann, bob, eve, id, say } = await room();
  const parent = await say(ann, "question");
  const reply = await say(bob, "answer", { parentId: parent.id });
  const later = await say(bob, "later", { parentId: parent.id });

  await ann.post(`/v1/messages/${parent.id}/read`, { seq: reply.seq });
  await eve.post(`/v1/messages/${parent.id}/read`, { seq: later.seq, private: true });
  await ann.post(`/v1/channels/${id}/read`, { seq: later.seq });

  const readers = async (message: Any) =>
    (await bob.get(`/v1/channels/${id}/messages/${message.id}/reads`)).body.data.map((r: Any) => r.userId);
  expect(await readers(reply)).toEqual([ann.id]);
  expect(await readers(later)).toEqual([]);
  expect(await readers(parent)).toEqual([ann.id]);
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.read`)).body.data;
  expect(told.map((e: Any) => [e.data.parentId, e.data.userId])).toEqual([
    [parent.id, ann.id],
    [undefined, ann.id],
  ]);
});

it("what a shadow-banned user answers counts for them alone", async () => {
  const { tenant, ann, bob, id, say } = await room();
  const parent = await say(ann, "question");
  await asOwner(
    "insert into bans (tenant_id, id, user_id, channel_id, shadow) values ($1, gen_random_uuid(), $2, $3, true)",
    [tenant.id, bob.id, id],
  );
  await say(bob, "hidden", { parentId: parent.id });

  expect((await ann.get(`/v1/messages/${parent.id}`)).body).toMatchObject({ replyCount: 0, participants: [] });
  expect((await bob.get(`/v1/messages/${parent.id}`)).body).toMatchObject({ replyCount: 1, participants: [bob.id] });
  expect(await threads(ann)).toEqual([]);
  expect((await threads(bob)).map((t) => t.lastReply.text)).toEqual(["hidden"]);
});

it("attachments of a channel are listed by type and size, without those that are not to be seen", async () => {
  const { tenant, ann, bob, id, say } = await room();
  const file = (name: string, fileSize: number) => ({
    type: "file",
    url: `https://example.com/${name}`,
    fileName: name,
    fileSize,
  });
  await say(ann, "one", { attachments: [file("small", 10), file("large", 1000)] });
  const gone = await say(ann, "two", { attachments: [file("gone", 1000)] });
  await ann.delete(`/v1/messages/${gone.id}`);
  await ann.post(`/v1/channels/${id}/messages`, { pending: true, attachments: [file("pending", 1000)] });
  await say(bob, "three", { attachments: [{ type: "image", url: "https://example.com/a.png" }] });

  const names = async (query = "") => {
    const { body } = await bob.get(`/v1/channels/${id}/attachments${query}`);
    return body.data.map(({ attachment }: Any) => attachment.fileName ?? attachment.type);
  };
  expect(await names()).toEqual(["image", "large", "small"]);
  expect(await names("?type=file&minSize=100")).toEqual(["large"]);
  const first = (await bob.get(`/v1/channels/${id}/attachments?limit=2`)).body;
  expect(await names(`?limit=2&cursor=${first.nextCursor}`)).toEqual(["small"]);
  const stranger = await newPerson(tenant);
  expectProblem(await stranger.get(`/v1/channels/${id}/attachments`), 404, "not_found");
});
