import { evictDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { expectProblem } from "./helpers";
import { type Person, room } from "./live";

const secondsLeft = ({ headers }: { headers: Headers }) => Number(headers.get("Retry-After"));
const sayIn = (id: string) => (who: Person) => who.post(`/v1/channels/${id}/messages`, { text: "me" });

it("slow mode holds each user back from their own last message alone, though the object sleeps in between", async () => {
  const { ann, bob, id, object } = await room({ slowMode: 60 });
  const say = sayIn(id);

  expect((await say(ann)).status).toBe(201);
  expect((await say(bob)).status).toBe(201);
  await evictDurableObject(object);

  for (const who of [ann, bob]) {
    const refused = await say(who);
    expectProblem(refused, 429, "too_soon");
    expect(secondsLeft(refused)).toBeGreaterThan(50);
    expect(secondsLeft(refused)).toBeLessThanOrEqual(60);
  }
});

it("a cooldown holds everybody back, though the object sleeps in between", async () => {
  const { ann, bob, id, object } = await room({ cooldown: 60 });
  const say = sayIn(id);

  expect((await say(ann)).status).toBe(201);
  await evictDurableObject(object);

  const refused = await say(bob);
  expectProblem(refused, 429, "too_soon");
  expect(secondsLeft(refused)).toBeGreaterThan(50);
});
