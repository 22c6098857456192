import { afterEach, describe, expect, it, vi } from "vitest";
import type { Any } from "./helpers";
import { newPost } from "./mail";
import { type Call, standIn } from "./mail-vendors";
import { deliveryOf, makeDue, sendNow } from "./outbound";
import { newAccount, newMail, recordMail, referencesOf, sendOne } from "./outgoing-mails";

afterEach(() => vi.unstubAllGlobals());

const MIB = 1024 * 1024;
const UPLOADS = "https://outlook.office.com/api/upload/1?authtoken=secret";
const DRAFT = "/v1.0/me/messages/draft%3D1";

const account = () => ({
  provider: "graph",
  config: { directory: "acme.example" },
  credentials: { clientId: crypto.randomUUID(), clientSecret: "s3cret", refreshToken: "refresh-1" },
});

type Answer = { status?: number; headers?: Record<string, string>; body?: unknown };

/** Microsoft as it is documented, but for what `unlike` says of a call. */
function microsoft(unlike: (call: Call) => Answer | undefined = () => undefined, uploadUrl = UPLOADS): Call[] {
  const hosts = ["login.microsoftonline.com", "graph.microsoft.com", "outlook.office.com", "uploads.example.com"];
  return standIn(hosts, (call) => unlike(call) ?? asDocumented(call, uploadUrl));
}

function asDocumented({ host, method, path, text, headers }: Call, uploadUrl: string): Answer {
  if (host === "login.microsoftonline.com") {
    const scope = new URLSearchParams(text).get("scope")!;
    return { body: { access_token: scope.includes("Mail.ReadWrite") ? "writing" : "sending", expires_in: 3600 } };
  }
  if (method === "PUT") {
    const [, end, total] = /^bytes \d+-(\d+)\/(\d+)$/.exec(headers.get("Content-Range")!)!;
    return Number(end) + 1 === Number(total) ? { status: 201 } : { status: 200, body: { nextExpectedRanges: ["1"] } };
  }
  if (headers.get("Authorization") !== "Bearer writing") return { status: 403, body: { error: { code: "NotYours" } } };
  if (method === "DELETE") return { status: 204 };
  if (path === "/v1.0/me/messages")
    return { status: 201, body: { id: "draft=1", internetMessageId: "<AM0P1@prod.outlook.example>" } };
  if (path.endsWith("/createUploadSession")) return { status: 201, body: { uploadUrl, nextExpectedRanges: ["0-"] } };
  return path.endsWith("/send") ? { status: 202 } : { status: 201 };
}

const steps = (calls: Call[]) =>
  calls.filter(({ host }) => !host.startsWith("login")).map(({ method, path }) => `${method} ${path}`);

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255);

const HEAD = [
  'From: "Ann Sender" <ann@sender.example>',
  "To: Ben <ben@receiver.example>",
  "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
  "Message-ID: <own-id@sender.example>",
  "In-Reply-To: <before@receiver.example>",
  "References: <first@receiver.example>",
  " <before@receiver.example>",
  "Reply-To: ann+r-token@sender.example",
  "List-Unsubscribe: <https://parley.example/u/1>",
  "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
  "Auto-Submitted: no",
  ...[1, 2, 3, 4, 5, 6].map((n) => `X-Order: ${n}`),
  "MIME-Version: 1.0",
  'Content-Type: multipart/mixed; boundary="b1"',
];

type File = { name: string; content: Uint8Array; contentId?: string };

function rawMail(files: File[]): string {
  const parts = files.flatMap(({ name, content, contentId }) => [
    "--b1",
    `Content-Type: image/png; name=${name}`,
    `Content-Disposition: ${contentId ? "inline" : "attachment"}; filename=${name}`,
    ...(contentId ? [`Content-ID: <${contentId}>`] : []),
    "Content-Transfer-Encoding: base64",
    "",
    Buffer.from(content).toString("base64").replaceAll(/.{76}/g, "$&\r\n"),
  ]);
  const body = [
    "--b1",
    "Content-Type: text/html; charset=utf-8",
    "",
    '<p>Höre <img src="cid:logo@sender.example"></p>',
  ];
  return [...HEAD, "", ...body, ...parts, "--b1--", ""].join("\r\n");
}

const LOGO = { name: "logo.png", content: new Uint8Array([0, 1, 2, 255]), contentId: "logo@sender.example" };
const LARGE = { name: "large.png", content: bytesOf(9 * MIB + 17) };
const raw = rawMail([LOGO, LARGE]);

describe("A mail that Microsoft Graph takes in no single request", () => {
  it("goes as a draft, with its large attachments by ranges of bytes, and is sent at the end", async () => {
    const calls = microsoft();
    const { tenant, account: own } = await newAccount(account());
    const recipients = [
      { address: "ben@receiver.example" },
      { address: "cleo@receiver.example", kind: "cc" as const },
      { address: "carl@receiver.example", kind: "bcc" as const },
    ];
    const { ids } = await newMail(tenant, { integrationId: own.id, recipients, raw });

    await sendNow(tenant, ids);

    const sent = await Promise.all(ids.map(deliveryOf));
    expect(sent.map(({ status, error }) => [status, error])).toEqual(ids.map(() => ["sent", null]));
    const put = "PUT /api/upload/1";
    expect(steps(calls)).toEqual([
      "POST /v1.0/me/messages",
      `POST ${DRAFT}/attachments/createUploadSession`,
      ...[put, put, put],
      `POST ${DRAFT}/send`,
    ]);

    const [grant, draft, session] = calls as [Call, Call, Call];
    expect(new URLSearchParams(grant.text).get("scope")).toMatch(/Mail\.ReadWrite .*Mail\.Send .*offline_access/);
    const mailbox = (address: string, name?: string) => ({ emailAddress: { address, ...(name && { name }) } });
    expect(draft.json).toEqual({
      subject: "Grüße",
      body: { contentType: "html", content: expect.stringContaining("<p>Höre <img") },
      from: mailbox("ann@sender.example", "Ann Sender"),
      toRecipients: [mailbox("ben@receiver.example", "Ben")],
      ccRecipients: [mailbox("cleo@receiver.example")],
      bccRecipients: [mailbox("carl@receiver.example")],
      replyTo: [mailbox("ann+r-token@sender.example")],
      internetMessageHeaders: [1, 2, 3, 4, 5].map((n) => ({ name: "X-Order", value: `${n}` })),
      singleValueExtendedProperties: [
        { id: "String 0x1042", value: "<before@receiver.example>" },
        { id: "String 0x1039", value: "<first@receiver.example> <before@receiver.example>" },
        { id: "String 0x1045", value: "<https://parley.example/u/1>" },
        {
          id: "String {00020386-0000-0000-C000-000000000046} Name List-Unsubscribe-Post",
          value: "List-Unsubscribe=One-Click",
        },
      ],
      attachments: [
        {
          "@odata.type": "#microsoft.graph.fileAttachment",
          ...{ name: "logo.png", contentType: "image/png", isInline: true, contentId: "logo@sender.example" },
          contentBytes: "AAEC/w==",
        },
      ],
    });
    expect(session.json).toEqual({
      AttachmentItem: {
        ...{ attachmentType: "file", name: "large.png", contentType: "image/png", isInline: false },
        size: LARGE.content.length,
      },
    });

    const uploads = calls.filter(({ method }) => method === "PUT");
    const range = 12 * 320 * 1024;
    expect(uploads.map(({ headers }) => headers.get("Content-Range"))).toEqual([
      `bytes 0-${range - 1}/${LARGE.content.length}`,
      `bytes ${range}-${2 * range - 1}/${LARGE.content.length}`,
      `bytes ${2 * range}-${LARGE.content.length - 1}/${LARGE.content.length}`,
    ]);
    expect(Buffer.concat(uploads.map(({ bytes }) => bytes)).equals(Buffer.from(LARGE.content))).toBe(true);
    for (const { headers, query } of uploads) {
      expect(headers.get("Authorization")).toBeNull();
      expect(headers.get("Content-Type")).toBe("application/octet-stream");
      expect(query).toBe("?authtoken=secret");
    }
  });

  it("is found by replies under the Message-ID that Microsoft gives it", async () => {
    microsoft();
    const { tenant, inbox } = await newPost();
    const { body: own } = await tenant.post("/v1/integrations", { name: "Mail", medium: "email", ...account() });
    const { ids } = await newMail(tenant, { integrationId: own.id, raw });
    await recordMail(inbox, ids[0]!);

    await sendNow(tenant, ids);

    expect(await referencesOf(tenant)).toContainEqual({
      referenced_id: "AM0P1@prod.outlook.example",
      kind: "provider",
    });
  });

  it("has its many small attachments one by one where the draft has no room for them", async () => {
    const calls = microsoft();
    const files = [1, 2, 3].map((n) => ({ name: `${n}.png`, content: bytesOf(2 * MIB + n) }));

    const { delivery } = await sendOne(account(), { raw: rawMail(files) });

    expect(delivery.status).toBe("sent");
    expect(steps(calls)).toEqual([
      "POST /v1.0/me/messages",
      `POST ${DRAFT}/attachments`,
      `POST ${DRAFT}/attachments`,
      `POST ${DRAFT}/send`,
    ]);
    const held = [...calls[1]!.json.attachments, calls[2]!.json, calls[3]!.json];
    expect(held.map(({ name }: Any) => name)).toEqual(["1.png", "2.png", "3.png"]);
    for (const [i, { contentBytes }] of held.entries())
      expect(Buffer.from(contentBytes, "base64").equals(Buffer.from(files[i]!.content))).toBe(true);
  });

  const throttled = { status: 429, headers: { "Retry-After": "7000" }, body: { error: { code: "TooMany" } } };
  const inRange = (start: number) => (call: Call) =>
    call.method === "PUT" && Boolean(call.headers.get("Content-Range")?.startsWith(`bytes ${start}-`));
  const at = (end: string) => (call: Call) => call.path.endsWith(end);
  it.each<[string, (call: Call) => boolean, Answer, string, string]>([
    ["throttled when the draft is made", at("/me/messages"), throttled, "pending", "POST /v1.0/me/messages"],
    ["throttled by its uploads", inRange(12 * 320 * 1024), throttled, "pending", `DELETE ${DRAFT}`],
    ["throttled when it is sent", at("/send"), throttled, "pending", `DELETE ${DRAFT}`],
    ["out of its session", inRange(0), { status: 401 }, "pending", `DELETE ${DRAFT}`],
    ["not whole at the end", inRange(24 * 320 * 1024), { status: 200 }, "pending", `DELETE ${DRAFT}`],
    ["without its draft", at("/createUploadSession"), { status: 404 }, "pending", `DELETE ${DRAFT}`],
    ["too large for the mailbox", at("/send"), { status: 413 }, "failed", `DELETE ${DRAFT}`],
  ])("%s: nothing is sent, and no draft is left", async (_, isMeant, answer, became, last) => {
    const calls = microsoft((call) => (isMeant(call) ? answer : undefined));

    const { delivery, account: after } = await sendOne(account(), { raw });

    expect(delivery.status).toBe(became);
    expect(after.status).toBe("active");
    expect(steps(calls).at(-1)).toBe(last);
    const sends = calls.filter(at("/send"));
    expect(sends.length).toBe(isMeant({ path: "/send", method: "POST" } as Call) ? 1 : 0);
  });

  it("is tried again, as any other, where nothing is heard of its sending", async () => {
    const calls = microsoft(({ path }) => {
      if (path.endsWith("/send")) throw new TypeError("The connection was lost.");
      return undefined;
    });

    const { delivery, account: after } = await sendOne(account(), { raw });

    expect(delivery).toMatchObject({ status: "pending", error: "The provider could not be asked." });
    expect(after.status).toBe("active");
    expect(steps(calls).slice(-2)).toEqual([`POST ${DRAFT}/send`, `DELETE ${DRAFT}`]);
  });

  it("waits as long as Microsoft asks, and has a draft of its own each time", async () => {
    let isBusy = true;
    const calls = microsoft((call) => (call.method === "PUT" && isBusy ? throttled : undefined));
    const { tenant, account: own } = await newAccount(account());
    const { ids } = await newMail(tenant, { integrationId: own.id, raw });

    await sendNow(tenant, ids);
    const { next_attempt_at: next } = await deliveryOf(ids[0]!);
    expect(Date.parse(next) - Date.now()).toBeGreaterThan(6_900_000);
    isBusy = false;
    await makeDue(ids);
    await sendNow(tenant, ids);
    expect(calls.filter(at("/send"))).toHaveLength(1);
    expect(calls.filter(at("/me/messages"))).toHaveLength(2);
  });

  it.each([
    "https://uploads.example.com/1",
    "http://outlook.office.com/1",
    "https://outlook.office.com:8443/1",
    "https://outlook.office.com@uploads.example.com/1",
    "https://outlook.office.com.uploads.example.com/1",
    "https://notoutlook.com/1",
    "nowhere",
  ])("gives none of its bytes to %s", async (url) => {
    const calls = microsoft(undefined, url);

    const { delivery } = await sendOne(account(), { raw });

    expect(delivery).toMatchObject({ status: "failed", error: expect.stringContaining("not its own") });
    expect(calls.filter(({ method }) => method === "PUT")).toEqual([]);
    expect(steps(calls).at(-1)).toBe(`DELETE ${DRAFT}`);
  });

  it("fails by itself where the user let the app send and no more: what is small goes on", async () => {
    const error_description = "AADSTS65001: The user or administrator has not consented to use the application.";
    microsoft(({ host, text }) =>
      host.startsWith("login") && text.includes("ReadWrite")
        ? { status: 400, body: { error: "invalid_grant", suberror: "consent_required", error_description } }
        : undefined,
    );

    const { delivery, account: after } = await sendOne(account(), { raw });

    expect(delivery).toMatchObject({ status: "failed", error: expect.stringContaining("Mail.ReadWrite") });
    expect(after.status).toBe("active");
  });
});
