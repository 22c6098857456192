import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dryRun } from "../src/mail/dry-run";
import { textOfHtml } from "../src/mail/html-lines";
import { readMail } from "../src/mail/read";
import { replyOf } from "../src/mail/reply";
import { corpus } from "./mail/corpus";

it("the corpus has 150 mails or more, each with what is expected of it", () => {
  expect(corpus.length).toBeGreaterThanOrEqual(150);
  expect(corpus.filter(({ expected }) => expected === undefined)).toEqual([]);
});

describe("each mail of the corpus is read as expected", () => {
  it.each(corpus)("$name", async ({ raw, expected }) => {
    expect(await dryRun(raw, ["mx.parley.example"])).toMatchObject(expected);
  });
});

it("a reply is just what stands in the places it names, of the text or of that of the HTML", async () => {
  for (const { raw } of corpus) {
    const mail = await readMail(raw);

    const { text, source, kept } = replyOf(mail);

    const whole = source === "html" ? textOfHtml(mail.html!) : (mail.text ?? "");
    expect(text).toBe(kept.map(([start, end]) => whole.slice(start, end)).join("\n\n"));
  }
});

describe("mails that were damaged on their way", () => {
  const damaged = fc.record({
    mail: fc.constantFrom(...corpus),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat({ max: 40 }),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom("\r", "\n\n", "--", "=?", ">", "<", "\0").map(bytes),
    ),
  });

  it("are read without an error, whatever was cut out of them or put in", async () => {
    await fc.assert(
      fc.asyncProperty(damaged, async ({ mail, at, length, put }) => {
        const place = Math.floor(at * mail.raw.length);
        const raw = joined(mail.raw.subarray(0, place), put, mail.raw.subarray(place + length));

        const answer = await dryRun(raw);
        const { failure } = await readMail(raw);

        // Where reading throws, that is what is left of it.
        expect(failure).not.toBe("unreadable");
        expect(answer.html?.includes("\0") || answer.text?.includes("\0")).toBeFalsy();
      }),
      { numRuns: 500 },
    );
  });

  it("lose neither text nor attachments by what comes before and behind", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...corpus), fc.stringMatching(/^[A-Za-z]{1,20}$/), async ({ raw }, word) => {
        const before = await readMail(raw);

        const after = await readMail(joined(bytes(`X-${word}: ${word}\r\n`), raw));

        if (before.headers[0] === undefined) return;
        expect(after.text).toBe(before.text);
        expect(after.html).toBe(before.html);
        expect(after.attachments.map(({ sha256 }) => sha256)).toEqual(before.attachments.map(({ sha256 }) => sha256));
      }),
    );
  });
});

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
