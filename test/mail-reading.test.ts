import { describe, expect, it } from "vitest";
import { originalOf } from "../src/mail/bounce-reports";
import { bouncesOf } from "../src/mail/bounces";
import { dryRun } from "../src/mail/dry-run";
import { textOfHtml } from "../src/mail/html-lines";
import { readMail } from "../src/mail/read";
import { replyOf } from "../src/mail/reply";
import { sanitize } from "../src/mail/sanitize";
import { signalsOf } from "../src/mail/signals";
import { verdictsOf } from "../src/mail/verdicts";
import { corpus } from "./mail/corpus";

const mail = (...lines: string[]) => readMail(new TextEncoder().encode(lines.join("\r\n")));
const named = (name: string) => readMail(corpus.find((one) => one.name === name)!.raw);

describe("HTML made safe", () => {
  it.each([
    ["<script>alert(1)</script>x", "x"],
    ["<style>body{display:none}</style>x", "x"],
    ["<SCRIPT/src=//evil.example>", ""],
    ["<img src=x onerror=alert(1)>", "<img>"],
    ['<a href="java\tscript:alert(1)">x</a>', '<a target="_blank" rel="noopener noreferrer nofollow">x</a>'],
    ['<a href="&#106;avascript:alert(1)">x</a>', '<a target="_blank" rel="noopener noreferrer nofollow">x</a>'],
    ["<form action=//evil.example><input name=p><button>Go</button></form>", "Go"],
    ["<iframe src=//evil.example></iframe>", ""],
    ["<svg><style><img src=x onerror=alert(1)></style></svg>", ""],
    ["<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=alert(1)>'>", ""],
    ["<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<img>&#39;&gt;".replace("&#39;", "'")],
    ["<textarea></textarea><img src=x onerror=alert(1)>", "<img>"],
    ["<p style='position:fixed;top:0;color:red;background:url(//e.example/x)'>x</p>", '<p style="color:red">x</p>'],
    ["<p style='width:expression(alert(1));margin:-99px'>x</p>", "<p>x</p>"],
    ["<div class=a id=b data-x=1>x", "<div>x</div>"],
    ["</div></p><b>x", "<b>x</b>"],
    ["<base href=//evil.example><meta http-equiv=refresh content='0;url=//e'><link rel=stylesheet href=//e>x", "x"],
    ["a < b & c", "a &lt; b &amp; c"],
    ["<b <script>alert(1)</script>>x</b>", "<b>alert(1)&gt;x</b>"],
    ['<img src="data:text/html;base64,PHNjcmlwdD4=">', "<img>"],
  ])("%s", (given, expected) => {
    expect(sanitize(given).html).toBe(expected);
  });

  it("shows no remote image unless told to, and says how many it left out", () => {
    const html = '<img src="https://track.example/p.gif?id=1" alt="x"><img src="//cdn.example/a.png"><p>text</p>';

    expect(sanitize(html)).toEqual({ html: '<img alt="x"><img><p>text</p>', blockedImages: 2 });
    expect(sanitize(html, { remoteImages: true })).toEqual({
      html: '<img src="https://track.example/p.gif?id=1" alt="x"><img src="//cdn.example/a.png"><p>text</p>',
      blockedImages: 0,
    });
  });

  it("asks for the address of an attached image", () => {
    const html = '<img src="cid:one%40example.com"><img src="cid:unknown">';

    const { html: safe } = sanitize(html, { imageUrl: (id) => (id === "one@example.com" ? "/v1/f?a=1&b=2" : null) });

    expect(safe).toBe('<img src="/v1/f?a=1&amp;b=2"><img>');
  });
});

describe("verdicts", () => {
  const results = (server: string, rest: string) => `Authentication-Results: ${server}; ${rest}`;
  const PASS =
    "spf=pass (ok; really) smtp.mailfrom=bounce@mail.example.com; dkim=pass header.d=example.com; dmarc=pass";

  it("are those of the topmost server that is trusted, never those a sender wrote", async () => {
    const forged = await mail(
      results("evil.example", PASS),
      results("mx.parley.example", "spf=fail smtp.mailfrom=a@example.com; dkim=none"),
      "Received: by evil.example",
      results("mx.parley.example", PASS),
      "From: a@example.com",
      "",
      "x",
    );

    expect(verdictsOf(forged, ["mx.parley.example"])).toEqual({
      spf: "fail",
      dkim: "none",
      dmarc: "none",
      aligned: false,
      unauthenticated: true,
    });
    expect(verdictsOf(forged, [])).toMatchObject({ spf: "none", unauthenticated: true });
  });

  it.each([
    ["a@example.com", "dkim=pass header.d=example.com", true],
    ["a@news.example.com", "dkim=pass header.i=@mail.example.com", true],
    ["a@one.co.uk", "spf=pass smtp.mailfrom=two.co.uk", false],
    ["a@example.com", "dkim=pass header.d=sender.example; spf=pass smtp.mailfrom=sender.example", false],
    ["a@example.com", "dkim=fail header.d=example.com; dkim=pass header.d=sender.example; dmarc=fail", false],
    ["a@example.com", "dmarc=pass header.from=example.com", true],
    ["a@example.com", "dmarc=pass header.from=evil.example", false],
    ["a@example.com", "dmarc=pass", false],
    ["a@one.github.io", "dkim=pass header.d=two.github.io", false],
    ["a@mail.one.workers.dev", "spf=pass smtp.mailfrom=one.workers.dev", true],
  ])("of From %s and %s: aligned is %s", async (from, rest, aligned) => {
    const read = await mail(results("mx.parley.example 1", rest), `From: ${from}`, "", "x");

    expect(verdictsOf(read, ["MX.parley.example"])).toMatchObject({ aligned, unauthenticated: !aligned });
  });
});

describe("reports", () => {
  it("give back what the mail they are about is found by", async () => {
    expect(originalOf(await named("qmail-unknown"))).toMatchObject({
      messageId: "q1@parley.example",
      from: "news@parley.example",
      to: ["gone@example.net"],
    });
    expect(originalOf(await named("arf-abuse"))).toMatchObject({ messageId: "n1@parley.example" });
    expect(originalOf(await named("gmail-en-top"))).toBeNull();
  });

  it.each([
    ["5.1.1", "550 5.1.1 User unknown", true],
    ["4.1.1", "450 4.1.1 User unknown", false],
    ["5.2.2", "552 5.2.2 Mailbox full", false],
    ["5.7.1", "550 5.7.1 Blocked by spamhaus", false],
    ["5.7.1", "554 5.7.1 Rejected by policy", false],
    ["5.0.0", "550 Too many messages from your IP", false],
    ["5.0.0", "550 no idea what happened", false],
    ["5.1.2", "550 Host unknown", true],
    ["5.1.1", "551 User has moved; please try new@example.net", true],
  ])("a failure is for ever only where that is proven: %s %s → %s", async (status, diagnostic, hard) => {
    const report = await mail(
      "From: mailer-daemon@mx.example",
      'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
      "",
      "--b",
      "Content-Type: message/delivery-status",
      "",
      "Reporting-MTA: dns; mx.example",
      "",
      "Final-Recipient: rfc822; <Jo+2B@Example.com>",
      "Action: failed",
      `Status: ${status}`,
      `Diagnostic-Code: smtp; ${diagnostic}`,
      "--b--",
    );

    expect(bouncesOf(report)).toMatchObject([{ recipient: "jo+@example.com", action: "failed", status, hard }]);
  });

  it("name the signal that made a mail what it is", async () => {
    expect(signalsOf(await named("ooo-vacation"))).toMatchObject({
      autoReply: "auto-submitted: auto-replied (vacation)",
    });
    expect(signalsOf(await named("postfix-unknown"))).toMatchObject({ bounce: "delivery-status" });
    expect(signalsOf(await named("newsletter")).list).toMatch(/^list-id/);
  });
});

describe("text made to cost time", () => {
  const PIECES = [
    "> ",
    "---\n",
    "-- \n",
    "From: a@b.c\n",
    "wrote:\n",
    "On 3/13/25 ",
    "550 5.1.1 ",
    "a@b.c: \n",
    "<br>",
    "(",
    "=?",
  ];

  it.each(PIECES)("%j over and over", async (piece) => {
    const body = piece.repeat(Math.ceil(100_000 / piece.length));
    const startedAt = performance.now();

    for (const type of ["plain", "html"]) {
      await dryRun(
        new TextEncoder().encode(
          `From: mailer-daemon@x.example\r\nSubject: failure notice\r\nReferences: ${body.replaceAll("\n", " ")}\r\nContent-Type: text/${type}\r\n\r\n${body}`,
        ),
      );
    }

    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it("takes a reply out of a conversation of a thousand turns", () => {
    const text = `Thanks!\n\n${"On 13 Mar 2025, at 09:02, Jo <jo@example.com> wrote:\n\nOne more turn.\n\n".repeat(1000)}`;

    expect(replyOf({ text, html: null, subject: "Re: x" })).toEqual({
      text: "Thanks!",
      source: "text",
      kept: [[0, 7]],
    });
  });
});

it("a reply without marks in its text is taken by the containers of its HTML", () => {
  const html = '<div>Yes.</div><div id="divRplyFwdMsg">Feladó: Jo</div><div>Kérdés?</div>';

  expect(replyOf({ text: "Yes.\nFeladó: Jo\nKérdés?", html, subject: "Re: x" })).toMatchObject({
    text: "Yes.",
    source: "html",
  });
  expect(textOfHtml(html).slice(0, 4)).toBe("Yes.");
});
