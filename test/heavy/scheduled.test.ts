import { expect, inject, it } from "vitest";
import { type Any, newTenant } from "../helpers";
import { eventually, freeJobs } from "../jobs";
import { newPerson, newRoom } from "../live";
import "../setup/provided";

it.runIf(inject("realPostgres"))(
  "a change or a cancellation in the moment of sending comes before it or is refused",
  async () => {
    const tenant = await newTenant();
    const ann = await newPerson(tenant);
    const id = await newRoom(tenant, [ann]);
    const due = Date.now() + 4_000;
    const sendAt = new Date(due).toISOString();
    const made = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        ann.post(`/v1/channels/${id}/scheduled-messages`, { text: `old ${n}`, sendAt }),
      ),
    );
    expect(made.map(({ status }) => status)).toEqual(made.map(() => 201));

    const answers = await Promise.all(
      made.map(async ({ body }, n) => {
        await new Promise((resolve) => setTimeout(resolve, due - Date.now() - 100 + n * 15));
        const at = `/v1/scheduled-messages/${body.id}`;
        return n % 2 ? ann.delete(at) : ann.patch(at, { text: `new ${n}` });
      }),
    );
    await eventually(async () => {
      await freeJobs(tenant.id);
      expect((await ann.get("/v1/scheduled-messages")).body.data).toEqual([]);
    });

    const sent = (await ann.get(`/v1/channels/${id}/messages?limit=100`)).body.data;
    const textOf = new Map<string, string>(sent.map((message: Any) => [message.id, message.text]));
    const expected = answers.map(({ status }, n) =>
      status === 404 ? `old ${n}` : status === 204 ? undefined : `new ${n}`,
    );
    expect(made.map(({ body }) => textOf.get(body.id))).toEqual(expected);
    const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.new&limit=100`)).body.data;
    expect(new Set(told.map((event: Any) => event.data.message.id))).toEqual(new Set(textOf.keys()));
    console.log(`${answers.filter(({ status }) => status === 404).length} of 60 came too late`);
  },
  60_000,
);
