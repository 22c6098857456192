import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { readUnsubscription, unsubscribeHeaders } from "../src/suppressions/unsubscribe";
import { type Any, client, newTenant, type Tenant } from "./helpers";
import { deliveryOf, newDeliveries, newMasters, sendNow } from "./outbound";

const visitor = client(null);
const pathOf = (url: string) => new URL(url).pathname;
const FORM = { "Content-Type": "application/x-www-form-urlencoded" };

const suppressed = async (tenant: Tenant): Promise<string[]> =>
  (await tenant.get("/v1/suppressions")).body.data.map(({ stream, reason }: Any) => `${stream} ${reason}`).sort();

/** The link in a mail of this stream that was sent. */
async function mailed(stream = "news", address = "Silent@example.com") {
  const tenant = await newTenant();
  const { ids } = await newDeliveries(tenant, [{ recipient: address, content: { stream } }]);
  await sendNow(tenant, ids);
  const headers = await unsubscribeHeaders({ env, tenantId: tenant.id }, { deliveryId: ids[0]!, address, stream });
  const url = /^<(.*)>$/.exec(headers["List-Unsubscribe"]!)![1]!;
  return { tenant, deliveryId: ids[0]!, headers, url, link: pathOf(url) };
}

it("a mail offers to unsubscribe as RFC 8058 wants it, but not from what nobody can opt out of", async () => {
  const { headers, url, tenant } = await mailed();

  expect(headers["List-Unsubscribe-Post"]).toBe("List-Unsubscribe=One-Click");
  expect(url.startsWith(`${env.DEPLOYMENT_URL}/unsubscribe/`)).toBe(true);
  expect(headers["List-Unsubscribe"]!.length).toBeLessThan(900);
  const about = { deliveryId: crypto.randomUUID(), address: "a@b.example", stream: "transactional" };
  expect(await unsubscribeHeaders({ env, tenantId: tenant.id }, about)).toEqual({});
});

it("looking at the link changes nothing, however often a scanner does", async () => {
  const { tenant, link, deliveryId } = await mailed();

  for (let i = 0; i < 3; i++) {
    const page = await visitor.get<string>(link);
    expect(page.status).toBe(200);
    expect(page.body).toContain('<form method="post"');
    expect(page.body).toContain("silent@example.com");
    expect(page.body).not.toContain("<script");
    expect(page.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
    expect(page.headers.get("Referrer-Policy")).toBe("no-referrer");
  }
  await visitor.request("HEAD", link);

  expect(await suppressed(tenant)).toEqual([]);
  expect((await deliveryOf(deliveryId)).unsubscribed).toBe(false);
});

describe("a POST unsubscribes", () => {
  it.each([
    ["a mail program's one click", "List-Unsubscribe=One-Click", FORM],
    ["the page's button", "", FORM],
    [
      "one click as multipart",
      '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
      { "Content-Type": "multipart/form-data; boundary=b" },
    ],
  ])("by %s: without a login, from this stream alone, once however often", async (_, body, headers) => {
    const { tenant, link, deliveryId } = await mailed();

    const answers = await Promise.all([1, 2, 3].map(() => visitor.post<string>(link, body, { headers })));

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(answers[0]!.body).toContain("You are unsubscribed");
    expect(await suppressed(tenant)).toEqual(["news unsubscribe"]);
    expect((await deliveryOf(deliveryId)).unsubscribed).toBe(true);
    const events = (await tenant.get("/v1/events?type=address.suppressed")).body.data;
    expect(events.map(({ data }: Any) => [data.address, data.stream, data.reason])).toEqual([
      ["silent@example.com", "news", "unsubscribe"],
    ]);
    expect((await visitor.get<string>(link)).body).toContain("You are unsubscribed");
    const logs = (await tenant.get(`/v1/audit-logs?targetId=${deliveryId}`)).body.data;
    expect(logs.map(({ action }: Any) => action)).toEqual(["address.unsubscribed"]);
  });

  it("even where the mail is no longer there", async () => {
    const tenant = await newTenant();
    const about = { deliveryId: crypto.randomUUID(), address: "ann@example.com", stream: "news" };
    const headers = await unsubscribeHeaders({ env, tenantId: tenant.id }, about);

    await visitor.post(pathOf(headers["List-Unsubscribe"]!.slice(1, -1)), "List-Unsubscribe=One-Click", {
      headers: FORM,
    });

    expect(await suppressed(tenant)).toEqual(["news unsubscribe"]);
    const logs = (await tenant.get(`/v1/audit-logs?targetId=${about.deliveryId}`)).body.data;
    expect(logs.map(({ action }: Any) => action)).toEqual(["address.unsubscribed"]);
  });
});

it("the page undoes it, its own opt-out alone, and it can be done again", async () => {
  const { tenant, link, deliveryId } = await mailed();
  await visitor.post(link, "", { headers: FORM });
  await tenant.post("/v1/suppressions", { address: "silent@example.com", stream: "news", reason: "complaint" });

  const undone = await visitor.post<string>(`${link}/undo`, "", { headers: FORM });

  expect(undone.body).toContain("subscribed again");
  expect(await suppressed(tenant)).toEqual(["news complaint"]);
  const [event] = (await tenant.get("/v1/events?type=address.unsuppressed")).body.data;
  expect(event.data).toMatchObject({ reason: "unsubscribe", because: "undone" });
  await visitor.post(link, "", { headers: FORM });
  expect(await suppressed(tenant)).toEqual(["news complaint", "news unsubscribe"]);
  const logs = (await tenant.get(`/v1/audit-logs?targetId=${deliveryId}`)).body.data;
  const [off, on] = ["address.unsubscribed", "address.resubscribed"];
  expect(logs.map(({ action }: Any) => action)).toEqual([off, on, off]);
});

it("a forged or broken link does nothing, and says so on a page", async () => {
  const { tenant, link } = await mailed();
  const other = await mailed();
  const [mine, theirs] = [link, other.link].map((path) => path.slice("/unsubscribe/".length)) as [string, string];

  for (const token of [`${mine.slice(0, 22)}${theirs.slice(22)}`, mine.slice(0, -4), "nonsense", `${mine}AAAA`]) {
    const answer = await visitor.post<string>(`/unsubscribe/${token}`, "List-Unsubscribe=One-Click", { headers: FORM });
    expect(answer.status).toBe(404);
    expect(answer.body).toContain("<h1>");
  }

  expect(await suppressed(tenant)).toEqual([]);
  expect(await suppressed(other.tenant)).toEqual([]);
});

it("a link outlives the rotation of the master secret as long as the old one is kept", async () => {
  const { before, during, after } = newMasters();
  const about = { deliveryId: crypto.randomUUID(), address: "ann@example.com", stream: "news" };
  const headers = await unsubscribeHeaders({ env: before, tenantId: crypto.randomUUID() }, about);
  const token = pathOf(headers["List-Unsubscribe"]!.slice(1, -1)).slice("/unsubscribe/".length);

  expect(await readUnsubscription(during, token)).toMatchObject(about);
  expect(await readUnsubscription(after, token)).toBeNull();
});
