import { beforeAll, describe, expect, it } from "vitest";
import { callsOf } from "./calls";
import { type Any, expectProblem, newTenant } from "./helpers";
import { newPost, type Post } from "./mail";
import { asOwner } from "./setup/owner";

type Mail = { to?: number; stream?: string; tags?: string[]; at?: string; post?: Post };

let post: Post;
beforeAll(async () => {
  post = await newPost();
});

/** A mail as sending it leaves it behind, to so many recipients. */
async function sent({
  to = 1,
  stream = "transactional",
  tags = [],
  at = new Date().toISOString(),
  post: own = post,
}: Mail = {}) {
  const [channelId, messageId] = [crypto.randomUUID(), crypto.randomUUID()];
  const tenant = own.tenant.id;
  await asOwner("insert into channels (tenant_id, id, medium, type, inbox_id) values ($1, $2, 'email', 'email', $3)", [
    tenant,
    channelId,
    own.inbox.id,
  ]);
  await asOwner(
    "insert into messages (tenant_id, id, channel_id, seq, text, direction) values ($1, $2, $3, 1, 'Hi', 'outbound')",
    [tenant, messageId, channelId],
  );
  await asOwner(
    "insert into emails (tenant_id, message_id, inbox_id, rfc_id, fingerprint, stream, tags) values ($1, $2, $3, $4, 'x', $5, $6)",
    [...[tenant, messageId, own.inbox.id, `${messageId}@x.example`, stream, tags]],
  );
  const ids = Array.from({ length: to }, () => crypto.randomUUID());
  // As if the sandbox had sent them, so that receipts can be said.
  await asOwner(
    `insert into deliveries (tenant_id, id, channel_id, message_id, medium, recipient, content, status, created_at, provider_message_id)
     select $1, x, $2, $3, 'email', x || '@writer.example', jsonb_build_object('stream', $5::text), 'sent', $6, 'sandbox-' || x from unnest($4::uuid[]) x`,
    [tenant, channelId, messageId, ids, stream, at],
  );
  return ids;
}

const say = async (deliveryId: string, status: string, details: object = {}) =>
  expect((await post.tenant.post("/v1/sandbox/receipts", { deliveryId, status, details })).status).toBe(204);

async function counted(query: string): Promise<Record<string, Any>> {
  const { status, body } = await post.tenant.get(`/v1/email-statistics?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return Object.fromEntries(
    body.data.map(({ key, ...counts }: Any) => [
      key,
      Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)),
    ]),
  );
}

it("every recipient is counted once, by all that is known of it now", async () => {
  const ids = await sent({ to: 9, stream: "counted" });
  await say(ids[0]!, "delivered");
  await say(ids[1]!, "delivered");
  await say(ids[1]!, "clicked");
  await say(ids[2]!, "bounced", { hard: true });
  await say(ids[3]!, "bounced", { hard: false });
  await say(ids[4]!, "deferred");
  await say(ids[5]!, "complained");
  await say(ids[6]!, "unsubscribed");
  await asOwner("update deliveries set status = 'suppressed' where id = $1", [ids[7]]);
  await asOwner("update deliveries set status = 'failed' where id = $1", [ids[8]]);
  const expected = {
    ...{ recipients: 9, sent: 7, deferred: 1, delivered: 2, opened: 1, clicked: 1, hardBounced: 1, softBounced: 1 },
    ...{ complained: 1, unsubscribed: 1, suppressed: 1, failed: 1 },
  };

  expect(await counted("stream=counted")).toEqual({ null: expected });
  expect((await counted("by=stream")).counted).toEqual(expected);

  // What is heard late, twice or taken back is counted where its mail is.
  await say(ids[0]!, "bounced", { hard: true });
  await say(ids[2]!, "bounced", { hard: true });
  await post.tenant.post(`/v1/deliveries/${ids[2]}/take-back-bounce`);
  expect(await counted("stream=counted")).toEqual({ null: { ...expected, delivered: 1 } });
});

describe("groups and filters", () => {
  it("days begin in the time zone that is asked for", async () => {
    await sent({ stream: "daily", at: "2026-03-01T23:30:00Z" });
    await sent({ stream: "daily", to: 2, at: "2026-03-02T12:00:00Z" });
    const span = "from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z&stream=daily&by=day";

    expect(Object.entries(await counted(span)).map(([day, { recipients }]) => [day, recipients])).toEqual([
      ["2026-03-01", 1],
      ["2026-03-02", 2],
    ]);
    expect(Object.keys(await counted(`${span}&timezone=Europe/Paris`))).toEqual(["2026-03-02"]);
    expect(await counted("from=2026-03-01T00:00:00Z&to=2026-03-02T12:00:00Z&stream=daily")).toMatchObject({
      null: { recipients: 1 },
    });
  });

  it("by tag, inbox and domain", async () => {
    const other = await newPost({}, post.tenant);
    await sent({ tags: ["welcome", "plan=pro"], to: 2, stream: "grouped" });
    await sent({ tags: ["welcome"], stream: "grouped", post: other });

    expect(await counted("stream=grouped&by=tag")).toMatchObject({
      welcome: { recipients: 3 },
      "plan=pro": { recipients: 2 },
    });
    expect(await counted("stream=grouped&by=inbox")).toMatchObject({
      [post.inbox.id]: { recipients: 2 },
      [other.inbox.id]: { recipients: 1 },
    });
    expect(await counted("stream=grouped&by=domain")).toMatchObject({ [other.domain.id]: { recipients: 1 } });
    expect(await counted(`stream=grouped&domainId=${other.domain.id}&tag=welcome`)).toMatchObject({
      null: { recipients: 1 },
    });
    expect(await counted(`stream=grouped&inboxId=${post.inbox.id}&tag=plan%3Dpro&by=day`)).toMatchObject({
      [new Date().toISOString().slice(0, 10)]: { recipients: 2 },
    });
  });
});

it("a mail that is deleted for good still counts, save by its tags", async () => {
  const [id] = await sent({ stream: "deleted", tags: ["gone"], to: 2 });

  await asOwner("delete from messages where id = (select message_id from deliveries where id = $1)", [id]);

  expect(await counted("stream=deleted&by=inbox")).toMatchObject({ [post.inbox.id]: { recipients: 2 } });
  expect(await counted("stream=deleted&by=domain")).toMatchObject({ [post.domain.id]: { recipients: 2 } });
  expect((await counted(`inboxId=${post.inbox.id}&by=stream`)).deleted).toMatchObject({ recipients: 2 });
  expect(await counted("stream=deleted&by=tag")).toEqual({});
});

it("before the first of all days there are none", async () => {
  const { status, body } = await (await newTenant()).get("/v1/email-statistics?to=0001-01-05T00:00:00Z");

  expect([status, body]).toEqual([200, { from: "0001-01-01T00:00:00.000Z", to: "0001-01-05T00:00:00.000Z", data: [] }]);
});

it("asks the database once, and only of the tenant's own", async () => {
  const stranger = await newPost();
  await sent({ stream: "strange", post: stranger });

  expect(await counted("stream=strange")).toEqual({});
  expect(await callsOf(() => counted("by=tag"))).toBe(1);
});

it.each([
  ["from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "query.from"],
  ["from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "query.from"],
  ["timezone=Nowhere/Land", "query.timezone"],
  ["by=moon", "query.by"],
])("%s is refused at %s", async (query, path) => {
  expectProblem(await post.tenant.get(`/v1/email-statistics?${query}`), 422, "invalid_request", path);
});
