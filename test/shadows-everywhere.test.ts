import { expect, it, vi } from "vitest";
import type { Any } from "./helpers";
import { newRoom, type Person, room, textsOf } from "./live";
import { asOwner } from "./setup/owner";

const textsIn = async (who: Person, id: string) =>
  (await who.get(`/v1/channels/${id}/messages`)).body.data.map(({ text }: Any) => text);

it("a shadow ban from everywhere hides what its user writes and types in every channel, and ends by itself", async () => {
  const { tenant, ann, bob, id, send } = await room();
  const other = await newRoom(tenant, [ann, bob]);
  const [mine, theirs, own] = [await ann.watch(id), await bob.watch(id), await ann.open()];
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();

  expect((await tenant.put(`/v1/bans/${ann.id}`, { shadow: true, expiresAt })).body).toMatchObject({
    channelId: null,
    shadow: true,
    expiresAt,
  });
  await send(ann, "hush");
  await ann.post(`/v1/channels/${other}/messages`, { text: "hush" });
  await mine.ask({ op: "typing", typing: true });
  const open = await send(bob, "open");

  await theirs.until(({ seq }) => seq === open.seq);
  expect(await textsIn(ann, id)).toEqual(["hush", "open"]);
  expect(await textsIn(ann, other)).toEqual(["hush"]);
  expect(await textsIn(bob, id)).toEqual(["open"]);
  expect(await textsIn(bob, other)).toEqual([]);
  expect((await bob.get("/v1/unread")).body).toMatchObject({ channels: 0, messages: 0 });
  expect(textsOf(theirs.events())).toEqual(["open"]);
  expect(theirs.frames.filter(({ type }) => type === "typing").flatMap(({ typing }) => typing)).toEqual([]);
  expect([mine.closed, own.closed]).toEqual([null, null]);

  await asOwner("update bans set expires_at = now() where tenant_id = $1 and user_id = $2", [tenant.id, ann.id]);
  const back = await send(ann, "back");
  await vi.waitUntil(() => textsOf(theirs.events()).includes("back"));
  expect(back.seq).toBeGreaterThan(open.seq);
  expect(await textsIn(bob, id)).toEqual(["open", "back"]);
});
