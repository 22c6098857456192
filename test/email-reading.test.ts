import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { type Any, client, expectProblem, newUser } from "./helpers";
import { completed, DEPLOYMENT, newJob, queueJobs } from "./jobs";
import { arrives, mail, mailsOf, newPost, type Post, rawsOf, read } from "./mail";
import { asOwner } from "./setup/owner";
import { sweep } from "./sweep";

let post: Post;
beforeAll(async () => {
  post = await newPost();
});

const WITH_PICTURE = {
  headers: { "Content-Type": 'multipart/related; boundary="b"' },
  body: [
    "--b\r\nContent-Type: text/html\r\n",
    '<p onclick="steal()">Hi <b>there</b><script>steal()</script><img src="cid:logo@x"><img src="https://spy.example/p.gif"></p>',
    '--b\r\nContent-Type: image/png; name="logo.png"\r\nContent-ID: <logo@x>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n',
    btoa("a picture"),
    "--b--",
  ].join("\r\n"),
};

async function received(own: Post, ...written: Any[]): Promise<Any[]> {
  for (const one of written) await arrives(own.address, mail(one));
  await read(own.inbox.id);
  return mailsOf(own.inbox.id);
}

describe("a mail", () => {
  it("is shown with its people and flags, its HTML made safe, its own pictures linked and remote ones off", async () => {
    const own = await newPost({}, post.tenant);
    const to = `Info <${own.address}>, Bob <bob@writer.example>`;
    const headers = {
      ...WITH_PICTURE.headers,
      To: to,
      Cc: "carol@writer.example",
      "Reply-To": "answers@writer.example",
    };
    const [stored] = await received(own, { ...WITH_PICTURE, headers });

    const { body } = await own.tenant.get(`/v1/messages/${stored.message_id}/email`);

    expect(body).toMatchObject({
      from: { address: "ann@writer.example", name: "Ann" },
      to: [
        { address: own.address, name: "Info" },
        { address: "bob@writer.example", name: "Bob" },
      ],
      cc: [{ address: "carol@writer.example", name: null }],
      replyTo: [{ address: "answers@writer.example", name: null }],
      authenticated: false,
      hasRaw: true,
      blockedImages: 1,
    });
    expect(body.html).not.toMatch(/script|onclick|spy\.example\/p\.gif"/);
    const link = /src="([^"]+\/v1\/files\/[^"]+)"/.exec(body.html)![1]!.replaceAll("&amp;", "&");
    const picture = await own.tenant.get(link.replace(env.DEPLOYMENT_URL, ""));
    expect(picture.body).toBe("a picture");
    const open = (await own.tenant.get(`/v1/messages/${stored.message_id}/email?remoteImages=true`)).body;
    expect(open).toMatchObject({ blockedImages: 0, html: expect.stringContaining("https://spy.example/p.gif") });
  });

  it("is there as it came, and by its header fields", async () => {
    const own = await newPost({}, post.tenant);
    const raw = mail({ headers: { "X-Own": "=?utf-8?q?gr=C3=BCn?=" } });
    await arrives(own.address, raw);
    await read(own.inbox.id);
    const [{ message_id: id }] = await mailsOf(own.inbox.id);

    const download = await own.tenant.get(`/v1/messages/${id}/email/raw`);
    expect(download.body).toBe(raw);
    expect(download.headers.get("Content-Type")).toBe("message/rfc822");
    const { data } = (await own.tenant.get(`/v1/messages/${id}/email/headers`)).body;
    expect(data).toContainEqual({ name: "X-Own", value: "grün" });
    expect(data[0].name).toBe("From");
  });

  it("is nobody's who does not work in its inbox; a viewer reads it and leaves no note", async () => {
    const own = await newPost({}, post.tenant);
    const [mine, other, viewer, plain] = [
      await newUser(own.tenant, { role: "editor" }),
      await newUser(own.tenant, { role: "editor" }),
      await newUser(own.tenant, { role: "viewer" }),
      await newUser(own.tenant),
    ];
    for (const { id } of [mine, viewer]) await own.tenant.put(`/v1/inboxes/${own.inbox.id}/users/${id}`);
    const [{ message_id: id, channel_id: channelId }] = await received(own, {});
    const status = async (user: Any, path: string) => (await own.tenant.get(path, { as: user.id })).status;

    for (const path of [`/v1/messages/${id}`, `/v1/messages/${id}/email`, `/v1/channels/${channelId}`]) {
      expect([await status(mine, path), await status(viewer, path)], path).toEqual([200, 200]);
      expect([await status(other, path), await status(plain, path)], path).toEqual([404, 404]);
    }
    const note = (user: Any) => own.tenant.post(`/v1/channels/${channelId}/notes`, { text: "Hm" }, { as: user.id });
    expect((await note(mine)).body).toMatchObject({ direction: "internal", userId: mine.id, text: "Hm" });
    expectProblem(await note(viewer), 403, "not_allowed");
    expectProblem(await note(other), 404, "not_found");
    const chat = await own.tenant.post(`/v1/channels/${channelId}/messages`, { text: "Hi" }, { as: mine.id });
    expectProblem(chat, 403, "not_allowed");
  });
});

describe("the conversations of an inbox", () => {
  it("are listed by who took part, what is unread, direction, attachments and time", async () => {
    const own = await newPost({}, post.tenant);
    const headers = (From: string, more: object = {}) => ({ headers: { From, ...more } });
    await received(
      own,
      headers("ann@writer.example", { Subject: "One" }),
      headers("bob@writer.example", { Subject: "Two", Cc: "carol@writer.example" }),
      { ...WITH_PICTURE, headers: { ...WITH_PICTURE.headers, Subject: "Three" } },
    );
    const reader = await newUser(own.tenant, { role: "editor" });
    const list = async (query: string) => {
      const answer = await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels?${query}`, { as: reader.id });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return answer.body.data;
    };
    const subjects = async (query: string) => (await list(query)).map(({ subject }: Any) => subject).sort();

    const all = await list("");
    expect(all.map(({ unread, messageCount }: Any) => [unread, messageCount])).toEqual(Array(3).fill([1, 1]));
    const two = all.find(({ subject }: Any) => subject === "Two");
    expect(two.participants.map(({ address }: Any) => address).sort()).toEqual([
      "bob@writer.example",
      "carol@writer.example",
      "info@receiver.example",
    ]);
    await own.tenant.post(`/v1/channels/${two.id}/read`, { seq: two.lastSeq }, { as: reader.id });
    await own.tenant.post(`/v1/channels/${two.id}/notes`, { text: "Mine" }, { as: reader.id });
    expect(await subjects("participant=CAROL@writer.example")).toEqual(["Two"]);
    expect(await subjects("unread=true")).toEqual(["One", "Three"]);
    expect(await subjects("direction=internal")).toEqual(["Two"]);
    expect(await subjects("direction=inbound")).toEqual(["One", "Three", "Two"]);
    expect(await subjects("hasAttachment=true")).toEqual(["Three"]);
    expect(await subjects("until=2020-01-01T00:00:00Z")).toEqual([]);
    expect(await subjects("since=2020-01-01T00:00:00Z")).toEqual(["One", "Three", "Two"]);

    const first = (await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels?limit=2`)).body;
    const rest = (await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels?limit=2&cursor=${first.nextCursor}`)).body;
    expect([...first.data, ...rest.data].map(({ subject }: Any) => subject).sort()).toEqual(["One", "Three", "Two"]);
    expect(first.data[0].subject).toBe("Two");
  });

  it("are those that a key is bound to, where it is bound to some", async () => {
    const own = await newPost({}, post.tenant);
    const mails = await received(
      own,
      { headers: { "Message-ID": "<a@x.example>" } },
      { headers: { "Message-ID": "<b@x.example>" } },
    );
    const channel = mails[0].channel_id;
    const made = await own.tenant.post("/v1/api-keys", {
      name: "bound",
      scopes: ["channels:read"],
      resources: { channel: [channel] },
    });
    expect(made.status, JSON.stringify(made.body)).toBe(201);

    const { data } = (await client(made.body.secret).get(`/v1/inboxes/${own.inbox.id}/channels`)).body;

    expect(data.map(({ id }: Any) => id)).toEqual([channel]);
  });

  it("go into the trash and come back, also by a mail that belongs to them", async () => {
    const own = await newPost({}, post.tenant);
    const [stored] = await received(own, { headers: { "Message-ID": "<first@writer.example>" } });
    const path = `/v1/channels/${stored.channel_id}`;
    const listed = async (query: string) =>
      (await own.tenant.get(`/v1/inboxes/${own.inbox.id}/channels?${query}`)).body.data.length;

    expect((await own.tenant.post(`${path}/trash`)).status).toBe(204);
    expect([await listed(""), await listed("trashed=true")]).toEqual([0, 1]);
    expect((await own.tenant.post(`${path}/restore`)).status).toBe(204);
    expect([await listed(""), await listed("trashed=true")]).toEqual([1, 0]);
    await own.tenant.post(`${path}/trash`);
    await received(own, { headers: { "In-Reply-To": "<first@writer.example>" } });

    expect([await listed(""), await listed("trashed=true")]).toEqual([1, 0]);
    const chat = (await own.tenant.post("/v1/channels", {})).body;
    expectProblem(await own.tenant.post(`/v1/channels/${chat.id}/trash`), 404, "not_found");
  });

  it("are purged after 30 days in the trash, with their files and raw mails", async () => {
    const own = await newPost({}, post.tenant);
    const [gone] = await received(own, WITH_PICTURE);
    const kept = (await received(own, {})).find(({ channel_id }) => channel_id !== gone.channel_id);
    const [attachment] = await asOwner<Any>("select file_id from message_attachments where message_id = $1", [
      gone.message_id,
    ]);
    for (const one of [gone, kept]) await own.tenant.post(`/v1/channels/${one.channel_id}/trash`);
    await asOwner("update channels set trashed_at = now() - interval '31 days' where id = $1", [gone.channel_id]);
    await asOwner("update files set created_at = now() - interval '31 days' where id = $1", [attachment.file_id]);
    const run = async (type: string) => {
      const jobId = await newJob(DEPLOYMENT, { type });
      await queueJobs({ tenantId: DEPLOYMENT, jobId });
      await completed(jobId);
    };

    await run("retention");
    await run("email.purge");
    await sweep();

    expect((await mailsOf(own.inbox.id)).map(({ message_id }) => message_id)).toEqual([kept.message_id]);
    expect(await rawsOf(own.inbox.id)).toHaveLength(1);
    expect(await env.FILES.head(gone.raw_key)).toBe(null);
    expect(await env.FILES.head(kept.raw_key)).not.toBe(null);
    expect(await env.FILES.head(`${own.tenant.id}/${attachment.file_id}`)).toBe(null);
    expect((await own.tenant.get(`/v1/channels/${gone.channel_id}`)).status).toBe(404);
  }, 60_000);
});

it("every mail that came for an inbox is listed with what became of it, and handed out to those who work there", async () => {
  const own = await newPost();
  await own.tenant.post("/v1/sender-rules", { pattern: "bad@writer.example", action: "block" });
  const blocked = mail({ headers: { From: "bad@writer.example" } });
  const loop = `Delivered-To: ${own.address}\r\n`.repeat(5) + mail();
  const fine = mail();
  for (const raw of [blocked, loop, fine, fine, "\r\n\r\nno head"]) {
    await arrives(own.address, raw);
    await read(own.inbox.id);
  }
  const [worker, stranger] = [
    await newUser(own.tenant, { role: "editor" }),
    await newUser(own.tenant, { role: "editor" }),
  ];
  await own.tenant.put(`/v1/inboxes/${own.inbox.id}/users/${worker.id}`, {});
  const path = `/v1/inboxes/${own.inbox.id}/raw-mails`;
  const listed = (query: string, as = worker.id) => own.tenant.get(`${path}?${query}`, { as });

  const first = (await listed("limit=3")).body;
  const rest = (await listed(`limit=3&cursor=${first.nextCursor}`)).body;

  const all = [...first.data, ...rest.data];
  expect(all.map(({ status, error }: Any) => [status, error])).toEqual([
    ["failed", "noHeaders"],
    ["duplicate", null],
    ["recorded", null],
    ["looping", null],
    ["blocked", null],
  ]);
  expect(rest.nextCursor).toBe(null);
  expect(all[4]).toMatchObject({ envelopeFrom: "ann@writer.example", envelopeTo: own.address, source: "smtp" });
  expect((await listed("status=blocked")).body.data).toEqual([all[4]]);
  const got = await own.tenant.get(`${path}/${all[4].id}`, { as: worker.id });
  expect(got.body).toBe(blocked);
  expect((await own.tenant.get(`${path}/${all[2].id}`, { as: worker.id })).body).toBe(fine);
  expectProblem(await listed("", stranger.id), 404, "not_found");
  expectProblem(await own.tenant.get(`${path}/${all[4].id}`, { as: stranger.id }), 404, "not_found");
  await own.tenant.delete(`/v1/messages/${all[2].messageId}`);
  expectProblem(await own.tenant.get(`${path}/${all[2].id}`, { as: worker.id }), 404, "not_found");
});

it("the conversations of a closed inbox stay with those who worked there", async () => {
  const own = await newPost();
  await arrives(own.address, mail());
  await read(own.inbox.id);
  const [worker, stranger] = [
    await newUser(own.tenant, { role: "editor" }),
    await newUser(own.tenant, { role: "editor" }),
  ];
  await own.tenant.put(`/v1/inboxes/${own.inbox.id}/users/${worker.id}`, {});

  await own.tenant.delete(`/v1/inboxes/${own.inbox.id}`);

  const path = `/v1/inboxes/${own.inbox.id}/channels`;
  for (const options of [{}, { as: worker.id }])
    expect((await own.tenant.get(path, options)).body.data).toHaveLength(1);
  expectProblem(await own.tenant.get(path, { as: stranger.id }), 404, "not_found");
});

it("the mail part says whom it was for, those in Bcc too", async () => {
  const own = await newPost();
  const headers = { To: "Info <info@receiver.example>", Cc: "bob@writer.example", Bcc: "Eve <eve@writer.example>" };
  await arrives(own.address, mail({ headers: { ...headers, "Reply-To": "desk@writer.example" } }));
  await read(own.inbox.id);
  const [{ message_id }] = await mailsOf(own.inbox.id);

  const { body } = await own.tenant.get(`/v1/messages/${message_id}/email`);

  expect(body).toMatchObject({
    from: { address: "ann@writer.example", name: "Ann" },
    to: [{ address: "info@receiver.example", name: "Info" }],
    cc: [{ address: "bob@writer.example", name: null }],
    bcc: [{ address: "eve@writer.example", name: "Eve" }],
    replyTo: [{ address: "desk@writer.example", name: null }],
    leftOut: [],
  });
});
