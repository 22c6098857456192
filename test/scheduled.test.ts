import { expect, it } from "vitest";
import { type Any, expectProblem, newTenant } from "./helpers";
import { freeJobs, eventually as waitFor } from "./jobs";
import { newPerson, newRoom, type Person } from "./live";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

async function room() {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  return { tenant, ann, bob, id: await newRoom(tenant, [ann, bob]) };
}
/** Of one tenant, whose jobs may have been lost with another file. */
const eventually = <T>(tenantId: string, check: () => Promise<T>) =>
  waitFor(async () => {
    await freeJobs(tenantId);
    return check();
  });
const later = (ms: number) => new Date(Date.now() + ms).toISOString();
const HOUR = 3_600_000;
const schedule = (as: Person, id: string, input: object) => as.post(`/v1/channels/${id}/scheduled-messages`, input);
const texts = async (as: Person, id: string) =>
  (await as.get(`/v1/channels/${id}/messages`)).body.data.map((m: Any) => m.text);
const waiting = async (as: Person) => (await as.get("/v1/scheduled-messages")).body.data;

it("a scheduled message is its writer's alone until it is sent at its time, as it was written", async () => {
  const { tenant, ann, bob, id } = await room();
  const attachments = [{ type: "image", url: "https://example.com/a.png" }];
  const sendAt = later(2_500);

  const made = await schedule(ann, id, { text: "good morning", mentions: [bob.id], attachments, sendAt });

  expect(made.status, JSON.stringify(made.body)).toBe(201);
  expect(made.body).toMatchObject({ sendAt, message: { state: "scheduled", seq: null, userId: ann.id, attachments } });
  expect((await waiting(ann)).map((s: Any) => s.id)).toEqual([made.body.id]);
  expect(await waiting(bob)).toEqual([]);
  expect(await texts(bob, id)).toEqual([]);
  expectProblem(await bob.get(`/v1/messages/${made.body.id}`), 404, "not_found");
  const sent = await eventually(tenant.id, async () => {
    const [message] = (await bob.get(`/v1/channels/${id}/messages`)).body.data;
    expect(message).toBeDefined();
    return message;
  });
  expect(sent).toMatchObject({ id: made.body.id, state: "visible", userId: ann.id, mentions: [bob.id], attachments });
  expect(Date.parse(sent.createdAt)).toBeGreaterThanOrEqual(Date.parse(sendAt));
  expect(await waiting(ann)).toEqual([]);
  expect((await bob.get(`/v1/channels/${id}`)).body.own).toMatchObject({ unread: 1, unreadMentions: 1 });
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.new`)).body.data;
  expect(told.map((e: Any) => e.data.message.id)).toEqual([sent.id]);
});

it("it can be changed, brought forward and called off before", async () => {
  const { tenant, ann, bob, id } = await room();
  const { body: one } = await schedule(ann, id, { text: "one", sendAt: later(HOUR) });
  const { body: two } = await schedule(ann, id, { text: "two", sendAt: later(2 * HOUR) });
  expect((await waiting(ann)).map((s: Any) => s.message.text)).toEqual(["one", "two"]);

  expectProblem(await bob.patch(`/v1/scheduled-messages/${one.id}`, { text: "mine" }), 404, "not_found");
  expectProblem(await bob.delete(`/v1/scheduled-messages/${one.id}`), 404, "not_found");
  expect((await ann.delete(`/v1/scheduled-messages/${two.id}`)).status).toBe(204);
  const soon = { text: "changed", sendAt: later(500) };
  expect((await ann.patch(`/v1/scheduled-messages/${one.id}`, soon)).body.message.text).toBe("changed");
  await eventually(tenant.id, async () => expect(await texts(bob, id)).toEqual(["changed"]));
  expect(await waiting(ann)).toEqual([]);
  expectProblem(await ann.patch(`/v1/scheduled-messages/${one.id}`, { text: "late" }), 404, "not_found");
  const past = await schedule(ann, id, { text: "x", sendAt: later(-1000) });
  expectProblem(past, 422, "invalid_request", "sendAt");
});

it("what is called off or changed while it is being judged is not sent as it was", async () => {
  const { tenant, ann, bob, id } = await room();
  const receiver = newReceiver();
  const hook = { name: "Slow", url: receiver.url, kind: "before_message_send", timeoutMs: 4_000 };
  expect((await tenant.post("/v1/webhooks", hook)).status).toBe(201);
  await receiver.answers({ body: '{"action":"allow"}', delayMs: 2_000 });
  const { body: off } = await schedule(ann, id, { text: "called off", sendAt: later(700) });
  const { body: other } = await schedule(ann, id, { text: "old words", sendAt: later(700) });

  await waitFor(async () => expect(await receiver.received()).toHaveLength(2));
  expect((await ann.delete(`/v1/scheduled-messages/${off.id}`)).status).toBe(204);
  expect((await ann.patch(`/v1/scheduled-messages/${other.id}`, { text: "new words" })).status).toBe(200);

  await eventually(tenant.id, async () => expect(await texts(bob, id)).toEqual(["new words"]));
  const told = JSON.stringify((await tenant.get(`/v1/events?stream=channel&streamId=${id}`)).body);
  expect(told).not.toMatch(/called off|old words/);
  expect(await waiting(ann)).toEqual([]);
});

it("whoever may no longer send at its time is told why, and nobody else gets it", async () => {
  const { tenant, ann, bob, id } = await room();
  const { body: made } = await schedule(ann, id, { text: "too late", sendAt: later(1_500) });
  expect((await tenant.delete(`/v1/channels/${id}/members/${ann.id}`)).status).toBe(204);

  const [refused] = await eventually(tenant.id, async () => {
    const { data } = (await tenant.get(`/v1/events?stream=user&streamId=${ann.id}&type=message.refused`)).body;
    expect(data).toHaveLength(1);
    return data;
  });

  expect(refused.data).toEqual({ channelId: id, messageId: made.id, code: "not_found" });
  expect(await texts(bob, id)).toEqual([]);
  expect((await waiting(ann)).map((s: Any) => s.message.state)).toEqual(["rejected"]);
});

it("one that comes too soon for slow mode waits for its turn", async () => {
  const { tenant, ann, id } = await room();
  expect((await tenant.patch(`/v1/channels/${id}`, { slowMode: 600 })).status).toBe(200);
  expect((await ann.post(`/v1/channels/${id}/messages`, { text: "first" })).status).toBe(201);
  const { body: made } = await schedule(ann, id, { text: "second", sendAt: later(1_100) });

  await eventually(tenant.id, async () => {
    const jobs = await asOwner<Any>(
      `select extract(epoch from run_at - now())::int as seconds from scheduled_jobs
        where tenant_id = $1 and status = 'pending' and payload ->> 'messageId' = $2`,
      [tenant.id, made.id],
    );
    expect(jobs.map(({ seconds }) => seconds > 500 && seconds <= 600)).toEqual([true]);
  });
  expect((await waiting(ann)).map((s: Any) => s.message.state)).toEqual(["scheduled"]);
});

it("a pending message that waited in vain is rejected, and can be approved no more", async () => {
  const { tenant, ann, bob, id } = await room();
  const send = async (text: string) =>
    (await ann.post(`/v1/channels/${id}/messages`, { text, pending: true, pendingSeconds: 60 })).body;
  const [swept, judged] = [await send("in vain"), await send("judged late")];
  await asOwner("update messages set expires_at = now() - interval '1 second' where tenant_id = $1", [tenant.id]);

  expectProblem(await tenant.post(`/v1/messages/${judged.id}/approve`), 409, "conflict");
  await sweep();

  expect((await ann.get(`/v1/messages/${swept.id}`)).body.state).toBe("rejected");
  expectProblem(await bob.get(`/v1/messages/${swept.id}`), 404, "not_found");
  const told = (await tenant.get(`/v1/events?stream=channel&streamId=${id}&type=message.pending`)).body.data;
  expect(told.filter((e: Any) => e.data.message.state === "rejected")).toHaveLength(2);
});
