import { Webhook as Verifier } from "standardwebhooks";
import { expect, it, vi } from "vitest";
import { type Any, client, newTenant, type Tenant } from "./helpers";
import { newReceiver } from "./receiver";

const visitor = client(null);
const pathOf = (url: string) => new URL(url).pathname;

async function withDelivery() {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  await receiver.answers({ status: 500, body: "<script>alert(1)</script>" }, { status: 200 });
  const hook = (await tenant.post("/v1/webhooks", { name: "Shop <b>", url: receiver.url, events: ["channel.created"] }))
    .body;
  await tenant.post("/v1/channels", { name: "general" });
  await receiver.got(1);
  const delivery = await vi.waitFor(async () => {
    const [first] = (await tenant.get(`/v1/webhook-deliveries?webhookId=${hook.id}`)).body.data;
    expect(first.attempts).toBe(1);
    return first as Any;
  });
  return { tenant, receiver, hook, delivery, link: await linkTo(tenant, hook.id) };
}

async function linkTo(tenant: Tenant, webhookId: string): Promise<string> {
  const made = await tenant.post(`/v1/webhooks/${webhookId}/portal-links`);
  expect(made.status).toBe(201);
  expect(Date.parse(made.body.expiresAt) - Date.now()).toBeGreaterThan(3_500_000);
  return pathOf(made.body.url);
}

it("a link shows the deliveries of its endpoint, an attempt's answer, and delivers again", async () => {
  const { receiver, delivery, link } = await withDelivery();

  const list = await visitor.get<string>(link);
  expect(list.status).toBe(200);
  expect(list.body).toContain("channel.created");
  expect(list.body).toContain("Shop &lt;b&gt;");
  const one = await visitor.get<string>(`${link}/deliveries/${delivery.id}`);
  expect(one.body).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  expect(one.body).not.toContain("<script");

  const again = await visitor.post(`${link}/deliveries/${delivery.id}/redeliver`);
  expect(again.status === 303 || again.status === 200).toBe(true);
  await receiver.got(2);
});

it("filters by status and event type", async () => {
  const { link } = await withDelivery();

  expect((await visitor.get<string>(`${link}?status=pending`)).body).toContain("channel.created</a>");
  expect((await visitor.get<string>(`${link}?status=delivered`)).body).toContain("no deliveries like this");
  expect((await visitor.get<string>(`${link}?type=message.new`)).body).toContain("no deliveries like this");
});

it("a forged, foreign or changed link opens nothing, and says so on a page", async () => {
  const [mine, theirs] = [await withDelivery(), await withDelivery()];
  const [pass, signature] = pathOf(`http://x${mine.link}`).slice("/portal/".length).split(".");
  const [foreign] = theirs.link.slice("/portal/".length).split(".");

  for (const token of [`${foreign}.${signature}`, `${pass}.AAAA`, "nonsense", `${pass}`]) {
    const answer = await visitor.get<string>(`/portal/${token}`);
    expect(answer.status).toBe(404);
    expect(answer.body).toContain("<h1>Not found</h1>");
  }
  expect((await visitor.get(`${mine.link}/deliveries/${theirs.delivery.id}`)).status).toBe(404);
  expect((await visitor.post(`${mine.link}/deliveries/${theirs.delivery.id}/redeliver`)).status).toBe(404);
});

it("its pages load nothing, run nothing and are kept by nobody", async () => {
  const { link } = await withDelivery();
  const { headers } = await visitor.get(link);

  expect(headers.get("Content-Security-Policy")).toContain("default-src 'none'");
  expect(headers.get("Referrer-Policy")).toBe("no-referrer");
  expect(headers.get("Cache-Control")).toBe("no-store");
});

it("a deleted webhook's links show nothing", async () => {
  const { tenant, hook, link } = await withDelivery();
  await tenant.delete(`/v1/webhooks/${hook.id}`);

  expect((await visitor.get(link)).status).toBe(404);
});

const form = (fields: [string, string][]) => ({
  body: new URLSearchParams(fields).toString(),
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
});
const submit = (path: string, ...fields: [string, string][]) => {
  const { body, headers } = form(fields);
  return visitor.post<string>(path, body, { headers });
};

async function editable(allow: string[]) {
  const [tenant, receiver] = [await newTenant(), newReceiver()];
  await tenant.put("/v1/event-types/custom.order", { description: "An order", schema: {} });
  const hook = (await tenant.post("/v1/webhooks", { name: "Shop", url: receiver.url, events: ["channel.created"] }))
    .body;
  const { url } = (await tenant.post(`/v1/webhooks/${hook.id}/portal-links`, { allow })).body;
  return { tenant, receiver, hook, link: pathOf(url) };
}

it("where the link allows it, url and subscriptions are changed there, within the rules of the API", async () => {
  const { tenant, hook, link } = await editable(["url", "events"]);
  const elsewhere = newReceiver().url;

  const page = await visitor.get<string>(`${link}/settings`);
  expect(page.body).toMatch(/name="events" value="channel.created" checked/);
  expect(page.body).toContain('value="custom.order"');
  expect(page.body).not.toContain("new secret");
  const refused = await submit(`${link}/settings`, ["url", "http://169.254.169.254/"], ["events", "*"]);
  expect(refused.status).toBe(422);
  expect(refused.body).toContain('role="alert"');
  expect(refused.body).toContain("http://169.254.169.254/");
  expect((await submit(`${link}/settings`, ["url", elsewhere])).status).toBe(422);
  await submit(`${link}/settings`, ["url", elsewhere], ["events", "custom.order"], ["events", "message.*"]);

  expect((await tenant.get(`/v1/webhooks/${hook.id}`)).body).toMatchObject({
    url: elsewhere,
    events: ["custom.order", "message.*"],
  });
  const [entry] = (await tenant.get(`/v1/audit-logs?action=webhook.updated&targetId=${hook.id}`)).body.data;
  expect(entry).toMatchObject({ actorKind: "system" });
});

it("where the link allows it, a new secret is made and shown once", async () => {
  const { tenant, receiver, link } = await editable(["secret"]);

  const made = await submit(`${link}/secret`);
  const [secret] = /whsec_[\w+/=]+/.exec(made.body)!;
  await tenant.post("/v1/channels", { name: "x" });

  const [came] = await receiver.got(1);
  new Verifier(secret!).verify(came!.body, came!.headers);
  expect((await visitor.get<string>(`${link}/settings`)).body).not.toContain(secret);
});

it("what a link does not allow is not there", async () => {
  const [plain, urlOnly] = [await editable([]), await editable(["url"])];

  expect((await visitor.get<string>(plain.link)).body).not.toContain("Settings");
  expect((await visitor.get(`${plain.link}/settings`)).status).toBe(404);
  for (const { link } of [plain, urlOnly]) expect((await submit(`${link}/secret`)).status).toBe(404);
  expect((await submit(`${plain.link}/settings`, ["url", "http://127.0.0.1:4040/"])).status).toBe(404);
  await submit(`${urlOnly.link}/settings`, ["url", "http://127.0.0.1:4040/"], ["events", "*"]);
  expect((await urlOnly.tenant.get(`/v1/webhooks/${urlOnly.hook.id}`)).body).toMatchObject({
    url: "http://127.0.0.1:4040/",
    events: ["channel.created"],
  });
});
