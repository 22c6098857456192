import { expect, it } from "vitest";
import { type Any, expectProblem, newTenant } from "./helpers";
import { newPerson, newRoom, type Person } from "./live";

async function room() {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  return { tenant, ann, bob, id: await newRoom(tenant, [ann, bob]) };
}
const texts = async (as: Person) => (await as.get("/v1/drafts")).body.data.map((d: Any) => d.text);

it("a draft is kept for each channel and each thread, and is its user's alone", async () => {
  const { tenant, ann, bob, id } = await room();
  const other = await newRoom(tenant, [ann]);
  const parent = (await bob.post(`/v1/channels/${id}/messages`, { text: "question" })).body;
  const attachments = [{ type: "image", url: "https://example.com/a.png" }];

  await ann.put(`/v1/channels/${id}/draft`, { text: "I thi" });
  await ann.put(`/v1/channels/${other}/draft`, { text: "elsewhere" });
  await ann.put(`/v1/channels/${id}/draft?parentId=${parent.id}`, { text: "answer", mentions: [bob.id] });
  const put = await ann.put(`/v1/channels/${id}/draft`, { text: "I think", attachments, quotedId: parent.id });

  expect(put.body).toMatchObject({ channelId: id, parentId: null, text: "I think", attachments, quotedId: parent.id });
  expect((await ann.get(`/v1/channels/${id}/draft`)).body).toEqual(put.body);
  expect((await ann.get(`/v1/channels/${id}/draft?parentId=${parent.id}`)).body).toMatchObject({
    text: "answer",
    mentions: [bob.id],
  });
  expect(await texts(ann)).toEqual(["I think", "answer", "elsewhere"]);
  expect(await texts(bob)).toEqual([]);
  expect((await ann.delete(`/v1/channels/${id}/draft`)).status).toBe(204);
  expectProblem(await ann.delete(`/v1/channels/${id}/draft`), 404, "not_found");
  expectProblem(await bob.put(`/v1/channels/${other}/draft`, { text: "?" }), 404, "not_found");
  expectProblem(
    await ann.put(`/v1/channels/${other}/draft?parentId=${parent.id}`, { text: "?" }),
    422,
    "invalid_request",
    "parentId",
  );
});

it("the user's other devices hear of it, the one that wrote it and other users do not", async () => {
  const { tenant, ann, bob, id } = await room();
  const [phone, laptop, foreign] = [
    await ann.open("?deviceId=phone"),
    await ann.open("?deviceId=laptop"),
    await bob.open(),
  ];

  await ann.put(`/v1/channels/${id}/draft?deviceId=phone`, { text: "on my way" });
  await ann.delete(`/v1/channels/${id}/draft?deviceId=laptop`);

  const updated = await laptop.until(({ type }) => type === "draft.updated");
  expect(updated.data).toMatchObject({ channelId: id, parentId: null, text: "on my way" });
  await phone.until(({ type }) => type === "draft.deleted");
  await laptop.until(({ type, from }) => type === "skip" && from === updated.seq + 1);
  expect(phone.events().map(({ type, from, seq }) => [type, from ?? seq])).toEqual([
    ["skip", updated.seq],
    ["draft.deleted", updated.seq + 1],
  ]);
  expect(foreign.events()).toEqual([]);
  expect((await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=draft.updated`)).body.data).toEqual([]);
  for (const socket of [phone, laptop, foreign]) socket.close();
});
