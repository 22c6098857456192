import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { eventually } from "./jobs";
import { mailsOf, newPost, type Post } from "./mail";
import { answer, conversation, later, made, newAddress, send } from "./mailing";
import { askWith } from "./outbound";
import { asOwner } from "./setup/owner";

const newKey = () => ({ headers: { "Idempotency-Key": crypto.randomUUID() } });
const objectsOf = async ({ tenant }: Post) =>
  (await env.FILES.list({ prefix: `${tenant.id}/` })).objects.map(({ key }) => key);
const newFile = ({ tenant }: Post): Promise<Any> =>
  made(tenant.post("/v1/files?name=a.pdf", "paper", { headers: { "Content-Type": "application/pdf" } }));
const batch = ({ tenant, inbox }: Post, messages: object[], options: object = {}) =>
  tenant.post(`/v1/inboxes/${inbox.id}/messages/batch`, { messages }, options);

const sameAgain = async (ask: () => Promise<Any>, meanwhile: () => Promise<unknown>) => {
  const first = await ask();
  expect(first.status, JSON.stringify(first.body)).toBeLessThan(300);
  await meanwhile();
  const again = await ask();
  expect([again.status, again.body]).toEqual([first.status, first.body]);
  expect(again.headers.get("Idempotency-Replayed")).toBe("true");
};

describe("under an Idempotency-Key a repetition gets the first answer", () => {
  it("though a file that it enclosed is gone since", async () => {
    const own = await newPost();
    const [file, options] = [await newFile(own), newKey()];
    const input = { to: [newAddress()], text: "a", attachments: [{ fileId: file.id }] };

    await sameAgain(
      () => send(own, input, options),
      async () => env.FILES.delete((await objectsOf(own)).filter((key) => key.includes(file.id))),
    );
    expectProblem(await send(own, input, newKey()), 422, "invalid_request", "attachments.0.fileId");
  });

  it("though the mail that it answered, and its inbox, are gone since", async () => {
    const own = await newPost();
    const [one, options] = [await conversation(own), newKey()];

    await sameAgain(
      () => answer(own, one.channelId, { mode: "reply", text: "a", quotedId: one.messageId }, options),
      async () => {
        await asOwner("update messages set deleted_at = now() where id = $1", [one.messageId]);
        await own.tenant.delete(`/v1/inboxes/${own.inbox.id}`);
      },
    );
  });

  it("though the time that it was put off to has passed, and nothing of the repetition is kept", async () => {
    const own = await newPost();
    const options = newKey();
    const attachments = [{ content: btoa("x"), name: "x.txt" }];
    const input = { to: [newAddress()], text: "a", attachments, sendAt: later(1_500) };
    const ask = () => send(own, input, options);

    await sameAgain(ask, async () => {});
    await eventually(async () => expect(await objectsOf(own)).toHaveLength(1));
    await sameAgain(ask, () => new Promise((done) => setTimeout(done, 1_600)));
    expect(await mailsOf(own.inbox.id)).toHaveLength(1);
  });

  it("of a batch for each, what was refused among it", async () => {
    const own = await newPost();
    const [file, options] = [await newFile(own), newKey()];
    const attachments = [{ fileId: file.id }];
    const messages = [
      { to: [newAddress()], text: "a", attachments },
      { to: ["x"], text: "a" },
    ];

    await sameAgain(
      () => batch(own, messages, options),
      async () => {
        await env.FILES.delete((await objectsOf(own)).filter((key) => key.includes(file.id)));
        await own.tenant.delete(`/v1/inboxes/${own.inbox.id}`);
      },
    );
  });
});

it("where one of a batch cannot be kept, nothing of its neighbours is", async () => {
  const own = await newPost();
  let puts = 0;
  const FILES = new Proxy(env.FILES, {
    get: (target, name) => {
      const real = target[name as "put"];
      if (name !== "put") return typeof real === "function" ? real.bind(target) : real;
      return (...given: Parameters<typeof real>) =>
        ++puts === 3 ? Promise.reject(new Error("out of order")) : real.apply(target, given);
    },
  });
  const messages = Array.from({ length: 6 }, () => ({ to: [newAddress()], text: "a" }));

  const { status } = await askWith(
    { ...env, FILES },
    ...([own.tenant, "POST", `/v1/inboxes/${own.inbox.id}/messages/batch`, { messages }] as const),
  );

  expect([status, puts]).toEqual([500, 4]);
  expect(await objectsOf(own)).toEqual([]);
  expect(await mailsOf(own.inbox.id)).toEqual([]);
});

it("a batch takes a hundred and no more, with the suppressed among its recipients", async () => {
  const own = await newPost();
  const gone = newAddress();
  await made(own.tenant.post("/v1/suppressions", { address: gone }));
  const messages = Array.from({ length: 101 }, (_, n) => ({ to: [n === 7 ? gone : newAddress()], text: `${n}` }));

  expectProblem(await batch(own, messages), 422, "invalid_request", "messages");
  const { body } = await batch(own, messages.slice(0, 100));

  expect(body.data.map(({ message }: Any) => message?.text)).toEqual(messages.slice(0, 100).map(({ text }) => text));
  const ended = await asOwner<Any>("select recipient from deliveries where tenant_id = $1 and status = 'suppressed'", [
    own.tenant.id,
  ]);
  expect(ended).toEqual([{ recipient: gone }]);
});

it("the file of another tenant is none that can be enclosed", async () => {
  const [own, other] = [await newPost(), await newPost()];
  const file = await newFile(other);
  const input = { to: [newAddress()], text: "a", attachments: [{ fileId: file.id }] };

  expectProblem(await send(own, input), 422, "invalid_request", "attachments.0.fileId");
  expectProblem(await send(own, { ...input, sendAt: later() }), 422, "invalid_request", "attachments.0.fileId");
});
