import { expect, it } from "vitest";
import { fuzz } from "../fuzz";
import { readOperations } from "../spec";

it("10,000 requests get no 5xx, and reach every operation both ways", { timeout: 1_200_000 }, async () => {
  const tally = await fuzz(10_000);

  const closed = (await readOperations()).filter(({ scope }) => scope !== "public");
  expect(closed.filter(({ id }) => !tally[id]?.["2xx"] || !tally[id]["4xx"]).map(({ id }) => id)).toEqual([]);
});
