import { describe, expect, inject, it } from "vitest";
import { type Any, expectProblem } from "./helpers";
import { eventually } from "./jobs";
import { newPost, type Post } from "./mail";
import { addresses, answer, conversation, deliveriesOf, made, rawOf, recipientsOf, send } from "./mailing";
import { asOwner } from "./setup/owner";

describe("whoever wrote a mail chose the addresses in it", () => {
  it.each(["<victim@x.example,evil@y.example>", "<a@b@c.example>", "<ann@-.example>", "<änn@x.example>"])(
    "Reply-To: %s leaves nobody to answer but who wrote",
    async (replyTo) => {
      const own = await newPost();
      const one = await conversation(own, { headers: { "Reply-To": replyTo } });

      const message = await made(answer(own, one.channelId, { mode: "reply", text: "a" }));

      expect(await recipientsOf(message.id)).toEqual(["ann@writer.example"]);
    },
  );

  it("a mail that names nobody who can be answered says so, and is answered to whom one names", async () => {
    const own = await newPost();
    const one = await conversation(own, { headers: { From: "<änn@x.example>" } });

    const refusal = await answer(own, one.channelId, { mode: "reply", text: "a" });
    const message = await made(answer(own, one.channelId, { mode: "reply", text: "a", to: ["ann@x.example"] }));

    expectProblem(refusal, 422, "invalid_request", "to");
    expect(await recipientsOf(message.id)).toEqual(["ann@x.example"]);
  });

  it("what is one address in another spelling is answered as that one, so that its suppression holds", async () => {
    const own = await newPost();
    await made(own.tenant.post("/v1/suppressions", { address: "ann@xn--bcher-kva.example" }));
    for (const from of ['<"ann"@bücher.example>', "ann@bücher.example;", "<ann@xn--bcher-kva.example.>"]) {
      const one = await conversation(own, { headers: { From: from } });

      const message = await made(answer(own, one.channelId, { mode: "reply", text: "a" }));

      const [delivery] = await deliveriesOf(message.id);
      expect(delivery, from).toMatchObject({ recipient: "ann@xn--bcher-kva.example", status: "suppressed" });
    }
  });

  it("those beside are left out where they are none, and quotes that are needed stay", async () => {
    const own = await newPost();
    const cc = '"a b"@other.example, <bob@x.example,eve@y.example>, a..b@other.example, carl@-';
    const one = await conversation(own, { headers: { Cc: cc } });

    const message = await made(answer(own, one.channelId, { mode: "replyAll", text: "a" }));

    expect((await recipientsOf(message.id)).sort()).toEqual(
      ['"a b"@other.example', "a..b@other.example", "ann@writer.example"].sort(),
    );
  });

  it("no automatic answer goes to what is no single address", async () => {
    const own = await newPost({ autoReply: { text: "We are away." } });
    const jobs = () =>
      asOwner<{ payload: { address: string } }>(
        "select payload from scheduled_jobs where tenant_id = $1 and type = 'email.auto-reply'",
        [own.tenant.id],
      );
    for (const from of ["änn@writer.example", "ann@bücher.example"])
      await conversation(own, { headers: { From: `<${from}>` }, from });

    await eventually(async () =>
      expect((await jobs()).map(({ payload }) => payload.address)).toEqual(["ann@xn--bcher-kva.example"]),
    );
  });
});

it.each([
  "ann@x.example/evil",
  "ann@x.example?",
  "ann@x.example#y",
  "ann@x%2eexample",
  "a..b@x.example",
  ".a@x.example",
  "a.@x.example",
])("%s is no address to send to", async (address) => {
  const own = await newPost();
  expectProblem(await send(own, { to: [address], text: "a" }), 422, "invalid_request", "to.0");
});

describe("an answer to all copies none of ourselves", () => {
  const asked = (own: Post, to: string[], envelope = own.address) =>
    conversation(own, { headers: { To: to.join(", ") }, to: envelope });
  const answeredTo = async (own: Post, channelId: string) =>
    (await recipientsOf((await made(answer(own, channelId, { mode: "replyAll", text: "a" }))).id)).sort();

  it("where a catch-all took it, no address of its domain", async () => {
    const own = await newPost({ isCatchall: true });
    const at = (name: string) => `${name}@${own.domain.name}`;
    const one = await asked(own, [at("Anything"), at("else+x"), own.address, "bob@other.example"], at("anything"));

    expect(await answeredTo(own, one.channelId)).toEqual(["ann@writer.example", "bob@other.example"]);
  });

  it("and without one, our inboxes with any tag, though others of the domain stay", async () => {
    const own = await newPost();
    const at = (name: string) => `${name}@${own.domain.name}`;
    const other = await made(own.tenant.post("/v1/inboxes", { domainId: own.domain.id, localPart: "sales" }));
    const one = await asked(own, [own.address, at("INFO+a+b"), at("infos"), other.address, "bob@other.example"]);

    expect(await answeredTo(own, one.channelId)).toEqual(
      ["ann@writer.example", "bob@other.example", at("infos")].sort(),
    );
  });
});

it("a mail of html with its pictures is forwarded with both, beneath what is written anew", async () => {
  const own = await newPost();
  const body = [
    ...[
      "--b",
      "Content-Type: text/html; charset=utf-8",
      "",
      '<html><body><p>See <img src="cid:logo"></p></body></html>',
    ],
    ...["--b", "Content-Type: image/png; name=logo.png", "Content-Disposition: inline; filename=logo.png"],
    ...["Content-ID: <logo>", "Content-Transfer-Encoding: base64", "", btoa("picture"), "--b--"],
  ].join("\r\n");
  const one = await conversation(own, { headers: { "Content-Type": 'multipart/related; boundary="b"' }, body });

  const message = await made(
    answer(own, one.channelId, { mode: "forward", to: ["boss@other.example"], text: "Look & see" }),
  );

  expect(message.text).toBe("Look & see");
  const sent = await rawOf(own, message.id);
  expect(sent.html).toMatch(/>Look &amp; see<[\s\S]*Forwarded message[\s\S]*<p>See <img src="cid:logo"><\/p>/);
  expect(sent.html).not.toMatch(/<\/?(html|body)/);
  expect(sent.text).toMatch(/^Look & see\n\n-+ Forwarded message -+\n[\s\S]*See/);
  const files = sent.attachments.map(({ contentId, disposition, content }) => [
    ...[contentId, disposition],
    new TextDecoder().decode(content),
  ]);
  expect(files).toEqual([["logo", "inline", "picture"]]);
});

describe("an answer to our own mail", () => {
  const ours = async (own: Post) =>
    made(send(own, { to: ["ann@writer.example"], cc: ["bob@other.example"], subject: "Offer", text: "Ten." }));

  it.each<[string, string[]]>([
    ["reply", []],
    ["replyAll", ["bob@other.example"]],
  ])("by %s goes on to whom that went", async (mode, cc) => {
    const own = await newPost();
    const first = await ours(own);

    const message = await made(answer(own, first.channelId, { mode, text: "Or nine." }));

    const sent = await rawOf(own, message.id);
    expect([addresses(sent.to), addresses(sent.cc)]).toEqual([["ann@writer.example"], cc]);
    expect(sent).toMatchObject({ subject: "Re: Offer", inReplyTo: `${first.id}@${own.domain.name}` });
  });

  it("goes to others where one names them", async () => {
    const own = await newPost();
    const first = await ours(own);

    const message = await made(answer(own, first.channelId, { mode: "replyAll", to: ["eve@x.example"], text: "a" }));

    const sent = await rawOf(own, message.id);
    expect([addresses(sent.to), addresses(sent.cc)]).toEqual([["eve@x.example"], ["bob@other.example"]]);
  });

  it("names it by the id that its provider gave it, which is the one that its recipients have", async () => {
    const own = await newPost();
    const first = await ours(own);
    await asOwner(
      "insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind) values ($1, $2, $3, 'given@ses.example', 'provider')",
      [own.tenant.id, first.id, own.inbox.id],
    );

    const second = await made(answer(own, first.channelId, { mode: "reply", text: "a" }));

    const id = `${first.id}@${own.domain.name}`;
    expect(await rawOf(own, second.id)).toMatchObject({
      inReplyTo: "given@ses.example",
      references: [id, "given@ses.example"],
    });
  });
});

describe("large letters in an address", () => {
  const token = "SRS0=AbC=xY=Far.example=Ann@Relay.example";
  const sentTo = (messageId: string) =>
    eventually(async () => {
      const [row] = await deliveriesOf(messageId);
      expect(row.status).toBe("delivered");
      return [row.recipient, row.content.recipient];
    });

  it("stay as they are where mail is answered, for they may be a token; what is compared has none", async () => {
    const own = await newPost();
    const headers = { "Reply-To": `Desk <${token}>` };
    const one = await conversation(own, { headers });

    const message = await made(answer(own, one.channelId, { mode: "reply", text: "a" }));

    const written = token.replace("Relay", "relay");
    expect(addresses((await rawOf(own, message.id)).to)).toEqual([written]);
    expect(await sentTo(message.id)).toEqual([written.toLowerCase(), written]);
    const events = (await own.tenant.get(`/v1/events?stream=channel&streamId=${one.channelId}`)).body.data;
    const told = events.flatMap(({ type, data }: Any) => (type === "delivery.updated" ? [data.recipient] : []));
    expect(new Set(told)).toEqual(new Set([written.toLowerCase()]));
    const part = (await own.tenant.get(`/v1/messages/${one.messageId}/email`)).body;
    expect(addresses(part.replyTo)).toEqual([token]);
    await made(own.tenant.post("/v1/suppressions", { address: written.toLowerCase() }));
    const again = await made(answer(own, one.channelId, { mode: "reply", text: "b" }));
    expect(await deliveriesOf(again.id)).toMatchObject([{ status: "suppressed" }]);
  });

  it("stay where mail is answered automatically, once for all their spellings, and where one gives them", async () => {
    const own = await newPost({ autoReply: { text: "We are away." } });
    const messages = [];
    for (const from of ["Ann@writer.example", "aNN@writer.example"])
      messages.push(await conversation(own, { headers: { From: from }, from }));

    expect(await sentTo(messages[0]!.messageId)).toEqual(["ann@writer.example", "Ann@writer.example"]);
    expect(await deliveriesOf(messages[1]!.messageId)).toEqual([]);
    const given = await made(send(own, { to: ["Bob@other.example", "BOB@other.example"], text: "a" }));
    expect(await sentTo(given.id)).toEqual(["bob@other.example", "Bob@other.example"]);
    expect(await recipientsOf(given.id)).toHaveLength(1);
    const contacts = (await own.tenant.get("/v1/contacts?medium=email&value=ANN@writer.example")).body.data;
    expect(contacts).toHaveLength(1);
  });
});

it("an account is given the address of a recipient as it was written", async () => {
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

  const message = await made(send(own, { to: ["Ann+AbC@writer.example"], text: "a" }));

  await eventually(async () => expect(await deliveriesOf(message.id)).toMatchObject([{ status: "sent" }]));
  const [session] = (await (await fetch(`${server.control}/seen/${name}`)).json()) as { commands: string[] }[];
  expect(session!.commands.find((one) => one.startsWith("RCPT"))).toContain("<Ann+AbC@writer.example>");
});
