import { expect } from "vitest";
import { readMail } from "../src/mail/read";
import type { Any } from "./helpers";
import { arrives, mail, mailsOf, type Post, read } from "./mail";
import { asOwner } from "./setup/owner";

export const newAddress = () => `ann-${crypto.randomUUID().slice(0, 8)}@writer.example`;
export const later = (ms = 3_600_000) => new Date(Date.now() + ms).toISOString();

export async function made(asking: Promise<Any>): Promise<Any> {
  const { status, body } = await asking;
  expect(status, JSON.stringify(body)).toBe(201);
  return body;
}

export const send = ({ tenant, inbox }: Post, input: object, options: object = {}) =>
  tenant.post(`/v1/inboxes/${inbox.id}/messages`, input, options);
export const answer = ({ tenant }: Post, channelId: string, input: object, options: object = {}) =>
  tenant.post(`/v1/channels/${channelId}/messages`, input, options);

/** The mail that a message of ours is, as it was composed. */
export const rawOf = async ({ tenant }: Post, messageId: string) =>
  readMail(new TextEncoder().encode((await tenant.get(`/v1/messages/${messageId}/email/raw`)).body));

export const deliveriesOf = (messageId: string) =>
  asOwner<Any>("select * from deliveries where message_id = $1 order by recipient", [messageId]);
export const recipientsOf = async (messageId: string): Promise<string[]> =>
  (await deliveriesOf(messageId)).map(({ recipient }) => recipient);
export const addresses = (list: { address: string }[]) => list.map(({ address }) => address);

type Incoming = { headers?: Record<string, string | null>; body?: string; from?: string; to?: string };

/** A mail that came for the inbox, or where it is caught, and the conversation that it began. */
export async function conversation(own: Post, { headers = {}, body, from, to = own.address }: Incoming = {}) {
  const id = `${crypto.randomUUID()}@writer.example`;
  const all = { To: to, "Message-ID": `<${id}>`, ...headers };
  await arrives(to, mail({ headers: all, ...(body !== undefined && { body }) }), { ...(from && { from }) });
  await read(own.inbox.id);
  const stored = (await mailsOf(own.inbox.id)).find(({ rfc_id }) => rfc_id === id);
  return { id, channelId: stored.channel_id as string, messageId: stored.message_id as string };
}
