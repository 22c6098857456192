import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { textOfHtml } from "../src/mail/html-lines";
import { readMail } from "../src/mail/read";

const binary = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const mail = (...lines: string[]) => readMail(binary(lines.join("\r\n")));

describe("reading a mail", () => {
  it("finds ids, addresses, date and both bodies", async () => {
    const read = await mail(
      "Return-Path: <>",
      "From: =?UTF-8?Q?M=C3=BCller=2C_J=C3=B6rg?= <joerg@example.com>",
      'To: "Doe, Jane" <jane@example.org>, Team: a@example.org, b@example.org;',
      "Message-ID: <1@example.com>",
      "In-Reply-To: Your message <0@example.com>",
      "References: <a@example.com>",
      "\t<0@example.com>",
      "Date: Tue, 4 Mar 2025 09:05:00 +0100 (CET)",
      "Subject: =?iso-8859-1?Q?Gr=FC=DFe?= =?iso-8859-1?Q?_aus_Bonn?=",
      "Content-Type: multipart/alternative; boundary=b",
      "",
      "--b",
      "Content-Type: text/plain; charset=utf-8",
      "Content-Transfer-Encoding: quoted-printable",
      "",
      "caf=C3=A9=",
      " au lait",
      "--b",
      "Content-Type: text/html",
      "",
      "<p>café</p>".replace("é", "\xe9"),
      "--b--",
    );

    expect(read).toMatchObject({
      failure: null,
      returnPath: "",
      from: { name: "Müller, Jörg", address: "joerg@example.com" },
      to: [
        { name: "Doe, Jane", address: "jane@example.org" },
        { name: "", address: "a@example.org" },
        { name: "", address: "b@example.org" },
      ],
      messageId: "1@example.com",
      inReplyTo: "0@example.com",
      references: ["a@example.com", "0@example.com"],
      date: "2025-03-04T08:05:00.000Z",
      subject: "Grüße aus Bonn",
      text: "café au lait",
      html: "<p>café</p>",
      attachments: [],
    });
  });

  it("reads headers of bare bytes by what they are, or by the charset of the text", async () => {
    const utf8 = await mail("Subject: caf\xc3\xa9", "From: Ren\xc3\xa9 <r@example.com>", "", "x");
    const cyrillic = await mail(
      "Subject: \xcf\xf0\xe8\xe2\xe5\xf2",
      "Content-Type: text/plain; charset=windows-1251",
      "",
      "x",
    );
    const western = await mail("Subject: caf\xe9", "", "x");

    expect(utf8).toMatchObject({ subject: "café", from: { name: "René" } });
    expect(cyrillic.subject).toBe("Привет");
    expect(western.subject).toBe("café");
  });

  it("keeps attached files byte for byte, with safe names", async () => {
    const read = await mail(
      'Content-Type: multipart/mixed; boundary="b"',
      "",
      "--b",
      "",
      "See attached",
      "--b",
      "Content-Type: application/octet-stream; name*0*=utf-8''na%C3%AF; name*1=ve.bin",
      'Content-Disposition: attachment; filename="../../etc/passwd"',
      "Content-ID: <part1@example.com>",
      "",
      "\x00\x01\r\n\xff",
      "--b",
      "Content-Type: message/rfc822",
      "",
      "Subject: inner",
      "",
      "inner text",
      "--b",
      "Content-Type: text/calendar; method=request; charset=utf-8",
      "Content-Transfer-Encoding: base64",
      "",
      btoa("BEGIN:VCALENDAR"),
      "--b--",
    );

    expect(read.text).toBe("See attached");
    expect(read.attachments).toMatchObject([
      { filename: "passwd", contentId: "part1@example.com", size: 5, disposition: "attachment" },
      { filename: null, contentType: "message/rfc822" },
      { contentType: "text/calendar", method: "REQUEST", size: 15 },
    ]);
    expect([...read.attachments[0]!.content]).toEqual([0, 1, 13, 10, 255]);
    expect(new TextDecoder().decode(read.attachments[1]!.content)).toBe("Subject: inner\r\n\r\ninner text");
  });

  it("never throws, and says of what is no mail why", async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => void (await readMail(bytes))));

    expect((await readMail(new Uint8Array())).failure).toBe("empty");
    expect(await readMail(binary("\x89PNG\r\n\x1a\n"))).toMatchObject({ failure: "noHeaders" });
  });
});

describe("text of HTML", () => {
  it("reads as it looks, quotes marked", () => {
    const html =
      "<html><head><title>no</title><style>p{}</style></head><body><p>Hi&nbsp;Jo,</p><p>two<br>lines &amp; <b>bold</b></p>" +
      '<ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table><div style="display:none">unseen</div>' +
      "<!-- no --><blockquote>quoted<blockquote>twice</blockquote></blockquote><div>end</div>";

    expect(textOfHtml(html)).toBe("Hi Jo,\n\ntwo\nlines & bold\n\n- one\n- two\n\na b\n> quoted\n>> twice\nend");
  });

  it.each(["<", "<b", "<!--", "<a b='", "&#", "<i><div>", "</i>", "<blockquote>", "<style>", 'x="<'])(
    "takes linear time on %s over and over",
    (piece) => {
      const html = "<i><div>".concat("<b>".repeat(300), piece.repeat(200_000 / piece.length));

      const startedAt = performance.now();
      textOfHtml(html);

      expect(performance.now() - startedAt).toBeLessThan(5000);
    },
  );
});
