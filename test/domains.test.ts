import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { sandbox } from "../src/providers/sandbox";
import { newResolver, publish } from "./dns";
import { type Any, expectProblem, newTenant, newUser, type Tenant, userClient } from "./helpers";
import { DEPLOYMENT, newJob, queueJobs } from "./jobs";
import { asOwner } from "./setup/owner";

let resolver: ReturnType<typeof newResolver>;
beforeEach(() => {
  resolver = newResolver();
});

afterEach(() => {
  vi.restoreAllMocks();
});

const newName = () => `${crypto.randomUUID().slice(0, 18)}.example.com`;

async function claim(tenant: Tenant, name = newName(), more: object = {}): Promise<Any> {
  const made = await tenant.post("/v1/domains", { name, ...more });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body;
}

const verify = (tenant: Tenant, id: string) => tenant.post(`/v1/domains/${id}/verify`);
const record = (domain: Any, purpose: string) => domain.records.find((one: Any) => one.purpose === purpose);
const domainEvents = async (tenant: Tenant) =>
  (await tenant.get("/v1/events?stream=tenant")).body.data
    .map(({ type, data }: Any) => ({ type, data }))
    .filter(({ type }: Any) => type.startsWith("domain."))
    .reverse();

it("a claimed domain says which records its DNS is to have, the provider's keys among them", async () => {
  const tenant = await newTenant();

  const domain = await claim(tenant, newName().toUpperCase(), { fromName: "Acme", bounceAddress: "bounces@acme.test" });

  expect(domain).toMatchObject({ status: "pending", fromName: "Acme", replyTo: null, mxVerified: false });
  expect(domain.name).toBe(domain.name.toLowerCase());
  const purposes = domain.records.map(({ purpose }: Any) => purpose);
  expect([...new Set(purposes)]).toEqual(["proof", "mx", "spf", "dkim", "dmarc"]);
  expect(record(domain, "dkim")).toMatchObject({ type: "CNAME", ok: false, found: [] });
  expect(record(domain, "spf").expected).toBe("v=spf1 include:spf.sandbox.parley.dev ~all");
  expect((await tenant.get(`/v1/domains/${domain.id}`)).body).toEqual(domain);
  expect((await tenant.get("/v1/domains")).body.data).toEqual([domain]);
  const [identity] = await asOwner<Any>("select * from domain_identities where domain_id = $1", [domain.id]);
  expect(identity).toMatchObject({ provider: "sandbox", integration_id: null });
});

it("with all its records there it is verified, which is told once however many look at the same time", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  publish(resolver.zone, domain.records);

  await Promise.all([verify(tenant, domain.id), verify(tenant, domain.id), verify(tenant, domain.id)]);

  const seen = (await tenant.get(`/v1/domains/${domain.id}`)).body;
  expect(seen).toMatchObject({
    status: "verified",
    mxVerified: true,
    spfVerified: true,
    dkimVerified: true,
    dmarcVerified: true,
    checkedAt: expect.any(String),
  });
  expect(seen.records.every(({ ok, todo }: Any) => ok && todo === null)).toBe(true);
  expect(await domainEvents(tenant)).toEqual([
    { type: "domain.verified", data: { domainId: domain.id, name: domain.name } },
  ]);
});

it.each([
  ["spf", [], 'Add the TXT record $ with the value "v=spf1 include:spf.sandbox.parley.dev ~all".'],
  [
    "spf",
    ["v=spf1 include:other.test -all"],
    'Change the TXT record $ from "v=spf1 include:other.test -all" to "v=spf1 include:other.test include:spf.sandbox.parley.dev -all".',
  ],
  ["spf", ["v=spf1 ~all", "v=spf1 -all"], "There are 2 SPF records, which makes all of them void: join them into one."],
  [
    "spf",
    ["v=spf1 include:spf.sandbox.parley.dev +all"],
    'It lets everybody send. End it with "~all": "v=spf1 include:spf.sandbox.parley.dev ~all".',
  ],
  ["dmarc", ["v=DMARC1; rua=mailto:a@b.test"], 'It names no policy: add "p=none", or a stricter one.'],
])("of %s where there is %j it says what to change", async (purpose, texts, todo) => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  const { name } = record(domain, purpose);
  resolver.zone.set(name, [
    { type: "TXT", data: "something else" },
    ...texts.map((data) => ({ type: "TXT", data: `"${data}"` })),
  ]);

  const looked = (await verify(tenant, domain.id)).body;

  expect(looked).toMatchObject({ status: "pending", [`${purpose}Verified`]: false });
  expect(record(looked, purpose)).toMatchObject({ found: texts, ok: false, todo: todo.replace("$", name) });
});

it.each([
  ["spf", "v=spf1 include:spf.sandbox.parley.dev include:other.test -all"],
  ["dmarc", "v=DMARC1;p=reject; rua=mailto:a@b.test"],
])("%s that says more than it must is right: %s", async (purpose, data) => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  resolver.zone.set(record(domain, purpose).name, [{ type: "TXT", data: `"${data}"` }]);

  expect((await verify(tenant, domain.id)).body).toMatchObject({ [`${purpose}Verified`]: true });
});

it("one mail exchanger of several suffices, and the others are asked for", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  publish(resolver.zone, domain.records.filter(({ purpose }: Any) => purpose === "mx").slice(0, 1));

  const looked = (await verify(tenant, domain.id)).body;

  expect(looked.mxVerified).toBe(true);
  expect(looked.records.filter(({ purpose }: Any) => purpose === "mx").map(({ ok }: Any) => ok)).toEqual([
    true,
    false,
    false,
  ]);
});

it("claims of several tenants do not block each other, and the proof of one binds the domain to it alone", async () => {
  const [one, other] = [await newTenant(), await newTenant()];
  const name = newName();
  const [mine, theirs] = [await claim(one, name), await claim(other, name)];
  expectProblem(await one.post("/v1/domains", { name }), 409, "conflict", "name");
  publish(resolver.zone, [record(theirs, "proof")]);

  expect((await verify(one, mine.id)).body.status).toBe("pending");
  expect((await verify(other, theirs.id)).body.status).toBe("verified");
  publish(resolver.zone, [record(mine, "proof")]);
  expectProblem(await verify(one, mine.id), 409, "conflict", "name");

  resolver.zone.set(record(mine, "proof").name, [{ type: "TXT", data: `"${record(mine, "proof").expected}"` }]);
  expect((await verify(other, theirs.id)).body.status).toBe("lost");
  expect((await verify(one, mine.id)).body.status).toBe("verified");
});

it("the job looks again: a loss is told once, and a resolver that is down changes nothing", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  publish(resolver.zone, domain.records);
  await verify(tenant, domain.id);
  const look = async () => {
    await asOwner("update domains set checked_at = '2000-01-01' where id = $1", [domain.id]);
    await queueJobs({ tenantId: DEPLOYMENT, jobId: await newJob(DEPLOYMENT, { type: "domains.check" }) });
    return (await tenant.get(`/v1/domains/${domain.id}`)).body;
  };

  resolver.zone.set(record(domain, "dmarc").name, "down");
  expect(await look()).toMatchObject({ status: "verified", dmarcVerified: true });
  resolver.zone.delete(record(domain, "dmarc").name);
  expect(await look()).toMatchObject({ status: "verified", dmarcVerified: false });
  await look();
  const { name, expected } = record(domain, "proof");
  resolver.zone.delete(name);
  expect(await look()).toMatchObject({ status: "verified", missingSince: expect.any(String) });
  resolver.zone.set(name, [{ type: "TXT", data: `"${expected}"` }]);
  expect(await look()).toMatchObject({ status: "verified", missingSince: null });
  resolver.zone.delete(name);
  await look();
  expect(await look()).toMatchObject({ status: "verified" });
  await asOwner("update domains set missing_since = now() - interval '25 hours' where id = $1", [domain.id]);
  expect(await look()).toMatchObject({ status: "lost" });

  const data = { domainId: domain.id, name: domain.name };
  expect(await domainEvents(tenant)).toEqual([
    { type: "domain.verified", data },
    { type: "domain.lost", data: { ...data, records: ["dmarc"] } },
    { type: "domain.lost", data: { ...data, records: ["proof"] } },
  ]);
});

it("asked to verify while the resolver is down it says so", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  resolver.zone.set(domain.name, "down");

  expectProblem(await verify(tenant, domain.id), 503, "unavailable");
});

it("of an inbox that is made while its domain goes there is one or the other", async () => {
  const tenant = await newTenant();
  for (let round = 0; round < 8; round++) {
    const domain = await claim(tenant);

    const [made, gone] = await Promise.all([
      tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "info" }),
      tenant.delete(`/v1/domains/${domain.id}`),
    ]);

    expect([made.status, gone.status]).toEqual(made.status === 201 ? [201, 409] : [made.status, 204]);
  }
});

it("a domain with inboxes stays; without them it goes, and its identity with it, and may be claimed anew", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant);
  const inbox = (await tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "info" })).body;

  expectProblem(await tenant.delete(`/v1/domains/${domain.id}`), 409, "domain_in_use");
  await tenant.delete(`/v1/inboxes/${inbox.id}`);
  expect((await tenant.delete(`/v1/domains/${domain.id}`)).status).toBe(204);

  expectProblem(await tenant.get(`/v1/domains/${domain.id}`), 404, "not_found");
  expectProblem(await tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "info" }), 404, "not_found");
  expect(await asOwner("select 1 from domain_identities where domain_id = $1", [domain.id])).toEqual([]);
  expect((await claim(tenant, domain.name)).id).not.toBe(domain.id);
});

it("an account keeps the identity of its own domains, unless its provider knows none", async () => {
  const tenant = await newTenant();
  const account = (await tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email" })).body;

  const domain = await claim(tenant, newName(), { integrationId: account.id });

  const [identity] = await asOwner<Any>("select * from domain_identities where domain_id = $1", [domain.id]);
  expect(identity.integration_id).toBe(account.id);
  expect((await tenant.delete(`/v1/domains/${domain.id}`)).status).toBe(204);
  const unknown = await tenant.post("/v1/domains", { name: newName(), integrationId: crypto.randomUUID() });
  expectProblem(unknown, 422, "invalid_request", "integrationId");
});

it("a repetition of its creation asks no provider again and takes nothing from it", async () => {
  const tenant = await newTenant();
  const account = (await tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email" })).body;
  const body = { name: newName(), integrationId: account.id };
  const key = { headers: { "Idempotency-Key": crypto.randomUUID() } };
  const [add, remove] = [vi.spyOn(sandbox.domains, "add"), vi.spyOn(sandbox.domains, "remove")];

  const first = await tenant.post("/v1/domains", body, key);
  await asOwner("update tenants set config_version = config_version + 1 where id = $1", [tenant.id]);
  const second = await tenant.post("/v1/domains", body, key);

  expect(second.body).toEqual(first.body);
  expect(second.headers.get("Idempotency-Replayed")).toBe("true");
  expect([add.mock.calls.length, remove.mock.calls.length]).toEqual([1, 0]);
});

it("settings that change meanwhile, or a domain that is there already, take no identity away", async () => {
  const tenant = await newTenant();
  const account = (await tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email" })).body;
  const remove = vi.spyOn(sandbox.domains, "remove");
  const add = vi.spyOn(sandbox.domains, "add");
  const real = add.getMockImplementation();
  add.mockImplementationOnce(async (...args) => {
    await asOwner("update tenants set config_version = config_version + 1 where id = $1", [tenant.id]);
    return real ? real(...args) : { reference: `sandbox-${args[0]}`, records: [] };
  });
  const name = newName();

  const domain = await claim(tenant, name, { integrationId: account.id });
  const again = await tenant.post("/v1/domains", { name, integrationId: account.id });

  expectProblem(again, 409, "conflict", "name");
  expect(remove).not.toHaveBeenCalled();
  expect((await tenant.get(`/v1/domains/${domain.id}`)).status).toBe(200);
});

it("defaults are changed one by one, and only admins may", async () => {
  const tenant = await newTenant();
  const domain = await claim(tenant, newName(), { fromName: "Acme" });
  const editor = await userClient(tenant, (await newUser(tenant, { role: "editor" })).id);

  const changed = (await tenant.patch(`/v1/domains/${domain.id}`, { replyTo: "help@acme.test" })).body;

  expect(changed).toMatchObject({ fromName: "Acme", replyTo: "help@acme.test" });
  expectProblem(await editor.patch(`/v1/domains/${domain.id}`, { fromName: null }), 403, "missing_scope");
  expect((await editor.get(`/v1/domains/${domain.id}`)).body.fromName).toBe("Acme");
});

it.each(["example", "-a.example.com", "a..example.com", "192.0.2.1", "exämple.com", "a b.com"])(
  "%s is no domain",
  async (name) => {
    const tenant = await newTenant();

    expectProblem(await tenant.post("/v1/domains", { name }), 422, "invalid_request", "name");
  },
);
