import { expect, it } from "vitest";
import { fuzz } from "./fuzz";

it("no request of any kind gets a 5xx, and each answer is as the document says", { timeout: 120_000 }, async () => {
  const tally = await fuzz(300);

  const answered = Object.values(tally).flatMap((one) => Object.entries(one));
  const of = (hundred: string) =>
    answered.filter(([name]) => name === hundred).reduce((sum, [, count]) => sum + count, 0);
  expect(of("2xx")).toBeGreaterThan(50);
  expect(of("4xx")).toBeGreaterThan(50);
});
