import { expect, it } from "vitest";
import { type Any, admin, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";

const newName = () => `${crypto.randomUUID().slice(0, 18)}.example.com`;
const newDomain = async (tenant: Tenant): Promise<Any> => (await tenant.post("/v1/domains", { name: newName() })).body;

async function newInbox(tenant: Tenant, domainId: string, localPart: string, more: object = {}): Promise<Any> {
  const made = await tenant.post("/v1/inboxes", { domainId, localPart, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

it("of each name of a domain there is one live inbox, in whatever case it is written", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);

  const inbox = await newInbox(tenant, domain.id, "Info", { name: "Acme" });

  expect(inbox).toMatchObject({
    address: `info@${domain.name}`,
    localPart: "info",
    name: "Acme",
    isCatchall: false,
    plusAddressing: true,
    autoReply: null,
  });
  const again = await tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "INFO" });
  expectProblem(again, 409, "conflict", "localPart");
  await tenant.delete(`/v1/inboxes/${inbox.id}`);
  expectProblem(await tenant.get(`/v1/inboxes/${inbox.id}`), 404, "not_found");
  expect((await newInbox(tenant, domain.id, "info")).id).not.toBe(inbox.id);
});

it("a domain has one catch-all at most", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);
  const first = await newInbox(tenant, domain.id, "all", { isCatchall: true });
  const second = await newInbox(tenant, domain.id, "info");

  expectProblem(await tenant.patch(`/v1/inboxes/${second.id}`, { isCatchall: true }), 409, "conflict", "isCatchall");
  await tenant.patch(`/v1/inboxes/${first.id}`, { isCatchall: false });

  expect((await tenant.patch(`/v1/inboxes/${second.id}`, { isCatchall: true })).body.isCatchall).toBe(true);
});

it("ten at once make one", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);

  const answers = await Promise.all(
    Array.from({ length: 10 }, () => tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "info" })),
  );

  expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(9).fill(409)]);
});

it("the plan limits how many are open", async () => {
  const operator = await admin();
  const name = `Two inboxes ${crypto.randomUUID()}`;
  const plan = (await operator.post("/v1/plans", { name, tier: "small", limits: { inboxes: 2 } })).body;
  const tenant = await newTenant({ planId: plan.id });
  const domain = await newDomain(tenant);
  const { id } = await newInbox(tenant, domain.id, "info");
  await newInbox(tenant, domain.id, "help");
  const third = () => tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "sales" });

  expectProblem(await third(), 402, "plan_limit_reached");
  await tenant.delete(`/v1/inboxes/${id}`);

  expect((await third()).status).toBe(201);
});

it("an automatic answer is set, changed and taken back", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);
  const { id } = await newInbox(tenant, domain.id, "info", { autoReply: { text: "We are away." } });

  expect((await tenant.get(`/v1/inboxes/${id}`)).body.autoReply).toEqual({
    text: "We are away.",
    subject: null,
    hours: 96,
  });
  const changed = await tenant.patch(`/v1/inboxes/${id}`, {
    autoReply: { text: "Back soon.", subject: "Away", hours: 1 },
  });
  expect(changed.body.autoReply).toEqual({ text: "Back soon.", subject: "Away", hours: 1 });
  expect((await tenant.patch(`/v1/inboxes/${id}`, { name: "Acme" })).body.autoReply.hours).toBe(1);
  expect((await tenant.patch(`/v1/inboxes/${id}`, { autoReply: null })).body.autoReply).toBe(null);
});

it("operators see the inboxes they or their teams work in, those that are nobody's, and admins all", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);
  const team = (await tenant.post("/v1/teams", { name: "Support" })).body;
  const roles: (string | null)[] = ["editor", "viewer", "viewer", "admin", null];
  const users: Any[] = [];
  for (const role of roles) users.push(await newUser(tenant, role === null ? {} : { role }));
  const [assigned, inTeam, other, admin, plain] = users;
  await tenant.put(`/v1/teams/${team.id}/members/${inTeam.id}`);
  const [mine, ours] = [await newInbox(tenant, domain.id, "mine"), await newInbox(tenant, domain.id, "ours")];
  await newInbox(tenant, domain.id, "everybodys");
  await tenant.put(`/v1/inboxes/${mine.id}/users/${assigned.id}`);
  await tenant.put(`/v1/inboxes/${ours.id}/teams/${team.id}`);
  const names = async (user: Any) => {
    const { body } = await tenant.get("/v1/inboxes", { as: user.id });
    return body.data.map(({ localPart }: Any) => localPart).sort();
  };

  expect(await names(assigned)).toEqual(["everybodys", "mine"]);
  expect(await names(inTeam)).toEqual(["everybodys", "ours"]);
  expect(await names(other)).toEqual(["everybodys"]);
  expect(await names(admin)).toEqual(["everybodys", "mine", "ours"]);
  expect(await names(plain)).toEqual([]);
  expectProblem(await tenant.get(`/v1/inboxes/${mine.id}`, { as: other.id }), 404, "not_found");

  const members = (await tenant.get(`/v1/inboxes/${mine.id}/members`)).body.data;
  expect(members).toMatchObject([{ userId: assigned.id, teamId: null }]);
  await tenant.delete(`/v1/inboxes/${mine.id}/users/${assigned.id}`);
  expect(await names(other)).toEqual(["everybodys", "mine"]);
});

it("rules for senders are made for one inbox or for all, once each", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);
  const inbox = await newInbox(tenant, domain.id, "info");
  const rule = (body: object) => tenant.post("/v1/sender-rules", body);

  const all = (await rule({ pattern: "Spam.Example", action: "block" })).body;
  const own = (await rule({ pattern: "ann@spam.example", action: "allow", inboxId: inbox.id })).body;

  expect(all).toMatchObject({ pattern: "spam.example", inboxId: null });
  expectProblem(await rule({ pattern: "spam.example", action: "allow" }), 409, "conflict", "pattern");
  expectProblem(await rule({ pattern: "not an address", action: "allow" }), 422, "invalid_request", "pattern");
  expect((await tenant.get("/v1/sender-rules")).body.data).toEqual([all]);
  expect((await tenant.get(`/v1/sender-rules?inboxId=${inbox.id}`)).body.data).toEqual([own]);
  expect((await tenant.delete(`/v1/sender-rules/${own.id}`)).status).toBe(204);
  expect((await tenant.get(`/v1/sender-rules?inboxId=${inbox.id}`)).body.data).toEqual([]);
});

it("a key bound to inboxes reaches no other one", async () => {
  const tenant = await newTenant();
  const domain = await newDomain(tenant);
  const [mine, other] = [await newInbox(tenant, domain.id, "mine"), await newInbox(tenant, domain.id, "other")];
  const made = await tenant.post("/v1/api-keys", {
    name: "bound",
    scopes: ["inboxes:read"],
    resources: { inbox: [mine.id] },
  });
  const headers = { Authorization: `Bearer ${made.body.secret}` };

  expect((await tenant.get(`/v1/inboxes/${mine.id}`, { headers })).status).toBe(200);
  expectProblem(await tenant.get(`/v1/inboxes/${other.id}`, { headers }), 403, "resource_not_allowed");
  expectProblem(await tenant.get("/v1/inboxes", { headers }), 403, "resource_not_allowed");
});

it("a contact is found by its address in whatever case, which no other contact can have", async () => {
  const tenant = await newTenant();
  const identities = [{ medium: "email", value: " Ann@Example.com " }];
  const ann = (await tenant.post("/v1/contacts", { displayName: "Ann", identities })).body;
  const bob = (await tenant.post("/v1/contacts", { displayName: "Bob" })).body;
  const identity = { medium: "email", value: "ANN@example.com" };

  expect(ann.identities).toEqual([{ medium: "email", value: "ann@example.com" }]);
  const listed = await tenant.get("/v1/contacts?medium=email&value=aNN@example.com");
  expect(listed.body.data).toEqual([ann]);
  expectProblem(await tenant.post(`/v1/contacts/${bob.id}/identities`, identity), 409, "conflict", "value");
  await tenant.delete(`/v1/contacts/${ann.id}/identities?medium=email&value=Ann@example.com`);
  const moved = await tenant.post(`/v1/contacts/${bob.id}/identities`, identity);
  expect(moved.body.identities).toEqual([{ medium: "email", value: "ann@example.com" }]);

  const changed = await tenant.patch(`/v1/contacts/${bob.id}`, { metadata: { vip: true } });
  expect(changed.body).toMatchObject({ displayName: "Bob", metadata: { vip: true } });
  expect((await tenant.delete(`/v1/contacts/${bob.id}`)).status).toBe(204);
  expectProblem(await tenant.get(`/v1/contacts/${bob.id}`), 404, "not_found");
});

it("a viewer reads contacts and changes none", async () => {
  const tenant = await newTenant();
  const viewer = await userClient(tenant, (await newUser(tenant, { role: "viewer" })).id);

  expect((await viewer.get("/v1/contacts")).status).toBe(200);
  expectProblem(await viewer.post("/v1/contacts", { displayName: "Ann" }), 403, "missing_scope");
});
