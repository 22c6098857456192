import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { type Any, newTenant, type Tenant } from "./helpers";
import { deliveryOf, ledgerOf, sendNow } from "./outbound";
import { asOwner } from "./setup/owner";

type Recipient = { address: string; kind?: "to" | "cc" | "bcc"; headers?: Record<string, string> };
type Wish = {
  integrationId: string | null;
  recipients?: Recipient[];
  raw?: string | Uint8Array;
  from?: { address: string; name: string | null };
  envelopeFrom?: string;
};

export const RAW = [
  'From: "Ann Sender" <ann@sender.example>',
  "To: Ben <ben@receiver.example>, cleo@receiver.example",
  "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
  "Date: Fri, 27 Nov 2026 10:00:00 +0000",
  "Message-ID: <own-id@sender.example>",
  "In-Reply-To: <before@receiver.example>",
  "References: <first@receiver.example> <before@receiver.example>",
  "Reply-To: ann+r-token@sender.example",
  "X-Order: 17",
  "MIME-Version: 1.0",
  'Content-Type: multipart/mixed; boundary="b1"',
  "",
  "--b1",
  'Content-Type: multipart/alternative; boundary="b2"',
  "",
  "--b2",
  "Content-Type: text/plain; charset=utf-8",
  "",
  "Hello there",
  ".a line that begins with a dot",
  "--b2",
  "Content-Type: text/html; charset=utf-8",
  "",
  '<p>Hello there <img src="cid:logo@sender.example"></p>',
  "--b2--",
  "--b1",
  "Content-Type: image/png; name=logo.png",
  "Content-Disposition: inline; filename=logo.png",
  "Content-ID: <logo@sender.example>",
  "Content-Transfer-Encoding: base64",
  "",
  "AAEC/w==",
  "--b1--",
  "",
].join("\r\n");

/** A mail in the bucket and a delivery for each of its recipients, as sending leaves them behind. */
export async function newMail(tenant: Pick<Tenant, "id">, wish: Wish): Promise<{ messageId: string; ids: string[] }> {
  const { integrationId, raw = RAW, from = { address: "ann@sender.example", name: "Ann Sender" } } = wish;
  const { recipients = [{ address: "ben@receiver.example" }], envelopeFrom = "ann+b-token@sender.example" } = wish;
  const [channelId, messageId] = [crypto.randomUUID(), crypto.randomUUID()];
  const rawKey = `${tenant.id}/raw/${messageId}`;
  await env.FILES.put(rawKey, raw);
  const rows = recipients.map(({ address, kind = "to", headers = {} }) => ({
    id: crypto.randomUUID(),
    recipient: address,
    content: { from, subject: "Grüße", envelopeFrom, kind, rawKey, headers, stream: "transactional" },
  }));
  await asOwner("insert into channels (tenant_id, id, medium) values ($1, $2, 'email')", [tenant.id, channelId]);
  await asOwner(
    `insert into deliveries (tenant_id, id, channel_id, message_id, medium, recipient, content, integration_id, next_attempt_at)
     select $1, r.id, $2, $3, 'email', r.recipient, r.content, $4, now() + interval '0.95 seconds'
       from jsonb_to_recordset($5::jsonb) r(id uuid, recipient text, content jsonb)`,
    [tenant.id, channelId, messageId, integrationId, JSON.stringify(rows)],
  );
  return { messageId, ids: rows.map(({ id }) => id) };
}

/** The mail of a delivery as one of this inbox, by which replies find it. */
export async function recordMail(inbox: { id: string }, deliveryId: string): Promise<void> {
  const { tenant_id: tenant, message_id: id, channel_id: channel } = await deliveryOf(deliveryId);
  await asOwner("update channels set type = 'email', inbox_id = $3 where tenant_id = $1 and id = $2", [
    ...[tenant, channel, inbox.id],
  ]);
  await asOwner(
    "insert into messages (tenant_id, id, channel_id, seq, text, direction) values ($1, $2, $3, 1, 'Hi', 'outbound')",
    [tenant, id, channel],
  );
  await asOwner(
    "insert into emails (tenant_id, message_id, inbox_id, rfc_id, fingerprint, stream, tags) values ($1, $2, $3, $4, 'x', 'transactional', '{}')",
    [tenant, id, inbox.id, `${id}@own.example`],
  );
}

export const referencesOf = (tenant: Pick<Tenant, "id">) =>
  asOwner<Any>("select referenced_id, kind from message_references where tenant_id = $1", [tenant.id]);

export async function newAccount(input: Record<string, unknown>): Promise<{ tenant: Tenant; account: Any }> {
  const tenant = await newTenant();
  const made = await tenant.post("/v1/integrations", { name: "Mail", medium: "email", ...input });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return { tenant, account: made.body };
}

/** Sends a mail to one recipient, and tells what became of it and of the account. */
export async function sendOne(input: Record<string, unknown>, wish: Partial<Wish> = {}): Promise<Any> {
  const { tenant, account } = await newAccount(input);
  const { ids } = await newMail(tenant, { integrationId: account.id, ...wish });
  await sendNow(tenant, ids);
  const delivery = await deliveryOf(ids[0]!);
  // What is to be tried again would come in the middle of the next test.
  await asOwner("update deliveries set next_attempt_at = now() + interval '1 day' where id = $1", [ids[0]]);
  const after = (await tenant.get(`/v1/integrations/${account.id}`)).body;
  return { tenant, account: after, delivery, ledger: await ledgerOf(ids[0]!), ids };
}
