import { createExecutionContext, createMessageBatch, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { vi } from "vitest";
import worker from "../src/index";
import { type Any, newTenant, type Tenant } from "./helpers";
import { asOwner } from "./setup/owner";

type Headers = Record<string, string | null>;
export type Written = { headers?: Headers; body?: string };

let count = 0;

/** A mail as text; a header that is null is left away. */
export function mail({ headers = {}, body = "Hello!" }: Written = {}): string {
  const all: Headers = {
    From: "Ann <ann@writer.example>",
    To: "info@receiver.example",
    Subject: "A question",
    "Message-ID": `<${crypto.randomUUID()}@writer.example>`,
    Date: new Date(1_760_000_000_000 + 1000 * count++).toUTCString(),
    "Content-Type": "text/plain; charset=utf-8",
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]));
  return `${lines.join("\r\n")}\r\n\r\n${body}\r\n`;
}

export type Post = { tenant: Tenant; domain: Any; inbox: Any; address: string };

/** A tenant with a proven domain and an inbox. */
export async function newPost(more: object = {}, tenant?: Tenant): Promise<Post> {
  const own = tenant ?? (await newTenant());
  const domain = (await own.post("/v1/domains", { name: `${crypto.randomUUID().slice(0, 18)}.example.com` })).body;
  await asOwner("update domains set status = 'verified' where id = $1", [domain.id]);
  const inbox = (await own.post("/v1/inboxes", { domainId: domain.id, localPart: "info", ...more })).body;
  return { tenant: own, domain, inbox, address: inbox.address };
}

type Smtp = { rejected: string | null };

/** As Email Routing hands it to the Worker. Throws what the Worker throws: then the sender tries again. */
export async function arrives(
  to: string,
  raw: string | Uint8Array<ArrayBuffer>,
  { from = "ann@writer.example", changed = {} as Partial<Env> } = {},
): Promise<Smtp> {
  const bytes = typeof raw === "string" ? new TextEncoder().encode(raw) : raw;
  const answer: Smtp = { rejected: null };
  const message = {
    from,
    to,
    headers: new Headers(),
    raw: new Response(bytes).body!,
    rawSize: bytes.length,
    setReject: (reason: string) => {
      answer.rejected = reason;
    },
  };
  const ctx = createExecutionContext();
  await worker.email(message as never, { ...env, ...changed }, ctx);
  await waitOnExecutionContext(ctx);
  return answer;
}

export const rawsOf = (inboxId: string) =>
  asOwner<Any>("select * from inbound_raw where inbox_id = $1 order by id", [inboxId]);

/** Waits until all that came for the inbox is read. */
export const read = (inboxId: string): Promise<Any[]> =>
  vi.waitFor(
    async () => {
      const raws = await rawsOf(inboxId);
      const open = raws.filter(({ status }) => status === "pending");
      if (raws.length === 0 || open.length > 0) throw new Error(`${open.length} of ${raws.length} are not read`);
      return raws;
    },
    { timeout: 60_000, interval: 50 },
  );

/** What the queue does with these mails. */
export async function readNow(raws: { tenant_id: string; id: string }[], changed: Partial<Env> = {}): Promise<void> {
  const messages = raws.map((raw, i) => ({
    ...{ id: `${i}`, timestamp: new Date(), attempts: 1 },
    body: { tenantId: raw.tenant_id, rawId: raw.id },
  }));
  const ctx = createExecutionContext();
  await worker.queue(createMessageBatch("parley-inbound", messages), { ...env, ...changed }, ctx);
  await waitOnExecutionContext(ctx);
}

/** The mails of an inbox with their conversations, the oldest first. */
export const mailsOf = (inboxId: string) =>
  asOwner<Any>(
    `select e.*, m.channel_id, m.seq, m.text as written, m.contact_id, m.direction from emails e
       join messages m on m.tenant_id = e.tenant_id and m.id = e.message_id where e.inbox_id = $1 order by m.id`,
    [inboxId],
  );
