import { afterEach, describe, expect, it, vi } from "vitest";
import { type Any, newTenant } from "./helpers";
import { newPerson } from "./live";
import { newBrowser, newKeys, newVapid, pushServices } from "./push-services";

afterEach(() => vi.unstubAllGlobals());

type Service = {
  account: Any;
  provider: string;
  services: ReturnType<typeof pushServices>;
  /** Of a further device: what it registers, and by what the service knows it. */
  device(): Promise<{ pushToken: string; known: string }>;
  refusal: { status: number; body?: unknown };
  bodyOf(payload: Any): string;
};

async function apple(): Promise<Service> {
  const keys = await newKeys("ES256");
  const topic = "org.example.chat";
  return {
    provider: "apns",
    account: {
      name: "Apple",
      config: { topic },
      credentials: { keyId: "ABCDE12345", teamId: "TEAM123456", privateKey: keys.privateKey },
    },
    services: pushServices({ apns: { publicKey: keys.publicKey as CryptoKey, teamId: "TEAM123456", topic } }),
    async device() {
      const pushToken = crypto.randomUUID().replaceAll("-", "").repeat(2);
      return { pushToken, known: pushToken };
    },
    refusal: { status: 410, body: { reason: "Unregistered" } },
    bodyOf: ({ aps }) => aps.alert.body,
  };
}

async function browsers(): Promise<Service> {
  const vapid = await newVapid();
  const readers: ((body: Uint8Array<ArrayBuffer>) => Promise<string>)[] = [];
  const read = (body: Uint8Array<ArrayBuffer>) => Promise.any(readers.map((one) => one(body)));
  return {
    provider: "webpush",
    account: {
      name: "Browsers",
      config: { publicKey: vapid.publicKey, subject: "mailto:push@example.org" },
      credentials: { privateKey: vapid.privateKey },
    },
    services: pushServices({ webpush: { ...vapid, read } }),
    async device() {
      const known = `http://localhost:8099/web-push/${crypto.randomUUID()}`;
      const browser = await newBrowser(known);
      readers.push(browser.read);
      return { pushToken: browser.token, known };
    },
    refusal: { status: 410 },
    bodyOf: ({ body }) => body,
  };
}

/** Ann writes to Ben, who has two devices with the service. */
async function setting({ account, provider, device }: Service) {
  const tenant = await newTenant();
  const made = await tenant.post("/v1/integrations", { ...account, medium: "push", provider });
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  const [ann, ben] = [await newPerson(tenant, { displayName: "Ann" }), await newPerson(tenant)];
  const members = [{ userId: ann.id }, { userId: ben.id }];
  const { id } = (await tenant.post("/v1/channels", { members })).body;
  const devices = { phone: await device(), tablet: await device() };
  for (const [deviceId, { pushToken }] of Object.entries(devices)) {
    const put = await tenant.put(`/v1/users/${ben.id}/devices/${deviceId}`, { pushProvider: provider, pushToken });
    expect(put.status, JSON.stringify(put.body)).toBe(200);
  }
  const hasTokens = async () => {
    const { data } = (await tenant.get(`/v1/users/${ben.id}/devices`)).body;
    return Object.fromEntries(data.map((one: Any) => [one.deviceId, one.hasPushToken]));
  };
  const send = async (text: string) =>
    expect((await ann.post(`/v1/channels/${id}/messages`, { text })).status).toBe(201);
  return { tenant, devices, hasTokens, send };
}

describe.each([
  ["Apple", apple],
  ["a browser's service", browsers],
] as const)("%s", (_, begin) => {
  it("that knows a token no more has it taken out of its device, and of no other", async () => {
    const service = await begin();
    const { devices, hasTokens, send } = await setting(service);
    service.services.refuse(devices.phone.known, service.refusal);

    await send("hello");

    await service.services.toldOf(devices.tablet.known);
    await vi.waitFor(async () => expect(await hasTokens()).toEqual({ phone: false, tablet: true }), { timeout: 8_000 });
  });

  it("gets no more of a long text than it takes", async () => {
    const service = await begin();
    const { tenant, devices, send } = await setting(service);
    await tenant.put("/v1/push-templates/message", { title: "{{sender}}", body: "{{text}}{{text}}" });

    await send("👩‍👩‍👧".repeat(1_000));

    // The stand-in refuses more than 4 KiB, as the service does.
    const [told] = await service.services.toldOf(devices.phone.known);
    const body = service.bodyOf(told!.payload);
    const graphemes = Array.from(new Intl.Segmenter().segment(body), ({ segment }) => segment);
    expect(new Set(graphemes)).toEqual(new Set(["👩‍👩‍👧", "…"]));
    expect(graphemes.at(-1)).toBe("…");
    expect(graphemes.length).toBeGreaterThan(150);
  });
});
