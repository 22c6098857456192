import { describe, expect, it } from "vitest";
import { type Any, client, expectProblem, newTenant, type Tenant } from "./helpers";
import { eventually } from "./jobs";
import { newPost, type Post } from "./mail";
import { deliveryOf, ledgerOf, makeDue, newDeliveries, sendNow } from "./outbound";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

const listed = async (tenant: Tenant, query = ""): Promise<Any[]> =>
  (await tenant.get(`/v1/suppressions${query}`)).body.data;

/** Without what differs from run to run. */
const state = async (tenant: Tenant) =>
  (await listed(tenant)).map(({ address, stream, reason }) => `${address} ${stream} ${reason}`).sort();

const eventsOf = async (tenant: Tenant): Promise<Any[]> =>
  (await tenant.get("/v1/events?stream=tenant&limit=100")).body.data
    .filter(({ type }: Any) => type.startsWith("address."))
    .map(({ type, data }: Any) => ({ type, ...data }));

/** A mail to somebody, as it is once it was sent. */
async function sentTo(tenant: Tenant, recipient: string, stream?: string): Promise<string> {
  const { ids } = await newDeliveries(tenant, [{ recipient, content: stream ? { stream } : {} }]);
  await sendNow(tenant, ids);
  return ids[0]!;
}

const say = async (tenant: Tenant, deliveryId: string, status: string, details: object = {}, reference?: string) => {
  const { status: answered } = await tenant.post("/v1/sandbox/receipts", { deliveryId, status, details, reference });
  expect(answered).toBe(204);
};

const HARD = { hard: true, status: "5.1.1", reason: "userUnknown" };
const SOFT = { hard: false, status: "4.2.2", reason: "mailboxFull" };

describe("a receipt", () => {
  it("of a hard bounce suppresses the address in every stream, in its own transaction, and tells of it once", async () => {
    const tenant = await newTenant();
    const id = await sentTo(tenant, "Silent@Example.com");

    await Promise.all([1, 2, 3].map(() => say(tenant, id, "bounced", HARD, "one")));
    await say(tenant, await sentTo(tenant, "silent+2@example.com"), "bounced", HARD);

    const [other, first] = await listed(tenant);
    expect(first).toMatchObject({
      address: "silent@example.com",
      stream: "*",
      reason: "bounce",
      deliveryId: id,
      details: HARD,
    });
    expect(Date.parse(first.expiresAt) - Date.now()).toBeGreaterThan(179 * 86_400_000);
    expect(other.address).toBe("silent+2@example.com");
    expect(await eventsOf(tenant)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          type: "address.suppressed",
          suppressionId: first.id,
          address: first.address,
          reason: "bounce",
        }),
      ]),
    );
    expect(await eventsOf(tenant)).toHaveLength(2);
  });

  it.each([
    ["complained", { type: "abuse" }, "news", ["silent@example.com news complaint"]],
    ["complained", {}, "transactional", ["silent@example.com transactional complaint"]],
    ["complained", { type: "opt-out" }, "marketing", ["silent@example.com marketing complaint"]],
    ["complained", { type: "auth-failure" }, "marketing", []],
    ["complained", { type: "not-spam" }, "marketing", []],
    ["unsubscribed", {}, "marketing", ["silent@example.com marketing unsubscribe"]],
    ["bounced", SOFT, "marketing", []],
    ["delivered", {}, "marketing", []],
  ])("%s (%j) of the stream %s leads to %j", async (status, details, stream, expected) => {
    const tenant = await newTenant();

    await say(tenant, await sentTo(tenant, "silent@example.com", stream), status as string, details as object);

    expect(await state(tenant)).toEqual(expected);
  });

  it("of the provider's own list suppresses, what we suppressed ourselves does not", async () => {
    const tenant = await newTenant();
    await sentTo(tenant, "suppressed@example.com");
    expect(await state(tenant)).toEqual(["suppressed@example.com * provider"]);

    await tenant.delete(`/v1/suppressions/${(await listed(tenant))[0].id}`);
    await tenant.post("/v1/suppressions", { address: "suppressed@example.com" });
    await sentTo(tenant, "suppressed@example.com");

    expect(await state(tenant)).toEqual(["suppressed@example.com * manual"]);
  });
});

describe("soft bounces", () => {
  it("suppress for some days after five in a row, and a mail that arrives after all lifts that", async () => {
    const tenant = await newTenant();
    const sent: string[] = [];
    for (let i = 0; i < 6; i++) sent.push(await sentTo(tenant, "silent@example.com"));

    for (const id of sent.slice(0, 4)) await say(tenant, id, "bounced", SOFT);
    expect(await state(tenant)).toEqual([]);
    await say(tenant, sent[4]!, "bounced", SOFT);
    expect(await state(tenant)).toEqual(["silent@example.com * softBounces"]);
    await say(tenant, sent[5]!, "delivered");

    expect(await state(tenant)).toEqual([]);
    expect((await eventsOf(tenant)).map(({ type, because }) => [type, because])).toEqual(
      expect.arrayContaining([
        ["address.suppressed", undefined],
        ["address.unsuppressed", "delivered"],
      ]),
    );
    await say(tenant, await sentTo(tenant, "silent@example.com"), "bounced", SOFT);
    expect(await state(tenant)).toEqual([]);
  });

  it("are counted from nothing once the suppression was removed", async () => {
    const tenant = await newTenant();
    const sent: string[] = [];
    for (let i = 0; i < 6; i++) sent.push(await sentTo(tenant, "silent@example.com"));
    for (const id of sent.slice(0, 5)) await say(tenant, id, "bounced", SOFT);

    await tenant.delete(`/v1/suppressions/${(await listed(tenant))[0].id}`);
    await say(tenant, sent[5]!, "bounced", SOFT);

    expect(await state(tenant)).toEqual([]);
  });

  it("that are heard of at the same time are counted together", async () => {
    const tenant = await newTenant();
    const sent: string[] = [];
    for (let i = 0; i < 5; i++) sent.push(await sentTo(tenant, "silent@example.com"));

    await Promise.all(sent.map((id) => say(tenant, id, "bounced", SOFT)));

    expect(await state(tenant)).toEqual(["silent@example.com * softBounces"]);
  });
});

describe("a suppressed recipient", () => {
  it("is sent nothing, even where it was suppressed after the message was recorded, and holds up nobody", async () => {
    const tenant = await newTenant();
    const { ids } = await newDeliveries(tenant, [
      { recipient: "Silent@example.com" },
      { recipient: "silent@example.org" },
    ]);
    await tenant.post("/v1/suppressions", { address: "silent@EXAMPLE.com" });

    await sendNow(tenant, ids);

    expect(await deliveryOf(ids[0]!)).toMatchObject({
      status: "suppressed",
      attempts: 0,
      error: "suppressed: manual",
      provider_message_id: null,
    });
    expect(await ledgerOf(ids[0]!)).toMatchObject([{ status: "suppressed" }]);
    expect(await deliveryOf(ids[1]!)).toMatchObject({ status: "sent" });
  });

  it("in one stream gets what comes by the others; in every stream, nothing", async () => {
    const tenant = await newTenant();
    await tenant.post("/v1/suppressions", { address: "silent@example.com", stream: "news" });

    const [news, reset] = [
      await sentTo(tenant, "silent@example.com", "news"),
      await sentTo(tenant, "silent@example.com"),
    ];

    expect((await deliveryOf(news)).status).toBe("suppressed");
    expect((await deliveryOf(reset)).status).toBe("sent");
  });

  it("gets mail again when its time has come, and is told of anew when it is suppressed again", async () => {
    const tenant = await newTenant();
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    await tenant.post("/v1/suppressions", { address: "silent@example.com", expiresAt });
    await asOwner("update suppressions set expires_at = now() - interval '1 minute' where tenant_id = $1", [tenant.id]);

    expect((await deliveryOf(await sentTo(tenant, "silent@example.com"))).status).toBe("sent");
    expect(await listed(tenant)).toEqual([]);
    expect(await listed(tenant, "?expired=true")).toHaveLength(1);
    await tenant.post("/v1/suppressions", { address: "silent@example.com" });

    expect(await eventsOf(tenant)).toHaveLength(2);
  });

  it("of another tenant is none of this one's", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    await other.post("/v1/suppressions", { address: "silent@example.com" });

    expect((await deliveryOf(await sentTo(tenant, "silent@example.com"))).status).toBe("sent");
    expect(await listed(tenant)).toEqual([]);
  });
});

describe("by hand", () => {
  it("addresses are added one by one and many at once, listed by what they are, and exported", async () => {
    const tenant = await newTenant();
    const many = Array.from({ length: 1000 }, (_, i) => ({
      address: `User${i}@example.com`,
      stream: i % 2 ? "news" : "*",
    }));

    const one = await tenant.post("/v1/suppressions", { address: " Ann@Example.com ", details: { ticket: 7 } });
    const bulk = await tenant.post("/v1/suppressions/bulk", { suppressions: many });

    expect(one).toMatchObject({
      status: 201,
      body: { address: "ann@example.com", stream: "*", reason: "manual", details: { ticket: 7 }, expiresAt: null },
    });
    expect(bulk.status).toBe(201);
    expect(bulk.body.data.map(({ address }: Any) => address)).toEqual(many.map(({ address }) => address.toLowerCase()));
    expect(await listed(tenant, "?address=ANN@example.com")).toHaveLength(1);
    expect((await listed(tenant, "?stream=news&limit=100")).every(({ stream }) => stream === "news")).toBe(true);
    expect(await listed(tenant, "?reason=bounce")).toEqual([]);
    const { body: exported } = await tenant.get<string>("/v1/suppressions/export");
    const lines = exported
      .trim()
      .split("\n")
      .map((line: string) => JSON.parse(line));
    expect(new Set(lines.map(({ address }: Any) => address)).size).toBe(1001);
    expectProblem(
      await tenant.post("/v1/suppressions/bulk", { suppressions: [...many, { address: "x@example.com" }] }),
      422,
      "invalid_request",
    );
  });

  it("added again, the new expiry holds and nothing is told", async () => {
    const tenant = await newTenant();
    const first = await tenant.post("/v1/suppressions", { address: "ann@example.com" });
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();

    const second = await tenant.post("/v1/suppressions", { address: "ann@example.com", expiresAt });

    expect(second.body).toMatchObject({ id: first.body.id, expiresAt });
    expect(await eventsOf(tenant)).toHaveLength(1);
  });

  it("a removal leaves what else suppresses the address, and is told and kept in the audit log", async () => {
    const tenant = await newTenant();
    const { body } = await tenant.post("/v1/suppressions", { address: "silent@example.com" });
    await say(tenant, await sentTo(tenant, "SILENT+x@example.com"), "bounced", HARD);
    await tenant.post("/v1/suppressions", { address: "silent@example.com", reason: "complaint", stream: "news" });

    expect((await tenant.delete(`/v1/suppressions/${body.id}`)).status).toBe(204);

    expectProblem(await tenant.get(`/v1/suppressions/${body.id}`), 404, "not_found");
    expect(await state(tenant)).toEqual(["silent+x@example.com * bounce", "silent@example.com news complaint"]);
    expect(await eventsOf(tenant)).toContainEqual(
      expect.objectContaining({ type: "address.unsuppressed", suppressionId: body.id, because: "removed" }),
    );
    const logs = (await tenant.get(`/v1/audit-logs?targetId=${body.id}`)).body.data;
    expect(logs.map(({ action }: Any) => action)).toEqual(["suppression.removed", "suppression.added"]);
  });

  it.each([
    [{ address: "nobody" }, "address"],
    [{ address: "a@b c" }, "address"],
    [{ address: "a@b", stream: "Not This" }, "stream"],
    [{ address: "a@b", reason: "provider" }, "reason"],
    [{ address: "a@b", expiresAt: "tomorrow" }, "expiresAt"],
  ])("%j is refused at %s", async (body, path) => {
    const tenant = await newTenant();

    const answer = await tenant.post("/v1/suppressions", body);

    expectProblem(answer, 422, "invalid_request");
    expect(answer.body.errors[0].path).toBe(path);
  });
});

it.each(["Ann@Bücher.example", "ann@xn--bcher-kva.example", '"ann"@bücher.example'])(
  "one added as %s is the address that mail is sent to",
  async (address) => {
    const own = await newPost();

    const { body } = await own.tenant.post("/v1/suppressions", { address });

    expect(body.address).toBe("ann@xn--bcher-kva.example");
    expect(await listed(own.tenant, "?address=ann@B%C3%BCcher.example")).toHaveLength(1);
    const input = { to: ["ann@bücher.example"], text: "a" };
    const message = (await own.tenant.post(`/v1/inboxes/${own.inbox.id}/messages`, input)).body;
    const [delivery] = await asOwner<Any>("select status from deliveries where message_id = $1", [message.id]);
    expect(delivery.status).toBe("suppressed");
  },
);

it("an export goes on over all pages, with what it was asked for alone", async () => {
  const tenant = await newTenant();
  await asOwner(
    `insert into suppressions (tenant_id, id, address, stream, reason)
     select $1, gen_random_uuid(), 'a' || n || '@example.com', case n % 10 when 0 then 'news' else '*' end, 'manual'
       from generate_series(1, 2500) n`,
    [tenant.id],
  );

  const { body } = await tenant.get("/v1/suppressions/export?stream=*");

  const lines = (body as string)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(new Set(lines.map(({ address }: Any) => address)).size).toBe(2250);
  expect([lines.length, new Set(lines.map(({ stream }: Any) => stream))]).toEqual([2250, new Set(["*"])]);
});

it("through the sandbox: a bounce suppresses, and the next mail is not sent", async () => {
  const tenant = await newTenant();
  const id = await sentTo(tenant, "bounced@example.com");
  await expect.poll(async () => (await deliveryOf(id)).status, { timeout: 8000 }).toBe("bounced");

  const next = await newDeliveries(tenant, [{ recipient: "bounced@example.com" }]);
  await makeDue(next.ids);
  await sweep();

  await expect.poll(async () => (await deliveryOf(next.ids[0]!)).status).toBe("suppressed");
});

describe("a mail that is sent", () => {
  const send = async (own: Post, input: object): Promise<string> => {
    const { status, body } = await own.tenant.post(`/v1/inboxes/${own.inbox.id}/messages`, { text: "Hello", ...input });
    expect(status, JSON.stringify(body)).toBe(201);
    return body.id;
  };
  const deliveriesOf = (messageId: string) =>
    asOwner<Any>("select * from deliveries where message_id = $1 order by recipient", [messageId]);
  const come = (messageId: string, ...statuses: string[]) =>
    eventually(async () => expect((await deliveriesOf(messageId)).map(({ status }) => status)).toEqual(statuses));

  it("and bounces suppresses its recipient, and the next one goes to the others alone", async () => {
    const own = await newPost();

    await come(await send(own, { to: ["bounced@writer.example"] }), "bounced");
    const next = await send(own, { to: ["Bounced@writer.example", "zoe@writer.example"] });

    await come(next, "suppressed", "delivered");
    expect((await deliveriesOf(next))[0]).toMatchObject({ attempts: 0, provider_message_id: null });
    expect(await state(own.tenant)).toEqual(["bounced@writer.example * bounce"]);
    expect((await own.tenant.get("/v1/email-statistics")).body.data).toMatchObject([
      { recipients: 3, sent: 2, delivered: 1, hardBounced: 1, suppressed: 1 },
    ]);
  });

  it("offers to unsubscribe, and who does gets no more of its stream, but all else", async () => {
    const own = await newPost();
    const news = { to: ["ann@writer.example"], stream: "news" };
    const first = await send(own, news);
    await come(first, "delivered");
    const [{ content }] = await deliveriesOf(first);
    const link = new URL(content.headers["List-Unsubscribe"].slice(1, -1)).pathname;

    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    expect((await client(null).post(link, "List-Unsubscribe=One-Click", { headers })).status).toBe(200);

    await come(await send(own, news), "suppressed");
    await come(await send(own, { ...news, stream: "transactional" }), "delivered");
  });
});

describe("a bounce that was none is taken back", () => {
  const takeBack = (tenant: Tenant, id: string) => tenant.post(`/v1/deliveries/${id}/take-back-bounce`);

  it("so that the delivery is as far as all else says, and its suppression is gone", async () => {
    const tenant = await newTenant();
    const id = await sentTo(tenant, "silent@example.com");
    await say(tenant, id, "delivered");
    await say(tenant, id, "bounced", HARD, "same");

    const answer = await takeBack(tenant, id);

    expect(answer).toMatchObject({ status: 200, body: { id, status: "delivered" } });
    expect(await state(tenant)).toEqual([]);
    expect(await eventsOf(tenant)).toContainEqual(
      expect.objectContaining({ type: "address.unsuppressed", because: "takenBack" }),
    );
    await say(tenant, id, "bounced", HARD, "same");
    expect((await takeBack(tenant, id)).body.status).toBe("delivered");
    expect(await state(tenant)).toEqual([]);
    expectProblem(await takeBack(tenant, crypto.randomUUID()), 404, "not_found");
  });

  it("but not the suppression, while another bounce speaks for it", async () => {
    const tenant = await newTenant();
    const [one, two] = [await sentTo(tenant, "silent@example.com"), await sentTo(tenant, "silent@example.com")];
    for (const id of [one, two]) await say(tenant, id, "bounced", HARD);

    expect((await takeBack(tenant, one)).body.status).toBe("sent");

    expect(await state(tenant)).toEqual(["silent@example.com * bounce"]);
    await takeBack(tenant, two);
    expect(await state(tenant)).toEqual([]);
  });

  it("and of soft ones the next does not suppress again", async () => {
    const tenant = await newTenant();
    const sent: string[] = [];
    for (let i = 0; i < 6; i++) sent.push(await sentTo(tenant, "silent@example.com"));
    for (const id of sent.slice(0, 5)) await say(tenant, id, "bounced", SOFT);

    await takeBack(tenant, sent[4]!);
    expect(await state(tenant)).toEqual([]);
    await say(tenant, sent[5]!, "bounced", SOFT);

    expect(await state(tenant)).toEqual([]);
  });
});
