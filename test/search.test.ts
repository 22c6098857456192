import { describe, expect, it } from "vitest";
import { type Any, type Client, client, expectProblem, newTenant } from "./helpers";
import { eventually } from "./jobs";
import { newPerson, newRoom, type Person } from "./live";
import { arrives, mail, mailsOf, newPost, read } from "./mail";
import { asOwner } from "./setup/owner";

async function room(more: object = {}) {
  const tenant = await newTenant();
  const [ann, bob] = [await newPerson(tenant), await newPerson(tenant)];
  return { tenant, ann, bob, id: await newRoom(tenant, [ann, bob], more as Record<string, unknown>) };
}

async function say(as: Client, id: string, ...texts: string[]): Promise<Any[]> {
  const sent = [];
  for (const text of texts) {
    const made = await as.post(`/v1/channels/${id}/messages`, { text });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    sent.push(made.body);
  }
  return sent;
}

const search = async (as: Client, q: string, more = "") => {
  const answer = await as.get(`/v1/search/messages?q=${encodeURIComponent(q)}${more}`);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
};
const texts = async (as: Client, q: string, more = "") =>
  (await search(as, q, more)).data.map(({ message }: Any) => message.text);

/** Each search is asked of the newest messages and again of the index alone, as it is once a tenant has many. */
async function bury(tenantId: string, channelId: string, rows: number): Promise<void> {
  await asOwner(
    `insert into messages (tenant_id, id, channel_id, seq, text, state, created_at)
       select $1, gen_random_uuid(), $2, 1000000 + n, 'filling', 'rejected', now() + interval '1 hour' from generate_series(1, $3::int) n`,
    [tenantId, channelId, rows],
  );
}

describe("what is found", () => {
  it("words, phrases, alternatives and exclusions, newest first, with what was found marked", async () => {
    const { ann, bob, id } = await room();
    await say(ann, id, "the quarterly report is late", "report of the late quarter", "lunch?");

    expect(await texts(bob, "report")).toEqual(["report of the late quarter", "the quarterly report is late"]);
    expect(await texts(bob, "late report")).toHaveLength(2);
    expect(await texts(bob, '"quarterly report"')).toEqual(["the quarterly report is late"]);
    expect(await texts(bob, "lunch or quarterly")).toHaveLength(2);
    expect(await texts(bob, "report -quarterly")).toEqual(["report of the late quarter"]);
    expect(await texts(bob, "nowhere")).toEqual([]);
    expect((await search(bob, "quarterly")).data[0].highlight).toEqual([
      { text: "the ", hit: false },
      { text: "quarterly", hit: true },
      { text: " report is late", hit: false },
    ]);
    expectProblem(await bob.get("/v1/search/messages"), 422, "invalid_request", "query.q");
  });

  it("forms of a word by the language of the channel, also after that has changed", async () => {
    const { tenant, ann, bob, id } = await room({ language: "english" });
    await say(ann, id, "two houses were sold");
    const german = await newRoom(tenant, [ann, bob], { language: "german" });
    await say(ann, german, "die Häuser wurden verkauft", "running");

    expect(await texts(bob, "house")).toEqual(["two houses were sold"]);
    expect(await texts(bob, "haus")).toEqual(["die Häuser wurden verkauft"]);
    expect((await search(bob, "selling house or sold")).data[0].highlight).toContainEqual({
      text: "houses",
      hit: true,
    });

    expect(await texts(bob, "runs")).toEqual([]);
    expect((await tenant.patch(`/v1/channels/${german}`, { language: "english" })).status).toBe(200);
    await eventually(async () => expect(await texts(bob, "runs")).toEqual(["running"]));
    expectProblem(
      await tenant.patch(`/v1/channels/${id}`, { language: "klingon" }),
      422,
      "invalid_request",
      "language",
    );
  });

  it("any part of a text whose script puts no spaces between words", async () => {
    const { ann, bob, id } = await room();
    await say(ann, id, "明日の会議はParleyで行います", "会社の資料", "ประชุมพรุ่งนี้", "議会の話");

    expect(await texts(bob, "会議")).toEqual(["明日の会議はParleyで行います"]);
    expect(await texts(bob, "会")).toHaveLength(3);
    expect(await texts(bob, "会議は parley")).toEqual(["明日の会議はParleyで行います"]);
    expect(await texts(bob, "明日の会議は")).toHaveLength(1);
    expect(await texts(bob, "会 -会議")).toEqual(["議会の話", "会社の資料"]);
    expect(await texts(bob, "พรุ่ง")).toEqual(["ประชุมพรุ่งนี้"]);
    expect((await search(bob, "会議")).data[0].highlight).toContainEqual({ text: "会議", hit: true });
  });

  it("by channel, author, time and attachments, page by page", async () => {
    const { tenant, ann, bob, id } = await room();
    const other = await newRoom(tenant, [ann, bob]);
    await say(ann, id, "word 1", "word 2");
    await say(bob, other, "word 3");
    const [four] = await say(bob, id, "word 4");
    const attachments = [{ type: "image", url: "https://example.com/a.png" }];
    await ann.post(`/v1/channels/${id}/messages`, { text: "word 5", attachments });

    expect(await texts(ann, "word", `&channelId=${id}`)).toEqual(["word 5", "word 4", "word 2", "word 1"]);
    expect(await texts(ann, "word", `&userId=${bob.id}`)).toEqual(["word 4", "word 3"]);
    expect(await texts(ann, "word", "&hasAttachments=true")).toEqual(["word 5"]);
    expect(await texts(ann, "word", "&hasAttachments=false")).toHaveLength(4);
    await asOwner("update messages set created_at = '2026-01-05T00:00:00Z' where tenant_id = $1 and id = $2", [
      tenant.id,
      four.id,
    ]);
    expect(await texts(ann, "word", "&from=2026-01-01T00:00:00Z&to=2026-01-05T00:00:00Z")).toEqual(["word 4"]);
    for (const within of ["", `&channelId=${id}`]) {
      const all = await texts(ann, "word", within);
      const paged: string[] = [];
      for (let cursor = ""; ; ) {
        const page = await search(ann, "word", `&limit=2${within}${cursor}`);
        paged.push(...page.data.map(({ message }: Any) => message.text));
        if (!page.nextCursor) break;
        cursor = `&cursor=${page.nextCursor}`;
      }
      expect(paged).toEqual(all);
    }
    expectProblem(await ann.get("/v1/search/messages?q=word&cursor=x"), 400, "invalid_cursor");
  });

  it("the same by the index, once the newest messages hold nothing", async () => {
    const { tenant, ann, bob, id } = await room();
    const english = await newRoom(tenant, [ann, bob], { language: "english" });
    await say(ann, id, "red word", "green word", "words 会議");
    await say(ann, english, "blue words");
    const foreign = await newRoom(tenant, [await newPerson(tenant)]);
    await say(tenant, foreign, "their word");
    const open = await newRoom(tenant, [], { settings: { public: true } });
    await say(tenant, open, "open word");
    const before = await Promise.all(
      [ann, tenant].map(async (who) => [await texts(who, "word"), await texts(who, "会議")]),
    );
    const inOne = await texts(ann, "word", `&channelId=${id}`);

    await bury(tenant.id, id, 2100);

    expect(before.map(([words]) => words)).toEqual([
      ["blue words", "green word", "red word"],
      ["open word", "their word", "blue words", "green word", "red word"],
    ]);
    expect(
      await Promise.all([ann, tenant].map(async (who) => [await texts(who, "word"), await texts(who, "会議")])),
    ).toEqual(before);
    expect(await texts(ann, "word", `&channelId=${id}`)).toEqual(inOne);
    expect(await texts(ann, "word", `&channelId=${open}`)).toEqual(["open word"]);
    const first = await search(ann, "word", "&limit=1");
    expect(await texts(ann, "word", `&limit=2&cursor=${first.nextCursor}`)).toEqual(before[0]![0]!.slice(1));
  });
});

describe("what is not found", () => {
  const everywhere = async (people: Person[], id: string, q = "secret") =>
    Promise.all(
      people.map(async (who) => [await texts(who, q), await texts(who, q, `&channelId=${id}`)].flat().length),
    );

  it("what others may not see: foreign, shadowed, pending, deleted, edited away", async () => {
    const { tenant, ann, bob, id } = await room();
    const eve = await newPerson(tenant);
    await asOwner(
      "insert into bans (tenant_id, id, user_id, channel_id, shadow) values ($1, gen_random_uuid(), $2, $3, true)",
      [tenant.id, ann.id, id],
    );
    await say(ann, id, "shadowed secret");
    expect(await everywhere([ann, bob], id)).toEqual([2, 0]);
    const pending = await bob.post(`/v1/channels/${id}/messages`, { text: "pending secret", pending: true });
    expect(await everywhere([ann, bob], id)).toEqual([2, 0]);
    await tenant.post(`/v1/messages/${pending.body.id}/approve`);
    expect(await everywhere([ann, bob], id)).toEqual([4, 2]);
    await bob.patch(`/v1/messages/${pending.body.id}`, { text: "harmless" });
    expect(await everywhere([bob], id)).toEqual([0]);
    expect(await everywhere([bob], id, "harmless")).toEqual([2]);
    await bob.delete(`/v1/messages/${pending.body.id}`);
    expect(await everywhere([ann, bob], id, "harmless")).toEqual([0, 0]);

    await say(bob, id, "last secret");
    expect(await texts(eve, "secret")).toEqual([]);
    expectProblem(await eve.get(`/v1/search/messages?q=secret&channelId=${id}`), 404, "not_found");
    const elsewhere = await newTenant();
    expect(await texts(elsewhere, "secret")).toEqual([]);
  });

  it("what lies before one's own history, also by the index", async () => {
    const { tenant, ann, bob, id } = await room();
    await say(ann, id, "old secret");
    await bob.patch(`/v1/channels/${id}/own`, { hidden: true, clearHistory: true });
    await say(ann, id, "new secret");

    for (const rows of [0, 2100]) {
      await bury(tenant.id, id, rows);
      expect(await texts(bob, "secret")).toEqual(["new secret"]);
      expect(await texts(bob, "secret", `&channelId=${id}`)).toEqual(["new secret"]);
      expect(await texts(ann, "secret")).toEqual(["new secret", "old secret"]);
    }
  });

  it("a key that is bound to channels searches none but through them", async () => {
    const { tenant, id } = await room();
    const made = await tenant.post("/v1/api-keys", {
      name: "bound",
      scopes: ["channels:read"],
      resources: { channel: [id] },
    });
    expect(made.status, JSON.stringify(made.body)).toBe(201);
    expectProblem(await client(made.body.secret).get("/v1/search/messages?q=x"), 403, "resource_not_allowed");
  });
});

it("whoever works in an inbox finds its mail, asked of all or of one conversation, and others do not", async () => {
  const { tenant, inbox, address } = await newPost();
  const [worker, stranger] = [await newPerson(tenant, { role: "editor" }), await newPerson(tenant, { role: "editor" })];
  await tenant.put(`/v1/inboxes/${inbox.id}/users/${worker.id}`, {});
  const roomId = await newRoom(tenant, [worker, stranger]);
  await arrives(address, mail({ body: "The zeppelin has landed" }));
  await read(inbox.id);
  const [{ channel_id }] = await mailsOf(inbox.id);
  await say(worker, roomId, "Which zeppelin?");

  for (const buried of [0, 2100]) {
    if (buried > 0) await bury(tenant.id, roomId, buried);
    expect(await texts(worker, "zeppelin")).toEqual(["Which zeppelin?", "The zeppelin has landed"]);
    expect(await texts(worker, "zeppelin", `&channelId=${channel_id}`)).toEqual(["The zeppelin has landed"]);
    expect(await texts(stranger, "zeppelin")).toEqual(["Which zeppelin?"]);
    const refused = await stranger.get(`/v1/search/messages?q=zeppelin&channelId=${channel_id}`);
    expectProblem(refused, 404, "not_found");
  }
  // In an inbox of many conversations it is looked for otherwise.
  await asOwner(
    `insert into channels (tenant_id, id, medium, type, inbox_id)
       select $1, gen_random_uuid(), 'email', 'email', $2 from generate_series(1, 2000)`,
    [tenant.id, inbox.id],
  );
  await tenant.post(`/v1/channels/${channel_id}/read`, { seq: 2 }, { as: worker.id });
  expect(await texts(worker, "zeppelin")).toEqual(["Which zeppelin?", "The zeppelin has landed"]);
  expect(await texts(stranger, "zeppelin")).toEqual(["Which zeppelin?"]);
});
