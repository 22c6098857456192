import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { claimLeft, isTimeFor } from "../src/deliveries/schedule";
import { MAIL_BYTES } from "../src/email/arrival";
import { callProvider } from "../src/providers/call";
import { longestOf, patienceOf } from "../src/providers/patience";
import { type Any, newTenant } from "./helpers";
import { newDeliveries } from "./outbound";
import { asOwner } from "./setup/owner";

it("the larger a mail, the longer it may take", () => {
  expect(patienceOf(MAIL_BYTES) - patienceOf(0)).toBeGreaterThan(100_000);
  expect(longestOf(MAIL_BYTES)).toBeGreaterThan(patienceOf(MAIL_BYTES));
});

it("a claim outlasts the largest mail at the slowest server, though it waited for others two minutes", async () => {
  const tenant = await newTenant();
  const { ids } = await newDeliveries(tenant, [{}]);
  const asked = JSON.stringify(ids.map((id) => ({ t: tenant.id, id })));

  const [row] = await asOwner<Any>("select door.claim_outbound($1::jsonb, 50) as c", [asked]);

  const [{ claim }] = row.c.go;
  expect(isTimeFor(MAIL_BYTES, claim, Date.now() + 120_000)).toBe(true);
  const late = Date.parse(claim) - longestOf(0);
  expect(isTimeFor(0, claim, late)).toBe(false);
  expect(claimLeft(claim, Date.parse(claim))).toBeLessThan(0);
});

it("a call may take as long as it is allowed last", async () => {
  const slow = (allowed: number | null) =>
    callProvider(env, 10, async (io) => {
      if (allowed !== null) io.allow(allowed);
      await new Promise((resolve) => setTimeout(resolve, 60));
      return "taken";
    });

  expect(await slow(5000)).toBe("taken");
  await expect(slow(null)).rejects.toThrow("The provider did not answer in time.");
});
