import { expect, it } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { newRoom, room } from "./live";
import { arrives, mail, mailsOf, newPost, read } from "./mail";

const OFF = { reactions: false, threads: false, uploads: false, typing: false, reads: false, maxLength: 5 };
const ON = { reactions: true, threads: true, uploads: true, typing: true, reads: true, maxLength: 20 };
const IMAGE = { type: "image", url: "https://files.example/a.png" };

it("what a type turns off is off in all of its channels, and on where a channel says so itself", async () => {
  const { tenant, ann, bob } = await room();
  expect((await tenant.put("/v1/channel-types/strict", { settings: OFF })).status).toBe(200);
  const [strict, also, lenient] = [
    await newRoom(tenant, [ann, bob], { type: "strict" }),
    await newRoom(tenant, [ann, bob], { type: "strict" }),
    await newRoom(tenant, [ann, bob], { type: "strict", settings: ON }),
  ];

  const tried = async (id: string) => {
    const send = (message: object) => ann.post(`/v1/channels/${id}/messages`, { text: "Short", ...message });
    const first = (await send({})).body;
    const socket = await ann.watch(id);
    const answers = {
      reaction: await bob.put(`/v1/messages/${first.id}/reactions/yes`),
      reply: await send({ parentId: first.id }),
      attachment: await send({ attachments: [IMAGE] }),
      long: await send({ text: "Longer" }),
    };
    const typing = await socket.ask({ op: "typing", typing: true });
    await bob.post(`/v1/channels/${id}/read`, { seq: first.seq });
    const readers = (await ann.get(`/v1/channels/${id}/messages/${first.id}/reads`)).body.data;
    return { answers, typing, readers: readers.map(({ userId }: Any) => userId) };
  };

  for (const id of [strict, also]) {
    const { answers, typing, readers } = await tried(id);
    expectProblem(answers.reaction, 403, "not_allowed");
    expectProblem(answers.reply, 422, "invalid_request", "parentId");
    expectProblem(answers.attachment, 422, "invalid_request", "attachments");
    expectProblem(answers.long, 422, "invalid_request", "text");
    expect(typing).toMatchObject({ type: "nack", code: "not_allowed" });
    expect(readers).toEqual([]);
  }
  const { answers, typing, readers } = await tried(lenient);
  expect(Object.values(answers).map(({ status }) => status)).toEqual([204, 201, 201, 201]);
  expect(typing.type).toBe("ack");
  expect(readers).toContain(bob.id);
  expectProblem(
    await ann.post(`/v1/channels/${lenient}/messages`, { text: "Longer than twenty ch" }),
    422,
    "invalid_request",
    "text",
  );
});

it("what somebody mailed arrives, however long and with files, where the type of its channel allows neither", async () => {
  const post = await newPost();
  expect((await post.tenant.put("/v1/channel-types/email", { settings: OFF })).status).toBe(200);
  const body = ["--b\r\n", "Much longer than five.", "--b\r\nContent-Type: text/csv; name=a.csv\r\n", "1,2", "--b--"];
  const headers = { "Content-Type": 'multipart/mixed; boundary="b"' };
  await arrives(post.address, mail({ headers, body: body.join("\r\n") }));
  await read(post.inbox.id);
  const [stored] = await mailsOf(post.inbox.id);
  const { body: shown } = await post.tenant.get(`/v1/messages/${stored?.message_id}`);
  expect(shown.text.trim()).toBe("Much longer than five.");
  expect(shown.attachments).toMatchObject([{ fileName: "a.csv" }]);
});
