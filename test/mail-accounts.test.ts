import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readMail } from "../src/mail/read";
import type { Any } from "./helpers";
import { newPost } from "./mail";
import { standIn } from "./mail-vendors";
import { askWith, deliveryOf, sendNow } from "./outbound";
import { newAccount, newMail, RAW, recordMail, referencesOf, sendOne } from "./outgoing-mails";

afterEach(() => vi.unstubAllGlobals());

describe("Microsoft Graph", () => {
  const HOSTS = ["login.microsoftonline.com", "graph.microsoft.com"];
  const credentials = () => ({ clientId: crypto.randomUUID(), clientSecret: "s3cret", refreshToken: "refresh-1" });
  const account = () => ({ provider: "graph", config: { directory: "acme.example" }, credentials: credentials() });
  /** Each refresh token is good once, as those of public clients are. */
  function microsoft(answer: () => Any = () => ({ status: 202 })) {
    let good = 1;
    return standIn(HOSTS, ({ host, text, headers }) => {
      if (host === "graph.microsoft.com")
        return headers.get("Authorization") === `Bearer access-${good}`
          ? answer()
          : { status: 401, body: { error: { code: "InvalidAuthenticationToken" } } };
      const form = new URLSearchParams(text);
      if (form.get("refresh_token") !== `refresh-${good}` || form.get("grant_type") !== "refresh_token")
        return { status: 400, body: { error: "invalid_grant" } };
      good++;
      return { body: { access_token: `access-${good}`, refresh_token: `refresh-${good}`, expires_in: 3600 } };
    });
  }

  it("sends a mail as it is to those who wait for it, as its headers name them", async () => {
    const calls = microsoft();
    const { tenant, account: own } = await newAccount(account());
    const recipients = [
      { address: "ben@receiver.example" },
      { address: "carl@receiver.example", kind: "bcc" as const },
    ];
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients });

    await sendNow(tenant, ids);

    const sent = await Promise.all(ids.map(deliveryOf));
    expect(sent.map(({ status }) => status)).toEqual(["sent", "sent"]);
    // One call for both, under the id of whichever was claimed first.
    expect(ids).toContain(sent[0]!.provider_message_id);
    expect(sent[1]!.provider_message_id).toBe(sent[0]!.provider_message_id);
    expect(calls.map(({ host, path }) => host + path)).toEqual([
      "login.microsoftonline.com/acme.example/oauth2/v2.0/token",
      "graph.microsoft.com/v1.0/me/sendMail",
    ]);
    expect(calls[1]!.headers.get("Content-Type")).toBe("text/plain");
    const raw = Buffer.from(calls[1]!.text, "base64").toString();
    const mail = await readMail(new TextEncoder().encode(raw));
    const addresses = (all: { address: string }[]) => all.map((one) => one.address);
    expect([mail.to, mail.cc, mail.bcc].map(addresses)).toEqual([
      ["ben@receiver.example"],
      [],
      ["carl@receiver.example"],
    ]);
    expect(mail.messageId).toBe("own-id@sender.example");
    expect(raw.slice(raw.indexOf("\r\n\r\n"))).toBe(RAW.slice(RAW.indexOf("\r\n\r\n")));
  });

  it("keeps the new refresh token that each use brings, sealed, so that the next one works", async () => {
    const calls = microsoft();
    const { tenant, account: own } = await newAccount(account());
    const send = async () => {
      const { ids } = await newMail(tenant, { integrationId: own.id });
      await sendNow(tenant, ids);
      return (await deliveryOf(ids[0]!)).status;
    };

    expect(await send()).toBe("sent");
    expect(await send()).toBe("sent");

    // An isolate that knows no access token yet: 401 makes this one forget its own.
    vi.unstubAllGlobals();
    standIn(HOSTS, () => ({ status: 401, body: { error: { code: "InvalidAuthenticationToken" } } }));
    expect(await send()).toBe("pending");
    vi.unstubAllGlobals();
    const again = standIn(HOSTS, ({ host, text }) =>
      host === "graph.microsoft.com"
        ? { status: 202 }
        : { body: { access_token: new URLSearchParams(text).get("refresh_token"), expires_in: 3600 } },
    );
    expect(await send()).toBe("sent");

    const grants = (all: typeof calls) => all.filter(({ host }) => host.startsWith("login")).map(({ text }) => text);
    expect(grants(calls)).toHaveLength(1);
    expect(new URLSearchParams(grants(again)[0]).get("refresh_token")).toBe("refresh-2");
  });

  it.each<[number, string, string, string]>([
    [403, "ErrorAccessDenied", "pending", "failing"],
    [429, "ApplicationThrottled", "pending", "active"],
    [400, "ErrorInvalidRecipients", "failed", "active"],
    [413, "ErrorMessageSizeExceeded", "failed", "active"],
    [503, "ServiceUnavailable", "pending", "active"],
  ])("%i %s: the mail is %s, the account %s", async (status, code, became, health) => {
    microsoft(() => ({ status, body: { error: { code, message: "No." } } }));

    const { delivery, account: after } = await sendOne(account());

    expect(delivery).toMatchObject({ status: became, error: `Microsoft refuses: ${code} No.` });
    expect(after.status).toBe(health);
  });

  it("says by a check whether it knows the account and takes the grant", async () => {
    let status = 403;
    microsoft(() => ({ status, body: { error: { code: "ErrorAccessDenied", message: "No." } } }));
    const { tenant, account: own } = await newAccount(account());
    const revoked = { ...account(), credentials: { ...credentials(), refreshToken: "revoked" } };
    const { tenant: other, account: theirs } = await newAccount(revoked);
    const check = async () => (await tenant.post(`/v1/integrations/${own.id}/check`)).body;

    expect(await check()).toMatchObject({ status: "failing", error: "Microsoft refuses: ErrorAccessDenied No." });
    status = 200;
    expect(await check()).toMatchObject({ status: "active", error: null });
    expect((await other.post(`/v1/integrations/${theirs.id}/check`)).body).toMatchObject({
      status: "failing",
      error: "Microsoft gives no access token: invalid_grant.",
    });
  });

  it("a grant that was taken back makes the account failing", async () => {
    microsoft();
    const { delivery, account: after } = await sendOne({
      ...account(),
      credentials: { ...credentials(), refreshToken: "revoked" },
    });

    expect(delivery.status).toBe("pending");
    expect(after).toMatchObject({ status: "failing", error: "Microsoft gives no access token: invalid_grant." });
  });
});

describe("Cloudflare", () => {
  it("says by a check whether the deployment has the binding", async () => {
    const { tenant, account: own } = await newAccount({ provider: "cloudflare" });
    const path = `/v1/integrations/${own.id}/check`;
    const bare = { ...env, EMAIL: undefined } as unknown as Env;

    expect((await askWith(bare, tenant, "POST", path, undefined)).body).toMatchObject({
      status: "failing",
      error: "The deployment has no send_email binding.",
    });
    expect((await tenant.post(path)).body).toMatchObject({ status: "active", error: null });
  });

  it("takes a mail by the binding of the deployment", async () => {
    const { delivery } = await sendOne({ provider: "cloudflare" });

    expect(delivery).toMatchObject({ status: "sent", error: null });
    expect(delivery.provider_message_id).toBeTruthy();
  });

  it.each<[string | null, string, string]>([
    ["E_SENDER_NOT_VERIFIED", "pending", "failing"],
    ["E_DAILY_LIMIT_EXCEEDED", "pending", "failing"],
    ["E_RATE_LIMIT_EXCEEDED", "pending", "active"],
    ["E_RECIPIENT_SUPPRESSED", "suppressed", "active"],
    ["E_CONTENT_TOO_LARGE", "failed", "active"],
    ["E_INTERNAL_SERVER_ERROR", "pending", "active"],
    [null, "pending", "failing"],
  ])("%s: the mail is %s, the account %s", async (code, became, health) => {
    const refusing = { send: () => Promise.reject(Object.assign(new Error("No."), { code })) };
    const { tenant, account } = await newAccount({ provider: "cloudflare" });
    const { ids } = await newMail(tenant, { integrationId: account.id });

    await sendNow(tenant, ids, { EMAIL: (code === null ? undefined : refusing) as typeof env.EMAIL });

    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: became });
    expect((await tenant.get(`/v1/integrations/${account.id}`)).body.status).toBe(health);
  });

  it("gives the binding the mail byte for byte, its sender and one recipient; replies name the id it answers", async () => {
    const rfcId = `${crypto.randomUUID()}@sender.example`;
    const given: Any[] = [];
    const binding = {
      async send({ from, to, "EmailMessage::raw": raw }: Any) {
        given.push({ from, to, raw: await new Response(raw).text() });
        return { messageId: `<${rfcId}>` };
      },
    };
    const { tenant, inbox } = await newPost();
    await tenant.post("/v1/integrations", { name: "Cloudflare", medium: "email", provider: "cloudflare" });
    const { ids } = await newMail(tenant, { integrationId: null });
    await recordMail(inbox, ids[0]!);

    await sendNow(tenant, ids, { EMAIL: binding as unknown as typeof env.EMAIL });

    expect(given).toEqual([{ from: "ann@sender.example", to: "ben@receiver.example", raw: RAW }]);
    expect(await deliveryOf(ids[0]!)).toMatchObject({ status: "sent", provider_message_id: rfcId });
    expect(await referencesOf(tenant)).toEqual([{ referenced_id: rfcId, kind: "provider" }]);
  });
});
