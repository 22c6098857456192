import * as fc from "fast-check";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { conversations, type Joined } from "../src/email/joining";
import { type Any, expectProblem, newUser } from "./helpers";
import { DEPLOYMENT, newJob, queueJobs } from "./jobs";
import { arrives, mail, mailsOf, newPost, type Post, rawsOf, read, readNow } from "./mail";
import { asOwner } from "./setup/owner";

let post: Post;
beforeAll(async () => {
  post = await newPost();
});

let made = 0;
const newInbox = async (): Promise<Any> =>
  (await post.tenant.post("/v1/inboxes", { domainId: post.domain.id, localPart: `box-${made++}` })).body;

type Told = { name: string; inReplyTo?: string; references?: string[]; subject?: string };

const idOf = (name: string) => `${name}@writer.example`;
const written = ({ name, inReplyTo, references = [], subject = "Hello" }: Told) =>
  mail({
    headers: {
      "Message-ID": `<${idOf(name)}>`,
      Subject: subject,
      "In-Reply-To": inReplyTo ? `<${idOf(inReplyTo)}>` : null,
      References: references.length > 0 ? references.map((one) => `<${idOf(one)}>`).join(" ") : null,
    },
    body: name,
  });
const joined = ({ name, inReplyTo, references = [] }: Told): Joined => ({
  key: name,
  ids: [name, ...(inReplyTo ? [inReplyTo] : []), ...references],
});

const sorted = (groups: string[][]) =>
  groups.map((group) => [...group].sort()).sort((a, b) => (a[0]! < b[0]! ? -1 : 1));

/** Which mails lie together, by what they say. */
async function conversationsIn(inboxId: string): Promise<string[][]> {
  const groups = Map.groupBy(await mailsOf(inboxId), ({ channel_id }) => channel_id);
  return sorted([...groups.values()].map((group) => group.map((one) => one.written)));
}

async function arriveInTurn(inbox: Any, told: Told[]): Promise<void> {
  for (const one of told) {
    await arrives(inbox.address, written(one), { changed: { INBOUND: { send: async () => {} } as never } });
    await readNow((await rawsOf(inbox.id)).filter(({ status }) => status === "pending"));
  }
}

const permutations = <T>(all: T[]): T[][] =>
  all.length <= 1 ? [all] : all.flatMap((one, i) => permutations(all.toSpliced(i, 1)).map((rest) => [one, ...rest]));

/** Through the pipeline, and by the law. */
async function expectTogether(told: Told[], expected: string[][]): Promise<void> {
  const inbox = await newInbox();
  await arriveInTurn(inbox, told);
  const seen = await conversationsIn(inbox.id);
  expect(seen, told.map(({ name }) => name).join()).toEqual(sorted(expected));
  expect(sorted(conversations(told.map(joined)))).toEqual(seen);
}

describe("four mails come together in each of their 24 orders", () => {
  const CHAIN: Told[] = [
    { name: "a" },
    { name: "b", inReplyTo: "a" },
    { name: "c", inReplyTo: "b" },
    { name: "d", references: ["a", "b", "c"] },
  ];
  const OTHERS: Told[] = [
    { name: "a", inReplyTo: "unseen" },
    { name: "b", references: ["unseen"] },
    { name: "c", references: ["elsewhere"] },
    { name: "d", inReplyTo: "b", references: ["elsewhere"] },
  ];

  it("one that answers the other", async () => {
    for (const order of inject("realPostgres") ? permutations(CHAIN) : [CHAIN.toReversed()])
      await expectTogether(order, [["a", "b", "c", "d"]]);
  }, 120_000);

  it("those that name a parent nobody has seen, and a last one that connects two", async () => {
    for (const order of permutations(OTHERS)) await expectTogether(order, [["a", "b", "c", "d"]]);
  }, 120_000);
});

it("an equal subject joins nothing, a changed one parts nothing", async () => {
  await expectTogether(
    [
      { name: "a", subject: "Invoice" },
      { name: "b", subject: "Re: Invoice" },
      { name: "c", subject: "Something else", inReplyTo: "a" },
    ],
    [["a", "c"], ["b"]],
  );
});

/** Each mail answers and names a few earlier ones, seen or not. */
const tree = (size: number) =>
  fc
    .array(
      fc.record({ parent: fc.nat(), named: fc.array(fc.nat(), { maxLength: 3 }), begins: fc.integer({ max: 9 }) }),
      {
        minLength: size,
        maxLength: size,
      },
    )
    .map((shape) =>
      shape.map(({ parent, named, begins }, i): Told => {
        const one = (n: number) => (n % 7 === 0 ? `unseen${n % 11}` : `m${n % Math.max(i, 1)}`);
        if (i === 0 || begins > 7) return { name: `m${i}` };
        return { name: `m${i}`, inReplyTo: one(parent), references: named.map(one) };
      }),
    );

const shuffled = (told: Told[]) => fc.shuffledSubarray(told, { minLength: told.length, maxLength: told.length });

it("fifty mails lie together alike in 500 random orders", () => {
  fc.assert(
    fc.property(
      tree(50).chain((told) => fc.tuple(fc.constant(told), shuffled(told))),
      ([told, order]) => {
        expect(sorted(conversations(order.map(joined)))).toEqual(sorted(conversations(told.map(joined))));
      },
    ),
    { numRuns: 500 },
  );
});

it("mails share a conversation just where a chain of shared ids leads from one to the other", () => {
  fc.assert(
    fc.property(tree(12), (told) => {
      const mails = told.map(joined);
      const together = new Map(conversations(mails).flatMap((group, i) => group.map((key) => [key, i] as const)));
      for (const start of mails) {
        const reached = new Set([start.key]);
        const ids = new Set(start.ids);
        for (let grew = true; grew; ) {
          const next = mails.find(({ key, ids: own }) => !reached.has(key) && own.some((id) => ids.has(id)));
          grew = next !== undefined;
          if (next) reached.add(next.key);
          for (const id of next?.ids ?? []) ids.add(id);
        }
        for (const { key } of mails) expect(together.get(key) === together.get(start.key)).toBe(reached.has(key));
      }
    }),
    { numRuns: 100 },
  );
});

it("twenty of them go through the whole pipeline, many at a time, and the streams stay whole", async () => {
  const runs = inject("realPostgres") ? 20 : 1;
  const samples = fc.sample(
    tree(50).chain((told) => fc.tuple(fc.constant(told), shuffled(told))),
    { numRuns: runs, seed: 20261127 },
  );
  for (const [told, order] of samples) {
    const inbox = await newInbox();

    await Promise.all(order.map((one) => arrives(inbox.address, written(one))));
    await read(inbox.id);

    expect(await conversationsIn(inbox.id)).toEqual(sorted(conversations(told.map(joined))));
    await expectWhole(inbox.id);
  }
}, 300_000);

/** Numbers without gaps in each stream, and each message under that of the event that brought it. */
async function expectWhole(inboxId: string): Promise<void> {
  for (const channelId of new Set((await mailsOf(inboxId)).map(({ channel_id }) => channel_id as string))) {
    const events: Any[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page: Any = await post.tenant.get(
        `/v1/events?stream=channel&streamId=${channelId}&afterSeq=0&limit=100${cursor && `&cursor=${cursor}`}`,
      );
      events.push(...page.body.data);
      cursor = page.body.nextCursor;
    }
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    const brought = new Map(
      events.flatMap(({ type, seq, data }) =>
        ["message.new", "message.moved"].includes(type) ? [[data.message.id as string, seq] as const] : [],
      ),
    );
    const { body } = await post.tenant.get(`/v1/channels/${channelId}/messages?limit=100`);
    for (const { id, seq } of body.data) expect(seq).toBe(brought.get(id));
  }
}

describe("a mail that connects two conversations", () => {
  const merged = async () => {
    const inbox = await newInbox();
    await arriveInTurn(inbox, [{ name: "a" }, { name: "b" }]);
    const [a, b] = await mailsOf(inbox.id);
    return { inbox, a, b, connect: () => arriveInTurn(inbox, [{ name: "c", references: ["a", "b"] }]) };
  };

  it("brings the messages of the younger into the older, with their ids, and tells both streams", async () => {
    const { inbox, a, b, connect } = await merged();

    await connect();

    const mails = await mailsOf(inbox.id);
    expect(mails.map(({ message_id }) => message_id).slice(0, 2)).toEqual([a.message_id, b.message_id]);
    expect(new Set(mails.map(({ channel_id }) => channel_id))).toEqual(new Set([a.channel_id]));
    const data = { channelId: a.channel_id, mergedId: b.channel_id, messageIds: [b.message_id] };
    const of = async (id: string) =>
      (await post.tenant.get(`/v1/events?stream=channel&streamId=${id}&type=channel.merged`)).body.data;
    expect((await of(a.channel_id)).map((event: Any) => event.data)).toEqual([data]);
    expect((await of(b.channel_id)).map((event: Any) => event.data)).toEqual([data]);
    expect((await post.tenant.get(`/v1/channels/${b.channel_id}`)).body.mergedInto).toBe(a.channel_id);
    expect(mails[2].why).toMatchObject({ merged: [b.channel_id], joinedBy: [idOf("a"), idOf("b")] });
    await expectWhole(inbox.id);
  });

  it("leaves what was read of both read, and what was not unread", async () => {
    const { a, b, connect } = await merged();
    const [reader, other] = [
      await newUser(post.tenant, { role: "editor" }),
      await newUser(post.tenant, { role: "editor" }),
    ];
    const readUp = async (user: Any, id: string) => {
      const { lastSeq } = (await post.tenant.get(`/v1/channels/${id}`)).body;
      const answer = await post.tenant.post(`/v1/channels/${id}/read`, { seq: lastSeq }, { as: user.id });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    };
    for (const one of [a, b]) await readUp(reader, one.channel_id);
    await readUp(other, a.channel_id);

    await connect();

    const unread = async (user: Any) =>
      (await post.tenant.get(`/v1/channels/${a.channel_id}`, { as: user.id })).body.own.unread;
    expect(await unread(reader)).toBe(1);
    expect(await unread(other)).toBe(2);
  });

  it("refuses notes to the one that is gone, and says where to go on", async () => {
    const { a, b, connect } = await merged();
    await connect();

    const answer = await post.tenant.post(`/v1/channels/${b.channel_id}/notes`, { text: "Hm" });

    expectProblem(answer, 409, "channel_merged");
    const { mergedInto } = (await post.tenant.get(`/v1/channels/${b.channel_id}`)).body;
    expect((await post.tenant.post(`/v1/channels/${mergedInto}/notes`, { text: "Hm" })).status).toBe(201);
    expect(mergedInto).toBe(a.channel_id);
  });

  it("takes its attachments and drafts along: neither the trash nor a deletion takes them from what lives on", async () => {
    const inbox = await newInbox();
    const withFile = mail({
      headers: { "Message-ID": `<${idOf("b")}>`, "Content-Type": 'multipart/mixed; boundary="x"' },
      body: [
        "--x\r\nContent-Type: text/plain\r\n\r\nSee below",
        '--x\r\nContent-Type: text/csv; name="t.csv"\r\n\r\n1,2',
        "--x--",
      ].join("\r\n"),
    });
    await arriveInTurn(inbox, [{ name: "a" }]);
    await arrives(inbox.address, withFile);
    await read(inbox.id);
    const [a, b] = await mailsOf(inbox.id);
    const writer = await newUser(post.tenant, { role: "editor" });
    const draft = await post.tenant.put(`/v1/channels/${b.channel_id}/draft`, { text: "Dear" }, { as: writer.id });
    expect(draft.status, JSON.stringify(draft.body)).toBe(200);
    await post.tenant.post(`/v1/channels/${b.channel_id}/trash`, {});
    await arriveInTurn(inbox, [{ name: "c", references: ["a", "b"] }]);

    expectProblem(await post.tenant.delete(`/v1/channels/${b.channel_id}`), 409, "channel_merged");
    // What earlier merges left in the trash.
    await asOwner("update channels set trashed_at = now() - interval '10 years' where id = $1", [b.channel_id]);
    await queueJobs({ tenantId: DEPLOYMENT, jobId: await newJob(DEPLOYMENT, { type: "retention" }) });

    const left = await post.tenant.get(`/v1/channels/${b.channel_id}`);
    expect(left.body.mergedInto).toBe(a.channel_id);
    await asOwner("delete from channels where id = $1", [b.channel_id]);
    const message = (await post.tenant.get(`/v1/messages/${b.message_id}`)).body;
    expect(message.attachments).toMatchObject([{ fileName: "t.csv" }]);
    const drafts = (await post.tenant.get("/v1/drafts", { as: writer.id })).body.data;
    expect(drafts).toMatchObject([{ channelId: a.channel_id, text: "Dear" }]);
  });
});

describe("a conversation goes by the subject of the mail that was written first", () => {
  const WRITTEN = [
    ["a", "Invoice 7", "2026-11-23T10:00:00Z"],
    ["b", "AW: Re[2]: Invoice 7", "2026-11-23T11:00:00Z"],
    ["c", "Fwd: Something else", "2026-11-23T12:00:00Z"],
  ] as const;
  const sent = ([name, subject, at]: (typeof WRITTEN)[number]) =>
    mail({
      headers: {
        ...{ "Message-ID": `<${idOf(name)}>`, Subject: subject, Date: new Date(at).toUTCString() },
        References: name === "a" ? null : `<${idOf("a")}> <${idOf("b")}>`,
      },
    });
  const nameIn = async (inbox: Any) => {
    const [{ channel_id }] = await mailsOf(inbox.id);
    return (await post.tenant.get(`/v1/channels/${channel_id}`)).body.name;
  };

  it("in whatever order they come, without what answers put before it", async () => {
    for (const order of permutations([...WRITTEN])) {
      const inbox = await newInbox();
      for (const one of order) {
        await arrives(inbox.address, sent(one));
        await read(inbox.id);
      }
      expect(await nameIn(inbox), order.map(([name]) => name).join()).toBe("Invoice 7");
      const [{ channel_id }] = await mailsOf(inbox.id);
      const told = async (type: string) =>
        (await post.tenant.get(`/v1/events?stream=channel&streamId=${channel_id}&type=${type}`)).body.data;
      const [created] = await told("channel.created");
      expect(created.data.channel.name).toBe(order[0]![0] === "c" ? "Something else" : "Invoice 7");
      const changes = (await told("channel.updated")).map(({ data }: Any) => data);
      expect(changes).toEqual(order[0]![0] === "c" ? [{ channelId: channel_id, changed: { name: "Invoice 7" } }] : []);
    }
  });

  it("unless somebody has called it otherwise", async () => {
    const inbox = await newInbox();
    const [first, second, third] = WRITTEN;
    for (const one of [third, second]) {
      await arrives(inbox.address, sent(one));
      await read(inbox.id);
    }
    const [{ channel_id }] = await mailsOf(inbox.id);
    await post.tenant.patch(`/v1/channels/${channel_id}`, { name: "Ann's bill" });

    await arrives(inbox.address, sent(first));
    await read(inbox.id);

    expect(await nameIn(inbox)).toBe("Ann's bill");
  });
});

it("each mail says why it is where it is", async () => {
  const inbox = await newInbox();
  await arriveInTurn(inbox, [{ name: "a" }, { name: "b", inReplyTo: "a" }]);

  const [a, b] = await mailsOf(inbox.id);

  expect(a.why).toMatchObject({ route: "exact", tag: null, joinedBy: null, merged: [] });
  expect(b.why).toMatchObject({ joinedBy: [idOf("a")], signals: { bounce: null }, verdicts: { dmarc: "none" } });
});
