import { beforeAll, describe, expect, it } from "vitest";
import { type Any, expectProblem, newTenant, type Tenant } from "./helpers";
import { newPerson, newRoom, type Person } from "./live";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

describe("a file stays as long as something refers to it:", () => {
  let tenant: Tenant;
  let ann: Person;
  let room: string;

  beforeAll(async () => {
    tenant = await newTenant();
    ann = await newPerson(tenant);
    room = await newRoom(tenant, [ann]);
  });

  const upload = async (): Promise<string> =>
    (await ann.post("/v1/files?name=a.txt", "content", { headers: { "Content-Type": "text/plain" } })).body.id;
  const named = (fileId: string) => [{ type: "file", fileId }];
  const send = async (input: Any): Promise<Any> => {
    const sent = await ann.post(`/v1/channels/${room}/messages`, input);
    expect(sent.status, JSON.stringify(sent.body)).toBe(201);
    return sent.body;
  };
  const edit = async (id: string, patch: Any) => {
    const edited = await ann.patch(`/v1/messages/${id}`, patch);
    expect(edited.status, JSON.stringify(edited.body)).toBe(200);
  };
  async function isKept(file: string): Promise<boolean> {
    await asOwner("update files set created_at = now() - interval '2 days' where id = $1", [file]);
    await sweep();
    const { status } = await tenant.get(`/v1/files/${file}`);
    return status === 200;
  }

  it("one of several messages", async () => {
    const file = await upload();
    const [one, two] = [await send({ attachments: named(file) }), await send({ attachments: named(file) })];
    await ann.delete(`/v1/messages/${one.id}?hard=true`);
    expect(await isKept(file)).toBe(true);
    await ann.delete(`/v1/messages/${two.id}?hard=true`);
    expect(await isKept(file)).toBe(false);
  });

  it("one of several drafts, whatever takes the others away", async () => {
    const file = await upload();
    const parent = await send({ text: "thread" });
    const elsewhere = await newRoom(tenant, [ann]);
    const drafts = [`${room}/draft`, `${room}/draft?parentId=${parent.id}`, `${elsewhere}/draft`];
    for (const at of drafts) {
      const put = await ann.put(`/v1/channels/${at}`, { text: "see", attachments: named(file) });
      expect(put.status, JSON.stringify(put.body)).toBe(200);
    }
    await ann.put(`/v1/channels/${drafts[0]}`, { text: "without it" });
    await ann.delete(`/v1/channels/${drafts[1]}`);
    expect(await isKept(file)).toBe(true);
    await tenant.delete(`/v1/channels/${elsewhere}`);
    expect(await isKept(file)).toBe(false);
  });

  it("what a message said before", async () => {
    const file = await upload();
    const { id } = await send({ text: "here it is", attachments: named(file) });
    await edit(id, { text: "there it was", attachments: [] });
    expect(await isKept(file)).toBe(true);
    await ann.delete(`/v1/messages/${id}?hard=true`);
    expect(await isKept(file)).toBe(false);
  });

  it("an edit that waits for its verdict, and the message it became part of", async () => {
    const list = (await tenant.post("/v1/block-lists", { name: "hold", kind: "word", action: "hold" })).body;
    await tenant.post(`/v1/block-lists/${list.id}/entries`, { entries: ["doubtful"] });
    const file = await upload();
    const { id } = await send({ text: "fine" });
    await edit(id, { text: "doubtful", attachments: named(file) });
    expect(await isKept(file)).toBe(true);
    const [held] = (await tenant.get("/v1/moderation/queue?status=pending")).body.data;
    expect((await tenant.post(`/v1/moderation/queue/${held.id}/approve`, {})).status).toBe(200);
    expect((await ann.get(`/v1/messages/${id}`)).body.attachments).toMatchObject(named(file));
    expect(await isKept(file)).toBe(true);
  });

  it("what one user alone sees of a message, under a shadow ban", async () => {
    const file = await upload();
    const { id } = await send({ text: "fine" });
    await tenant.put(`/v1/channels/${room}/bans/${ann.id}`, { shadow: true });
    await edit(id, { text: "mine alone", attachments: named(file) });
    await tenant.delete(`/v1/channels/${room}/bans/${ann.id}`);
    expect(await isKept(file)).toBe(true);
    await ann.delete(`/v1/messages/${id}?hard=true`);
    expect(await isKept(file)).toBe(false);
  });

  it("a message that is to be sent later", async () => {
    const file = await upload();
    const sendAt = new Date(Date.now() + 3_600_000).toISOString();
    const made = await ann.post(`/v1/channels/${room}/scheduled-messages`, { attachments: named(file), sendAt });
    expect(await isKept(file)).toBe(true);
    await ann.delete(`/v1/scheduled-messages/${made.body.id}`);
    expect(await isKept(file)).toBe(false);
  });

  it("a campaign that is not sent yet", async () => {
    const file = (await tenant.post("/v1/files?name=a.txt", "content", { headers: { "Content-Type": "text/plain" } }))
      .body.id;
    const message = { text: "Hi", attachments: named(file) };
    const made = await tenant.post("/v1/campaigns", { name: "All", message });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expect(await isKept(file)).toBe(true);
    expect((await tenant.delete(`/v1/campaigns/${made.body.id}`)).status).toBe(204);
    expect(await isKept(file)).toBe(false);
  });

  it("a message elsewhere, when a conversation is purged from the trash", async () => {
    const [file, shared] = [await upload(), await upload()];
    const trashed = await newRoom(tenant, [ann]);
    await ann.post(`/v1/channels/${trashed}/messages`, { attachments: [...named(file), ...named(shared)] });
    await send({ attachments: named(shared) });
    await asOwner("update channels set trashed_at = now() - interval '31 days' where id = $1", [trashed]);
    await asOwner("select remove_expired_of($1, 'trashedConversations', now() - interval '30 days', 10)", [tenant.id]);
    expect([await isKept(file), await isKept(shared)]).toEqual([false, true]);
    expectProblem(await tenant.get(`/v1/channels/${trashed}`), 404, "not_found");
  });
});
