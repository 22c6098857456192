import { expect } from "vitest";
import { type Any, admin, client, newTenant, newUser, type Tenant } from "./helpers";
import { arrives, mail, mailsOf, newPost, read } from "./mail";
import { newReceiver } from "./receiver";
import { insertion, newRow, type Row, tenantTables } from "./rows";
import { asOwner } from "./setup/owner";
import type { Given } from "./spec";

async function made(answer: Promise<{ status: number; body: Any }>): Promise<string> {
  const { status, body } = await answer;
  expect(status, JSON.stringify(body)).toBe(201);
  return body.id;
}

async function publicJwk(): Promise<JsonWebKey> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  return (await crypto.subtle.exportKey("jwk", (pair as CryptoKeyPair).publicKey)) as JsonWebKey;
}

const PUBLIC_JWK = publicJwk();

/** An event type of this tenant's own, in a stream of this kind. */
async function eventType(tenant: Tenant, stream: string): Promise<string> {
  const name = `custom.sample.${stream}`;
  await tenant.put(`/v1/event-types/${name}`, { description: "For tests", stream, schema: {} });
  return name;
}

/** Enabled, it would be called for all that happens to the tenant meanwhile. */
const newWebhook = (tenant: Tenant, name: string, more: object = {}) =>
  made(tenant.post("/v1/webhooks", { name, url: newReceiver().url, enabled: false, ...more }));

/** A row that the API makes only by and by. */
async function rowOf(table: string, tenant: Tenant, label: string, given: Row): Promise<string> {
  const described = (await tenantTables()).find(({ name }) => name === table)!;
  const row = newRow(described, tenant.id, label, new Map<string, Row>());
  Object.assign(row, given);
  await asOwner(...insertion(described, row));
  return String(row.id);
}

/** A mail that came, as the message it became. */
async function received(tenant: Tenant): Promise<Any> {
  const { inbox, address } = await newPost({}, tenant);
  // Whatever rules of the whole tenant others have made.
  await asOwner(
    "insert into sender_rules (tenant_id, id, inbox_id, pattern, action) values ($1, gen_random_uuid(), $2, '*', 'allow')",
    [tenant.id, inbox.id],
  );
  await arrives(address, mail());
  await read(inbox.id);
  return (await mailsOf(inbox.id))[0];
}

async function campaignIn(tenant: Tenant, label: string, status: string): Promise<string> {
  const senderId = (await newUser(tenant, { displayName: label })).id;
  const id = await made(tenant.post("/v1/campaigns", { name: label, message: { text: label }, senderId }));
  if (status !== "draft") await asOwner("update campaigns set status = $2 where id = $1", [id, status]);
  return id;
}

/** Makes one of each kind that a position of the API can name; `label` tells whose it is. */
export const FACTORIES: Record<string, (tenant: Tenant, label: string) => Promise<string>> = {
  user: async (tenant, label) => (await newUser(tenant, { displayName: label })).id,
  team: (tenant, label) => made(tenant.post("/v1/teams", { name: label })),
  apiKey: (tenant, label) => made(tenant.post("/v1/api-keys", { name: label })),
  authKey: async (tenant, label) =>
    made(
      tenant.post("/v1/auth-keys", { name: label, algorithm: "ES256", scopes: ["users:read"], jwk: await PUBLIC_JWK }),
    ),
  channel: (tenant, label) => made(tenant.post("/v1/channels", { name: label })),
  stream: (tenant, label) => FACTORIES.channel!(tenant, label),
  event: async (tenant, label) => {
    const type = await eventType(tenant, "tenant");
    return made(tenant.post("/v1/events", { type, data: { label } }));
  },
  webhook: (tenant, label) => newWebhook(tenant, label),
  webhookDelivery: async (tenant, label) =>
    rowOf("webhook_deliveries", tenant, label, {
      webhook_id: await newWebhook(tenant, label),
      event_id: await FACTORIES.event!(tenant, label),
    }),
  file: (tenant, label) =>
    made(tenant.post(`/v1/files?name=${label}`, label, { headers: { "Content-Type": "text/plain" } })),
  upload: (tenant, label) => made(tenant.post("/v1/files/uploads", { name: label, size: 10 })),
  uploadWithParts: async (tenant, label) => {
    const id = await FACTORIES.upload!(tenant, label);
    await tenant.put(`/v1/files/${id}/parts/1`, "ten bytes.", { headers: { "Content-Type": "text/plain" } });
    return id;
  },
  modestApiKey: (tenant, label) => made(tenant.post("/v1/api-keys", { name: label, scopes: ["keys:write"] })),
  doneWebhookDelivery: async (tenant, label) =>
    rowOf("webhook_deliveries", tenant, label, {
      webhook_id: await newWebhook(tenant, label, { enabled: true, events: ["webhook.test"] }),
      event_id: await FACTORIES.event!(tenant, label),
      status: "delivered",
      claimed_until: null,
    }),
  message: async (tenant, label) => {
    const channelId = await FACTORIES.channel!(tenant, label);
    return made(tenant.post(`/v1/channels/${channelId}/messages`, { text: label }));
  },
  pendingMessage: async (tenant, label) => {
    const channelId = await FACTORIES.channel!(tenant, label);
    return made(tenant.post(`/v1/channels/${channelId}/messages`, { text: label, pending: true }));
  },
  blockList: (tenant, label) =>
    made(
      tenant.post("/v1/block-lists", {
        name: `${crypto.randomUUID()} ${label}`.slice(0, 60),
        kind: "word",
        action: "mask",
        active: false,
      }),
    ),
  queueEntry: async (tenant, label) => {
    const messageId = await FACTORIES.message!(tenant, label);
    return (await tenant.post(`/v1/messages/${messageId}/flags`, { reason: label })).body.queueId;
  },
  scheduledMessage: async (tenant, label) => {
    const channelId = await FACTORIES.channel!(tenant, label);
    const sendAt = new Date(Date.now() + 3_600_000).toISOString();
    return made(tenant.post(`/v1/channels/${channelId}/scheduled-messages`, { text: label, sendAt }));
  },
  scheduledEmail: async (tenant, label) => {
    const inboxId = await FACTORIES.inbox!(tenant, label);
    const sendAt = new Date(Date.now() + 3_600_000).toISOString();
    return made(tenant.post(`/v1/inboxes/${inboxId}/messages`, { to: ["ann@example.com"], text: label, sendAt }));
  },
  job: (tenant, label) => rowOf("scheduled_jobs", tenant, label, {}),
  integration: (tenant, label) =>
    made(tenant.post("/v1/integrations", { name: label, provider: "sandbox", medium: "email" })),
  delivery: async (tenant, label) => {
    const id = crypto.randomUUID();
    const given = {
      id,
      channel_id: await FACTORIES.channel!(tenant, label),
      message_id: crypto.randomUUID(),
      medium: "email",
    };
    return rowOf("deliveries", tenant, label, {
      ...given,
      status: "sent",
      provider_message_id: `sandbox-${id}`,
      integration_id: null,
    });
  },
  callback: async (tenant, label) =>
    rowOf("provider_callbacks", tenant, label, {
      integration_id: await FACTORIES.integration!(tenant, label),
      heard: { receipts: [], replies: [] },
      headers: {},
      status: "heard",
    }),
  campaign: async (tenant, label) => campaignIn(tenant, label, "draft"),
  scheduledCampaign: async (tenant, label) => campaignIn(tenant, label, "scheduled"),
  sendingCampaign: async (tenant, label) => campaignIn(tenant, label, "sending"),
  pausedCampaign: async (tenant, label) => campaignIn(tenant, label, "paused"),
  contact: (tenant, label) => made(tenant.post("/v1/contacts", { displayName: label })),
  domain: (tenant) => made(tenant.post("/v1/domains", { name: `${crypto.randomUUID().slice(0, 18)}.example.com` })),
  inbox: async (tenant, label) => {
    const domainId = await FACTORIES.domain!(tenant, label);
    return made(tenant.post("/v1/inboxes", { domainId, localPart: "info", name: label }));
  },
  emailMessage: async (tenant) => (await received(tenant)).message_id,
  rawMail: async (tenant) => (await received(tenant)).raw_key.split("/").at(-1),
  emailChannel: async (tenant) => (await received(tenant)).channel_id,
  suppression: (tenant) => made(tenant.post("/v1/suppressions", { address: `${crypto.randomUUID()}@example.com` })),
  senderRule: (tenant) =>
    made(tenant.post("/v1/sender-rules", { pattern: `${crypto.randomUUID()}@example.com`, action: "block" })),
  tenant: async (_, label) => (await newTenant({ name: label })).id,
  plan: async (_, label) =>
    made((await admin()).post("/v1/plans", { name: `${label} ${crypto.randomUUID()}`, tier: label })),
};

/** Kinds that are the deployment's: no tenant's credential may name one, not even its own. */
export const OF_THE_DEPLOYMENT = ["tenant", "plan"];

/** Operations that want their resource in a state of its own. */
export const IN_THE_RIGHT_STATE: Record<string, Record<string, string>> = {
  putFilePart: { file: "upload" },
  listFileParts: { file: "upload" },
  completeUpload: { file: "uploadWithParts" },
  redeliver: { webhookDelivery: "doneWebhookDelivery" },
  rerollApiKey: { apiKey: "modestApiKey" },
  approveMessage: { message: "pendingMessage" },
  rejectMessage: { message: "pendingMessage" },
  ...Object.fromEntries(["getEmail", "getEmailHeaders", "getRawEmail"].map((id) => [id, { message: "emailMessage" }])),
  ...Object.fromEntries(
    ["addNote", "trashConversation", "restoreConversation"].map((id) => [id, { channel: "emailChannel" }]),
  ),
  pauseCampaign: { campaign: "sendingCampaign" },
  resumeCampaign: { campaign: "pausedCampaign" },
  cancelCampaign: { campaign: "scheduledCampaign" },
};

/** What an operation needs beside what its schema demands; `at` is the optional place that is filled. */
const GIVEN: Record<string, (tenant: Tenant, at: string) => Promise<Given>> = {
  createApiKey: async () => ({ body: { scopes: ["keys:write"] } }),
  createAuthKey: async () => ({ body: { algorithm: "ES256", scopes: ["keys:write"], jwk: await PUBLIC_JWK } }),
  createIntegration: async () => ({ body: { name: "Post", provider: "sandbox", medium: "email" } }),
  listPublicKeys: async ({ id }) => ({ parameters: { tenantId: id } }),
  updateIntegration: async () => ({ body: { provider: "sandbox" } }),
  redeliverSince: async () => ({ body: { since: new Date().toISOString() } }),
  sendMessage: async () => ({ body: { text: "Hello" } }),
  sendEmail: async () => ({ body: { to: ["ann@example.com"], text: "Hello" } }),
  sendEmails: async () => ({ body: { messages: [{ to: ["ann@example.com"], text: "Hello" }] } }),
  createBlockList: async () => ({ body: { name: crypto.randomUUID(), kind: "word", action: "mask", active: false } }),
  updateBlockList: async () => ({ body: { name: crypto.randomUUID() } }),
  addBlockListEntries: async () => ({ body: { entries: ["word"] } }),
  removeBlockListEntries: async () => ({ body: { entries: ["word"] } }),
  previewLink: async () => {
    const receiver = newReceiver();
    await receiver.answers({ headers: { "Content-Type": "text/html" }, body: "<title>Page</title>" });
    return { parameters: { url: receiver.url } };
  },
  scheduleMessage: async () => ({ body: { text: "Hello", sendAt: new Date(Date.now() + 3_600_000).toISOString() } }),
  createCampaign: async (_, at) => (at === "message" ? {} : { body: { message: { text: "Hello" } } }),
  updateCampaign: async (_, at) => (at === "message" ? {} : { body: { message: { text: "Hello" } } }),
  scheduleCampaign: async () => ({ body: { at: new Date(Date.now() + 86_400_000).toISOString() } }),
  syncStream: async () => ({ parameters: { cursors: `${crypto.randomUUID()}:0` } }),
  addNote: async () => ({ body: { text: "Hello" } }),
  receiveMime: async (tenant) => ({ parameters: { to: (await newPost({}, tenant)).address } }),
  addSuppression: async () => ({ body: { address: `${crypto.randomUUID()}@example.com` } }),
  addSuppressions: async () => ({ body: { suppressions: [{ address: `${crypto.randomUUID()}@example.com` }] } }),
  createSenderRule: async () => ({ body: { pattern: `${crypto.randomUUID()}@example.com` } }),
  createWebhook: async () => ({ body: { url: newReceiver().url, enabled: false } }),
  listChannels: async (_, at) => (at === "metadata" ? { parameters: { metadata: '{"color":"red"}' } } : {}),
  listEvents: async (tenant, at): Promise<Given> => {
    const stream: Record<string, string> = ["streamId", "afterSeq"].includes(at) ? { stream: "channel" } : {};
    return {
      parameters: at === "afterSeq" ? { ...stream, streamId: await FACTORIES.channel!(tenant, "Stream") } : stream,
    };
  },
  putFilePart: async () => ({ parameters: { number: "1" } }),
  putEventType: async () => ({ body: { schema: {} } }),
  sendEvent: async (tenant, at) => ({
    body: { type: await eventType(tenant, { channelId: "channel", userId: "user" }[at] ?? "tenant") },
  }),
  runAction: async (tenant) => {
    const receiver = newReceiver();
    await receiver.answers({ body: "{}" });
    const name = `act-${crypto.randomUUID()}`;
    await made(tenant.post("/v1/webhooks", { name, url: receiver.url, kind: "custom_action", action: name }));
    return { parameters: { name } };
  },
};

export const givenFor = (operationId: string, tenant: Tenant, at: string): Promise<Given> =>
  GIVEN[operationId]?.(tenant, at) ?? Promise.resolve({});

const keys = new Map<string, Promise<string>>();

/** A client of the tenant's with a key of just these scopes. */
export async function clientWith(tenant: Tenant, scopes: string[]) {
  const name = `${tenant.id} ${scopes}`;
  const kind = scopes.join() === "users:guest" ? "pub" : "live";
  const key =
    keys.get(name) ?? tenant.post("/v1/api-keys", { name: "scoped", kind, scopes }).then(({ body }) => body.secret);
  keys.set(name, key);
  return client(await key);
}

type Stage = (tenant: Tenant, own: Map<string, string>) => Promise<Record<string, string>>;

/** Headers of a user of the tenant's, who is a member of the channel that `own` names, if any. */
const asMember: Stage = async (tenant, own) => {
  const { id } = await newUser(tenant);
  if (own.has("id"))
    await tenant.post(`/v1/channels/${own.get("id")}/members`, { members: [{ userId: id, role: "owner" }] });
  return { "Parley-User": id };
};

const inTheSameChannel: Stage = async (tenant, own) => {
  for (const at of ["parentId", "quotedId"].filter((name) => own.has(name)))
    own.set(at, await made(tenant.post(`/v1/channels/${own.get("id")}/messages`, { text: "Hello" })));
  return {};
};

const withDraft: Stage = async (tenant, own) => {
  const as = await asMember(tenant, own);
  await inTheSameChannel(tenant, own);
  for (const place of ["", `?parentId=${own.get("parentId")}`])
    await tenant.put(`/v1/channels/${own.get("id")}/draft${place}`, {}, { headers: as });
  return as;
};

const asInvited: Stage = async (tenant, own) => {
  const { id } = await newUser(tenant);
  await tenant.post(`/v1/channels/${own.get("id")}/invitations`, { userId: id });
  return { "Parley-User": id };
};

const withThatMember: Stage = async (tenant, own) => {
  await tenant.post(`/v1/channels/${own.get("id")}/members`, { members: [{ userId: own.get("userId") }] });
  return {};
};

/** What must be so before an operation can succeed, and who asks for it. */
/** As a member of the channel that the message is in. */
const asReader: Stage = async (tenant, own) => {
  const { channelId } = (await tenant.get(`/v1/messages/${own.get("id")}`)).body;
  const { id } = await newUser(tenant);
  await tenant.post(`/v1/channels/${channelId}/members`, { members: [{ userId: id }] });
  return { "Parley-User": id };
};

export const STAGES: Record<string, Stage> = {
  ...Object.fromEntries(
    [
      "updateOwnMembership",
      "markRead",
      "markUnread",
      "recountUnread",
      "markAllRead",
      "getUnread",
      "buyTicket",
      "syncStream",
      "syncStreams",
    ].map((id) => [id, asMember]),
  ),
  acceptInvitation: asInvited,
  rejectInvitation: asInvited,
  joinChannel: async (tenant, own) => {
    await tenant.patch(`/v1/channels/${own.get("id")}`, { settings: { public: true } });
    return { "Parley-User": (await newUser(tenant)).id };
  },
  sendMessage: inTheSameChannel,
  scheduleMessage: inTheSameChannel,
  ...Object.fromEntries(["followThread", "unfollowThread", "markThreadRead"].map((id) => [id, asReader])),
  ...Object.fromEntries(["listThreads", "listDrafts"].map((id) => [id, asMember])),
  getDraft: withDraft,
  putDraft: withDraft,
  deleteDraft: withDraft,
  listPublicKeys: async (tenant, own) => {
    own.set("tenantId", tenant.id);
    return {};
  },
  getRawMail: async (_, own) => {
    await asOwner("update inbound_raw set inbox_id = $1 where id = $2", [own.get("id"), own.get("rawId")]);
    return {};
  },
  addReaction: asReader,
  removeReaction: asReader,
  setMemberRole: withThatMember,
  removeMember: withThatMember,
  listReaders: async (tenant, own) => {
    own.set("messageId", await made(tenant.post(`/v1/channels/${own.get("id")}/messages`, { text: "Hello" })));
    return {};
  },
};
