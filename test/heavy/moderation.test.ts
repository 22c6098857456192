import { expect, inject, it } from "vitest";
import { type Any, newTenant } from "../helpers";
import { newPerson, newRoom } from "../live";
import "../setup/provided";

const times = <T>(count: number, act: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => act(n)));

it.runIf(inject("realPostgres"))(
  "a hundred flags at once are one of each flagger, in one place of the queue",
  async () => {
    const tenant = await newTenant();
    const people = await times(5, () => newPerson(tenant));
    const [ann, ...others] = people;
    const id = await newRoom(tenant, people);
    const { body: bad } = await ann!.post(`/v1/channels/${id}/messages`, { text: "bad" });

    const answers = await times(100, (n) => others[n % 4]!.post(`/v1/messages/${bad.id}/flags`, { reason: "spam" }));

    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(4);
    expect((await tenant.get(`/v1/moderation/queue?channelId=${id}`)).body.data).toMatchObject([{ flagCount: 4 }]);
  },
);

it.runIf(inject("realPostgres"))("of many verdicts at once one is given, and the message appears once", async () => {
  const tenant = await newTenant();
  const ann = await newPerson(tenant);
  const id = await newRoom(tenant, [ann]);
  const { body: waits } = await ann.post(`/v1/channels/${id}/messages`, { text: "waits", pending: true });

  const answers = await times(20, (n) => tenant.post(`/v1/messages/${waits.id}/${n % 2 ? "approve" : "reject"}`));

  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
  const events = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&limit=100`)).body.data;
  expect(events.filter(({ type }: Any) => type === "moderation.reviewed")).toHaveLength(1);
});

it.runIf(inject("realPostgres"))(
  "no socket slips in beside a ban, and no send is recorded after it",
  async () => {
    const tenant = await newTenant();
    const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
    for (let round = 0; round < 20; round++) {
      const id = await newRoom(tenant, [ann, bob]);
      const send = () => ann.post(`/v1/channels/${id}/messages`, { text: "quick" });
      const [sends, , socket] = await Promise.all([
        times(5, send),
        tenant.put(`/v1/channels/${id}/bans/${ann.id}`, {}),
        ann.watch(id).catch(() => null),
      ]);
      const events = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&limit=100`)).body.data;
      const banned = events.find(({ type }: Any) => type === "user.banned").seq;
      for (const { status, body } of sends)
        expect(status === 201 ? body.seq < banned : body.code === "banned").toBe(true);
      if (!socket) continue;
      const bye = await socket.until(({ type }) => type === "bye");
      expect(bye.code).toBe("banned");
      expect(socket.events().every(({ seq, to }) => (to ?? seq) <= banned)).toBe(true);
    }
  },
  60_000,
);
