import { afterEach, describe, expect, it, vi } from "vitest";
import { isOfAws } from "../src/providers/sns";
import { type Asked, AWS, newAws } from "./aws";
import { type Any, expectProblem } from "./helpers";
import { arrives, mailsOf, newPost, read, mail as written } from "./mail";
import { deliveryOf, ledgerOf, sendNow } from "./outbound";
import { newAccount, newMail, RAW, sendOne } from "./outgoing-mails";
import { asOwner } from "./setup/owner";
import { newSns } from "./sns";

afterEach(() => vi.unstubAllGlobals());

const TOPIC = "arn:aws:sns:eu-west-1:123456789012:parley-events";
const account = (config: object = {}) => ({
  provider: "ses",
  config: { region: "eu-west-1", ...config },
  credentials: AWS,
});
const sends = () => newAws(() => ({ body: { MessageId: "0100-abc-000000" } }));
const fails = (status: number, error: string, message = "") =>
  newAws(() => ({
    status,
    headers: { "x-amzn-ErrorType": `${error}:http://internal.amazon.com/` },
    body: { message },
  }));

describe("SES", () => {
  it("gets the raw mail for one recipient, signed, with where bounces go and the delivery's own id", async () => {
    const asked = sends();

    const { delivery, ids } = await sendOne(account({ configurationSet: "events" }));

    expect(delivery).toMatchObject({ status: "sent", provider_message_id: "0100-abc-000000" });
    const [{ method, host, path, json }] = asked as [Asked];
    expect([method, host, path]).toEqual(["POST", "email.eu-west-1.amazonaws.com", "/v2/email/outbound-emails"]);
    const { Content, ...rest } = json;
    expect(Buffer.from(Content.Raw.Data, "base64").toString()).toBe(RAW);
    expect(rest).toEqual({
      FromEmailAddress: "ann@sender.example",
      Destination: { ToAddresses: ["ben@receiver.example"] },
      FeedbackForwardingEmailAddress: "ann+b-token@sender.example",
      ConfigurationSetName: "events",
      EmailTags: [{ Name: "ParleyDelivery", Value: ids[0] }],
    });
  });

  it.each<[number, string, string, string, string]>([
    [400, "MessageRejected", "Email address is not verified.", "pending", "failing"],
    [400, "MessageRejected", "Message contains a virus.", "failed", "active"],
    [400, "BadRequestException", "Local address contains control or whitespace", "failed", "active"],
    [400, "MailFromDomainNotVerifiedException", "", "pending", "failing"],
    [400, "SendingPausedException", "", "pending", "failing"],
    [400, "LimitExceededException", "Daily message quota exceeded.", "pending", "failing"],
    [429, "TooManyRequestsException", "Maximum sending rate exceeded.", "pending", "active"],
    [403, "UnrecognizedClientException", "", "pending", "failing"],
    [404, "NotFoundException", "Configuration set does not exist.", "pending", "failing"],
    [500, "InternalFailure", "", "pending", "active"],
  ])("%i %s %s: the mail is %s, the account %s", async (status, error, message, became, health) => {
    fails(status, error, message);

    const { delivery, account: after } = await sendOne(account());

    expect(delivery).toMatchObject({ status: became, error: `SES refuses: ${error} ${message}`.trim() });
    expect(after.status).toBe(health);
  });

  it("with another key than the account's is refused by the stand-in, and the account fails", async () => {
    sends();
    const credentials = { ...AWS, secretAccessKey: "another-key-that-is-wrong" };

    expect((await sendOne({ ...account(), credentials })).account.status).toBe("failing");
  });

  it("says by a check whether it sends for this account", async () => {
    const { tenant, account: own } = await newAccount(account());
    const check = async () => (await tenant.post(`/v1/integrations/${own.id}/check`)).body;
    newAws(() => ({ body: { SendingEnabled: true } }));
    expect(await check()).toMatchObject({ status: "active" });
    newAws(() => ({ body: { SendingEnabled: false } }));
    expect(await check()).toMatchObject({ status: "failing", error: "SES has paused sending for this account." });
  });

  it("makes a domain its identity, whose records are asked for, and takes it back", async () => {
    const DkimAttributes = { Tokens: ["aaa", "bbb", "ccc"], Status: "PENDING" };
    const asked = newAws(({ method, path }) =>
      method === "POST" && path.endsWith("/identities")
        ? { status: 400, headers: { "x-amzn-ErrorType": "AlreadyExistsException" } }
        : { body: { DkimAttributes } },
    );
    const { tenant, account: own } = await newAccount(account({ mailFrom: "bounce" }));
    const name = `${crypto.randomUUID().slice(0, 18)}.example.com`;

    const made = await tenant.post("/v1/domains", { name, integrationId: own.id });

    expect(made.status, JSON.stringify(made.body)).toBe(201);
    const records = made.body.records.map(({ purpose, type, name, expected, priority }: Any) =>
      [purpose, type, name, expected, priority].join(" "),
    );
    expect(records).toEqual(
      expect.arrayContaining([
        `dkim CNAME aaa._domainkey.${name} aaa.dkim.amazonses.com `,
        `dkim CNAME ccc._domainkey.${name} ccc.dkim.amazonses.com `,
        `spf TXT ${name} v=spf1 include:amazonses.com ~all `,
        `return_path MX bounce.${name} feedback-smtp.eu-west-1.amazonses.com 10`,
        `return_path TXT bounce.${name} v=spf1 include:amazonses.com ~all `,
      ]),
    );
    await tenant.delete(`/v1/domains/${made.body.id}`);
    expect(asked.map(({ method, path, json }) => [method, path, json])).toEqual([
      ["POST", "/v2/email/identities", { EmailIdentity: name }],
      ["GET", `/v2/email/identities/${name}`, null],
      [
        "PUT",
        `/v2/email/identities/${name}/mail-from`,
        { MailFromDomain: `bounce.${name}`, BehaviorOnMxFailure: "USE_DEFAULT_VALUE" },
      ],
      ["DELETE", `/v2/email/identities/${name}`, null],
    ]);
  });
});

it("a mail sent by the API leaves by SES, and a reply to the id that SES gave it joins its conversation", async () => {
  const MessageId = `0100-${crypto.randomUUID()}-000000`;
  const asked = newAws(() => ({ body: { MessageId } }));
  const { tenant, inbox } = await newPost();
  const own = { name: "SES", medium: "email", ...account() };
  expect((await tenant.post("/v1/integrations", own)).status).toBe(201);

  const made = await tenant.post(`/v1/inboxes/${inbox.id}/messages`, {
    to: ["ben@receiver.example"],
    subject: "Hello",
    text: "How are you?",
  });

  expect(made.status, JSON.stringify(made.body)).toBe(201);
  await vi.waitFor(
    async () =>
      expect(
        await asOwner("select kind from message_references where referenced_id like $1", [`${MessageId}@%`]),
      ).toEqual([{ kind: "provider" }]),
    { timeout: 10_000, interval: 50 },
  );
  const { json } = asked.find(({ json }) => json?.Destination?.ToAddresses[0] === "ben@receiver.example")!;
  expect(Buffer.from(json.Content.Raw.Data, "base64").toString()).toContain("How are you?");
  expect(json.FeedbackForwardingEmailAddress).toMatch(/\+b-[a-z2-7]{40}@/);
  vi.unstubAllGlobals();
  const headers = { "In-Reply-To": `<${MessageId}@eu-west-1.amazonses.com>`, From: "Ben <ben@receiver.example>" };
  await arrives(inbox.address, written({ headers, body: "Fine." }));
  await read(inbox.id);
  const reply = (await mailsOf(inbox.id)).find(({ written }) => written === "Fine.");
  expect(reply.channel_id).toBe(made.body.channelId);
}, 60_000);

const mail = { messageId: "0100-abc-000000", timestamp: "2026-11-27T10:00:00.000Z", source: "ann@sender.example" };
const bounced = (bounceType: string, bounceSubType: string, more: object = {}) => ({
  bounceType,
  bounceSubType,
  bouncedRecipients: [{ emailAddress: "ben@receiver.example", ...more }],
  timestamp: "2026-11-27T10:00:05.000Z",
  feedbackId: "f1",
});
const at = { timestamp: "2026-11-27T10:00:06.000Z" };
const whom = { emailAddress: "ben@receiver.example" };

describe("what SES tells by SNS", () => {
  async function sent() {
    sends();
    const made = await sendOne(account({ eventTopicArn: TOPIC }));
    vi.unstubAllGlobals();
    const sns = await newSns(`/v1/callbacks/${made.tenant.id}/${made.account.id}`);
    const tell = (notice: object, given: Any = {}) =>
      sns({ TopicArn: TOPIC, Message: JSON.stringify({ mail, ...notice }), ...given });
    return { ...made, sns, tell };
  }

  it.each<[string, object, string, Any]>([
    [
      "Delivery",
      { delivery: { recipients: ["ben@receiver.example"], smtpResponse: "250 ok", ...at } },
      "delivered",
      {},
    ],
    [
      "Bounce",
      { bounce: bounced("Permanent", "General", { status: "5.1.1", diagnosticCode: "smtp; 550 5.1.1 user unknown" }) },
      "bounced",
      { hard: true, reason: "userUnknown", status: "5.1.1", diagnostic: "550 5.1.1 user unknown" },
    ],
    ["Bounce", { bounce: bounced("Permanent", "NoEmail") }, "bounced", { hard: true, reason: "userUnknown" }],
    ["Bounce", { bounce: bounced("Permanent", "Suppressed") }, "bounced", { hard: true }],
    [
      "Bounce",
      { bounce: bounced("Permanent", "General", { diagnosticCode: "smtp; 552 5.2.2 mailbox full" }) },
      "bounced",
      { hard: false, reason: "mailboxFull" },
    ],
    ["Bounce", { bounce: bounced("Transient", "MailboxFull") }, "bounced", { hard: false, reason: "mailboxFull" }],
    ["Bounce", { bounce: bounced("Transient", "MessageTooLarge") }, "bounced", { hard: false, reason: "tooLarge" }],
    ["Bounce", { bounce: bounced("Permanent", "OnAccountSuppressionList") }, "bounced", { hard: false }],
    [
      "DeliveryDelay",
      {
        deliveryDelay: {
          delayType: "MailboxFull",
          delayedRecipients: [{ ...whom, diagnosticCode: "smtp; 452 4.2.2 full" }],
          ...at,
        },
      },
      "deferred",
      { reason: "mailboxFull", hard: false },
    ],
    ["Reject", { reject: { reason: "Bad content" } }, "bounced", { hard: false, reason: "virus" }],
    [
      "Rendering Failure",
      { failure: { errorMessage: "Attribute missing", templateName: "t" } },
      "bounced",
      { hard: false, reason: "content" },
    ],
    ["Open", { open: { userAgent: "Mozilla", ipAddress: "192.0.2.1", ...at } }, "opened", { userAgent: "Mozilla" }],
    ["Click", { click: { link: "https://x.example/", ...at } }, "clicked", { link: "https://x.example/" }],
  ])("%s %j makes the delivery %s", async (type, notice, status, details) => {
    const { ids, tell } = await sent();

    for (const format of type === "Bounce" || type === "Delivery" ? ["notificationType", "eventType"] : ["eventType"])
      expect((await tell({ [format]: type, ...notice })).status).toBe(204);

    expect(await deliveryOf(ids[0])).toMatchObject({ status });
    const ledger = await ledgerOf(ids[0]);
    expect(ledger).toHaveLength(2);
    expect(ledger[1]).toMatchObject({ status, details });
  });

  it("a complaint stands beside the status, and one that is none changes nothing", async () => {
    const { ids, tell } = await sent();
    const complaint = { complainedRecipients: [whom], complaintFeedbackType: "abuse", ...at };

    await tell({ eventType: "Complaint", complaint: { ...complaint, complaintFeedbackType: "not-spam" } });
    expect(await deliveryOf(ids[0])).toMatchObject({ complained: false });
    await tell({ notificationType: "Complaint", complaint });

    expect(await deliveryOf(ids[0])).toMatchObject({ status: "sent", complained: true });
  });

  it("is found by our own tag before the send is recorded, and kept where the mail is unknown yet", async () => {
    const { tenant, account: own, tell } = await sent();
    const { ids } = await newMail(tenant, { integrationId: own.id });
    const delivery = { recipients: ["ben@receiver.example"], ...at };
    const early = { ...mail, messageId: "other", tags: { ParleyDelivery: ids } };

    expect((await tell({ eventType: "Delivery", mail: early, delivery })).status).toBe(204);
    expect((await tell({ eventType: "Delivery", mail: { ...mail, messageId: "unknown" }, delivery })).status).toBe(204);

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "delivered" });
    expect((await tenant.get("/v1/provider-callbacks?status=waiting")).body.data).toHaveLength(1);
    sends();
    await sendNow(tenant, ids);
  });

  it("is not believed more than an hour after it was signed, nor before", async () => {
    const { ids, tell } = await sent();
    const notice = { eventType: "Delivery", delivery: { recipients: ["ben@receiver.example"], ...at } };
    const tellAt = (minutes: number) =>
      tell(notice, { Timestamp: new Date(Date.now() + 60_000 * minutes).toISOString() });

    expect((await tellAt(-61)).status).toBe(403);
    expect((await tellAt(61)).status).toBe(403);
    expect(await deliveryOf(ids[0])).toMatchObject({ status: "sent" });
    expect((await tellAt(-58)).status).toBe(204);
    expect(await deliveryOf(ids[0])).toMatchObject({ status: "delivered" });
  });

  it.each<[string, boolean]>([
    ["https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem", true],
    ["https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0123.pem", true],
    ["http://sns.eu-west-1.amazonaws.com/a.pem", false],
    ["https://sns.eu-west-1.amazonaws.com.evil.example/a.pem", false],
    ["https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", false],
    ["https://sns.eu-west-1.amazonaws.com:8443/a.pem", false],
    ["https://evil.example/sns.eu-west-1.amazonaws.com/a.pem", false],
    ["https://evil.example/#https://sns.eu-west-1.amazonaws.com/a.pem", false],
    ["https://sns.evil.example/sns.eu-west-1.amazonaws.com/", false],
    ["https://s3.eu-west-1.amazonaws.com/bucket/a.pem", false],
    ["https://bucket.sns.eu-west-1.amazonaws.com/a.pem", false],
    ["https://sns.a.b.amazonaws.com/a.pem", false],
    ["https://snsxeu-west-1.amazonaws.com/a.pem", false],
  ])("takes its certificates from SNS alone: %s (%s)", (url, isTaken) => {
    expect(isOfAws({ SNS_ORIGIN: "" }, url)).toBe(isTaken);
  });

  it("is believed of the account's own topic alone, and by its signature", async () => {
    const { ids, sns, tell } = await sent();
    const notice = { eventType: "Bounce", bounce: bounced("Permanent", "NoEmail") };

    expect((await tell(notice, { TopicArn: `${TOPIC}2` })).status).toBe(403);
    const forged = await sns({ TopicArn: TOPIC, Message: "{}" }, { Message: JSON.stringify({ mail, ...notice }) });
    expectProblem({ status: forged.status, headers: forged.headers, body: await forged.json() }, 403, "not_allowed");

    expect(await deliveryOf(ids[0])).toMatchObject({ status: "sent" });
  });
});
