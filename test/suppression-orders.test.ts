import { env } from "cloudflare:workers";
import fc from "fast-check";
import { expect, it } from "vitest";
import { asSystem } from "../src/auth/system";
import { recordReceipts } from "../src/deliveries/receipts";
import { type Any, newTenant } from "./helpers";
import { inContext, newDeliveries } from "./outbound";
import { asOwner } from "./setup/owner";

const SAID = {
  delivered: {},
  opened: {},
  deferred: {},
  bounced: { hard: false },
  gone: { hard: true },
  complained: { type: "abuse" },
  misreported: { type: "auth-failure" },
  unsubscribed: {},
} as const;
type Said = keyof typeof SAID;
type Told = { mail: number; said: Said };

const MAILS = 8;
const STREAMS = ["news", "transactional"];
const statusOf = (said: Said) =>
  (said === "gone" ? "bounced" : said === "misreported" ? "complained" : said) as "bounced";

/** What must come of receipts, of which only who said what about which mail counts. */
function expected(told: Told[]): string[] {
  const heard = (mail: number, ...what: Said[]) => told.some((one) => one.mail === mail && what.includes(one.said));
  const mails = Array.from({ length: MAILS }, (_, i) => i);
  const lastReached = mails.findLast((i) => heard(i, "delivered", "opened")) ?? 0;
  const soft = mails.filter((i) => i >= lastReached && heard(i, "bounced") && !heard(i, "gone"));
  return [
    ...(mails.some((i) => heard(i, "gone")) ? ["* bounce"] : []),
    ...(soft.length >= 5 ? ["* softBounces"] : []),
    ...STREAMS.flatMap((stream, n) => [
      ...(mails.some((i) => i % 2 === n && heard(i, "complained")) ? [`${stream} complaint`] : []),
      ...(mails.some((i) => i % 2 === n && heard(i, "unsubscribed")) ? [`${stream} unsubscribe`] : []),
    ]),
  ].sort();
}

const softly = fc.record({ mail: fc.nat(MAILS - 1), said: fc.constant<Said>("bounced") });
const anything = fc.record({ mail: fc.nat(MAILS - 1), said: fc.constantFrom(...(Object.keys(SAID) as Said[])) });
const inGroups = fc
  .tuple(
    fc.array(softly, { minLength: 4, maxLength: 10 }),
    fc.array(anything, { maxLength: 4 }),
    fc.array(fc.nat(1000), { minLength: 30, maxLength: 30 }),
  )
  .map(([soft, others, random]) => {
    const told = [...soft, ...others];
    const repeated = [...told, ...told.filter((_, i) => random[i]! % 4 === 0)];
    const shuffled = repeated.map((one, i) => ({ one, at: random[i]! })).sort((a, b) => a.at - b.at);
    const groups = Map.groupBy(shuffled, (_, i) => Math.floor(i / (1 + (random[29]! % 4))));
    return { told, groups: [...groups.values()].map((group) => group.map(({ one }) => one)) };
  });

it("suppressions come to the same in whatever order, groups and repetition receipts are heard", async () => {
  const tenant = await newTenant();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(inGroups, async ({ told, groups }) => {
      const recipient = `silent+${run++}@example.com`;
      const wishes = Array.from({ length: MAILS }, () => ({ recipient, content: {} }));
      const { ids } = await newDeliveries(tenant, wishes);
      ids.sort();
      for (const [i, id] of ids.entries())
        await asOwner("update deliveries set content = $2, status = 'sent' where id = $1", [
          id,
          { stream: STREAMS[i % 2] },
        ]);

      for (const group of groups) {
        const sayings = group.map(({ mail, said }) => ({
          ...{ deliveryId: ids[mail]!, eventId: `${ids[mail]} ${said}` },
          ...{ status: statusOf(said), details: SAID[said] },
        }));
        await inContext((ctx) =>
          asSystem(
            env,
            tenant.id,
            (work) => ctx.waitUntil(work),
            (system) => recordReceipts(system, null, sayings),
          ),
        );
      }

      const found = await asOwner<Any>(
        "select stream, reason from suppressions where tenant_id = $1 and address = $2",
        [tenant.id, recipient],
      );
      expect(found.map(({ stream, reason }) => `${stream} ${reason}`).sort()).toEqual(expected(told));
    }),
    { numRuns: 25 },
  );
});
