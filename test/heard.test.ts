import { env } from "cloudflare:workers";
import { expect, inject, it, vi } from "vitest";
import { type Any, newTenant } from "./helpers";
import { newPerson, newRoom, numbersOf } from "./live";
import { arrives, mail, mailsOf, newPost, rawsOf, read, readNow } from "./mail";
import { asOwner } from "./setup/owner";
import "./setup/provided";

/** The names of the objects that are called meanwhile. */
function listening() {
  const called: string[] = [];
  const CHANNEL = {
    getByName: (name: string) => {
      called.push(name);
      return env.CHANNEL.getByName(name);
    },
  } as unknown as Env["CHANNEL"];
  return { called, CHANNEL };
}

const kept = { INBOUND: { send: async () => undefined } as unknown as Queue };

it("the object of a conversation is told of a mail if somebody watches, and else left asleep", async () => {
  const { tenant, inbox } = await newPost();
  const headers = { "Message-ID": `<${crypto.randomUUID()}@writer.example>` };
  await arrives(inbox.address, mail({ headers, body: "First" }), { changed: kept });
  const alone = listening();

  await readNow(await rawsOf(inbox.id), { CHANNEL: alone.CHANNEL });

  const [{ channel_id: id }] = await mailsOf(inbox.id);
  expect(alone.called).toEqual([]);

  const operator = await newPerson(tenant, { role: "editor" });
  const socket = await operator.watch(id);
  const reply = mail({ headers: { "In-Reply-To": headers["Message-ID"] }, body: "Second" });
  await arrives(inbox.address, reply, { changed: kept });
  const watched = listening();
  await readNow(
    (await rawsOf(inbox.id)).filter(({ status }) => status === "pending"),
    { CHANNEL: watched.CHANNEL },
  );

  expect(new Set(watched.called)).toEqual(new Set([`${tenant.id}:${id}`]));
  await socket.until(({ type, data }) => type === "message.new" && data.message.text === "Second");
});

it("where pushes are sent the object hears of each message, as it announces them", async () => {
  const { tenant, inbox } = await newPost();
  await tenant.post("/v1/integrations", { medium: "push", provider: "sandbox", name: "Push" });
  await arrives(inbox.address, mail({ body: "To be pushed" }), { changed: kept });
  const { called, CHANNEL } = listening();

  await readNow(await rawsOf(inbox.id), { CHANNEL });

  const [{ channel_id: id }] = await mailsOf(inbox.id);
  expect(called).toContain(`${tenant.id}:${id}`);
  await read(inbox.id);
});

it("a member who listens elsewhere hears of a message that is approved where nobody watches", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  const id = await newRoom(tenant, [ann, bob]);
  const waiting = await ann.post(`/v1/channels/${id}/messages`, { text: "May I?", pending: true });
  const own = await bob.open();

  expect((await tenant.post(`/v1/messages/${waiting.body.id}/approve`)).status).toBeLessThan(300);

  await own.until(({ type, channelId }) => type === "hint" && channelId === id);
});

it.runIf(inject("realPostgres"))("what happens just as the first watcher comes reaches them at once", async () => {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  for (let race = 0; race < 30; race++) {
    const id = await newRoom(tenant, [ann, bob]);
    const said = (await ann.post(`/v1/channels/${id}/messages`, { text: "Hello" })).body;

    const [socket] = await Promise.all([bob.watch(id), ann.put(`/v1/messages/${said.id}/reactions/%F0%9F%91%8D`, {})]);

    const [{ last_seq: last }] = await asOwner<Any>("select last_seq::int from streams where id = $1", [id]);
    const knows = () => socket.hello.seq >= last || numbersOf(socket.frames.slice(1)).includes(last);
    await vi.waitUntil(knows, { timeout: 3_000, interval: 5 });
  }
});

it.runIf(inject("realPostgres"))(
  "what is cleared just as its reader begins to watch stays away from them",
  async () => {
    const tenant = await newTenant();
    const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
    for (let race = 0; race < 30; race++) {
      const id = await newRoom(tenant, [ann, bob]);
      const said = (await ann.post(`/v1/channels/${id}/messages`, { text: "Hello" })).body;

      const [socket] = await Promise.all([bob.watch(id), bob.patch(`/v1/channels/${id}/own`, { clearHistory: true })]);

      await ann.patch(`/v1/messages/${said.id}`, { text: "Old words" });
      await ann.post(`/v1/channels/${id}/messages`, { text: "New words" });
      await socket.until(({ type, data }) => type === "message.new" && data.message.text === "New words");
      expect(JSON.stringify(socket.frames)).not.toContain("Old words");
    }
  },
);
