import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { readToken, tokenAddress, tokenReference } from "../src/email/tokens";
import { headerValue } from "../src/mail/mail";
import { readMail } from "../src/mail/read";
import type { Any } from "./helpers";
import { eventually, newJob, queueJobs } from "./jobs";
import { arrives, mail, mailsOf, newPost, type Post, read } from "./mail";
import { deliveryOf, ledgerOf } from "./outbound";
import { asOwner } from "./setup/owner";

let post: Post;
beforeAll(async () => {
  post = await newPost();
});

type Sent = { channelId: string; messageId: string; deliveryId: string; rfcId: string };

/** A mail of ours, as sending it leaves it behind. */
async function sent(recipient: string, own = post): Promise<Sent> {
  const [channelId, messageId, deliveryId] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
  const rfcId = `${messageId}@${own.domain.name}`;
  const tenant = own.tenant.id;
  await asOwner("insert into channels (tenant_id, id, medium, type, inbox_id) values ($1, $2, 'email', 'email', $3)", [
    ...[tenant, channelId, own.inbox.id],
  ]);
  await asOwner("insert into streams (tenant_id, kind, id, last_seq) values ($1, 'channel', $2, 1)", [
    tenant,
    channelId,
  ]);
  await asOwner(
    "insert into messages (tenant_id, id, channel_id, seq, text, direction) values ($1, $2, $3, 1, 'Hi', 'outbound')",
    [tenant, messageId, channelId],
  );
  await asOwner(
    `insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind)
     select $1, $2, $3, r.id, r.kind from jsonb_to_recordset($4::jsonb) r(id text, kind text)`,
    [
      ...[tenant, messageId, own.inbox.id],
      JSON.stringify([
        { id: rfcId, kind: "own" },
        { id: tokenReference(messageId), kind: "token" },
        { id: `provider-${messageId}`, kind: "provider" },
      ]),
    ],
  );
  await asOwner(
    `insert into deliveries (tenant_id, id, channel_id, message_id, medium, recipient, content, status)
     values ($1, $2, $3, $4, 'email', $5, '{}', 'sent')`,
    [tenant, deliveryId, channelId, messageId, recipient],
  );
  return { channelId, messageId, deliveryId, rfcId };
}

const DSN = {
  From: "MAILER-DAEMON@mx.example",
  Subject: "Undelivered Mail Returned to Sender",
  "Auto-Submitted": "auto-replied",
};

/** RFC 3464, with the head of the mail that came back. */
const bounce = (recipient: string, messageId: string | null, status = "5.1.1", said = "550 5.1.1 User unknown") =>
  mail({
    headers: { ...DSN, "Content-Type": 'multipart/report; report-type=delivery-status; boundary="b"' },
    body: [
      "--b\r\nContent-Type: text/plain\r\n\r\nI'm sorry to have to inform you that your message could not be delivered.",
      `--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; ${recipient}\r\nAction: failed\r\nStatus: ${status}\r\nDiagnostic-Code: smtp; ${said}`,
      `--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Hi\r\n${messageId ? `Message-ID: <${messageId}>\r\n` : ""}`,
      "--b--",
    ].join("\r\n"),
  });

const complaint = (messageId: string) =>
  mail({
    headers: { From: "fbl@isp.example", "Content-Type": 'multipart/report; report-type=feedback-report; boundary="b"' },
    body: [
      "--b\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.",
      "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1",
      `--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: info@x.example\r\nTo: ann@writer.example\r\nSubject: Hi\r\nMessage-ID: <${messageId}>\r\n\r\nHi`,
      "--b--",
    ].join("\r\n"),
  });

describe("a bounce becomes a receipt", () => {
  it.each([
    ["its own id in the mail that came back", (one: Sent) => one.rfcId],
    ["the id that a provider gave it", (one: Sent) => `provider-${one.messageId}`],
  ])("matched by %s, once however often it comes", async (_, idOf) => {
    const one = await sent("Ann@writer.example");
    const raw = bounce("ann@writer.example", idOf(one));

    await arrives(post.address, raw, { from: "" });
    await arrives(post.address, `Received: from another way\r\n${raw}`, { from: "<>" });
    await read(post.inbox.id);

    expect((await deliveryOf(one.deliveryId)).status).toBe("bounced");
    const ledger = await ledgerOf(one.deliveryId);
    expect(ledger).toHaveLength(1);
    expect(ledger[0]).toMatchObject({
      status: "bounced",
      details: {
        status: "5.1.1",
        reason: "userUnknown",
        hard: true,
        diagnostic: expect.stringContaining("User unknown"),
      },
    });
    const { data: suppressed } = (await post.tenant.get("/v1/suppressions?address=ann@writer.example")).body;
    expect(suppressed).toMatchObject([{ stream: "*", reason: "bounce", details: { status: "5.1.1" } }]);
    const stored = (await mailsOf(post.inbox.id)).at(-1);
    expect(stored).toMatchObject({ bounce: true, channel_id: one.channelId });
  });

  it("matched by the signed address it comes to, where the mail is not given back", async () => {
    const one = await sent("ann@writer.example");
    const to = await tokenAddress(env, post.tenant.id, post.address, "bounce", one.deliveryId);

    await arrives(to!.toUpperCase(), bounce("ann@writer.example", null, "4.2.2", "452 4.2.2 Mailbox full"), {
      from: "",
    });
    await read(post.inbox.id);

    expect((await ledgerOf(one.deliveryId))[0].details).toMatchObject({ reason: "mailboxFull", hard: false });
  });

  it("matched by the signed address even where it names the one it was forwarded to", async () => {
    const one = await sent("ann@writer.example");
    const to = await tokenAddress(env, post.tenant.id, post.address, "bounce", one.deliveryId);

    await arrives(to!, bounce("ann.private@elsewhere.example", null), { from: "" });
    await read(post.inbox.id);

    expect((await deliveryOf(one.deliveryId)).status).toBe("bounced");
  });

  it("wherever it comes: bounces and complaints may go to another inbox", async () => {
    const own = await newPost();
    const { body: other } = await own.tenant.post("/v1/inboxes", { domainId: own.domain.id, localPart: "bounces" });
    const [one, two] = [await sent("ann@writer.example", own), await sent("ann@writer.example", own)];

    await arrives(other.address, bounce("ann@writer.example", one.rfcId), { from: "" });
    await arrives(other.address, complaint(two.rfcId), { from: "fbl@isp.example" });
    await read(other.id);

    expect((await deliveryOf(one.deliveryId)).status).toBe("bounced");
    expect((await deliveryOf(two.deliveryId)).complained).toBe(true);
  });

  it.each<[string, (one: Sent) => [string, string]]>([
    [
      "a person quotes one",
      ({ rfcId }) => [
        mail({
          headers: { Subject: "Re: Hi", References: `<${rfcId}>`, "In-Reply-To": `<${rfcId}>` },
          body: `What is this?\r\n\r\nFinal-Recipient: rfc822; ann@writer.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\nMessage-ID: <${rfcId}>`,
        }),
        "bob@writer.example",
      ],
    ],
    [
      "a person writes one",
      ({ rfcId }) => [
        bounce("ann@writer.example", rfcId).replace(DSN.From, "bob@writer.example"),
        "bob@writer.example",
      ],
    ],
    [
      "it names the mail as what it answers",
      ({ rfcId }) => [`References: <${rfcId}>\r\n${bounce("ann@writer.example", null)}`, ""],
    ],
  ])("but not where %s", async (_, written) => {
    const one = await sent("ann@writer.example");

    await arrives(post.address, written(one)[0], { from: written(one)[1] });
    await read(post.inbox.id);

    expect((await deliveryOf(one.deliveryId)).status).toBe("sent");
    expect(await ledgerOf(one.deliveryId)).toEqual([]);
  });

  it("but not of a recipient it was never sent to, nor for another tenant's mail", async () => {
    const other = await newPost();
    const [mine, theirs] = [await sent("ann@writer.example"), await sent("ann@writer.example", other)];

    await arrives(post.address, bounce("bob@writer.example", mine.rfcId), { from: "" });
    await arrives(post.address, bounce("ann@writer.example", theirs.rfcId), { from: "" });
    const forged = await tokenAddress(env, post.tenant.id, post.address, "bounce", theirs.deliveryId);
    await arrives(forged!, bounce("ann@writer.example", null), { from: "" });
    await read(post.inbox.id);

    for (const { deliveryId } of [mine, theirs]) expect((await deliveryOf(deliveryId)).status).toBe("sent");
  });
});

it("a complaint is noted at the delivery it is about", async () => {
  const one = await sent("ann@writer.example");

  await arrives(post.address, complaint(one.rfcId));
  await read(post.inbox.id);

  expect(await deliveryOf(one.deliveryId)).toMatchObject({ status: "sent", complained: true });
  const { data: suppressed } = (await post.tenant.get("/v1/suppressions?reason=complaint")).body;
  expect(suppressed).toMatchObject([{ address: "ann@writer.example", deliveryId: one.deliveryId }]);
});

describe("a signed address", () => {
  it("brings a mail without any reference to the message it answers", async () => {
    const one = await sent("ann@writer.example");
    const to = await tokenAddress(env, post.tenant.id, post.address, "reply", one.messageId);

    await arrives(to!, mail({ body: "From a phone" }));
    await read(post.inbox.id);

    const stored = (await mailsOf(post.inbox.id)).find(({ written }) => written === "From a phone");
    expect(stored.channel_id).toBe(one.channelId);
    expect(stored.why.joinedBy).toEqual([tokenReference(one.messageId)]);
  });

  it("is read in whatever case it is written, and believed by its signature alone", async () => {
    const id = crypto.randomUUID();
    const address = await tokenAddress(env, post.tenant.id, post.address, "reply", id);
    const tag = address!.slice(address!.indexOf("+") + 1, address!.lastIndexOf("@"));

    expect(await readToken(env, post.tenant.id, tag.toUpperCase())).toEqual({ kind: "reply", id });
    expect(await readToken(env, crypto.randomUUID(), tag)).toBe(null);
    expect(await readToken(env, post.tenant.id, tag.replace("r-", "b-"))).toBe(null);
    expect(await readToken(env, post.tenant.id, `${tag.slice(0, -1)}${tag.endsWith("a") ? "b" : "a"}`)).toBe(null);
    expect(await tokenAddress(env, post.tenant.id, `${"a".repeat(30)}@x.example`, "reply", id)).toBe(null);
  });
});

describe("an automatic answer", () => {
  const answers = (own: Post) =>
    asOwner<Any>("select recipient, content from deliveries where tenant_id = $1 order by created_at", [own.tenant.id]);
  const answered = (own: Post, count: number) =>
    eventually(async () => {
      const jobs = await asOwner<Any>(
        "select id from scheduled_jobs where tenant_id = $1 and type = 'email.auto-reply' and status in ('pending', 'running')",
        [own.tenant.id],
      );
      await queueJobs(...jobs.map(({ id }) => ({ tenantId: own.tenant.id, jobId: id })));
      const all = await answers(own);
      expect(all).toHaveLength(count);
      expect(jobs).toEqual([]);
      return all;
    });

  it("goes to each sender once in its time, from nobody, and says what it is", async () => {
    const own = await newPost({ name: "Acme", autoReply: { text: "We are away.", hours: 1 } });
    const first = mail({ headers: { "Message-ID": "<first@writer.example>", References: "<zero@writer.example>" } });

    await Promise.all([first, mail(), mail()].map((raw) => arrives(own.address, raw)));
    await arrives(own.address, first);
    await read(own.inbox.id);
    const [answer] = await answered(own, 1);
    const mailsBefore = (await mailsOf(own.inbox.id)).map(({ rfc_id }) => rfc_id);
    await arrives(own.address, mail());
    await arrives(own.address, mail({ headers: { From: "bob@writer.example" } }), { from: "bob@writer.example" });
    await read(own.inbox.id);
    await answered(own, 2);

    expect(answer).toMatchObject({
      recipient: "ann@writer.example",
      content: {
        envelopeFrom: "",
        from: { address: own.address, name: "Acme" },
        subject: "Auto: A question",
        kind: "to",
      },
    });
    const sentAnswer = await readMail(await (await env.FILES.get(answer.content.rawKey))!.bytes());
    expect(sentAnswer.to).toMatchObject([{ address: "ann@writer.example" }]);
    expect(sentAnswer.references.at(-1)).toBe(sentAnswer.inReplyTo);
    expect(mailsBefore).toContain(sentAnswer.inReplyTo);
    expect(sentAnswer.text).toBe("We are away.\n");
    expect(headerValue(sentAnswer, "auto-submitted")).toBe("auto-replied");
    expect(headerValue(sentAnswer, "x-auto-response-suppress")).toBe("All");
    await asOwner("update auto_replies set replied_at = now() - interval '61 minutes' where inbox_id = $1", [
      own.inbox.id,
    ]);
    await arrives(own.address, mail());
    await read(own.inbox.id);
    await answered(own, 3);
    const outbox = await own.tenant.get("/v1/sandbox/outbox");
    expect(outbox.status).toBe(200);
  });

  it.each<[string, Record<string, string>, string]>([
    ["lists", { "List-Id": "<list.example>" }, "list@writer.example"],
    ["automatic answers", { "Auto-Submitted": "auto-replied" }, "ann@writer.example"],
    ["bounces", DSN, ""],
    ["bulk mail", { Precedence: "bulk" }, "ann@writer.example"],
    ["those who ask for none", { "X-Auto-Response-Suppress": "OOF" }, "ann@writer.example"],
    ["machines", { From: "no-reply@writer.example" }, "ann@writer.example"],
    ["the null sender", {}, ""],
    ["whom a stranger named", {}, "stranger@elsewhere.example"],
  ])("never goes to %s", async (_, headers, from) => {
    const own = await newPost({ autoReply: { text: "We are away." } });

    await arrives(own.address, mail({ headers }), { from });
    await read(own.inbox.id);

    await answered(own, 0);
  });

  it("is not sent once it is switched off, nor for a mail that was blocked", async () => {
    const own = await newPost({ autoReply: { text: "We are away." } });
    await own.tenant.post("/v1/sender-rules", { pattern: "blocked@writer.example", action: "block" });
    await arrives(own.address, mail({ headers: { From: "blocked@writer.example" } }));
    await read(own.inbox.id);
    await answered(own, 0);

    const payload = {
      messageId: crypto.randomUUID(),
      inboxId: own.inbox.id,
      address: "a@b.example",
      from: own.address,
    };
    await queueJobs({
      tenantId: own.tenant.id,
      jobId: await newJob(own.tenant.id, { type: "email.auto-reply", payload }),
    });

    expect(await answers(own)).toEqual([]);
  });
});
