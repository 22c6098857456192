import { Webhook } from "svix";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Any, client, expectProblem } from "./helpers";
import { arrives, mailsOf, newPost, read, mail as written } from "./mail";
import { standIn } from "./mail-vendors";
import { deliveriesOf, deliveryOf, holdBack, ledgerOf, sendNow } from "./outbound";
import { newAccount, newMail, recordMail, referencesOf, sendOne } from "./outgoing-mails";
import { asOwner } from "./setup/owner";

afterEach(() => vi.unstubAllGlobals());

const SECRET = `whsec_${btoa("a secret of thirty-two bytes, ok!")}`;
const account = { provider: "resend", credentials: { apiKey: "re_12345678_abcdef", webhookSecret: SECRET } };
const sends = (id = "4ef9a417") => standIn(["api.resend.com"], () => ({ body: { id } }));

describe("Resend", () => {
  it("gets a mail in its own words, once by an idempotency key", async () => {
    const calls = sends();

    const { delivery, ids } = await sendOne(account);

    expect(delivery).toMatchObject({ status: "sent", provider_message_id: "4ef9a417" });
    const [{ method, path, headers, json }] = calls as [Any];
    expect([method, path]).toEqual(["POST", "/emails"]);
    expect(headers.get("Authorization")).toBe("Bearer re_12345678_abcdef");
    expect(headers.get("Idempotency-Key")).toBe(ids[0]);
    expect(json).toEqual({
      from: "Ann Sender <ann@sender.example>",
      to: ["Ben <ben@receiver.example>"],
      reply_to: ["ann+r-token@sender.example"],
      subject: "Grüße",
      text: expect.stringContaining("Hello there"),
      html: expect.stringContaining('<img src="cid:logo@sender.example">'),
      headers: {
        "In-Reply-To": "<before@receiver.example>",
        References: "<first@receiver.example> <before@receiver.example>",
        "X-Order": "17",
      },
      attachments: [
        { filename: "logo.png", content: "AAEC/w==", content_type: "image/png", content_id: "logo@sender.example" },
      ],
      tags: [{ name: "parley_delivery", value: ids[0] }],
    });
  });

  it("gets those together who wait for the same mail, and by themselves whose headers are their own", async () => {
    const calls = sends();
    const { tenant, account: own } = await newAccount(account);
    const headers = { "List-Unsubscribe": "<https://parley.test/u/dora>" };
    const { ids } = await newMail(tenant, {
      integrationId: own.id,
      recipients: [
        { address: "ben@receiver.example" },
        { address: "cleo@receiver.example", kind: "cc" },
        { address: "carl@receiver.example", kind: "bcc" },
        { address: "dora@receiver.example", headers },
      ],
    });

    await sendNow(tenant, ids);

    const asked = calls.map(({ json }) => [json.to, json.cc, json.bcc, json.headers["List-Unsubscribe"]]);
    expect(asked).toHaveLength(2);
    expect(asked).toEqual(
      expect.arrayContaining([
        [["Ben <ben@receiver.example>"], ["cleo@receiver.example"], ["carl@receiver.example"], undefined],
        [["dora@receiver.example"], undefined, undefined, "<https://parley.test/u/dora>"],
      ]),
    );
    expect(calls.find(({ json }) => json.cc)!.headers.get("Idempotency-Key")).toMatch(/^[0-9a-f]{64}$/);
    expect((await deliveriesOf(tenant)).map(({ status }) => status)).toEqual(["sent", "sent", "sent", "sent"]);
  });

  it("gets a mail once more in the same call, by the same key, whoever of its recipients is asked for", async () => {
    const calls = standIn(["api.resend.com"], () => ({ status: 500, body: { name: "internal_server_error" } }));
    const { tenant, account: own } = await newAccount(account);
    const recipients = Array.from({ length: 50 }, (_, i) => ({ address: `r${i}@receiver.example` }));
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });

    await sendNow(tenant, ids.slice(20));
    const retries = new Set((await deliveriesOf(tenant)).map(({ next_attempt_at }) => String(next_attempt_at)));
    expect(retries.size).toBe(1);
    await holdBack(ids);
    await sendNow(tenant, ids.slice(0, 1));

    const asked = calls.map(({ json, headers }) => [json.to.length, headers.get("Idempotency-Key")]);
    expect(asked).toEqual([
      [50, expect.stringMatching(/^[0-9a-f]{64}$/)],
      [50, asked[0]![1]],
    ]);
    await asOwner("update deliveries set status = 'cancelled' where tenant_id = $1", [tenant.id]);
  });

  it("gets a mail from one of those who would send it at the same moment", async () => {
    const calls = sends();
    const { tenant, account: own } = await newAccount(account);
    const recipients = Array.from({ length: 50 }, (_, i) => ({ address: `r${i}@receiver.example` }));
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });

    await Promise.all([0, 10, 20, 30, 40].map((from) => sendNow(tenant, ids.slice(from, from + 10))));

    expect(calls.map(({ json }) => json.to.length)).toEqual([50]);
  });

  it("gets those by themselves who were tried another number of times, as they were in another call", async () => {
    const calls = sends();
    const { tenant, account: own } = await newAccount(account);
    const recipients = ["a", "b", "c"].map((name) => ({ address: `${name}@receiver.example` }));
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });
    await asOwner("update deliveries set attempts = 1 where id = $1", [ids[1]]);

    await sendNow(tenant, ids);

    const asked = calls.map(({ json }) =>
      json.to
        .map((to: string) => to[0])
        .sort()
        .join(" "),
    );
    expect(asked.sort()).toEqual(["a c", "b"]);
  });

  it("never lets blind copies see each other", async () => {
    const calls = sends();
    const { tenant, account: own } = await newAccount(account);
    const recipients = ["ben@receiver.example", "cleo@receiver.example"].map((address) => ({
      address,
      kind: "bcc" as const,
    }));
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });

    await sendNow(tenant, ids);

    expect(calls.map(({ json }) => json.to.length)).toEqual([1, 1]);
  });

  it.each<[number, string, string, string]>([
    [401, "missing_api_key", "pending", "failing"],
    [403, "validation_error", "pending", "failing"],
    [429, "rate_limit_exceeded", "pending", "active"],
    [429, "daily_quota_exceeded", "pending", "failing"],
    [409, "concurrent_idempotent_requests", "pending", "active"],
    [422, "validation_error", "failed", "active"],
    [500, "internal_server_error", "pending", "active"],
  ])("%i %s: the mail is %s, the account %s", async (status, name, became, health) => {
    standIn(["api.resend.com"], () => ({ status, body: { statusCode: status, name, message: "No." } }));

    const { delivery, account: after } = await sendOne(account);

    expect(delivery).toMatchObject({ status: became, error: `Resend refuses: ${name} No.` });
    expect(after.status).toBe(health);
  });

  it("says by a check whether it takes the key, and one that may send alone is taken", async () => {
    const { tenant, account: own } = await newAccount(account);
    const check = async (status: number, name: string) => {
      standIn(["api.resend.com"], () => ({ status, body: status === 200 ? { data: [] } : { name, message: "No." } }));
      return (await tenant.post(`/v1/integrations/${own.id}/check`)).body;
    };

    const refused = { status: "failing", error: "Resend refuses: validation_error No." };
    expect(await check(401, "validation_error")).toMatchObject(refused);
    expect(await check(200, "")).toMatchObject({ status: "active", error: null });
    expect(await check(403, "validation_error")).toMatchObject(refused);
    expect(await check(401, "restricted_api_key")).toMatchObject({ status: "active", error: null });
  });

  it("makes a domain, whose records are named below the registered one, and takes it back", async () => {
    const name = `mail.${crypto.randomUUID().slice(0, 18)}.com`;
    const root = name.slice("mail.".length);
    const records = [
      { record: "SPF", name: "send.mail", type: "MX", value: "feedback-smtp.eu-west-1.amazonses.com", priority: 10 },
      { record: "SPF", name: "send.mail", type: "TXT", value: '"v=spf1 include:amazonses.com ~all"' },
      { record: "DKIM", name: "resend._domainkey.mail", type: "TXT", value: "p=MIGf" },
    ];
    const calls = standIn(["api.resend.com"], ({ method, path }) => {
      if (method === "POST" && path === "/domains") return { status: 403, body: { name: "validation_error" } };
      if (method === "GET" && path === "/domains") return { body: { data: [{ id: "d1", name }] } };
      return { body: { id: "d1", records } };
    });
    const { tenant, account: own } = await newAccount(account);

    const made = await tenant.post("/v1/domains", { name, integrationId: own.id });

    expect(made.status, JSON.stringify(made.body)).toBe(201);
    const wanted = made.body.records.map(({ purpose, type, name, expected }: Any) => [purpose, type, name, expected]);
    expect(wanted).toEqual(
      expect.arrayContaining([
        ["return_path", "MX", `send.mail.${root}`, "feedback-smtp.eu-west-1.amazonses.com"],
        ["return_path", "TXT", `send.mail.${root}`, "v=spf1 include:amazonses.com ~all"],
        ["dkim", "TXT", `resend._domainkey.mail.${root}`, "p=MIGf"],
      ]),
    );
    expect((await tenant.delete(`/v1/domains/${made.body.id}`)).status).toBe(204);
    expect(calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /domains",
      "GET /domains",
      "GET /domains/d1",
      "POST /domains/d1/verify",
      "DELETE /domains/d1",
    ]);
  });
});

describe("what Resend tells", () => {
  /** Signed by svix's own library. */
  async function tell(
    { tenant, account: own }: Any,
    told: object,
    secret = SECRET,
    id = crypto.randomUUID(),
    at = new Date(),
  ) {
    const body = JSON.stringify({ created_at: at.toISOString(), ...told });
    const signature = new Webhook(secret).sign(id, at, body);
    const headers = {
      "svix-id": id,
      "svix-timestamp": String(Math.floor(at.getTime() / 1000)),
      "svix-signature": `v1,bm90IHRoaXM= ${signature}`,
    };
    return client(null).post(`/v1/callbacks/${tenant.id}/${own.id}`, body, { headers });
  }
  async function sentTogether() {
    sends("e1");
    const made = await newAccount(account);
    const recipients = [{ address: "Ben@receiver.example" }, { address: "cleo@receiver.example" }];
    const { ids } = await newMail(made.tenant, { integrationId: made.account.id, recipients });
    await sendNow(made.tenant, ids);
    vi.unstubAllGlobals();
    return { ...made, ids };
  }
  const data = { email_id: "e1", to: ["ben@receiver.example"] };
  const bounce = (more: object) => ({ message: "It bounced.", type: "Permanent", subType: "General", ...more });

  it.each<[string, object, string, Any]>([
    ["email.delivered", {}, "delivered", {}],
    ["email.delivery_delayed", {}, "deferred", {}],
    [
      "email.bounced",
      { bounce: bounce({ diagnosticCode: ["smtp; 550 5.1.1 user unknown"] }) },
      "bounced",
      { hard: true, reason: "userUnknown", status: "5.1.1" },
    ],
    ["email.bounced", { bounce: bounce({ subType: "Suppressed" }) }, "bounced", { hard: false, reason: "policy" }],
    [
      "email.bounced",
      { bounce: bounce({ type: "Transient", diagnosticCode: ["smtp; 452 4.2.2 mailbox full"] }) },
      "bounced",
      { hard: false, reason: "mailboxFull" },
    ],
    ["email.failed", { failed: { reason: "reached_daily_quota" } }, "bounced", { hard: false, reason: "system" }],
    ["email.opened", { open: { ipAddress: "192.0.2.1" } }, "opened", {}],
    ["email.clicked", { click: { link: "https://x.example/" } }, "clicked", { link: "https://x.example/" }],
  ])("%s %j makes the one it names %s, once", async (type, more, status, details) => {
    const made = await sentTogether();
    const id = crypto.randomUUID();

    for (let times = 0; times < 2; times++)
      expect((await tell(made, { type, data: { ...data, ...more } }, SECRET, id)).status).toBe(204);

    expect(await deliveryOf(made.ids[0]!)).toMatchObject({ status });
    expect(await deliveryOf(made.ids[1]!)).toMatchObject({ status: "sent" });
    const ledger = await ledgerOf(made.ids[0]!);
    expect(ledger).toHaveLength(2);
    expect(ledger[1]).toMatchObject({ status, details });
  });

  it("is not believed more than five minutes after it was signed, nor before", async () => {
    const made = await sentTogether();
    const told = { type: "email.complained", data };
    const tellAt = (seconds: number) =>
      tell(made, told, SECRET, crypto.randomUUID(), new Date(Date.now() + 1000 * seconds));

    expectProblem(await tellAt(-310), 403, "not_allowed");
    expectProblem(await tellAt(310), 403, "not_allowed");
    expect(await deliveryOf(made.ids[0]!)).toMatchObject({ complained: false });
    expect((await tellAt(-280)).status).toBe(204);
  });

  it("tells which Message-ID the mail has, and a reply to it joins the conversation", async () => {
    sends("e1");
    const { tenant, inbox } = await newPost();
    const own = (await tenant.post("/v1/integrations", { name: "Resend", medium: "email", ...account })).body;
    const { ids } = await newMail(tenant, { integrationId: own.id });
    await recordMail(inbox, ids[0]!);
    await sendNow(tenant, ids);
    const rfcId = `${crypto.randomUUID()}@eu-west-1.amazonses.com`;

    await tell({ tenant, account: own }, { type: "email.sent", data: { ...data, message_id: `<${rfcId}>` } });

    expect(await referencesOf(tenant)).toEqual([{ referenced_id: rfcId, kind: "provider" }]);
    const headers = { "In-Reply-To": `<${rfcId}>`, From: "Ben <ben@receiver.example>" };
    await arrives(inbox.address, written({ headers, body: "Fine." }));
    await read(inbox.id);
    const reply = (await mailsOf(inbox.id)).find(({ written }) => written === "Fine.");
    expect(reply.channel_id).toBe((await deliveryOf(ids[0]!)).channel_id);
  });

  it("is believed by its signature alone; what is not of mails is passed over", async () => {
    const made = await sentTogether();
    const told = { type: "email.complained", data };

    expectProblem(await tell(made, told, `whsec_${btoa("another secret of 32 bytes, also")}`), 403, "not_allowed");
    expect((await tell(made, { type: "contact.created", data: { id: "c1" } })).status).toBe(204);
    expect((await tell(made, { type: "email.delivered", data: { ...data, email_id: "unknown" } })).status).toBe(204);
    expect(await deliveryOf(made.ids[0]!)).toMatchObject({ complained: false });

    expect((await tell(made, told)).status).toBe(204);
    expect(await deliveryOf(made.ids[0]!)).toMatchObject({ complained: true });
  });
});
