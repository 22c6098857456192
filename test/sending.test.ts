import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { readMail } from "../src/mail/read";
import { type Any, admin, client, expectProblem, newTenant, newUser, userClient } from "./helpers";
import { eventually } from "./jobs";
import { arrives, mail, mailsOf, newPost, type Post, read } from "./mail";
import { deliveryOf } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { newSigner } from "./tokens";

let post: Post;
beforeAll(async () => {
  post = await newPost({ name: "Acme Support" });
});

const newInbox = async (own = post): Promise<Any> => {
  const localPart = `box${crypto.randomUUID().slice(0, 6)}`;
  return (await own.tenant.post("/v1/inboxes", { domainId: own.domain.id, localPart, name: "Acme" })).body;
};
const to = () => `ann-${crypto.randomUUID().slice(0, 8)}@writer.example`;
const send = (inboxId: string, input: object, as: Any = post.tenant, options: object = {}) =>
  as.post(`/v1/inboxes/${inboxId}/messages`, input, options);
const answer = (channelId: string, input: object, as: Any = post.tenant, options: object = {}) =>
  as.post(`/v1/channels/${channelId}/messages`, input, options);
const made = async (answering: Promise<Any>): Promise<Any> => {
  const { status, body } = await answering;
  expect(status, JSON.stringify(body)).toBe(201);
  return body;
};
const rawOf = async (messageId: string) =>
  readMail(new TextEncoder().encode((await post.tenant.get(`/v1/messages/${messageId}/email/raw`)).body));
const deliveriesOf = (messageId: string) =>
  asOwner<Any>("select * from deliveries where message_id = $1 order by recipient", [messageId]);
const eventsOf = async (channelId: string) =>
  (await post.tenant.get(`/v1/events?stream=channel&streamId=${channelId}`)).body.data;
const addresses = (list: { address: string }[]) => list.map(({ address }) => address);
/** What lies in the bucket of the tenant. */
const objectsOf = async (tenantId: string) =>
  (await env.FILES.list({ prefix: `${tenantId}/` })).objects.map(({ key }) => key);

describe("a new mail", () => {
  it("is a message of a new conversation, with a delivery for each recipient, and everybody hears of it", async () => {
    const inbox = await newInbox();
    const receiver = newReceiver();
    await post.tenant.post("/v1/webhooks", {
      ...{ name: "sent", url: receiver.url, events: ["message.new", "email.sent"], scopes: { inboxes: [inbox.id] } },
    });
    const [ann, bob, eve] = [to(), to(), to()];

    const message = await made(
      send(inbox.id, {
        to: [{ address: ann, name: "Ann Bö" }, ann.toUpperCase()],
        cc: [bob],
        bcc: [eve, bob],
        subject: "Grüße",
        html: "<p>Hello <b>Ann</b></p>",
        headers: { "X-Campaign": "spring" },
        tags: ["welcome", { name: "plan", value: "pro" }],
        metadata: { order: 7 },
      }),
    );

    expect(message).toMatchObject({
      direction: "outbound",
      state: "visible",
      text: "Hello Ann",
      metadata: { order: 7 },
    });
    const sent = await rawOf(message.id);
    expect(sent).toMatchObject({
      from: { name: "Acme", address: inbox.address },
      subject: "Grüße",
      html: "<p>Hello <b>Ann</b></p>\n",
    });
    expect(sent.to).toEqual([{ name: "Ann Bö", address: ann }]);
    expect(addresses(sent.cc)).toEqual([bob]);
    expect(sent.headers.some(({ name }) => name.toLowerCase() === "bcc")).toBe(false);
    expect(sent.headers.find(({ name }) => name === "X-Campaign")?.value).toBe("spring");
    expect(sent.replyTo[0]!.address).toMatch(/\+r-[a-z2-7]{40}@/);
    expect(sent.messageId).toBe(`${message.id}@${post.domain.name}`);

    const deliveries = await deliveriesOf(message.id);
    expect(deliveries.map(({ recipient, content }) => [recipient, content.kind]).sort()).toEqual(
      [
        [ann, "to"],
        [bob, "cc"],
        [eve, "bcc"],
      ].sort(),
    );
    for (const { id, content } of deliveries) {
      expect(content).toMatchObject({
        from: { address: inbox.address, name: "Acme" },
        subject: "Grüße",
        stream: "transactional",
        headers: {},
      });
      expect(content.envelopeFrom).toMatch(/\+b-[a-z2-7]{40}@/);
      await eventually(async () => expect((await deliveryOf(id)).status).toBe("delivered"));
    }
    const mailPart = (await post.tenant.get(`/v1/messages/${message.id}/email`)).body;
    expect(mailPart).toMatchObject({ hasRaw: true, subject: "Grüße", from: { address: inbox.address } });
    expect(addresses(mailPart.bcc)).toEqual([eve]);
    const [row] = await mailsOf(inbox.id);
    expect(row).toMatchObject({ stream: "transactional", tags: ["welcome", "plan=pro"], direction: "outbound" });
    const types = (await eventsOf(message.channelId)).map(({ type }: Any) => type);
    expect(types.slice(0, 3)).toEqual(["channel.created", "message.new", "email.sent"]);
    expect((await receiver.got(2)).map(({ json }: Any) => json.type).sort()).toEqual(["email.sent", "message.new"]);
    const listed = (await post.tenant.get(`/v1/inboxes/${inbox.id}/channels?direction=outbound`)).body.data;
    expect(listed.map(({ id, subject }: Any) => [id, subject])).toEqual([[message.channelId, "Grüße"]]);
    const headers = (await post.tenant.get(`/v1/messages/${message.id}/email/headers`)).body.data;
    expect(headers.map(({ name }: Any) => name)).toContain("Message-ID");
  });

  it("encloses files by their id and by their bytes, shown pictures among them", async () => {
    const inbox = await newInbox();
    const file = (
      await post.tenant.post("/v1/files?name=paper.pdf", "paper", { headers: { "Content-Type": "application/pdf" } })
    ).body;

    const message = await made(
      send(inbox.id, {
        to: [to()],
        html: '<img src="cid:logo">',
        attachments: [
          { fileId: file.id },
          { content: btoa("picture"), name: "logo.png", contentType: "image/png", contentId: "logo" },
        ],
      }),
    );

    const { attachments } = await rawOf(message.id);
    expect(
      attachments.map(({ filename, contentType, contentId, content }) => [
        filename,
        contentType,
        contentId,
        new TextDecoder().decode(content),
      ]),
    ).toEqual([
      ["logo.png", "image/png", "logo", "picture"],
      ["paper.pdf", "application/pdf", null, "paper"],
    ]);
    expect(message.attachments).toHaveLength(2);
    const stored = (await post.tenant.get(`/v1/files/${message.attachments[1].fileId}`)).body;
    expect(stored).toMatchObject({ name: "logo.png", size: 7, status: "completed" });
    const view = (await post.tenant.get(`/v1/messages/${message.id}/email`)).body;
    expect(view.html).toMatch(/<img[^>]+src="http/);
  });

  it.each<[string, object, string]>([
    ["nobody to go to", { text: "a" }, "to"],
    ["nothing to say", { to: ["a@b.example"] }, "text"],
    [
      "too many recipients",
      {
        to: Array.from({ length: 30 }, (_, i) => `a${i}@b.example`),
        cc: Array.from({ length: 21 }, (_, i) => `c${i}@b.example`),
        text: "a",
      },
      "to",
    ],
    ["an address that is none", { to: ["ann"], text: "a" }, "to.0"],
    ["a host that cannot be", { to: ["ann@-"], text: "a" }, "to.0"],
    [
      "a reserved header",
      { to: ["a@b.example"], text: "a", headers: { "List-Unsubscribe": "<x>" } },
      "headers.List-Unsubscribe",
    ],
    [
      "a header that begins another",
      { to: ["a@b.example"], text: "a", headers: { "X-A": "a\r\nBcc: eve@x.example" } },
      "headers.X-A",
    ],
    ["bytes that are no base64", { to: ["a@b.example"], attachments: [{ content: "%%%" }] }, "attachments.0.content"],
    [
      "a file that is not there",
      { to: ["a@b.example"], attachments: [{ fileId: crypto.randomUUID() }] },
      "attachments.0.fileId",
    ],
    ["eleven tags", { to: ["a@b.example"], text: "a", tags: Array.from({ length: 11 }, (_, i) => `t${i}`) }, "tags"],
  ])("is refused with %s", async (_, input, path) => {
    expectProblem(await send(post.inbox.id, input), 422, "invalid_request", path);
  });

  it("goes to hosts in any script", async () => {
    const message = await made(send(post.inbox.id, { to: ["ann@bücher.example"], text: "a" }));
    expect((await deliveriesOf(message.id))[0].recipient).toBe("ann@xn--bcher-kva.example");
  });

  it("under an Idempotency-Key is sent once, and nothing of the repetitions is kept", async () => {
    const own = await newPost();
    const options = { headers: { "Idempotency-Key": crypto.randomUUID() } };
    const input = { to: [to()], text: "Once", attachments: [{ content: btoa("x"), name: "x.txt" }] };

    const all = await Promise.all(Array.from({ length: 5 }, () => send(own.inbox.id, input, own.tenant, options)));

    expect(new Set(all.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(1);
    expect(await mailsOf(own.inbox.id)).toHaveLength(1);
    await eventually(async () => expect(await objectsOf(own.tenant.id)).toHaveLength(2));
    expectProblem(
      await send(own.inbox.id, { ...input, text: "Other" }, own.tenant, options),
      422,
      "idempotency_key_reused",
    );
    expect(await objectsOf(own.tenant.id)).toHaveLength(2);
  });

  it("that the batch refuses leaves nothing behind", async () => {
    const own = await newPost();
    await own.tenant.delete(`/v1/inboxes/${own.inbox.id}`);

    const refusal = await send(
      own.inbox.id,
      { to: [to()], text: "a", attachments: [{ content: btoa("x") }] },
      own.tenant,
    );

    expectProblem(refusal, 409, "inbox_deleted");
    expect(await objectsOf(own.tenant.id)).toEqual([]);
  });
  it("to a suppressed recipient has a delivery that ended, and goes out to the rest; marketing offers to unsubscribe", async () => {
    const own = await newPost();
    const [ann, bob] = [`a${to()}`, `b${to()}`];
    await made(own.tenant.post("/v1/suppressions", { address: ann, stream: "marketing" }));
    const input = { to: [ann.toUpperCase(), bob], text: "a" };

    const message = await made(send(own.inbox.id, { ...input, stream: "marketing" }, own.tenant));

    const [first, second] = await deliveriesOf(message.id);
    expect(first).toMatchObject({ recipient: ann, status: "suppressed", attempts: 0 });
    await eventually(async () => expect((await deliveryOf(second.id)).status).toBe("delivered"));
    expect(second.content.headers).toMatchObject({ "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" });
    const events = (await own.tenant.get(`/v1/events?stream=channel&streamId=${message.channelId}`)).body.data;
    expect(events.find(({ type }: Any) => type === "email.sent").data.suppressed).toEqual([ann]);
    expect(events.some(({ type, data }: Any) => type === "delivery.updated" && data.status === "suppressed")).toBe(
      true,
    );
    const other = await made(send(own.inbox.id, input, own.tenant));
    expect((await deliveriesOf(other.id)).map(({ status }) => status)).not.toContain("suppressed");
  });
});

it("by an account of SMTP the mail that is kept goes out, to each recipient under a return path of its own", async () => {
  const server = inject("mailServer");
  const own = await newPost();
  const name = `${crypto.randomUUID()}.example`;
  await fetch(`${server.control}/script/${name}`, { method: "PUT", body: "{}" });
  await made(
    own.tenant.post("/v1/integrations", {
      ...{ name: "Post", medium: "email", provider: "smtp", credentials: { username: "ann", password: "secret" } },
      config: { host: "localhost", port: server.starttls, security: "starttls", name },
    }),
  );
  const [ann, bob] = [`a${to()}`, `b${to()}`];

  const message = await made(
    send(own.inbox.id, { to: [ann], bcc: [bob], subject: "Grüße", text: "Hello", stream: "marketing" }, own.tenant),
  );

  const deliveries = await deliveriesOf(message.id);
  for (const { id } of deliveries) await eventually(async () => expect((await deliveryOf(id)).status).toBe("sent"));
  const [row] = await mailsOf(own.inbox.id);
  const kept = await (await env.FILES.get(row.raw_key))!.text();
  const sessions = (await (await fetch(`${server.control}/seen/${name}`)).json()) as Any[];
  const seen = sessions.map(({ commands, mail: bytes }) => ({
    from: commands.find((one: string) => one.startsWith("MAIL")).match(/<(.*)>/)[1],
    to: commands.find((one: string) => one.startsWith("RCPT")).match(/<(.*)>/)[1],
    mail: new TextDecoder().decode(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))),
  }));
  for (const { recipient, content } of deliveries) {
    const got = seen.find((one) => one.to === recipient)!;
    expect(got.from).toBe(content.envelopeFrom);
    const unsubscribe = `List-Unsubscribe: ${content.headers["List-Unsubscribe"]}\r\n`;
    expect(got.mail).toBe(`${unsubscribe}List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n${kept}`);
  }
});

/** A conversation that somebody outside began. */
async function conversation(own = post, more: Record<string, string> = {}, body = "How much is it?") {
  const inbox = await newInbox(own);
  const id = `${crypto.randomUUID()}@writer.example`;
  const headers = {
    From: "Ann <ann@writer.example>",
    To: `${inbox.address}, Bob <bob@other.example>`,
    Cc: "carl@other.example",
    "Message-ID": `<${id}>`,
    ...more,
  };
  await arrives(inbox.address, mail({ headers, body }));
  await read(inbox.id);
  const [stored] = await mailsOf(inbox.id);
  return { inbox, id, channelId: stored.channel_id as string, messageId: stored.message_id as string };
}

describe("an answer", () => {
  it("goes to who wrote, in the conversation, and names what it answers", async () => {
    const one = await conversation(post, { References: "<zero@writer.example>" });

    const message = await made(answer(one.channelId, { mode: "reply", text: "Ten." }));

    expect(message.channelId).toBe(one.channelId);
    expect(message.quotedId).toBe(one.messageId);
    const sent = await rawOf(message.id);
    expect(addresses(sent.to)).toEqual(["ann@writer.example"]);
    expect(sent.cc).toEqual([]);
    expect(sent).toMatchObject({
      subject: "Re: A question",
      inReplyTo: one.id,
      references: ["zero@writer.example", one.id],
    });
  });

  it("goes to where the mail asks for, and replyAll to all but ourselves", async () => {
    const asked = await conversation(post, { "Reply-To": "desk@writer.example" });
    const reply = await made(answer(asked.channelId, { mode: "reply", text: "a" }));
    const all = await made(answer(asked.channelId, { mode: "replyAll", text: "a", bcc: ["eve@other.example"] }));

    expect(addresses((await rawOf(reply.id)).to)).toEqual(["desk@writer.example"]);
    const sent = await rawOf(all.id);
    expect(addresses(sent.to)).toEqual(["desk@writer.example"]);
    expect(addresses(sent.cc)).toEqual(["bob@other.example", "carl@other.example"]);
    expect((await deliveriesOf(all.id)).map(({ recipient }) => recipient)).toContain("eve@other.example");
  });

  it("by forwarding goes to others, with what was written and enclosed", async () => {
    const boundary = "b";
    const body = [
      ...[`--${boundary}`, "Content-Type: text/plain", "", "See the paper.", `--${boundary}`],
      ...[
        "Content-Type: application/pdf",
        'Content-Disposition: attachment; filename="paper.pdf"',
        "",
        "paper",
        `--${boundary}--`,
      ],
    ].join("\r\n");
    const one = await conversation(post, { "Content-Type": `multipart/mixed; boundary="${boundary}"` }, body);

    const message = await made(
      answer(one.channelId, { mode: "forward", to: ["boss@other.example"], text: "What do you think?" }),
    );

    expect(message.text).toBe("What do you think?");
    const sent = await rawOf(message.id);
    expect(sent.subject).toBe("Fwd: A question");
    expect(addresses(sent.to)).toEqual(["boss@other.example"]);
    expect(sent.text).toMatch(
      /^What do you think\?\n\n-+ Forwarded message -+\nFrom: Ann <ann@writer\.example>\n[\s\S]*See the paper\./,
    );
    expect(sent.attachments.map(({ filename, content }) => [filename, new TextDecoder().decode(content)])).toEqual([
      ["paper.pdf", "paper"],
    ]);
    expectProblem(await answer(one.channelId, { mode: "forward", text: "a" }), 422, "invalid_request", "to");
  });

  it("under an Idempotency-Key is sent once", async () => {
    const one = await conversation();
    const options = { headers: { "Idempotency-Key": crypto.randomUUID() } };

    const all = [];
    for (let i = 0; i < 3; i++)
      all.push(await answer(one.channelId, { mode: "reply", text: "Ten." }, post.tenant, options));

    expect(new Set(all.map(({ body }) => body.id)).size).toBe(1);
    expect(all.map(({ headers }) => headers.get("Idempotency-Replayed"))).toEqual([null, "true", "true"]);
    expect((await mailsOf(one.inbox.id)).filter(({ direction }) => direction === "outbound")).toHaveLength(1);
    expectProblem(
      await answer(one.channelId, { mode: "reply", text: "Eleven." }, post.tenant, options),
      422,
      "idempotency_key_reused",
    );
  });

  it("in a channel of chat, in a merged conversation, and to a mail of another one is refused", async () => {
    const one = await conversation();
    const other = await conversation();
    const chat = (await post.tenant.post("/v1/channels", {})).body;
    expectProblem(await answer(chat.id, { mode: "reply", text: "a" }), 409, "no_conversation");
    expectProblem(
      await answer(one.channelId, { mode: "reply", text: "a", quotedId: other.messageId }),
      422,
      "invalid_request",
      "quotedId",
    );
    expectProblem(await answer(one.channelId, { mode: "reply", text: 5 }), 422, "invalid_request", "text");
    expectProblem(await answer(one.channelId, { text: "a chat message" }), 403, "not_allowed");
    await arrives(
      one.inbox.address,
      mail({ headers: { "Message-ID": "<late@x.example>", References: "<seen-by-none@x.example>" } }),
    );
    await read(one.inbox.id);
    const late = (await mailsOf(one.inbox.id)).at(-1);
    await arrives(one.inbox.address, mail({ headers: { References: `<${one.id}> <late@x.example>` } }));
    await read(one.inbox.id);
    expectProblem(await answer(late.channel_id, { mode: "reply", text: "a" }), 409, "channel_merged");
    await made(answer(one.channelId, { mode: "reply", text: "a" }));
  });
});

describe("who may send", () => {
  it("operators of the inbox, and credentials bound to it, from it alone", async () => {
    const own = await newPost();
    const [mine, other] = [await newInbox(own), await newInbox(own)];
    const [editor, viewer, stranger] = [
      await newUser(own.tenant, { role: "editor" }),
      await newUser(own.tenant, { role: "viewer" }),
      await newUser(own.tenant, { role: "editor" }),
    ];
    const adds = [mine, mine, other].map(({ id }, i) => `/v1/inboxes/${id}/users/${[editor, viewer, stranger][i].id}`);
    for (const path of adds) expect((await own.tenant.put(path)).status).toBe(204);
    const by = async (userId: string) => send(mine.id, { to: [to()], text: "a" }, await userClient(own.tenant, userId));

    const sent = await made(by(editor.id));
    expect(sent.userId).toBe(editor.id);
    expect((await by(viewer.id)).status).toBe(403);
    expectProblem(await by(stranger.id), 404, "not_found");
  });

  it("a signed token that is bound to an inbox sends and answers from it, and from no other", async () => {
    const own = await newPost();
    const [mine, theirs] = [await conversation(own), await conversation(own)];
    const signer = await newSigner(own.tenant, "ES256", { scopes: ["channels:write"] });
    const token = client(await signer.token({ scope: "channels:write", resources: { inbox: [mine.inbox.id] } }));
    const key = (
      await own.tenant.post("/v1/api-keys", {
        name: "bound",
        scopes: ["channels:write"],
        resources: { inbox: [mine.inbox.id] },
      })
    ).body;

    for (const bound of [token, client(key.secret)]) {
      await made(send(mine.inbox.id, { to: [to()], text: "a" }, bound));
      await made(answer(mine.channelId, { mode: "reply", text: "a" }, bound));
      expectProblem(await send(theirs.inbox.id, { to: [to()], text: "a" }, bound), 403, "resource_not_allowed");
      expectProblem(await answer(theirs.channelId, { mode: "reply", text: "a" }, bound), 403, "resource_not_allowed");
    }
    const sendAt = new Date(Date.now() + 3_600_000).toISOString();
    const [own1, other] = [mine, theirs].map(({ inbox }) =>
      send(inbox.id, { to: [to()], text: "a", sendAt }, own.tenant),
    );
    const change = (id: string) => token.patch(`/v1/scheduled-messages/${id}/email`, { subject: "Mine" });
    expect((await change((await made(own1!)).id)).status).toBe(200);
    expectProblem(await change((await made(other!)).id), 403, "resource_not_allowed");
    const wrong = client(await signer.token({ scope: "channels:write", resources: { house: ["x"] } }));
    expectProblem(await send(mine.inbox.id, { to: [to()], text: "a" }, wrong), 401, "token_invalid");
  });

  it("a credential bound to an inbox reads its conversations and no others, nor what lies across them", async () => {
    const own = await newPost();
    const [mine, theirs] = [await conversation(own), await conversation(own)];
    const chat = (await own.tenant.post("/v1/channels", { name: "Chat" })).body;
    const key = await own.tenant.post("/v1/api-keys", {
      name: "bound",
      scopes: ["channels:read", "channels:write", "events:read"],
      resources: { inbox: [mine.inbox.id] },
    });
    const bound = client(key.body.secret);
    const messageOf = async (id: string) => (await own.tenant.get(`/v1/channels/${id}/messages`)).body.data[0].id;

    for (const path of [`/v1/channels/${mine.channelId}`, `/v1/channels/${mine.channelId}/messages`])
      expect((await bound.get(path)).status, path).toBe(200);
    expect((await bound.get(`/v1/messages/${await messageOf(mine.channelId)}`)).status).toBe(200);
    const closed = [
      ...[`/v1/channels/${theirs.channelId}`, `/v1/channels/${theirs.channelId}/messages`, `/v1/channels/${chat.id}`],
      ...[
        `/v1/messages/${await messageOf(theirs.channelId)}`,
        "/v1/channels",
        "/v1/search/messages?q=paper",
        "/v1/events",
      ],
    ];
    for (const path of closed) expectProblem(await bound.get(path), 403, "resource_not_allowed");
    const sendAt = new Date(Date.now() + 3_600_000).toISOString();
    const later = await made(send(theirs.inbox.id, { to: [to()], text: "a", sendAt }, own.tenant));
    expectProblem(await bound.delete(`/v1/scheduled-messages/${later.id}`), 403, "resource_not_allowed");
  });

  it("through an account of one's own only from a domain that is proven; through the sandbox always", async () => {
    const own = await newPost();
    await asOwner("update domains set status = 'pending' where id = $1", [own.domain.id]);
    await made(send(own.inbox.id, { to: [to()], text: "a" }, own.tenant));
    await asOwner(
      `insert into integrations (tenant_id, id, name, provider, medium, config, credentials, data_key, master_version)
       values ($1, gen_random_uuid(), 'Own', 'elsewhere', 'email', '{}', '', '', 'none')`,
      [own.tenant.id],
    );

    expectProblem(await send(own.inbox.id, { to: [to()], text: "a" }, own.tenant), 409, "domain_not_verified");
  });
});

describe("at a time to come", () => {
  const later = (ms: number) => new Date(Date.now() + ms).toISOString();
  const waiting = async (own: Post) => (await own.tenant.get("/v1/scheduled-messages")).body.data;
  const bodyOf = async (own: Post) => {
    const [row] = await mailsOf(own.inbox.id);
    return readMail(await (await env.FILES.get(row.raw_key))!.bytes());
  };

  it("a mail waits unseen, is sent at its time as it was last changed, and begins its conversation", async () => {
    const own = await newPost();
    const [ann, bob] = [to(), to()];
    const attachments = [{ content: btoa("x"), name: "x.txt", contentType: "text/plain" }];
    const input = {
      to: [ann],
      subject: "Later",
      text: "Good morning",
      attachments,
      tags: ["t"],
      sendAt: later(3_600_000),
    };

    const message = await made(send(own.inbox.id, input, own.tenant));

    expect(message).toMatchObject({ state: "scheduled", seq: null, direction: "outbound", text: "Good morning" });
    expect((await waiting(own)).map(({ id }: Any) => id)).toEqual([message.id]);
    expect((await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels`)).body.data).toEqual([]);
    expect(await deliveriesOf(message.id)).toEqual([]);
    const changed = await own.tenant.patch(`/v1/scheduled-messages/${message.id}/email`, {
      to: [bob],
      subject: "Sooner",
      text: "Good evening",
    });
    expect(changed.status, JSON.stringify(changed.body)).toBe(200);
    expect(changed.body.message.text).toBe("Good evening");
    const sendAt = later(1_500);
    await own.tenant.patch(`/v1/scheduled-messages/${message.id}`, { sendAt });

    const [delivery] = await eventually(async () => {
      const all = await deliveriesOf(message.id);
      expect(all).toHaveLength(1);
      return all;
    });
    expect(delivery.recipient).toBe(bob);
    expect(await bodyOf(own)).toMatchObject({ subject: "Sooner", text: "Good evening\n" });
    expect((await bodyOf(own)).attachments.map(({ filename }) => filename)).toEqual(["x.txt"]);
    const sent = (await own.tenant.get(`/v1/messages/${message.id}`)).body;
    expect(sent).toMatchObject({ state: "visible", direction: "outbound", attachments: [{ fileName: "x.txt" }] });
    expect(Date.parse(sent.createdAt)).toBeGreaterThanOrEqual(Date.parse(sendAt));
    const types = (await own.tenant.get(`/v1/events?stream=channel&streamId=${message.channelId}`)).body.data.map(
      ({ type }: Any) => type,
    );
    expect(types.slice(0, 3)).toEqual(["channel.created", "message.new", "email.sent"]);
    expect((await mailsOf(own.inbox.id))[0].tags).toEqual(["t"]);
  });

  it("an answer waits in its conversation; called off, a new one leaves nothing", async () => {
    const own = await newPost();
    const one = await conversation(own);
    const reply = await made(
      answer(one.channelId, { mode: "reply", text: "Later", sendAt: later(3_600_000) }, own.tenant),
    );
    const fresh = await made(send(own.inbox.id, { to: [to()], text: "a", sendAt: later(3_600_000) }, own.tenant));

    for (const { id } of [reply, fresh])
      expect((await own.tenant.delete(`/v1/scheduled-messages/${id}`)).status).toBe(204);

    expect(await waiting(own)).toEqual([]);
    expectProblem(await own.tenant.get(`/v1/channels/${fresh.channelId}`), 404, "not_found");
    expect((await own.tenant.get(`/v1/channels/${one.channelId}`)).status).toBe(200);
    expectProblem(
      await send(own.inbox.id, { to: [to()], text: "a", sendAt: later(-1000) }, own.tenant),
      422,
      "invalid_request",
      "sendAt",
    );
  });

  it("is not sent for who may no longer, and its writer is told", async () => {
    const own = await newPost();
    const { id } = await newUser(own.tenant, { role: "editor" });
    const editor = await userClient(own.tenant, id);
    const message = await made(send(own.inbox.id, { to: [to()], text: "a", sendAt: later(2_000) }, editor));
    await own.tenant.put(`/v1/inboxes/${own.inbox.id}/users/${(await newUser(own.tenant)).id}`);

    await eventually(async () => {
      const [told] = (await own.tenant.get(`/v1/events?stream=user&streamId=${id}&type=message.refused`)).body.data;
      expect(told.data).toMatchObject({ messageId: message.id, code: "not_found" });
    });
    expect(await deliveriesOf(message.id)).toEqual([]);
  });
});

it("of a batch each has its own result, and what is wrong with one leaves the others alone", async () => {
  const own = await newPost();
  const good = () => ({ to: [to()], text: "a" });
  const messages = [
    good(),
    { to: ["x"], text: "a" },
    good(),
    { ...good(), attachments: [{ fileId: crypto.randomUUID() }] },
    good(),
  ];
  const options = { headers: { "Idempotency-Key": crypto.randomUUID() } };

  const first = await own.tenant.post(`/v1/inboxes/${own.inbox.id}/messages/batch`, { messages }, options);
  const again = await own.tenant.post(`/v1/inboxes/${own.inbox.id}/messages/batch`, { messages }, options);

  expect(first.status, JSON.stringify(first.body)).toBe(200);
  expect(
    first.body.data.map(({ message, error }: Any) => [message?.direction ?? null, error?.errors?.[0].path ?? null]),
  ).toEqual([
    ["outbound", null],
    [null, "to.0"],
    ["outbound", null],
    [null, "attachments.0.fileId"],
    ["outbound", null],
  ]);
  expect(again.body).toEqual(first.body);
  expect(await mailsOf(own.inbox.id)).toHaveLength(3);
  await eventually(async () => expect(await objectsOf(own.tenant.id)).toHaveLength(3));
});

it("over what the plan gives in a month a mail is refused when it is sent, and one of a batch by itself", async () => {
  const limits = { emailDeliveries: 2 };
  const plan = await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", limits });
  const own = await newPost({}, await newTenant({ planId: plan.body.id }));
  const of = (count: number) => ({ to: Array.from({ length: count }, to), subject: "Hello", text: "Hello" });

  const refusal = await send(own.inbox.id, of(3), own.tenant);
  expectProblem(refusal, 402, "plan_limit_reached");
  expect(refusal.body).toMatchObject({ metric: "emailDeliveries", limit: 2, use: 0, reset: expect.any(String) });
  const path = `/v1/inboxes/${own.inbox.id}/messages/batch`;
  const { body } = await own.tenant.post(path, { messages: [of(3), of(2)] });

  expect(body.data.map(({ error }: Any) => error?.code ?? null)).toEqual(["plan_limit_reached", null]);
  expect(await asOwner("select from emails where tenant_id = $1", [own.tenant.id])).toHaveLength(1);
});

describe("a reply to what was sent joins its conversation", () => {
  const stored = async (inboxId: string, text: string) =>
    (await mailsOf(inboxId)).find(({ written }) => written === text);

  it("by its id, by the provider's id, and by the address it was sent to", async () => {
    const inbox = await newInbox();
    const sent = await made(send(inbox.id, { to: [to()], subject: "Offer", text: "Ten." }));
    const raw = await rawOf(sent.id);
    await asOwner(
      "insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind) values ($1, $2, $3, 'given@ses.example', 'provider')",
      [post.tenant.id, sent.id, inbox.id],
    );
    const own = { "In-Reply-To": `<${raw.messageId}>` };
    await arrives(inbox.address, mail({ headers: own, body: "by id" }));
    await arrives(inbox.address, mail({ headers: { References: "<given@ses.example>" }, body: "by provider" }));
    const path = `/v1/inbound/mime?to=${encodeURIComponent(raw.replyTo[0]!.address)}&from=ann@writer.example`;
    const handed = await post.tenant.post(path, mail({ body: "by address" }), {
      headers: { "Content-Type": "message/rfc822" },
    });
    expect(handed.status).toBe(202);
    await read(inbox.id);

    for (const text of ["by id", "by provider", "by address"])
      expect((await stored(inbox.id, text)).channel_id, text).toBe(sent.channelId);
  });

  it("and a bounce to the address it was sent from ends its delivery", async () => {
    const inbox = await newInbox();
    const sent = await made(send(inbox.id, { to: ["silent@writer.example", "bob@other.example"], text: "a" }));
    const one = (await deliveriesOf(sent.id)).find(({ recipient }) => recipient === "silent@writer.example");
    await eventually(async () => expect((await deliveryOf(one.id)).status).toBe("sent"));
    const report = [
      ...[
        "--b",
        "Content-Type: text/plain",
        "",
        "It could not be delivered.",
        "--b",
        "Content-Type: message/delivery-status",
        "",
      ],
      ...[
        "Reporting-MTA: dns; mx.writer.example",
        "",
        "Final-Recipient: rfc822; silent@writer.example",
        "Action: failed",
      ],
      ...["Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1 User unknown", "--b--"],
    ].join("\r\n");
    const headers = {
      From: "MAILER-DAEMON@writer.example",
      "Content-Type": 'multipart/report; report-type=delivery-status; boundary="b"',
    };

    await arrives(one.content.envelopeFrom, mail({ headers, body: report }), { from: "" });
    await read(inbox.id);

    expect((await deliveryOf(one.id)).status).toBe("bounced");
    const other = (await deliveriesOf(sent.id)).find(({ recipient }) => recipient === "bob@other.example");
    expect(["sent", "delivered"]).toContain((await deliveryOf(other.id)).status);
  });

  it("the sandbox's recipients reply and bounce as their names say", async () => {
    const inbox = await newInbox();
    const sent = await made(
      send(inbox.id, { to: ["replied@x.example", "bounced@x.example"], text: "a", subject: "Hi" }),
    );

    const reply = await eventually(async () => {
      const found = (await mailsOf(inbox.id)).find(({ direction }) => direction === "inbound");
      expect(found).toBeDefined();
      return found;
    });
    expect(reply).toMatchObject({
      channel_id: sent.channelId,
      subject: "Re: Hi",
      written: "This is what the sandbox replies.",
    });
    await eventually(async () => {
      const statuses = (await deliveriesOf(sent.id)).map(({ recipient, status }) => [recipient, status]);
      expect(statuses).toEqual([
        ["bounced@x.example", "bounced"],
        ["replied@x.example", "delivered"],
      ]);
    });
  });
});

it("what was sent leaves with its conversation, its bytes with it", async () => {
  const own = await newPost();
  const sent = await made(send(own.inbox.id, { to: [to()], text: "a" }, own.tenant));
  expect((await own.tenant.post(`/v1/channels/${sent.channelId}/trash`)).status).toBe(204);
  expect((await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels`)).body.data).toEqual([]);
  expect((await own.tenant.post(`/v1/channels/${sent.channelId}/restore`)).status).toBe(204);
  expect((await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels`)).body.data).toHaveLength(1);

  await asOwner("delete from channels where id = $1", [sent.channelId]);
  const [row] = await asOwner<Any>("select door.expired_raws(1000) as raws");
  const [raw] = await asOwner<Any>("select * from outbound_raw where tenant_id = $1", [own.tenant.id]);
  expect(row.raws).toContainEqual({ tenantId: own.tenant.id, id: raw.id });
});
