import { expect, it } from "vitest";
import { type Any, expectProblem, newTenant, type Tenant } from "./helpers";
import { eventually } from "./jobs";
import { newPost, type Post } from "./mail";
import { conversation, deliveriesOf, made, newAddress, send } from "./mailing";
import { asOwner } from "./setup/owner";

const newAccount = (tenant: Tenant): Promise<Any> =>
  made(tenant.post("/v1/integrations", { name: "Post", provider: "sandbox", medium: "email" }));

async function newPostBy(tenant: Tenant, account: Any, inbox: object = {}): Promise<Post> {
  const name = `${crypto.randomUUID().slice(0, 18)}.example.com`;
  const domain = await made(tenant.post("/v1/domains", { name, integrationId: account.id }));
  await asOwner("update domains set status = 'verified' where id = $1", [domain.id]);
  const box = await made(tenant.post("/v1/inboxes", { domainId: domain.id, localPart: "info", ...inbox }));
  return { tenant, domain, inbox: box, address: box.address };
}

/** An account of a provider that proves domains, older than all that come. */
const newOtherAccount = ({ id }: Tenant) =>
  asOwner(
    `insert into integrations (tenant_id, id, name, provider, medium, config, credentials, data_key, master_version, created_at)
     values ($1, gen_random_uuid(), 'Own', 'elsewhere', 'email', '{}', '', '', 'none', now() - interval '1 day')`,
    [id],
  );

it("the mail of each domain goes out by the account that the domain has", async () => {
  const tenant = await newTenant();
  const accounts = [await newAccount(tenant), await newAccount(tenant)];
  const posts = [await newPostBy(tenant, accounts[1]), await newPostBy(tenant, accounts[0])];

  const sent = [];
  for (const own of posts) sent.push(await made(send(own, { to: [newAddress()], text: "a" })));

  for (const [n, { id }] of sent.entries())
    await eventually(async () =>
      expect(await deliveriesOf(id)).toMatchObject([{ status: "delivered", integration_id: accounts[1 - n].id }]),
    );
});

it("an automatic answer goes out by the account of its inbox's domain", async () => {
  const tenant = await newTenant();
  const [, second] = [await newAccount(tenant), await newAccount(tenant)];
  const own = await newPostBy(tenant, second, { autoReply: { text: "We are away." } });

  const { messageId } = await conversation(own);

  await eventually(async () => expect(await deliveriesOf(messageId)).toMatchObject([{ integration_id: second.id }]));
});

it("whether a domain must be proven is judged by the account that sends for it", async () => {
  const tenant = await newTenant();
  const unbound = await newPost({}, tenant);
  const bound = await newPostBy(tenant, await newAccount(tenant));
  await newOtherAccount(tenant);
  await asOwner("update domains set status = 'pending' where tenant_id = $1", [tenant.id]);

  await made(send(bound, { to: [newAddress()], text: "a" }));
  expectProblem(await send(unbound, { to: [newAddress()], text: "a" }), 409, "domain_not_verified");
});
