import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { atLeast, atMost, type Bench } from "../figure.ts";
import { type Ask, interleaved, load } from "../load.ts";
import { newTenant, type Stack } from "../stack.ts";

const MAILS = 200;
const PER_SECOND = 20;
const SECONDS = 10;

type Office = { tenantId: string; key: string; inboxId: string; address: string; channelId: string; userId: string };

/** Mail that comes in and goes out, with all that is kept and told of it, against a Worker that does the least of it. */
export const post: Bench = {
  names: ["inbound_vs_floor", "accept_to_message_p95_ms", "email_send_vs_floor"],
  async measure(stack) {
    const office = await newOffice(stack);
    const { ratio, mine, theirs } = await interleaved(
      () => readMails(stack, office),
      () => readBare(stack, office),
      { settle: stack.analyze },
    );
    const { p95, most } = await acceptToMessage(stack, office);
    const headers = { Authorization: `Bearer ${office.key}`, "Content-Type": "application/json" };
    const text = "The quick brown fox jumps over the lazy dog.\n".repeat(40);
    const body = JSON.stringify({ to: ["silent@writer.example"], subject: "Hello", text, html: `<p>${text}</p>` });
    const send = (): Ask => ({ method: "POST", path: `/v1/inboxes/${office.inboxId}/messages`, headers, body });
    const bare = (): Ask => ({ ...send(), path: `/mails/${office.tenantId}/${office.channelId}/${office.userId}` });
    const per = (base: URL, ask: () => Ask) => async () =>
      (await load(base, ask, { concurrency: 8, ms: 3000 })).perSecond;
    const sends = await interleaved(per(stack.worker, send), per(stack.floor, bare), { settle: stack.analyze });
    const rate = (of: { mine: number; theirs: number }) =>
      `${Math.round(of.mine)}/s against ${Math.round(of.theirs)}/s`;
    return {
      inbound_vs_floor: atLeast(ratio, 0.5, "ratio", rate({ mine, theirs })),
      accept_to_message_p95_ms: atMost(p95, 2000, "ms", `at ${PER_SECOND} mails/s; the slowest ${Math.round(most)} ms`),
      email_send_vs_floor: atLeast(sends.ratio, 0.5, "ratio", rate(sends)),
    };
  },
};

async function newOffice(stack: Stack): Promise<Office> {
  const { id: tenantId, key } = await newTenant(stack);
  const call = async (path: string, given: object): Promise<{ id: string; address: string }> => {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    const response = await fetch(new URL(path, stack.worker), { method: "POST", headers, body: JSON.stringify(given) });
    if (response.status !== 201) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { id: string; address: string };
  };
  const domain = await call("/v1/domains", { name: `${randomUUID().slice(0, 18)}.example.com` });
  await stack.sql("update domains set status = 'verified' where id = $1", [domain.id]);
  const inbox = await call("/v1/inboxes", { domainId: domain.id, localPart: "info" });
  const channelId = (await call("/v1/channels", {})).id;
  const userId = (await call("/v1/users", { displayName: "Ann" })).id;
  return { tenantId, key, inboxId: inbox.id, address: inbox.address, channelId, userId };
}

const QUOTED = "> What was said before, line by line, as clients do it.\r\n".repeat(20);

function mail(to: string): string {
  const boundary = "b1";
  return [
    ...[`From: Ann Writer <ann@writer.example>`, `To: ${to}`, "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="],
    ...[`Message-ID: <${randomUUID()}@writer.example>`, `Date: ${new Date().toUTCString()}`, "MIME-Version: 1.0"],
    ...[`Content-Type: multipart/alternative; boundary="${boundary}"`, "", `--${boundary}`],
    ...["Content-Type: text/plain; charset=utf-8", "", "Thanks, that is it!", "", "On Mon, Bob wrote:", QUOTED],
    ...[`--${boundary}`, "Content-Type: text/html; charset=utf-8", "", "<p>Thanks, that is it!</p>"],
    ...[`<blockquote>${"What was said before. ".repeat(50)}</blockquote>`, `--${boundary}--`, ""],
  ].join("\r\n");
}

/** From a mail in the bucket to its message, by the queue. */
async function readMails(stack: Stack, office: Office): Promise<number> {
  const bucket = await stack.miniflare.getR2Bucket("FILES", "parley");
  const places = Array.from({ length: MAILS }, () => ({ tenantId: office.tenantId, rawId: randomUUID() }));
  for (const { tenantId, rawId } of places) {
    const raw = mail(office.address);
    await bucket.put(`${tenantId}/raw/${rawId}`, raw);
    await stack.sql(
      `insert into inbound_raw (tenant_id, id, inbox_id, source, envelope_from, envelope_to, route, size, sha256, next_attempt_at)
       values ($1, $2, $3, 'http', 'ann@writer.example', $4, 'exact', $5, md5($6), now() + interval '1 hour')`,
      [tenantId, rawId, office.inboxId, office.address, raw.length, rawId],
    );
  }
  const started = performance.now();
  await told(stack, "/inbound", places);
  await settled(stack, office);
  return (MAILS * 1000) / (performance.now() - started);
}

/** The same bytes, read by postal-mime and put into one row. */
async function readBare(stack: Stack, office: Office): Promise<number> {
  const bucket = await stack.miniflare.getR2Bucket("FILES", "floor");
  const keys = Array.from({ length: MAILS }, () => randomUUID());
  for (const key of keys) await bucket.put(key, mail(office.address));
  const started = performance.now();
  await told(stack, `/inbound/${office.tenantId}/${office.channelId}`, keys);
  return (MAILS * 1000) / (performance.now() - started);
}

async function told(stack: Stack, path: string, body: unknown): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(new URL(path, stack.floor), { method: "POST", headers, body: JSON.stringify(body) });
  if (response.status !== 204) throw new Error(`${path}: ${response.status} ${await response.text()}`);
}

async function settled(stack: Stack, { inboxId }: Office): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    const [row] = await stack.sql(
      "select count(*)::int as open from inbound_raw where inbox_id = $1 and status = 'pending'",
      [inboxId],
    );
    if (row!.open === 0) return;
    await delay(20);
  }
  throw new Error("Mails were not read.");
}

/** By the database's clock: from the row that is there before its sender is answered to the message. */
async function acceptToMessage(stack: Stack, office: Office): Promise<{ p95: number; most: number }> {
  const since = new Date();
  const path = `/v1/inbound/mime?to=${encodeURIComponent(office.address)}&from=ann@writer.example`;
  const headers = { Authorization: `Bearer ${office.key}`, "Content-Type": "message/rfc822" };
  const answers: Promise<Response>[] = [];
  const started = performance.now();
  for (let n = 0; n < PER_SECOND * SECONDS; n++) {
    answers.push(fetch(new URL(path, stack.worker), { method: "POST", headers, body: mail(office.address) }));
    await delay(Math.max(0, started + ((n + 1) * 1000) / PER_SECOND - performance.now()));
  }
  for (const answer of await Promise.all(answers))
    if (answer.status !== 202) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  await settled(stack, office);
  const [row] = await stack.sql(
    `select percentile_cont(0.95) within group (order by ms) as p95, max(ms) as most from (
       select extract(epoch from finished_at - created_at) * 1000 as ms from inbound_raw where inbox_id = $1 and created_at >= $2) x`,
    [office.inboxId, since.toISOString()],
  );
  return { p95: Number(row!.p95), most: Number(row!.most) };
}
