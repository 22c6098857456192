import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { AWS, newAws } from "./aws";
import { type Any, client, expectProblem } from "./helpers";
import { arrives, mail, mailsOf, newPost, type Post, rawsOf, read, readNow } from "./mail";
import { betweenDatabase } from "./outbound";
import { newReceiver } from "./receiver";
import { asOwner } from "./setup/owner";
import { newSns } from "./sns";
import { sweep } from "./sweep";

let post: Post;
beforeAll(async () => {
  post = await newPost();
});

const newInbox = async (localPart: string, more: object = {}): Promise<Any> => {
  const made = await post.tenant.post("/v1/inboxes", { domainId: post.domain.id, localPart, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
};
const eventsOf = async (channelId: string) => {
  const { body } = await post.tenant.get(`/v1/events?stream=channel&streamId=${channelId}`);
  return body.data.map(({ type, seq, data }: Any) => ({ type, seq, data }));
};

it("a mail becomes a message of a new conversation, with its contact, and everybody hears of it", async () => {
  const inbox = await newInbox("first");
  const receiver = newReceiver();
  const scoped = newReceiver();
  const hook = { name: "all", events: ["message.new", "email.unauthenticated"] };
  await post.tenant.post("/v1/webhooks", { ...hook, url: receiver.url, scopes: { inboxes: [inbox.id] } });
  await post.tenant.post("/v1/webhooks", { ...hook, url: scoped.url, scopes: { inboxes: [post.inbox.id] } });
  const raw = mail({
    headers: { From: "Ann Writer <Ann@Writer.example>", Subject: "A question" },
    body: "How are you?\r\n\r\nOn Mon, 23 Nov 2026 at 10:00, Bob <bob@receiver.example> wrote:\r\n> Hello",
  });

  expect(await arrives(inbox.address, raw)).toEqual({ rejected: null });
  await read(inbox.id);

  const [stored] = await mailsOf(inbox.id);
  expect(stored).toMatchObject({
    written: "How are you?",
    subject: "A question",
    direction: "inbound",
    id_reused: false,
  });
  const channel = (await post.tenant.get(`/v1/channels/${stored.channel_id}`)).body;
  expect(channel).toMatchObject({ medium: "email", inboxId: inbox.id, name: "A question", mergedInto: null });
  const contact = (await post.tenant.get(`/v1/contacts/${stored.contact_id}`)).body;
  expect(contact).toMatchObject({
    displayName: "Ann Writer",
    identities: [{ medium: "email", value: "ann@writer.example" }],
  });
  const events = await eventsOf(stored.channel_id);
  expect(events.map(({ type, seq }: Any) => [type, seq])).toEqual([
    ["channel.created", 1],
    ["message.new", 2],
    ["email.unauthenticated", 3],
  ]);
  expect(events[1].data.message).toMatchObject({ contactId: contact.id, direction: "inbound", userId: null });
  expect(events[2].data).toMatchObject({ inboxId: inbox.id, messageId: stored.message_id, subject: "A question" });
  const told = await receiver.got(2);
  expect(told.map(({ json }) => json.type).sort()).toEqual(["email.unauthenticated", "message.new"]);
  expect(await scoped.received()).toEqual([]);
  const object = await env.FILES.get(stored.raw_key);
  expect(await object!.text()).toBe(raw);
});

describe("the inbox is found by the envelope", () => {
  it.each([
    ["exact", "Sales+VIP", "exact", null],
    ["base, with the tag kept", "sales+news+x", "base", "news+x"],
    ["catch-all", "anybody", "catch-all", null],
  ])("%s", async (_, localPart, route, tag) => {
    const own = await newPost({}, post.tenant);
    const add = (name: string, more: object = {}) =>
      own.tenant.post("/v1/inboxes", { domainId: own.domain.id, localPart: name, ...more });
    const boxes: Record<string, Any> = {
      exact: (await add("sales+vip")).body,
      base: (await add("sales")).body,
      "catch-all": (await add("all", { isCatchall: true })).body,
    };

    await arrives(`${localPart}@${own.domain.name.toUpperCase()}`, mail());

    const [raw] = await rawsOf(boxes[route].id);
    expect(raw).toMatchObject({ route, tag });
  });

  it("not by the header, and what nobody takes is refused while its sender is there", async () => {
    const rejected = "550 5.1.1 There is no such mailbox here";
    const to = `nobody@${post.domain.name}`;

    expect(await arrives(to, mail({ headers: { To: post.address } }))).toEqual({ rejected });
    expect(await arrives(`info@${crypto.randomUUID()}.example.com`, mail())).toEqual({ rejected });
    expect(await arrives("no address", mail())).toEqual({ rejected });
  });

  it("not of a domain that is only claimed, nor of a closed inbox, nor past plus addressing that is off", async () => {
    const plain = await newInbox("plain", { plusAddressing: false });
    const closed = await newInbox("closed");
    await post.tenant.delete(`/v1/inboxes/${closed.id}`);
    const claimed = await newPost({}, post.tenant);
    await asOwner("update domains set status = 'pending' where id = $1", [claimed.domain.id]);

    for (const to of [closed.address, claimed.address, plain.address.replace("@", "+tag@")])
      expect((await arrives(to, mail())).rejected).toMatch(/^550 5\.1\.1/);
  });
});

it("a mail is at most 25 MiB", async () => {
  expect((await arrives(post.address, new Uint8Array(26_214_401))).rejected).toMatch(/^552 5\.3\.4/);
});

describe("once", () => {
  it("of mails read together one that cannot be recorded waits for its next try, and the others are messages", async () => {
    const inbox = await newInbox("together");
    const kept = { INBOUND: { send: async () => undefined } as unknown as Queue };
    for (const body of ["one", "two", "three"]) await arrives(inbox.address, mail({ body }), { changed: kept });
    const raws = await rawsOf(inbox.id);
    const lost = raws[1];
    const FILES = {
      get: (key: string) =>
        key.endsWith(lost.id) ? Promise.reject(new Error("The bucket is away.")) : env.FILES.get(key),
    } as unknown as R2Bucket;

    await readNow(raws, { FILES });

    expect((await rawsOf(inbox.id)).map(({ status }) => status)).toEqual(["recorded", "pending", "recorded"]);
    expect((await mailsOf(inbox.id)).map(({ written }) => written).sort()).toEqual(["one", "three"]);
  });

  it("ten copies at the same time are one message and one event", async () => {
    const inbox = await newInbox("copies");
    const copy = mail();

    await Promise.all(Array.from({ length: 10 }, () => arrives(inbox.address, copy)));
    const raws = await read(inbox.id);

    expect(raws.map(({ status }) => status).sort()).toEqual([...Array(9).fill("duplicate"), "recorded"]);
    const mails = await mailsOf(inbox.id);
    expect(mails).toHaveLength(1);
    expect(new Set(raws.map(({ message_id }) => message_id))).toEqual(new Set([mails[0].message_id]));
    expect((await eventsOf(mails[0].channel_id)).map(({ type }: Any) => type)).toEqual([
      "channel.created",
      "message.new",
      "email.unauthenticated",
    ]);
  });

  it("what servers on the way add makes no other mail of it; without an id it is known by its bytes", async () => {
    const inbox = await newInbox("again");
    const one = mail();
    const bare = mail({ headers: { "Message-ID": null } });

    for (const raw of [one, `Received: from a by b\r\n${one}`, bare, bare]) await arrives(inbox.address, raw);
    const raws = await read(inbox.id);

    expect(raws.map(({ status }) => status).sort()).toEqual(["duplicate", "duplicate", "recorded", "recorded"]);
  });

  it("the same mail to two inboxes is in both, whether of one tenant or two", async () => {
    const [one, other] = [await newInbox("one"), await newPost()];
    const raw = mail();

    await Promise.all([arrives(one.address, raw), arrives(other.address, raw)]);
    await Promise.all([read(one.id), read(other.inbox.id)]);

    expect(await mailsOf(one.id)).toHaveLength(1);
    expect(await mailsOf(other.inbox.id)).toHaveLength(1);
  });

  it("another mail under an id that is taken is kept beside the first, and marked", async () => {
    const inbox = await newInbox("reused");
    const headers = { "Message-ID": "<same@writer.example>" };

    await arrives(inbox.address, mail({ headers, body: "One" }));
    await read(inbox.id);
    await arrives(inbox.address, mail({ headers, body: "Other" }));
    await read(inbox.id);

    const mails = await mailsOf(inbox.id);
    expect(mails.map(({ written, id_reused }) => [written, id_reused])).toEqual([
      ["One", false],
      ["Other", true],
    ]);
    expect(mails[0].channel_id).toBe(mails[1].channel_id);
  });

  it("of one sender in many new conversations at once there is one contact", async () => {
    const inbox = await newInbox("contact");
    const from = `${crypto.randomUUID()}@writer.example`;

    await Promise.all(
      Array.from({ length: 8 }, () => arrives(inbox.address, mail({ headers: { From: `Bob <${from}>` } }))),
    );
    await read(inbox.id);

    const mails = await mailsOf(inbox.id);
    expect(new Set(mails.map(({ channel_id }) => channel_id)).size).toBe(8);
    expect(new Set(mails.map(({ contact_id }) => contact_id)).size).toBe(1);
    expect((await post.tenant.get(`/v1/contacts?value=${from}`)).body.data).toHaveLength(1);
  });
});

describe("nothing is lost", () => {
  it("when the bucket or the database fails, the sender is told to try again", async () => {
    const inbox = await newInbox("faults");
    const FILES = { ...env.FILES, put: () => Promise.reject(new Error("The bucket is down.")) } as never;

    await expect(arrives(inbox.address, mail(), { changed: { FILES } })).rejects.toThrow();
    await expect(
      betweenDatabase(
        ({ queries, send }) =>
          queries.includes('insert into \\"inbound_raw\\"')
            ? Promise.resolve(new Response("", { status: 500 }))
            : send(),
        () => arrives(inbox.address, mail()),
      ),
    ).rejects.toThrow();

    expect(await rawsOf(inbox.id)).toEqual([]);
  });

  it("what a lost queue message left behind, the sweep reads", async () => {
    const inbox = await newInbox("swept");
    const INBOUND = { send: () => Promise.reject(new Error("The queue is down.")) } as never;
    await arrives(inbox.address, mail(), { changed: { INBOUND } });
    expect((await rawsOf(inbox.id))[0].status).toBe("pending");

    await sweep();

    expect((await read(inbox.id))[0].status).toBe("recorded");
  });

  it.each([
    ["nothing", new Uint8Array(0), "empty"],
    ["no header at all", "\r\n\r\nno head", "noHeaders"],
  ])("of %s it is kept that it cannot be read, with the bytes", async (_, raw, reason) => {
    const inbox = await newInbox(`broken-${crypto.randomUUID()}`);

    await arrives(inbox.address, raw);
    const [row] = await read(inbox.id);

    expect(row).toMatchObject({ status: "failed", error: reason, message_id: null });
    expect(await env.FILES.head(`${post.tenant.id}/raw/${row.id}`)).not.toBe(null);
    const { body } = await post.tenant.get("/v1/events?stream=tenant&type=email.failed");
    expect(body.data.map(({ data }: Any) => data)).toContainEqual({ rawId: row.id, inboxId: inbox.id, reason });
  });

  it("any bytes become a message or a recorded failure", async () => {
    const inbox = await newInbox("bytes");
    const garbage = Array.from({ length: 12 }, (_, i) =>
      crypto.getRandomValues(new Uint8Array(i * 100)).map((byte) => (i % 2 ? byte : byte % 128)),
    );

    for (const bytes of garbage)
      await arrives(inbox.address, new Uint8Array([...new TextEncoder().encode("Subject: \0\ud800\r\n"), ...bytes]));
    const raws = await read(inbox.id);

    expect(raws).toHaveLength(12);
    expect(raws.filter(({ error }) => error === "attempts_exhausted")).toEqual([]);
  });
});

it("attachments become files of the message, under safe names", async () => {
  const inbox = await newInbox("files");
  const raw = mail({
    headers: { "Content-Type": 'multipart/mixed; boundary="b"' },
    body: [
      "--b",
      "Content-Type: text/plain",
      "",
      "See below",
      "--b",
      'Content-Type: image/png; name="x.png"',
      "Content-ID: <logo@x>",
      'Content-Disposition: inline; filename="../../logo.png"',
      "Content-Transfer-Encoding: base64",
      "",
      btoa("a picture"),
      "--b--",
    ].join("\r\n"),
  });

  await arrives(inbox.address, raw);
  await read(inbox.id);

  const [stored] = await mailsOf(inbox.id);
  const message = (await post.tenant.get(`/v1/messages/${stored.message_id}`)).body;
  expect(message.attachments).toMatchObject([
    { type: "image", fileName: "logo.png", mimeType: "image/png", fileSize: 9 },
  ]);
  const content = await post.tenant.get(`/v1/files/${message.attachments[0].fileId}/content`);
  expect(content.body).toBe("a picture");
});

it("read twice at a time, a mail is one message and its attachments stay", async () => {
  const inbox = await newInbox("twice");
  const raw = mail({
    headers: { "Content-Type": 'multipart/mixed; boundary="b"' },
    body: '--b\r\n\r\nSee below\r\n--b\r\nContent-Type: text/csv; name="t.csv"\r\n\r\n1,2\r\n--b--',
  });
  await arrives(inbox.address, raw, { changed: { INBOUND: { send: async () => undefined } as unknown as Queue } });
  const raws = await rawsOf(inbox.id);
  let other: Promise<void> | undefined;
  const FILES = {
    get: (key: string) => env.FILES.get(key),
    delete: (keys: string[]) => env.FILES.delete(keys),
    put: async (key: string, bytes: ArrayBuffer, options: object) => {
      await asOwner("update inbound_raw set claimed_until = null where id = $1", [raws[0].id]);
      other ??= readNow(raws);
      await other;
      return env.FILES.put(key, bytes, options);
    },
  } as unknown as R2Bucket;

  await readNow(raws, { FILES });

  expect(await rawsOf(inbox.id)).toMatchObject([{ status: "recorded", attempts: 2 }]);
  const [stored] = await mailsOf(inbox.id);
  const { attachments } = (await post.tenant.get(`/v1/messages/${stored.message_id}`)).body;
  expect((await post.tenant.get(`/v1/files/${attachments[0].fileId}/content`)).body).toBe("1,2");
});

it("what was begun eight times and never ended is given up before it is read, and takes nobody with it", async () => {
  const inbox = await newInbox("killer");
  const kept = { INBOUND: { send: async () => undefined } as unknown as Queue };
  for (const body of ["deadly", "fine"]) await arrives(inbox.address, mail({ body }), { changed: kept });
  const [deadly, fine] = await rawsOf(inbox.id);
  await asOwner("update inbound_raw set attempts = 8 where id = $1", [deadly.id]);
  const asked: string[] = [];
  const FILES = {
    get: (key: string) => {
      asked.push(key.split("/").at(-1)!);
      return env.FILES.get(key);
    },
  } as unknown as R2Bucket;

  await readNow([deadly, fine], { FILES });

  expect(asked).toEqual([fine.id]);
  expect(await rawsOf(inbox.id)).toMatchObject([
    { status: "failed", error: "attempts_exhausted" },
    { status: "recorded" },
  ]);
});

it("a text as long as a mail may be goes through, and is known again", async () => {
  const inbox = await newInbox("long");
  const raw = mail({ body: "All work and no play makes Jack a dull boy.\r\n".repeat(26_213_000 / 45) });

  await arrives(inbox.address, raw);
  await arrives(inbox.address, `X-Way: other\r\n${raw}`);

  expect((await read(inbox.id)).map(({ status }) => status).sort()).toEqual(["duplicate", "recorded"]);
  const [stored] = await mailsOf(inbox.id);
  expect(stored.written.length).toBe(40_000);
  const mailPart = (await post.tenant.get(`/v1/messages/${stored.message_id}/email`)).body;
  expect(mailPart).toMatchObject({ text: null, html: null, leftOut: ["text"] });
}, 60_000);

it("the narrowest rule decides whose mail is taken", async () => {
  const inbox = await newInbox("rules");
  const rule = (pattern: string, action: string, more: object = {}) =>
    post.tenant.post("/v1/sender-rules", { pattern, action, ...more });
  await rule("spam.example", "block");
  await rule("good@spam.example", "allow");
  await rule("*", "block", { inboxId: inbox.id });
  await rule("friend.example", "allow", { inboxId: inbox.id });
  await rule("bad@friend.example", "block", { inboxId: inbox.id });
  const from = async (address: string) => {
    await arrives(inbox.address, mail({ headers: { From: address } }));
    return (await read(inbox.id)).at(-1)!.status;
  };

  expect(await from("ann@friend.example")).toBe("recorded");
  expect(await from("ann@sub.friend.example")).toBe("recorded");
  expect(await from("bad@friend.example")).toBe("blocked");
  expect(await from("good@spam.example")).toBe("blocked");
  await arrives(inbox.address, mail({ headers: { From: null } }), { from: "a@friend.example@evil.example" });
  expect((await read(inbox.id)).at(-1)!.status).toBe("blocked");
  const other = await newInbox("rules-other");
  await arrives(other.address, mail({ headers: { From: "bad@spam.example" } }));
  await arrives(other.address, mail({ headers: { From: "good@spam.example" } }));
  expect((await read(other.id)).map(({ status }) => status).sort()).toEqual(["blocked", "recorded"]);
});

describe("a mail that goes round is taken out", () => {
  const times = (count: number, line: string) => `${line}\r\n`.repeat(count);
  const hop = (to: string) =>
    `Received: from mx.a.example by mx.b.example with ESMTP id x for <${to}>; Mon, 23 Nov 2026`;

  it.each<[string, string, string, string]>([
    ["delivered here for the fifth time", "", "@", times(5, "Delivered-To: loop@")],
    ["delivered to the tag it came to for the fifth time", "+tag", "@", times(5, "Delivered-To: loop+TAG@")],
    ["received for us for the fifth time", "", "@", times(5, hop("loop@"))],
    ["received anywhere for the 61st time", "", "@", times(61, hop("other@writer.example"))],
  ])("%s", async (_, tag, at, head) => {
    const own = await newPost({ localPart: "loop" });
    const ours = (text: string) => text.replaceAll(/(loop[+\w]*)@/gi, `$1${at}${own.domain.name}`);

    await arrives(ours(`loop${tag}@`), ours(head) + mail());

    expect((await read(own.inbox.id))[0].status).toBe("looping");
  });

  it.each<[string, string]>([
    ["delivered to others whose names end alike", times(9, "Delivered-To: my-o@")],
    ["received for them", times(9, hop("my-o@"))],
    ["received sixty times", times(60, hop("other@writer.example"))],
    ["delivered here four times", times(4, "Delivered-To: o@")],
  ])("but not one %s", async (_, head) => {
    const own = await newPost({ localPart: "o" });

    await arrives(own.address, head.replaceAll(/o@(?=[>\r])/g, `o@${own.domain.name}`) + mail());

    expect((await read(own.inbox.id))[0].status).toBe("recorded");
  });
});

describe("over HTTP", () => {
  const hand = (to: string, raw: string, { from = "ann@writer.example", headers = {} } = {}) =>
    post.tenant.request("POST", `/v1/inbound/mime?to=${encodeURIComponent(to)}&from=${from}`, raw, {
      headers: {
        "Content-Type": "message/rfc822",
        "Content-Length": String(new TextEncoder().encode(raw).length),
        ...headers,
      },
    });

  it("a raw mail is taken with its envelope", async () => {
    const inbox = await newInbox("http");

    const answer = await hand(inbox.address.replace("@", "+tag@"), mail());

    expect(answer.status, JSON.stringify(answer.body)).toBe(202);
    const [row] = await read(inbox.id);
    expect(row).toMatchObject({ id: answer.body.id, source: "http", tag: "tag", status: "recorded" });
  });

  it("nobody's word on a sender is believed but that of the servers which the domain names", async () => {
    const inbox = await newInbox("believed");
    const vouched = (by: string) => `Authentication-Results: ${by}; dmarc=pass header.from=writer.example\r\n${mail()}`;
    const authenticated = async () => {
      await read(inbox.id);
      return (await mailsOf(inbox.id)).map((one) => one.authenticated);
    };
    for (const by of ["mx.cloudflare.net", "amazonses.com", "mx.own.example"]) await hand(inbox.address, vouched(by));
    expect(await authenticated()).toEqual([false, false, false]);

    const changed = await post.tenant.patch(`/v1/domains/${post.domain.id}`, { authServers: ["MX.own.example"] });

    expect(changed.body.authServers).toEqual(["mx.own.example"]);
    await hand(inbox.address, vouched("mx.own.example"));
    await arrives(inbox.address, vouched("mx.own.example"));
    await arrives(inbox.address, vouched("amazonses.com"));
    expect(await authenticated()).toEqual([false, false, false, true, false, false]);
  });

  it("one for nobody, or for another tenant's inbox, is a 404 that says what to answer", async () => {
    const other = await newPost();

    expectProblem(await hand(`nobody@${post.domain.name}`, mail()), 404, "unknown_recipient");
    expectProblem(await hand(other.address, mail()), 404, "unknown_recipient");
  });

  it("a key without the scope, or bound to another inbox, hands in nothing", async () => {
    const scoped = async (more: object) =>
      client((await post.tenant.post("/v1/api-keys", { name: "k", ...more })).body.secret);
    const raw = mail();
    const ask = (who: Any) =>
      who.request("POST", `/v1/inbound/mime?to=${post.address}`, raw, {
        headers: { "Content-Type": "message/rfc822", "Content-Length": String(raw.length) },
      });
    const inbox = await newInbox("bound");

    expectProblem(await ask(await scoped({ scopes: ["inboxes:read"] })), 403, "missing_scope");
    const bound = await scoped({ scopes: ["inbound:write"], resources: { inbox: [inbox.id] } });
    expectProblem(await ask(bound), 403, "resource_not_allowed");
  });

  it("the dry run says all that is seen, and keeps nothing", async () => {
    const raw = mail({ headers: { Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Auto-Submitted": "auto-replied" } });
    const before = (await rawsOf(post.inbox.id)).length;

    const answer = await post.tenant.request("POST", "/v1/inbound/parse", raw, {
      headers: { "Content-Type": "message/rfc822", "Content-Length": String(raw.length) },
    });

    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    expect(answer.body).toMatchObject({
      subject: "Grüße",
      replyText: "Hello!",
      flags: { autoReply: true, bounce: false },
      verdicts: { unauthenticated: true },
      bounces: [],
      complaint: null,
    });
    expect(await rawsOf(post.inbox.id)).toHaveLength(before);
  });

  it.each([
    [
      "a bounce",
      "delivery-status",
      "Final-Recipient: rfc822; Gone@writer.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown",
      {
        flags: { autoReply: false, bounce: true, list: false, spam: false },
        bounces: [
          {
            recipient: "gone@writer.example",
            status: "5.1.1",
            reason: "userUnknown",
            hard: true,
            diagnostic: "550 5.1.1 User unknown",
          },
        ],
        complaint: null,
      },
    ],
    [
      "a complaint",
      "feedback-report",
      "Feedback-Type: abuse\r\nOriginal-Rcpt-To: <Ann@writer.example>",
      {
        flags: { autoReply: false, bounce: false, list: false, spam: false },
        bounces: [],
        complaint: { type: "abuse", recipients: ["ann@writer.example"] },
      },
    ],
  ])("%s is said whole", async (_, kind, fields, expected) => {
    const raw = mail({
      headers: {
        ...{ From: "Mail Delivery System <mailer-daemon@mx.example>", To: post.address, Subject: "Returned mail" },
        ...{ "Message-ID": "<r1@mx.example>", Date: "Mon, 23 Nov 2026 10:00:00 +0100" },
        ...{ Cc: "Bob <bob@mx.example>", "Reply-To": "desk@mx.example", References: "<a@b.example>" },
        "Content-Type": `multipart/report; report-type=${kind}; boundary="b"`,
      },
      body: `--b\r\n\r\nSee below.\r\n--b\r\nContent-Type: message/${kind}\r\n\r\n${fields}\r\n--b--`,
    });

    const answer = await post.tenant.request("POST", "/v1/inbound/parse", raw, {
      headers: { "Content-Type": "message/rfc822", "Content-Length": String(raw.length) },
    });

    expect(answer.body).toEqual({
      messageId: "r1@mx.example",
      inReplyTo: null,
      references: ["a@b.example"],
      from: { name: "Mail Delivery System", address: "mailer-daemon@mx.example" },
      to: [{ name: "", address: post.address }],
      cc: [{ name: "Bob", address: "bob@mx.example" }],
      replyTo: [{ name: "", address: "desk@mx.example" }],
      subject: "Returned mail",
      date: "2026-11-23T09:00:00.000Z",
      text: "See below.",
      html: null,
      replyText: "See below.",
      attachments: [
        {
          filename: null,
          contentType: `message/${kind}`,
          size: fields.length,
          contentId: null,
          disposition: null,
          method: null,
        },
      ],
      verdicts: { spf: "none", dkim: "none", dmarc: "none", aligned: false, unauthenticated: true },
      ...expected,
    });
  });
});

it("a sender that a trusted server vouches for is told as such", async () => {
  const inbox = await newInbox("vouched");
  const vouched = `Authentication-Results: mx.cloudflare.net; dmarc=pass header.from=writer.example\r\n`;

  await arrives(inbox.address, vouched + mail());
  await read(inbox.id);

  const [stored] = await mailsOf(inbox.id);
  expect(stored).toMatchObject({ authenticated: true, verdicts: { dmarc: "pass", aligned: true } });
  expect((await eventsOf(stored.channel_id)).at(-1).type).toBe("email.received");
});

describe("from SES, by SNS", () => {
  const received = (to: string[], content: string | undefined, more: object = {}) =>
    JSON.stringify({
      notificationType: "Received",
      mail: { source: "ann@writer.example" },
      receipt: { recipients: to, action: { type: "SNS", ...more } },
      content,
    });
  const newTopic = async (own: Post) => {
    const topic = `arn:aws:sns:eu-west-1:123456789012:${crypto.randomUUID()}`;
    const changed = await own.tenant.patch(`/v1/domains/${own.domain.id}`, { inboundTopic: topic });
    expect(changed.status, JSON.stringify(changed.body)).toBe(200);
    return topic;
  };

  it.each(["1", "2"] as const)(
    "a notification signed by version %s brings a mail to each of its inboxes",
    async (version) => {
      const own = await newPost();
      const [TopicArn, sns] = [await newTopic(own), await newSns()];
      const to = [own.address, `nobody@${own.domain.name}`, post.address];
      const before = (await rawsOf(post.inbox.id)).length;

      const answer = await sns({ TopicArn, SignatureVersion: version, Message: received(to, mail()) });
      expect(answer.status, await answer.text()).toBe(204);
      const vouched = (by: string) =>
        `Authentication-Results: ${by}; dmarc=pass header.from=writer.example\r\n${mail()}`;
      await sns({ TopicArn, Message: received([own.address], btoa(vouched("amazonses.com")), { encoding: "BASE64" }) });
      await sns({ TopicArn, Message: received([own.address], vouched("mx.cloudflare.net")) });

      const raws = await read(own.inbox.id);
      expect(raws.map(({ source, status }) => [source, status])).toEqual([
        ["ses", "recorded"],
        ["ses", "recorded"],
        ["ses", "recorded"],
      ]);
      const mails = await mailsOf(own.inbox.id);
      expect(mails.map(({ authenticated }) => authenticated).sort()).toEqual([false, false, true]);
      expect(await rawsOf(post.inbox.id)).toHaveLength(before);
    },
  );

  it("a notification that names a bucket brings the mail out of it, by the account of its domain", async () => {
    const own = await newPost();
    const [TopicArn, sns] = [await newTopic(own), await newSns()];
    const config = { region: "eu-west-1" };
    const account = { name: "SES", medium: "email", provider: "ses", config, credentials: AWS };
    const place = { type: "S3", bucketName: "acme-mail", objectKey: "in/ä mail" };
    const Message = received([own.address], undefined, place);
    const raw = mail({ body: "Out of a bucket" });
    let status = 404;
    const asked = newAws(() => ({ status, body: raw }));
    try {
      expect((await sns({ TopicArn, Message })).status).toBe(503);
      expect((await own.tenant.post("/v1/integrations", account)).status).toBe(201);
      expect((await sns({ TopicArn, Message })).status).toBe(503);
      status = 200;
      expect((await sns({ TopicArn, Message })).status).toBe(204);
    } finally {
      vi.unstubAllGlobals();
    }

    const [stored] = await read(own.inbox.id);
    expect(stored).toMatchObject({ source: "ses", status: "recorded", size: new TextEncoder().encode(raw).length });
    expect((await mailsOf(own.inbox.id))[0].written).toBe("Out of a bucket");
    expect(asked.map(({ method, host, path }) => `${method} ${host}${path}`)).toEqual(
      Array.from({ length: 2 }, () => "GET acme-mail.s3.eu-west-1.amazonaws.com/in/%C3%A4%20mail"),
    );
  });

  it("what is forged, old or of another's making is refused", async () => {
    const own = await newPost();
    const [TopicArn, sns] = [await newTopic(own), await newSns()];
    const Message = received([own.address], mail());
    const elsewhere = { SigningCertURL: "https://sns.eu-west-1.amazonaws.com.evil.example/cert.pem" };
    const old = { Timestamp: new Date(Date.now() - 7_200_000).toISOString() };

    for (const answer of [
      await sns({ TopicArn, Message }, { Message: received([own.address], mail({ body: "Forged" })) }),
      await sns({ TopicArn, Message }, { Signature: btoa("no signature") }),
      await sns({ TopicArn, Message, ...elsewhere }),
      await sns({ TopicArn, Message, ...old }),
    ])
      expect(answer.status).toBe(403);
    expect((await sns({ TopicArn: `${TopicArn}x`, Message })).status).toBe(204);

    expect(await rawsOf(own.inbox.id)).toEqual([]);
  });

  it("a subscription is confirmed where a domain names the topic", async () => {
    const own = await newPost();
    const [TopicArn, sns, confirmed] = [await newTopic(own), await newSns(), newReceiver()];
    const ask = {
      Type: "SubscriptionConfirmation",
      Message: "Visit",
      Token: "t",
      SubscribeURL: confirmed.url,
    } as const;

    expect((await sns({ ...ask, TopicArn })).status).toBe(204);
    expect((await sns({ ...ask, TopicArn: `${TopicArn}x` })).status).toBe(404);
    expect((await sns({ TopicArn, Message: "no mail" })).status).toBe(422);

    const calls = await fetch(confirmed.url.replace("/box/", "/received/"));
    expect(await calls.json()).toHaveLength(1);
  });
});
