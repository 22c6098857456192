import { afterEach, describe, expect, it, vi } from "vitest";
import { hmac, toHex, utf8 } from "../src/lib/crypto";
import { type Any, client, expectProblem } from "./helpers";
import { standIn } from "./mail-vendors";
import { deliveryOf, ledgerOf, sendNow } from "./outbound";
import { newAccount, newMail, RAW, sendOne } from "./outgoing-mails";

afterEach(() => vi.unstubAllGlobals());

const recordsOf = (domain: Any) =>
  domain.records.map(({ purpose, type, name, expected }: Any) => [purpose, type, name, expected].join(" "));
const newName = () => `${crypto.randomUUID().slice(0, 18)}.example.com`;

describe("Postmark", () => {
  const account = {
    provider: "postmark",
    credentials: {
      serverToken: "server-token-0123456789",
      accountToken: "account-token-0123456789",
      webhookUsername: "parley",
      webhookPassword: "pass word:ü",
    },
  };
  const HOSTS = ["api.postmarkapp.com"];
  const sends = () => standIn(HOSTS, () => ({ body: { ErrorCode: 0, Message: "OK", MessageID: "m1" } }));

  it("gets a mail in its own words, with our own Message-ID, in the stream of its kind", async () => {
    const calls = sends();

    const { delivery } = await sendOne(account);

    expect(delivery).toMatchObject({ status: "sent", provider_message_id: "m1" });
    const [{ method, path, headers, json }] = calls as [Any];
    expect([method, path, headers.get("X-Postmark-Server-Token")]).toEqual([
      "POST",
      "/email",
      "server-token-0123456789",
    ]);
    expect(json).toEqual({
      From: "Ann Sender <ann@sender.example>",
      To: "Ben <ben@receiver.example>",
      ReplyTo: "ann+r-token@sender.example",
      Subject: "Grüße",
      TextBody: expect.stringContaining("Hello there"),
      HtmlBody: expect.stringContaining("cid:logo@sender.example"),
      Headers: [
        { Name: "Message-ID", Value: "<own-id@sender.example>" },
        { Name: "X-PM-KeepID", Value: "true" },
        { Name: "In-Reply-To", Value: "<before@receiver.example>" },
        { Name: "References", Value: "<first@receiver.example> <before@receiver.example>" },
        { Name: "X-Order", Value: "17" },
      ],
      Attachments: [
        { Name: "logo.png", Content: "AAEC/w==", ContentType: "image/png", ContentID: "cid:logo@sender.example" },
      ],
      MessageStream: "outbound",
    });
  });

  it.each<[number, number, string, string]>([
    [401, 10, "pending", "failing"],
    [422, 401, "pending", "failing"],
    [422, 300, "failed", "active"],
    [422, 406, "suppressed", "active"],
    [429, 429, "pending", "active"],
    [500, 500, "pending", "active"],
  ])("%i %i: the mail is %s, the account %s", async (status, ErrorCode, became, health) => {
    standIn(HOSTS, () => ({ status, body: { ErrorCode, Message: "No." } }));

    const { delivery, account: after } = await sendOne(account);

    expect(delivery).toMatchObject({ status: became, error: `Postmark refuses: ${ErrorCode} No.` });
    expect(after.status).toBe(health);
  });

  it.each(["", ". Inactive recipients are ones that have generated a hard bounce, a spam complaint, or worse. "])(
    "that leaves out some of a mail's recipients has not sent it to them (%s)",
    async (rest) => {
      const Message = `Message OK, but will not deliver to these inactive addresses: cleo@b.example, dora@b.co.example${rest}`;
      standIn(HOSTS, () => ({ body: { ErrorCode: 0, Message, MessageID: "m1" } }));
      const { tenant, account: own } = await newAccount(account);
      const recipients = ["ben@b.example", "Cleo@b.example", "dora@b.co.example"].map((address) => ({ address }));
      const { ids } = await newMail(tenant, { integrationId: own.id, recipients });

      await sendNow(tenant, ids);

      const became = await Promise.all(ids.map(deliveryOf));
      expect(became.map(({ status }) => status)).toEqual(["sent", "suppressed", "suppressed"]);
      const { data } = (await tenant.get("/v1/suppressions")).body;
      expect(data.map(({ address, reason }: Any) => `${address} ${reason}`).sort()).toEqual([
        "cleo@b.example provider",
        "dora@b.co.example provider",
      ]);
    },
  );

  it.each<[object, string, Any]>([
    [{ RecordType: "Delivery", Recipient: "Ben@receiver.example", Details: "250 ok" }, "delivered", {}],
    [
      {
        RecordType: "Bounce",
        ID: 1,
        Type: "HardBounce",
        Email: "ben@receiver.example",
        Details: "smtp;550 5.1.1 user unknown",
      },
      "bounced",
      { hard: true, reason: "userUnknown" },
    ],
    [
      {
        RecordType: "Bounce",
        ID: 2,
        Type: "SoftBounce",
        Email: "ben@receiver.example",
        Details: "smtp;552 5.2.2 mailbox full",
      },
      "bounced",
      { hard: false, reason: "mailboxFull" },
    ],
    [{ RecordType: "Bounce", ID: 3, Type: "Transient", Email: "ben@receiver.example" }, "deferred", { hard: false }],
    [
      { RecordType: "Open", Recipient: "ben@receiver.example", UserAgent: "Mozilla" },
      "opened",
      { userAgent: "Mozilla" },
    ],
    [
      { RecordType: "Click", Recipient: "ben@receiver.example", OriginalLink: "https://x.example/" },
      "clicked",
      { link: "https://x.example/" },
    ],
  ])("%j is believed by its password, once", async (told, status, details) => {
    sends();
    const { tenant, account: own, ids } = await sendOne(account);
    const tell = (password: string) =>
      client(null).post(
        `/v1/callbacks/${tenant.id}/${own.id}`,
        { MessageID: "m1", ...told },
        {
          headers: { Authorization: `Basic ${Buffer.from(`parley:${password}`).toString("base64")}` },
        },
      );

    expectProblem(await tell("guessed"), 403, "not_allowed");
    expect((await tell("pass word:ü")).status).toBe(204);
    expect((await tell("pass word:ü")).status).toBe(204);

    expect(await deliveryOf(ids[0])).toMatchObject({ status });
    const ledger = await ledgerOf(ids[0]);
    expect(ledger).toHaveLength(2);
    expect(ledger[1]).toMatchObject({ status, details });
  });

  it("says by a check whether it takes the token", async () => {
    const { tenant, account: own } = await newAccount(account);
    const check = async () => (await tenant.post(`/v1/integrations/${own.id}/check`)).body;

    standIn(HOSTS, () => ({ status: 401, body: { ErrorCode: 10, Message: "No." } }));
    expect(await check()).toMatchObject({ status: "failing", error: "Postmark refuses: 10 No." });
    const calls = standIn(HOSTS, () => ({ body: { ID: 1 } }));
    expect(await check()).toMatchObject({ status: "active", error: null });
    expect(calls.map(({ method, path }) => `${method} ${path}`)).toEqual(["GET /server"]);
  });

  it("makes a domain with the account's token, and takes it back", async () => {
    const name = newName();
    const calls = standIn(HOSTS, () => ({
      body: {
        ID: 36735,
        DKIMPendingHost: `20261127._domainkey.${name}`,
        DKIMPendingTextValue: "k=rsa;p=MIGf",
        ReturnPathDomain: `pm-bounces.${name}`,
        ReturnPathDomainCNAMEValue: "pm.mtasv.net",
      },
    }));
    const { tenant, account: own } = await newAccount(account);

    const made = await tenant.post("/v1/domains", { name, integrationId: own.id });

    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expect(recordsOf(made.body)).toEqual(
      expect.arrayContaining([
        `dkim TXT 20261127._domainkey.${name} k=rsa;p=MIGf`,
        `return_path CNAME pm-bounces.${name} pm.mtasv.net`,
      ]),
    );
    expect((await tenant.delete(`/v1/domains/${made.body.id}`)).status).toBe(204);
    const asked = calls.map(({ method, path, headers }) => [method, path, headers.get("X-Postmark-Account-Token")]);
    expect(asked).toEqual([
      ["POST", "/domains", "account-token-0123456789"],
      ["DELETE", "/domains/36735", "account-token-0123456789"],
    ]);
  });
});

describe("Mailgun", () => {
  const SIGNING = "signing-key-0123456789";
  const account = {
    provider: "mailgun",
    config: { region: "eu" },
    credentials: { apiKey: "key-0123456789abcdef", signingKey: SIGNING },
  };
  const HOSTS = ["api.eu.mailgun.net"];
  const id = "<own-id@sender.example>";
  const sends = () => standIn(HOSTS, () => ({ body: { id, message: "Queued. Thank you." } }));

  it("gets the raw mail for one recipient, with the delivery's own id", async () => {
    const calls = sends();

    const { delivery, ids } = await sendOne(account);

    expect(delivery).toMatchObject({ status: "sent", provider_message_id: "own-id@sender.example" });
    const [{ method, path, headers, text }] = calls as [Any];
    expect([method, path]).toEqual(["POST", "/v3/sender.example/messages.mime"]);
    expect(headers.get("Authorization")).toBe(`Basic ${btoa("api:key-0123456789abcdef")}`);
    const form = await new Response(text, { headers: { "Content-Type": headers.get("Content-Type") } }).formData();
    expect([form.get("to"), form.get("v:parley_delivery")]).toEqual(["ben@receiver.example", ids[0]]);
    expect(await (form.get("message") as File).text()).toBe(RAW);
  });

  it("says by a check whether it takes the key", async () => {
    const { tenant, account: own } = await newAccount(account);
    const check = async () => (await tenant.post(`/v1/integrations/${own.id}/check`)).body;

    standIn(HOSTS, () => ({ status: 401, body: { message: "No." } }));
    expect(await check()).toMatchObject({ status: "failing", error: expect.stringContaining("No.") });
    const calls = standIn(HOSTS, () => ({ body: { items: [] } }));
    expect(await check()).toMatchObject({ status: "active", error: null });
    expect(calls.map(({ method, path }) => `${method} ${path}`)).toEqual(["GET /v4/domains"]);
  });

  it.each<[number, string, string]>([
    [401, "pending", "failing"],
    [404, "pending", "failing"],
    [400, "failed", "active"],
    [408, "pending", "active"],
    [425, "pending", "active"],
    [429, "pending", "active"],
    [500, "pending", "active"],
  ])("%i: the mail is %s, the account %s", async (status, became, health) => {
    standIn(HOSTS, () => ({ status, body: { message: "No." } }));

    const { delivery, account: after } = await sendOne(account);

    expect(delivery).toMatchObject({ status: became, error: `Mailgun refuses: ${status} No.` });
    expect(after.status).toBe(health);
  });

  it.each([
    ["seconds", () => "7200"],
    ["a date", () => new Date(Date.now() + 7_200_000).toUTCString()],
  ])("is asked again when it says, by %s", async (_, at) => {
    standIn(HOSTS, () => ({ status: 429, headers: { "Retry-After": at() }, body: {} }));

    const { delivery } = await sendOne(account);

    expect(Date.parse(delivery.next_attempt_at) - Date.now()).toBeGreaterThan(7_100_000);
  });

  it.each<[object, string, Any]>([
    [{ event: "delivered" }, "delivered", {}],
    [
      {
        event: "failed",
        severity: "permanent",
        reason: "bounce",
        "delivery-status": { code: 550, message: "5.1.1 user unknown", "enhanced-code": "5.1.1" },
      },
      "bounced",
      { hard: true, reason: "userUnknown", status: "5.1.1" },
    ],
    [{ event: "failed", severity: "permanent", reason: "suppress-bounce" }, "bounced", { hard: true }],
    [
      { event: "failed", severity: "permanent", reason: "suppress-complaint" },
      "bounced",
      { hard: false, reason: "policy" },
    ],
    [
      { event: "failed", severity: "temporary", "delivery-status": { code: 452, message: "4.2.2 mailbox full" } },
      "deferred",
      { hard: false, reason: "mailboxFull" },
    ],
    [{ event: "opened", "client-info": { "user-agent": "Mozilla", bot: "gmail" } }, "opened", { bot: "gmail" }],
    [{ event: "clicked", url: "https://x.example/" }, "clicked", { link: "https://x.example/" }],
  ])("%j is believed by its signature, once, of the recipient alone", async (event, status, details) => {
    sends();
    const { tenant, account: own } = await newAccount(account);
    const recipients = [{ address: "ben@receiver.example" }, { address: "cleo@receiver.example" }];
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });
    await sendNow(tenant, ids);
    const eventId = crypto.randomUUID();
    const tell = async (key: string) => {
      const [timestamp, token] = [String(Math.floor(Date.now() / 1000)), crypto.randomUUID()];
      const signature = toHex(await hmac(utf8(key), timestamp + token));
      const told = {
        id: eventId,
        recipient: "ben@receiver.example",
        message: { headers: { "message-id": id.slice(1, -1) } },
      };
      const body = { signature: { timestamp, token, signature }, "event-data": { ...told, ...event } };
      return client(null).post(`/v1/callbacks/${tenant.id}/${own.id}`, body);
    };

    expectProblem(await tell("another-key-0123456789"), 403, "not_allowed");
    expect((await tell(SIGNING)).status).toBe(204);
    expect((await tell(SIGNING)).status).toBe(204);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status });
    expect(await deliveryOf(ids[1]!)).toMatchObject({ status: "sent" });
    const ledger = await ledgerOf(ids[0]!);
    expect(ledger).toHaveLength(2);
    expect(ledger[1]).toMatchObject({ status, details });
  });

  async function newTold() {
    sends();
    const { tenant, account: own, ids } = await sendOne(account);
    const signed = async (seconds = Math.floor(Date.now() / 1000)) => {
      const [timestamp, token] = [String(seconds), crypto.randomUUID()];
      return { timestamp, token, signature: toHex(await hmac(utf8(SIGNING), timestamp + token)) };
    };
    const tell = (signature: object, event: string) => {
      const told = { id: "e1", event, "user-variables": { parley_delivery: ids[0] } };
      return client(null).post(`/v1/callbacks/${tenant.id}/${own.id}`, { signature, "event-data": told });
    };
    return { ids, signed, tell };
  }

  it("signs no body: a signature holds for the first that comes with it, however often that comes", async () => {
    const { ids, signed, tell } = await newTold();
    const signature = await signed();

    expect((await tell(signature, "accepted")).status).toBe(204);
    expectProblem(await tell(signature, "complained"), 403, "not_allowed");
    expect((await tell(signature, "accepted")).status).toBe(204);

    expect(await deliveryOf(ids[0])).toMatchObject({ complained: false });
  });

  it("is not believed what it signed more than half a day ago", async () => {
    const { ids, signed, tell } = await newTold();
    const now = Math.floor(Date.now() / 1000);

    expectProblem(await tell(await signed(now - 43_260), "complained"), 403, "not_allowed");
    expectProblem(await tell(await signed(now + 43_260), "complained"), 403, "not_allowed");
    expect((await tell(await signed(now - 43_100), "delivered")).status).toBe(204);

    expect(await deliveryOf(ids[0])).toMatchObject({ status: "delivered", complained: false });
  });

  it("makes a domain, or takes the one that is there, and takes it back", async () => {
    const name = newName();
    const sending_dns_records = [
      { name, record_type: "TXT", value: "v=spf1 include:mailgun.org ~all" },
      { name: `mx._domainkey.${name}`, record_type: "TXT", value: "k=rsa; p=MIGf" },
      { name: `email.${name}`, record_type: "CNAME", value: "eu.mailgun.org" },
    ];
    const calls = standIn(HOSTS, ({ method }) =>
      method === "POST" ? { status: 400, body: { message: "already exists" } } : { body: { sending_dns_records } },
    );
    const { tenant, account: own } = await newAccount(account);

    const made = await tenant.post("/v1/domains", { name, integrationId: own.id });

    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expect(recordsOf(made.body)).toEqual(
      expect.arrayContaining([
        `spf TXT ${name} v=spf1 include:mailgun.org ~all`,
        `dkim TXT mx._domainkey.${name} k=rsa; p=MIGf`,
      ]),
    );
    expect((await tenant.delete(`/v1/domains/${made.body.id}`)).status).toBe(204);
    expect(calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /v4/domains",
      `GET /v4/domains/${name}`,
      `DELETE /v3/domains/${name}`,
    ]);
  });
});
