import { expect, it } from "vitest";
import type { Any } from "./helpers";
import { newPerson, newRoom, room } from "./live";

it("of many who react all are counted, and the last ten are named, the newest first", async () => {
  const { tenant, ann, id, send } = await room();
  const { id: message } = await send(ann, "Who is in?");
  const people = await Promise.all(Array.from({ length: 12 }, () => newPerson(tenant)));
  await tenant.post(`/v1/channels/${id}/members`, { members: people.map((one) => ({ userId: one.id })) });

  for (const one of people)
    expect((await one.put(`/v1/messages/${message}/reactions/${encodeURIComponent("✋")}`)).status).toBe(204);

  const latestUserIds = people
    .slice(2)
    .toReversed()
    .map((one) => one.id);
  expect((await ann.get(`/v1/messages/${message}`)).body.reactions).toEqual([
    { emoji: "✋", count: 12, latestUserIds },
  ]);
});

it("an attachment keeps its duration and thumbnail, in the message, in the channel's list and where it is told", async () => {
  const { tenant, ann, bob } = await room();
  const id = await newRoom(tenant, [ann, bob]);
  const socket = await bob.watch(id);
  const film = {
    type: "video",
    url: "https://files.example/film.mp4",
    thumbnailUrl: "https://files.example/film.jpg",
    duration: 12.5,
    width: 640,
    height: 360,
  };

  const sent = (await ann.post(`/v1/channels/${id}/messages`, { attachments: [film] })).body;

  const told = await socket.until(({ type }) => type === "message.new");
  const listed = (await bob.get(`/v1/channels/${id}/attachments?type=video`)).body.data;
  for (const shown of [
    sent.attachments,
    (await bob.get(`/v1/messages/${sent.id}`)).body.attachments,
    told.data.message.attachments,
    listed.map(({ attachment, ...rest }: Any) => attachment ?? rest),
  ])
    expect(shown).toMatchObject([film]);
});
