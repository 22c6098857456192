import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { eventually } from "./jobs";
import { newPost, type Post } from "./mail";
import { answer, conversation, deliveriesOf, later, made, newAddress, rawOf, send } from "./mailing";
import { betweenDatabase } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";

/** When it is sent, as it was recorded. */
const sent = (messageId: string) =>
  eventually(async () => {
    const rows = await deliveriesOf(messageId);
    expect(rows).not.toEqual([]);
    return rows;
  });

describe("a scheduled mail is sent at its time", () => {
  it("though what its inbox bears has changed since this isolate looked", async () => {
    const own = await newPost({ name: "Before" });
    await made(send(own, { to: [newAddress()], text: "now" }));
    const message = await made(send(own, { to: [newAddress()], text: "later", sendAt: later(1_500) }));
    await asOwner("update inboxes set name = 'After' where id = $1", [own.inbox.id]);

    await sent(message.id);

    expect((await rawOf(own, message.id)).from?.name).toBe("After");
  });

  it("in the conversation that its own is merged into while it is being sent", async () => {
    const own = await newPost();
    const [one, other] = [await conversation(own), await conversation(own)];
    const message = await made(answer(own, one.channelId, { mode: "reply", text: "a", sendAt: later(1_500) }));
    let isMerged = false;

    const [delivery] = await betweenDatabase(
      async ({ queries, send: ask }) => {
        if (queries.includes("record_outbound") && !isMerged) {
          isMerged = true;
          const ids = [own.tenant.id, one.channelId, other.channelId];
          await asOwner(
            "update messages set channel_id = $3 where tenant_id = $1 and channel_id = $2 and seq is null",
            ids,
          );
          await asOwner(
            `update messages m set channel_id = $3, seq = s.last_seq + 1, ordinal = null from streams s
              where m.tenant_id = $1 and m.channel_id = $2 and s.tenant_id = $1 and s.id = $3`,
            ids,
          );
          await asOwner("update streams set last_seq = last_seq + 1 where tenant_id = $1 and id = $2", [
            ids[0],
            ids[2],
          ]);
          await asOwner("update channels set merged_into = $3 where tenant_id = $1 and id = $2", ids);
        }
        return ask();
      },
      () => sent(message.id),
    );

    expect(isMerged).toBe(true);
    expect(delivery.channel_id).toBe(other.channelId);
  });
});

it("called off while it is being sent, it is not sent, and nothing of it is kept; sent, it cannot be called off", async () => {
  const own = await newPost();
  const [one, other] = [{ id: "" }, { id: "" }];
  const answers: number[] = [];
  const callOff = async (id: string) => {
    answers.push((await own.tenant.delete(`/v1/scheduled-messages/${id}`)).status);
  };

  await betweenDatabase(
    async ({ queries, send: ask }) => {
      if (one.id !== "" && queries.includes("record_outbound") && queries.includes(one.id)) await callOff(one.id);
      const answered = await ask();
      if (other.id !== "" && queries.includes("record_outbound") && queries.includes(other.id)) await callOff(other.id);
      return answered;
    },
    async () => {
      Object.assign(one, await made(send(own, { to: [newAddress()], text: "a", sendAt: later(1_500) })));
      Object.assign(other, await made(send(own, { to: [newAddress()], text: "b", sendAt: later(2_500) })));
      await sent(other.id);
      await eventually(() => expect(answers).toEqual([204, 404]));
    },
  );

  expect(await deliveriesOf(one.id)).toEqual([]);
  await eventually(async () => expect((await env.FILES.list({ prefix: `${own.tenant.id}/` })).objects).toHaveLength(1));
});

it("one of a key that is refused at its time is told in the tenant's stream, and to its webhooks", async () => {
  const own = await newPost();
  const receiver = newReceiver();
  await made(own.tenant.post("/v1/webhooks", { name: "refused", url: receiver.url, events: ["message.refused"] }));
  const message = await made(send(own, { to: [newAddress()], text: "a", sendAt: later(1_500) }));
  expect((await own.tenant.delete(`/v1/inboxes/${own.inbox.id}`)).status).toBe(204);

  const data = { channelId: message.channelId, messageId: message.id, code: "inbox_deleted" };
  await eventually(async () => {
    const told = (await own.tenant.get("/v1/events?stream=tenant&type=message.refused")).body.data;
    expect(told.map((event: Any) => event.data)).toEqual([data]);
  });
  expect((await receiver.got(1)).map(({ json }: Any) => json.data)).toEqual([data]);
  expect((await own.tenant.get("/v1/scheduled-messages")).body.data[0].message.state).toBe("rejected");
});

describe("a scheduled mail that is changed says what it was changed to", () => {
  const change = (own: Post, id: string, input: object, part = "/email") =>
    own.tenant.patch(`/v1/scheduled-messages/${id}${part}`, input);
  const changed = async (asking: Promise<Any>) => {
    const { status, body } = await asking;
    expect(status, JSON.stringify(body)).toBe(200);
    return body.message;
  };
  const soon = (own: Post, id: string) => changed(change(own, id, { sendAt: later(300) }, ""));
  const sentMail = async (own: Post, id: string) => {
    await soon(own, id);
    await sent(id);
    return rawOf(own, id);
  };

  it("text that was made of html is made of the new one", async () => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], html: "<p>Old</p>", sendAt: later() }));

    const shown = await changed(change(own, message.id, { html: "<p>New</p>" }));

    expect(shown.text).toBe("New");
    expect(await sentMail(own, message.id)).toMatchObject({ text: "New\n", html: "<p>New</p>\n" });
  });

  it("text beside html is changed by itself", async () => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], html: "<p>Old</p>", sendAt: later() }));

    await changed(change(own, message.id, { text: "Plain" }));

    expect(await sentMail(own, message.id)).toMatchObject({ text: "Plain\n", html: "<p>Old</p>\n" });
  });

  it.each(["/email", ""])("of a forwarded mail what was forwarded stays: by %s", async (part) => {
    const own = await newPost();
    const headers = { "Content-Type": "text/html; charset=utf-8" };
    const one = await conversation(own, { headers, body: "<p>How <b>much</b>?</p>" });
    const message = await made(
      answer(own, one.channelId, { mode: "forward", to: [newAddress()], text: "Old", sendAt: later() }),
    );

    const shown = await changed(change(own, message.id, { text: "New" }, part));

    expect(shown.text).toBe("New");
    const mail = await sentMail(own, message.id);
    expect(mail.text).toMatch(/^New\n\n-+ Forwarded message -+\n[\s\S]*How much\?/);
    expect(mail.html).toMatch(/>New<[\s\S]*<p>How <b>much<\/b>\?<\/p>/);
    expect((await own.tenant.get(`/v1/messages/${message.id}`)).body.text).toBe("New");
  });

  it("one without words of its own can be put off", async () => {
    const own = await newPost();
    const one = await conversation(own);
    const message = await made(answer(own, one.channelId, { mode: "forward", to: [newAddress()], sendAt: later() }));

    expect((await sentMail(own, message.id)).text).toMatch(/^-+ Forwarded message/);
  });

  it("the text alone of one with html is not changed, for its html would say something else", async () => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], html: "<p>Old</p>", sendAt: later() }));

    expectProblem(await change(own, message.id, { text: "New" }, ""), 422, "invalid_request", "text");
    expect((await own.tenant.get("/v1/scheduled-messages")).body.data[0].message.text).toBe("Old");
  });

  it.each<[string, object, string]>([
    ["nobody", { to: [], cc: [], bcc: [] }, "to"],
    ["more than 50", { cc: Array.from({ length: 50 }, newAddress) }, "to"],
    ["nothing to say", { text: " " }, "text"],
  ])("it is refused at once with %s", async (_, input, path) => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], text: "a", sendAt: later() }));

    expectProblem(await change(own, message.id, input), 422, "invalid_request", path);
    expectProblem(await change(own, crypto.randomUUID(), { text: "a" }), 404, "not_found");
  });

  it("as long as a mail may be", async () => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], html: "<p>a</p>", text: "a", sendAt: later() }));
    const html = `<p>${"x".repeat(1_500_000)}</p>`;

    await changed(change(own, message.id, { html }));

    expect((await sentMail(own, message.id)).html?.replace(/\s/g, "")).toBe(html);
  });

  it("by two at once, by each of them", async () => {
    const own = await newPost();
    const message = await made(send(own, { to: [newAddress()], text: "a", sendAt: later() }));

    await Promise.all([
      changed(change(own, message.id, { subject: "New" })),
      changed(change(own, message.id, { text: "b" })),
    ]);

    expect(await sentMail(own, message.id)).toMatchObject({ subject: "New", text: "b\n" });
  });
});
