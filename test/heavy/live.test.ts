import { expect, inject, it, vi } from "vitest";
import { type Any, admin, newTenant } from "../helpers";
import { connect, newPerson, newRoom, type Socket } from "../live";
import { asOwner } from "../setup/owner";
import "../setup/provided";

const RACES = 400;
const AT_ONCE = 20;

/** On a plan without limits that this could meet. */
async function busyRoom() {
  const plan = await (await admin()).post("/v1/plans", {
    name: `races ${crypto.randomUUID()}`,
    tier: "test",
    limits: { requestsPerMinute: 1_000_000, userRequestsPerMinute: 1_000_000, apiKeys: 10_000 },
  });
  const tenant = await newTenant({ planId: plan.body.id });
  const people = await Promise.all(Array.from({ length: AT_ONCE }, () => newPerson(tenant)));
  return { tenant, people, id: await newRoom(tenant, people) };
}

const ended = async (sockets: (Socket | null)[]) => {
  await Promise.all(
    sockets.map(async (socket) => {
      if (!socket) return;
      await vi.waitUntil(() => socket.closed, { timeout: 5_000, interval: 5 });
      expect(socket.frames.at(-1)?.type).toBe("bye");
    }),
  );
};

const places = async (tenantId: string) =>
  (await asOwner<Any>("select count(*)::int as n from live_sockets where tenant_id = $1", [tenantId]))[0].n;

it.runIf(inject("realPostgres"))("of 400 sockets none outlives the token that is revoked as it connects", async () => {
  const { tenant, people, id } = await busyRoom();
  for (let race = 0; race < RACES; race += AT_ONCE) {
    const tokens: string[] = await Promise.all(
      people.map(async (person) => (await tenant.post(`/v1/users/${person.id}/tokens`, {})).body.token),
    );
    const jtiOf = (token: string) =>
      JSON.parse(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/"))).jti;
    const [sockets, revoked] = await Promise.all([
      Promise.all(
        tokens.map((token) =>
          connect(`/v1/channels/${id}/connect`, { Authorization: `Bearer ${token}` }).catch(() => null),
        ),
      ),
      Promise.all(tokens.map((token) => tenant.post("/v1/tokens/revoke", { jti: jtiOf(token) }))),
    ]);
    for (const { status } of revoked) expect(status).toBeLessThan(300);
    await ended(sockets);
  }
  await vi.waitUntil(async () => (await places(tenant.id)) === 0, { timeout: 5_000 });
});

it.runIf(inject("realPostgres"))("nor the membership or the good standing of its user", async () => {
  const { tenant, people, id } = await busyRoom();
  const channel = `/v1/channels/${id}`;
  const members = people.map((person) => ({ userId: person.id }));
  for (let race = 0; race < RACES; race += AT_ONCE) {
    const [sockets] = await Promise.all([
      Promise.all(people.map((person) => person.watch(id).catch(() => null))),
      Promise.all(
        people.map((person, n) =>
          n % 2 ? tenant.delete(`${channel}/members/${person.id}`) : tenant.put(`${channel}/bans/${person.id}`, {}),
        ),
      ),
    ]);
    await tenant.post(`${channel}/messages`, { text: `after ${race}` });
    await ended(sockets);
    for (const socket of sockets) expect(JSON.stringify(socket?.frames ?? [])).not.toContain(`after ${race}`);
    await tenant.post(`${channel}/members`, { members: members.filter((_, n) => n % 2) });
    await Promise.all(
      people.filter((_, n) => n % 2 === 0).map((person) => tenant.delete(`${channel}/bans/${person.id}`)),
    );
  }
  await vi.waitUntil(async () => (await places(tenant.id)) === 0, { timeout: 5_000 });
});
