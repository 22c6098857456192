import { expect, it } from "vitest";
import { type RewrapPlace, rewrapStep } from "../../src/integrations/rewrap";
import { newTenant } from "../helpers";
import { deliverBodies, holdBack, newMasters, postWith } from "../outbound";
import { asOwner } from "../setup/owner";

const SENDS = 10_000;
const TENANTS = 5;
const ACCOUNTS = 40;
const PER_BODY = 50;

it("ten thousand sends go on while every account is sealed anew, and none fails", async () => {
  const tenants = await Promise.all(Array.from({ length: TENANTS }, () => newTenant()));
  const { young, before, during } = newMasters();
  for (const tenant of tenants) {
    for (let i = 0; i < ACCOUNTS; i++) {
      const credentials = { signingSecret: crypto.randomUUID() };
      await postWith(before, tenant, "/v1/integrations", {
        name: `Account ${i}`,
        provider: "sandbox",
        medium: "email",
        credentials,
      });
    }
    await asOwner("insert into channels (tenant_id, id, medium) values ($1, $1, 'email')", [tenant.id]);
    await asOwner(
      `insert into deliveries (tenant_id, id, channel_id, message_id, medium, recipient, content, integration_id, next_attempt_at)
       select $1, gen_random_uuid(), $1, gen_random_uuid(), 'email', 'silent+' || n || '@example.com', '{}',
           (array(select id from integrations where tenant_id = $1 order by id))[1 + n % $2], now() + interval '1 day'
         from generate_series(1, $3) n`,
      [tenant.id, ACCOUNTS, SENDS / TENANTS],
    );
  }
  const bodies = (
    await Promise.all(
      tenants.map(async ({ id }) => {
        const rows = await asOwner<{ id: string }>("select id from deliveries where tenant_id = $1", [id]);
        return Array.from({ length: rows.length / PER_BODY }, (_, i) => ({
          tenantId: id,
          deliveryIds: rows.slice(i * PER_BODY, (i + 1) * PER_BODY).map((row) => row.id),
        }));
      }),
    )
  ).flat();
  const ids = tenants.map(({ id }) => id);
  const waiting = bodies.values();
  let sent = 0;
  const sending = Promise.all(
    Array.from({ length: 3 }, async () => {
      for (const body of waiting) {
        await holdBack(body.deliveryIds);
        await deliverBodies([body], during);
        sent += body.deliveryIds.length;
      }
    }),
  );
  let [after, steps, resealed]: [RewrapPlace | null, number, number] = [null, 0, 0];
  for (let done = false; !done; steps++) {
    // In step with the sends, so that both go on side by side to the end.
    while (sent < (steps * SENDS) / 22 && sent < SENDS) await new Promise((resolve) => setTimeout(resolve, 10));
    const step = await rewrapStep(during, 10, after, { webhook_secrets: async (_, { sealed }) => sealed });
    ({ after, done } = step);
    resealed += step.count;
  }
  const sentBeforeTheEnd = sent;
  await sending;

  const count = async (query: string) =>
    Number((await asOwner<{ n: string }>(`select count(*) as n from ${query}`, [ids]))[0]!.n);
  expect(sentBeforeTheEnd).toBeGreaterThan(SENDS / 2);
  expect(resealed).toBe(TENANTS * ACCOUNTS);
  expect(await count(`integrations where tenant_id = any ($1::uuid[]) and master_version <> '${young}'`)).toBe(0);
  expect(
    await count("deliveries where tenant_id = any ($1::uuid[]) and status = 'sent' and attempts = 1 and error is null"),
  ).toBe(SENDS);
  expect(await count("delivery_events where tenant_id = any ($1::uuid[]) and status <> 'sent'")).toBe(0);
  expect(await count("events where tenant_id = any ($1::uuid[])")).toBe(SENDS);
}, 300_000);
