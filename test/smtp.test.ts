import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { utf8 } from "../src/lib/crypto";
import { callProvider } from "../src/providers/call";
import { dotStuffed } from "../src/providers/dot-stuffing";
import { ANSWER_MS, CALL_MS, patienceOf } from "../src/providers/patience";
import { smtp } from "../src/providers/smtp";
import type { Any } from "./helpers";
import { sendNow } from "./outbound";
import { newAccount, newMail, RAW, sendOne } from "./outgoing-mails";

const server = inject("mailServer");
type Script = Record<string, unknown>;

/** A server that speaks as the script says, and an account of it. */
async function newServer(script: Script = {}, port: "tls" | "starttls" = "starttls") {
  const name = `${crypto.randomUUID()}.example`;
  await fetch(`${server.control}/script/${name}`, { method: "PUT", body: JSON.stringify(script) });
  const input = {
    provider: "smtp",
    config: { host: "localhost", port: server[port], security: port, name },
    credentials: { username: "ann", password: "secret" },
  };
  const seen = async (): Promise<Any[]> => (await fetch(`${server.control}/seen/${name}`)).json() as Promise<Any[]>;
  return { name, input, seen };
}
const mailIn = (session: Any) => Buffer.from(session.mail, "base64").toString("utf8");
const bytesIn = (session: Any) => new Uint8Array(Buffer.from(session.mail, "base64"));

describe("a mail", () => {
  it.each(["tls", "starttls"] as const)(
    "goes out encrypted by %s, byte for byte, under its own envelope",
    async (port) => {
      const { name, input, seen } = await newServer({}, port);

      const { delivery, ids } = await sendOne(input);

      expect(delivery).toMatchObject({ status: "sent", provider_message_id: ids[0] });
      const [session] = await seen();
      expect(session).toMatchObject({ secure: true, username: "ann", password: "secret" });
      expect(mailIn(session)).toBe(RAW);
      const mail = ["AUTH PLAIN AGFubgBzZWNyZXQ=", `MAIL FROM:<ann+b-token@sender.example> SIZE=${RAW.length}`];
      const rest = [...mail, "RCPT TO:<ben@receiver.example>", "DATA", "QUIT"];
      const greeting = [`EHLO ${name}`, ...(port === "starttls" ? ["STARTTLS", `EHLO ${name}`] : [])];
      expect(session.commands).toEqual([...greeting, ...rest]);
    },
  );

  it("goes to each recipient by itself, with the recipient's own headers in front", async () => {
    const { input, seen } = await newServer();
    const { tenant, account } = await newAccount(input);
    const own = { "List-Unsubscribe": "<https://parley.test/u/1>" };
    const recipients = [
      { address: "ben@receiver.example", headers: own },
      { address: "cleo@receiver.example", kind: "bcc" as const },
    ];
    const { ids } = await newMail(tenant, { integrationId: account.id, recipients });

    await sendNow(tenant, ids);

    const byRecipient = Object.fromEntries((await seen()).map((one) => [one.commands.at(-3), mailIn(one)]));
    expect(byRecipient).toEqual({
      "RCPT TO:<ben@receiver.example>": `List-Unsubscribe: <https://parley.test/u/1>\r\n${RAW}`,
      "RCPT TO:<cleo@receiver.example>": RAW,
    });
  });

  it("that nothing may come back to has the null sender", async () => {
    const { input, seen } = await newServer({ extensions: ["AUTH LOGIN"] });

    expect((await sendOne(input, { envelopeFrom: "" })).delivery.status).toBe("sent");

    const [session] = await seen();
    expect(session.commands).toContain("MAIL FROM:<>");
    expect(session).toMatchObject({ username: "ann", password: "secret" });
  });

  it("of 8 bits and of addresses beyond ASCII is announced as such, its domains in ASCII", async () => {
    const { input, seen } = await newServer({ slowly: true });
    const raw = "Subject: Grüße\r\n\r\nschöne Grüße\r\n";

    const recipients = [{ address: "jürgen@bücher.example" }];
    expect((await sendOne(input, { raw, recipients })).delivery.status).toBe("sent");

    const [session] = await seen();
    const size = new TextEncoder().encode(raw).length;
    expect(session.commands).toContain(`MAIL FROM:<ann+b-token@sender.example> SIZE=${size} BODY=8BITMIME SMTPUTF8`);
    expect(session.commands).toContain("RCPT TO:<jürgen@xn--bcher-kva.example>");
    expect(mailIn(session)).toBe(raw);
  });

  it("of a megabyte with every byte arrives as it is", async () => {
    const { input, seen } = await newServer({}, "tls");
    const body = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 7919) >> 3)
      .map((byte) => (byte === 13 || byte === 10 ? 46 : byte))
      .map((byte, i) => (i % 200 === 198 ? 13 : i % 200 === 199 ? 10 : byte));
    const raw = new Uint8Array([...new TextEncoder().encode("Subject: x\r\n\r\n"), ...body]);

    expect((await sendOne(input, { raw })).delivery.status).toBe("sent");

    const came = bytesIn((await seen())[0]);
    expect(came.length).toBe(raw.length);
    expect(came.findIndex((byte, i) => byte !== raw[i])).toBe(-1);
  });
});

const hard = { hard: true, reason: "userUnknown", status: "5.1.1" };
describe("what a server refuses", () => {
  it.each<[string, Script, Any, Any, string]>([
    ["an unknown user", { rcpt: "550 5.1.1 User unknown" }, { status: "bounced" }, hard, "active"],
    ["a full mailbox for good", { rcpt: "552 5.2.2 Mailbox full" }, { status: "failed" }, { hard: false }, "active"],
    ["a sender by its policy", { rcpt: "550 5.7.1 Not welcome" }, { status: "failed" }, { hard: false }, "active"],
    ["a full mailbox", { rcpt: "452 4.2.2 Mailbox full" }, { status: "pending" }, { reason: "mailboxFull" }, "active"],
    [
      "its content",
      { content: "554-5.7.1 Message rejected\n554 5.7.1 as spam" },
      { status: "failed" },
      { reason: "spam", hard: false },
      "active",
    ],
    ["a greylisted sender", { rcpt: "450 4.7.1 Greylisted, try later" }, { status: "pending" }, {}, "active"],
    ["a wrong password", { auth: "535 5.7.8 Bad credentials" }, { status: "pending" }, {}, "failing"],
    ["relaying", { rcpt: "554 5.7.1 Relay access denied" }, { status: "pending" }, { hard: false }, "failing"],
    [
      "more than a day's mails",
      { content: "550 5.4.5 Daily user sending limit exceeded" },
      { status: "pending" },
      {},
      "failing",
    ],
    ["anybody at the moment", { ehlo: "421 4.3.2 Shutting down" }, { status: "pending" }, {}, "active"],
  ])("%s is classed by what it says", async (_, answers, became, details, health) => {
    const { input } = await newServer({ answers });

    const { delivery, ledger, account } = await sendOne(input);

    const error = (Object.values(answers) as string[])[0]!.replace(/^(\d+)-(.*)\n\1 5\.7\.1/, "$1 $2");
    expect(delivery).toMatchObject({ ...became, error });
    expect(ledger.at(-1).details).toMatchObject(details);
    expect(account.status).toBe(health);
  });

  it("an unknown user bounces hard: half a year no stream is sent to them, and statistics count it", async () => {
    const { input } = await newServer({ answers: { rcpt: "550 5.1.1 User unknown" } });

    const { tenant, ids } = await sendOne(input);

    const { data } = (await tenant.get("/v1/suppressions")).body;
    expect(data).toMatchObject([
      { address: "ben@receiver.example", stream: "*", reason: "bounce", deliveryId: ids[0] },
    ]);
    expect(Math.round((Date.parse(data[0].expiresAt) - Date.now()) / 86_400_000)).toBe(180);
    expect((await tenant.get("/v1/email-statistics")).body.data).toMatchObject([
      { recipients: 1, hardBounced: 1, softBounced: 0, suppressed: 0 },
    ]);
  });

  it.each<[string, Script, Partial<Parameters<typeof sendOne>[1]>, Any]>([
    ["without encryption nothing is said", { extensions: ["AUTH PLAIN", "NOTLS"] }, {}, { status: "failing" }],
    ["what is said before the handshake is not believed", { injects: "250 Welcome" }, {}, { status: "failing" }],
    ["nor is a way to log in made up", { extensions: ["AUTH GSSAPI"] }, {}, { status: "failing" }],
    [
      "8 bits do not go where 7 are taken",
      { extensions: ["AUTH PLAIN"] },
      { raw: "A: b\r\n\r\nü\r\n" },
      { status: "active" },
    ],
  ])("%s", async (_, script, wish, health) => {
    const { input, seen } = await newServer(script);

    const { delivery, account } = await sendOne(input, wish);

    expect(delivery.status).not.toBe("sent");
    expect(account).toMatchObject(health);
    expect((await seen()).some(({ mail }) => mail !== null)).toBe(false);
  });

  it("after its last byte has the time that reading a mail takes, and no more before it than a command takes", async () => {
    const { input } = await newServer();
    const allowed: number[] = [];
    const content = { from: { address: "ann@a.example", name: null }, subject: "", envelopeFrom: "ann@a.example" };
    const outgoing = {
      ...{ id: "d1", channelId: "c1", messageId: "m1", medium: "email" as const, recipient: "ben@b.example" },
      ...{ content: { ...content, kind: "to", rawKey: "", headers: {}, stream: "transactional" }, attempt: 1 },
      mail: async () => utf8(RAW),
    };
    const config = smtp.config.parse(input.config);

    await callProvider(env, CALL_MS, (io) =>
      smtp.send(
        [outgoing],
        { id: null, tenantId: "t1", config, credentials: input.credentials },
        { ...io, allow: (ms) => void allowed.push(ms) },
      ),
    );

    expect(allowed).toEqual([CALL_MS, patienceOf(RAW.length), ANSWER_MS]);
    expect(CALL_MS).toBeLessThanOrEqual(15_000);
    expect(Math.min(patienceOf(0), ANSWER_MS)).toBeGreaterThanOrEqual(60_000);
  });

  it("by silence is tried again", async () => {
    const { input } = await newServer({ silentAt: "rcpt" });

    expect((await sendOne(input)).delivery).toMatchObject({
      status: "pending",
      error: "The provider did not answer in time.",
    });
  });

  it.each([
    ["10.0.0.7", 587, "The host is an IP address."],
    ["mail.internal", 587, "Names under .internal are not public."],
    ["mail.example.com", 25, "Port 25 is none of those that take mail in."],
  ])("a server at %s:%i is not called", async (host, port, error) => {
    const { account } = await sendOne({ provider: "smtp", config: { host, port } });

    expect(account).toMatchObject({ status: "failing", error });
  });

  it("a check says whether it lets us in", async () => {
    const good = await newServer();
    const bad = await newServer({ answers: { auth: "535 5.7.8 Bad credentials" } });
    const check = async (input: Any) => {
      const { tenant, account } = await newAccount(input);
      return (await tenant.post(`/v1/integrations/${account.id}/check`)).body;
    };

    expect(await check(good.input)).toMatchObject({ status: "active" });
    expect(await check(bad.input)).toMatchObject({ status: "failing", error: "535 5.7.8 Bad credentials" });
  });
});

describe("dot-stuffing", () => {
  const text = fc
    .array(fc.constantFrom(".", "\r\n", "\n", "\r", "a", "..", "ü"), { maxLength: 40 })
    .map((all) => all.join(""));
  const utf8 = (all: string) => new TextEncoder().encode(all);
  const stuffed = (all: string) => new TextDecoder().decode(dotStuffed(utf8(all)));
  const read = (sent: string) =>
    sent
      .split("\r\n")
      .slice(0, -2)
      .map((line) => `${line.replace(/^\./, "")}\r\n`)
      .join("");

  it("ends with the only line that is a dot, has no bare line ends, and is read back as it was", () => {
    fc.assert(
      fc.property(text, (all) => {
        const sent = stuffed(all);
        const lines = sent.split("\r\n");

        expect(lines.slice(-2)).toEqual([".", ""]);
        expect(lines.indexOf(".")).toBe(lines.length - 2);
        expect(sent.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
        const whole = all.replaceAll(/\r\n|\r|\n/g, "\r\n");
        expect(read(sent)).toBe(whole === "" || whole.endsWith("\r\n") ? whole : `${whole}\r\n`);
      }),
    );
  });
});
