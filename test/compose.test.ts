import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compose, type Draft, type Enclosed } from "../src/mail/compose";
import { readMail } from "../src/mail/read";

const draft = (more: Partial<Draft> = {}): Draft => ({
  messageId: "0190-abc@acme.example",
  date: new Date("2026-11-27T10:00:00.000Z"),
  from: { name: "Acme", address: "info@acme.example" },
  replyTo: [],
  to: [{ name: "", address: "ann@writer.example" }],
  cc: [],
  subject: "Hello",
  inReplyTo: null,
  references: [],
  headers: [],
  text: "Hello, Ann",
  html: null,
  enclosed: [],
  ...more,
});
const enclosed = (more: Partial<Enclosed> = {}): Enclosed => ({
  ...{ filename: "a.txt", contentType: "text/plain", contentId: null, inline: false },
  content: new TextEncoder().encode("content"),
  ...more,
});
const asText = (one: Draft) => new TextDecoder().decode(compose(one));

describe("a composed mail", () => {
  it("is what RFC 5322 asks for, to the byte", () => {
    expect(
      asText(draft({ text: "Hello, Ann\n.dot\nFrom me", cc: [{ name: "Bob, Jr.", address: "b@x.example" }] })),
    ).toBe(
      [
        "Date: Fri, 27 Nov 2026 10:00:00 +0000",
        "From: Acme <info@acme.example>",
        "To: ann@writer.example",
        'Cc: "Bob, Jr." <b@x.example>',
        "Subject: Hello",
        "Message-ID: <0190-abc@acme.example>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Hello, Ann",
        "=2Edot",
        "=46rom me",
        "",
      ].join("\r\n"),
    );
  });

  it("names the first and the last ten of many references", async () => {
    const references = Array.from({ length: 30 }, (_, i) => `${i}@x.example`);
    const mail = await readMail(compose(draft({ references, inReplyTo: "29@x.example" })));
    expect(mail.references).toEqual([references[0], ...references.slice(-10)]);
    expect(mail.inReplyTo).toBe("29@x.example");
  });

  it("nests text and html within its pictures within what is attached", async () => {
    const parts = [enclosed({ contentType: "image/png", contentId: "logo", inline: true }), enclosed()];
    const one = draft({ html: '<p>Hi <img src="cid:logo"></p>', enclosed: parts });
    const kinds = [...asText(one).matchAll(/Content-Type: ([\w/]+)/g)].map(([, kind]) => kind);
    expect(kinds).toEqual([
      ...["multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"],
      "text/plain",
    ]);
    const mail = await readMail(compose(one));
    expect(mail.attachments.map(({ contentId, disposition }) => [contentId, disposition])).toEqual([
      ["logo", "inline"],
      [null, "attachment"],
    ]);
  });

  it("tells of no header that its values try to begin", () => {
    const one = asText(
      draft({
        subject: "Hi\r\nBcc: eve@x.example",
        from: { name: "A\r\nX-Own: 1", address: "info@acme.example" },
        headers: [{ name: "X-Note", value: "a\nX-Other: b" }],
        enclosed: [enclosed({ filename: 'a"\r\nX-File: 1' })],
      }),
    );
    expect(one).not.toMatch(/^(Bcc|X-Own|X-Other|X-File):/m);
  });

  it("keeps a mail within it as it is, where it is plain", async () => {
    const inner = asText(draft({ subject: "Inner" }));
    const part = enclosed({
      contentType: "message/rfc822",
      filename: "inner.eml",
      content: new TextEncoder().encode(inner),
    });
    const mail = await readMail(compose(draft({ enclosed: [part] })));
    expect(new TextDecoder().decode(mail.attachments[0]!.content)).toContain("Subject: Inner");
  });

  it("of 15 MiB takes no second copy of its files", () => {
    const content = new Uint8Array(15 * 1024 * 1024).map((_, i) => i * 7);
    const bytes = compose(draft({ enclosed: [enclosed({ content, contentType: "application/pdf" })] }));
    expect(bytes.length).toBeLessThan(content.length * 1.4);
  });
});

// What reading does to any mail: it folds blanks, and drops what is unseen.
const seen = (text: string) =>
  text
    .replace(/[\r\n\0]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
const asLines = (text: string) => text.replace(/\r\n?/g, "\n").replace(/\n+$/, "");
const unicode = (maxLength: number) =>
  fc
    .string({ unit: "binary", maxLength })
    .map((text) => text.toWellFormed().replace(/[\p{Cc}\ufeff]/gu, (c) => ("\t\n".includes(c) ? c : "")));
const word = fc.stringMatching(/^[a-z0-9]{1,20}$/);
const address = fc.tuple(word, word).map(([name, host]) => `${name}@${host}.example`);
const mailbox = fc.record({ name: unicode(120), address });
const file = fc.record({
  filename: unicode(150),
  contentType: fc.constantFrom("application/pdf", "image/png", "text/plain", "message/rfc822", "text/calendar"),
  contentId: fc.option(word),
  inline: fc.boolean(),
  content: fc.uint8Array({ maxLength: 400 }),
});

describe("what is composed is read back the same", () => {
  it("whatever its names, subject, bodies and files are", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          from: mailbox,
          to: fc.array(mailbox, { maxLength: 5 }),
          cc: fc.array(mailbox, { maxLength: 5 }),
          replyTo: fc.array(mailbox, { maxLength: 1 }),
          subject: unicode(300),
          text: unicode(600),
          html: fc.option(unicode(300).map((text) => `<p>${text}</p>`)),
          references: fc.array(
            word.map((id) => `${id}@x.example`),
            { maxLength: 20 },
          ),
          headers: fc.array(fc.record({ name: fc.constantFrom("X-A", "X-B-C"), value: unicode(200) }), {
            maxLength: 3,
          }),
          enclosed: fc.array(file, { maxLength: 4 }),
        }),
        async (given) => {
          const one = draft(given);
          const bytes = compose(one);
          const mail = await readMail(bytes);

          expect(mail.failure).toBe(null);
          const addresses = (list: readonly { name: string; address: string }[]) => list.map((a) => a.address);
          expect(addresses(mail.to)).toEqual(addresses(one.to));
          expect(addresses(mail.cc)).toEqual(addresses(one.cc));
          expect(addresses(mail.replyTo)).toEqual(addresses(one.replyTo));
          expect(mail.from?.address).toBe(one.from.address);
          expect(mail.subject).toBe(seen(one.subject));
          expect(asLines(mail.text!)).toBe(asLines(one.text));
          expect(mail.html === null ? null : asLines(mail.html)).toBe(one.html === null ? null : asLines(one.html));
          expect(mail.attachments).toHaveLength(one.enclosed.length);
          const contents = (list: readonly { content: Uint8Array }[]) =>
            list.map(({ content }) => [...content].join()).sort();
          expect(contents(mail.attachments)).toEqual(contents(one.enclosed));
          const own = mail.headers.filter(({ name }) => name.startsWith("X-"));
          expect(own.map(({ value }) => seen(value))).toEqual(one.headers.map(({ value }) => seen(value)));
          for (const line of new TextDecoder().decode(bytes).split("\r\n")) {
            expect(line).not.toMatch(/[\r\n]/);
            expect(line.length).toBeLessThanOrEqual(998);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("names of people and of files too, but for what no name has", { timeout: 120_000 }, async () => {
    const name = fc.string({ unit: "grapheme", maxLength: 100 }).map((text) =>
      seen(text.toWellFormed())
        .replace(/^['"]+|['"]+$/g, "")
        .trim(),
    );
    await fc.assert(
      fc.asyncProperty(name, name, address, async (person, filename, at) => {
        const bytes = compose(
          draft({ to: [{ name: person, address: at }], enclosed: [enclosed({ filename: `${filename}.pdf` })] }),
        );
        const mail = await readMail(bytes);
        expect(mail.to).toEqual([{ name: person === at ? "" : person, address: at }]);
        const plain = filename.split(/[/\\]/).at(-1)!;
        expect(mail.attachments[0]!.filename).toBe(`${plain}.pdf`.trim());
      }),
      { numRuns: 500 },
    );
  });
});
