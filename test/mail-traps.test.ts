import { describe, expect, it } from "vitest";
import { recipientsInText } from "../src/mail/bounce-texts";
import { judge } from "../src/mail/bounce-verdict";
import { readMail } from "../src/mail/read";
import { replyOf } from "../src/mail/reply";

describe("a reply is found in", () => {
  it.each([
    [
      "Hi,\n\nmy new numbers are:\n\n+49 171 1234567\n+49 30 1234567\n",
      "Hi,\n\nmy new numbers are:\n\n+49 171 1234567\n+49 30 1234567",
    ],
    ['Yes\n\nOn Mar 13, 2025 9:02 AM, "Parley Support" <s@p.example> wrote:\n> q\n', "Yes"],
    ["Oui merci\n\nParley Support <s@p.example> a écrit :\n> q\n", "Oui merci"],
    ["ok\n\nFrom: s@p.example <s@p.example> On Behalf Of Parley\nSent: Thursday\nTo: me@x.de\nSubject: x\n\nq", "ok"],
    ["*From:* s@p.example\n*Sent:* Thursday\n*To:* me@x.de\n*Subject:* x\n\nq", ""],
    [
      "Great!\n\n\n\n---------- Original Message ----------\nFrom: Parley <s@p.example>\nTo: a@b.c\nDate: March 13, 2025 at 9:02 AM\nSubject: x\n\nq",
      "Great!",
    ],
    ["fine\n\n________________________________\n\nFrom: Parley\nSent: x\nTo: y\nSubject: z\n\nq", "fine"],
    ["1. yes\n2. no\n\nBest,\nKim\n\n--\nKim Lee\nCEO\n\n> q1\n> q2", "1. yes\n2. no\n\nBest,\nKim"],
    ["Dear team,\n\n> is this a quote I typed\n\nYes it is.\n\nBye", "Dear team,\n\nYes it is.\n\nBye"],
    [
      "Hallo,\n\nanbei.\n\nAm Do., 13. März 2025 um 09:02 Uhr schrieb\nParley Support <s@p.example>:\n\n> q",
      "Hallo,\n\nanbei.",
    ],
    [
      "Hallo,\n\nanbei.\n\nAm 13. März 2025 09:02:11 MEZ schrieb Parley Support <s@p.example>:\n>q\n",
      "Hallo,\n\nanbei.",
    ],
    ["Merci\n\nLe 13/03/2025 09:02, « Parley Support » <s@p.example> a écrit :\n\n    Bonjour", "Merci"],
    ["Tak\n\n> Den 13. mar. 2025 kl. 09.02 skrev Parley <s@p.example>:\n> q", "Tak"],
    ["はい\n\n2025年3月13日(木) 9:02 Parley Support\n<s@p.example>:\n\n> q", "はい"],
    [
      "はい。\n\n-----Original Message-----\nFrom: Parley [mailto:s@p.example]\nSent: Thursday\nTo: x\nSubject: y\n\nq",
      "はい。",
    ],
    [
      "好的\n\n---- 回复的原邮件 ----\n| 发件人 | Parley<s@p.example> |\n| 发送日期 | 2025年03月13日 09:02 |\n| 收件人 | a@b.c |\n| 主题 | x |\n\nq",
      "好的",
    ],
    ["好的\n\n在 2025/3/13 9:02, Parley 写道:\n> q", "好的"],
    ["Da\n\nLa joi, 13 mar. 2025 la 09:02, Parley Support <s@p.example> a scris:\n\n> q", "Da"],
    ["Igen\n\nParley Support <s@p.example> ezt írta (időpont: 2025. márc. 13., Cs, 9:02):\n\n> q", "Igen"],
    ["Ano\n\nčt 13. 3. 2025 v 9:02 odesílatel Parley Support <s@p.example>\nnapsal:\n\n> q", "Ano"],
    ["Evet\n\nParley Support <s@p.example>, 13 Mar 2025 Per, 09:02 tarihinde şunu yazdı:\n\n> q", "Evet"],
    ["Так\n\nчт, 13 бер. 2025 р. о 09:02 Parley Support <s@p.example> пише:\n\n> q", "Так"],
    [
      "No\n\n-- \nSent from Canary (https://canarymail.io)\n\nOn Thursday, Mar 13, 2025 at 9:02 AM, Parley Support <s@p.example> wrote:\n\nq",
      "No",
    ],
    [
      "Sounds good — see you then.\n\nSent from my iPad\n\nBegin forwarded message:\n\nFrom: a@b.c\n",
      "Sounds good — see you then.\n\nBegin forwarded message:\n\nFrom: a@b.c",
    ],
    [
      "Ciao,\nva bene.\n\nInviato da Outlook per iOS<https://aka.ms/o0ukef>\n________________________________\nDa: Parley <s@p.example>\nInviato: giovedì\nA: b\nOggetto: c\n",
      "Ciao,\nva bene.",
    ],
    [
      "Hej\n\nDet funkar.\n\nSkickat från min iPhone\n\n13 mars 2025 kl. 09:02 skrev Parley Support <s@p.example>:\n\n﻿q",
      "Hej\n\nDet funkar.",
    ],
    [
      "El equipo confirma.\n\nObtener Outlook para Android\n\nDe: x <a@b.c>\nEnviado: d\nPara: e\nAsunto: f\n",
      "El equipo confirma.",
    ],
    [
      "Thanks.\n\nThis message is confidential.\n\nFrom: A\nDate: B\nTo: C\nCc: D\nSubject: E\n\nq",
      "Thanks.\n\nThis message is confidential.",
    ],
    [
      "Hi\n\n> On Mar 13, 2025, at 9:02 AM, P <s@p.example> wrote:\n> \n> q\n\nmy answer below\n\n-- \nme",
      "Hi\n\nmy answer below",
    ],
    ["发自内心的感谢", "发自内心的感谢"],
    ["Yes\n\n---- On Thu, 13 Mar 2025 09:02:11 +0100 Parley <s@p.example> wrote ----\n\nq", "Yes"],
    ["> only quote", ""],
    ["", ""],
  ])("%j", (text, written) => {
    expect(replyOf({ text, html: null, subject: "Re: x" }).text).toBe(written);
  });
});

describe("a server's answer is understood", () => {
  it.each([
    ["550 5.4.1 All recipient addresses rejected : Access denied", "userUnknown"],
    ["550 5.7.1 Service unavailable, Client host [1.2.3.4] blocked using Spamhaus", "blocked"],
    ["554 5.7.1 <a@b.c>: Recipient address rejected: Access denied", "policy"],
    ["550 5.1.0 Address rejected.", "unknown"],
    ["451 4.7.1 Greylisting in action, please come back in 00:05:00", "greylisted"],
    ["550 relay not permitted", "relayDenied"],
    ["553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "relayDenied"],
    ["550 5.7.0 Local Policy Violation", "policy"],
    ["452 4.3.1 Insufficient system storage", "system"],
    ["452 4.2.2 Over quota", "mailboxFull"],
    ["550 No such user - psmtp", "userUnknown"],
    [
      "550 5.7.1 Unfortunately, messages from [1.2.3.4] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
      "blocked",
    ],
    [
      "421 4.7.0 [TSS04] Messages from 1.2.3.4 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1",
      "rateLimited",
    ],
    ["554 5.7.1 [P4] Message blocked due to spam content in the message.", "spam"],
    ["550 5.7.1 Message rejected due to DMARC policy", "authFailure"],
    ["550 SPF check failed", "authFailure"],
    ["550 5.1.1 sorry, no mailbox here by that name", "userUnknown"],
    ["550 Administrative prohibition", "policy"],
    ["552 Message size exceeds maximum permitted", "tooLarge"],
    ["550 Sender verify failed", "senderRejected"],
    ["550-Verification failed for <a@b.c>\n550-No Such User Here\n550 Sender verify failed", "senderRejected"],
    ["501 5.1.3 Bad recipient address syntax", "userUnknown"],
    ["450 4.1.8 <x@y.z>: Sender address rejected: Domain not found", "senderRejected"],
    ["550 5.1.2 <a@b.c>: Recipient address rejected: Domain not found", "hostUnknown"],
    ["550 user is over quota", "mailboxFull"],
    ["554 5.2.1 This account is disabled", "suspended"],
    ["550 Mailbox is frozen. See http://mail.aol", "suspended"],
    ["550 mailbox for a@b.c is temporarily unavailable", "system"],
    ["421 Too many concurrent SMTP connections", "rateLimited"],
    ["403 4.7.0 TLS handshake failed", "tls"],
    ["smtp;554 5.4.0 Error: too many hops", "network"],
    ["550 5.1.6 Recipient has moved", "moved"],
    [
      "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group",
      "policy",
    ],
    [
      "550 5.7.129 RESOLVER.RST.RestrictedToRecipientsPermission; not authorized to send to the recipient because the sender isn't on the recipient's list of senders to accept mail from",
      "policy",
    ],
    ["550 5.0.350 Remote server returned an error -> 550 Invalid recipient", "userUnknown"],
    ["550 #5.1.0 Address rejected.", "unknown"],
    ["554 Email rejected due to security policies - https://community.mimecast.com", "policy"],
    ["550 Rejected by header based Anti-Spoofing policy", "policy"],
    ["554 rejected due to content: attachment .exe not allowed", "content"],
    ["550 Rule imposed mailbox access for a@b.c refused: user invalid", "userUnknown"],
  ])("%s: %s", (diagnostic, reason) => {
    const said = { recipient: "a@example.com", action: "failed", status: null, diagnostic, remote: true };

    expect(judge(said).reason).toBe(reason);
  });
});

it("parts without headers, and parts behind the last boundary, are read", async () => {
  const raw = [
    "Content-Type: multipart/mixed; boundary=b",
    "",
    "--b",
    "",
    "Note: this is text",
    "--b--",
    "--b",
    "Content-Type: application/pdf; name=late.pdf",
    "",
    "late",
  ].join("\r\n");

  const mail = await readMail(new TextEncoder().encode(raw));

  expect(mail).toMatchObject({ text: "Note: this is text", attachments: [{ filename: "late.pdf", size: 4 }] });
});

it("lines of nothing but @ are read at once", () => {
  const words = Array.from({ length: 40 }, () => "@".repeat(395)).join("\n");
  const begin = performance.now();

  expect(recipientsInText(words, new Set())).toEqual([]);

  expect(performance.now() - begin).toBeLessThan(300);
});
