import { toBase64, utf8 } from "../lib/crypto";

/** A server's answer; `text` is all of its lines, each without its code. */
export type Answer = { code: number; text: string };

/** It said no, in answer to this. */
export class Refused extends Error {
  override name = "Refused";
  readonly step: Step;
  readonly answer: Answer;
  constructor(step: Step, answer: Answer) {
    super(`${answer.code} ${answer.text}`);
    this.step = step;
    this.answer = answer;
  }
}

/** What cannot be spoken with this server, whoever the mail is for. */
export class Unspeakable extends Error {
  override name = "Unspeakable";
}

export type Step = "connect" | "ehlo" | "starttls" | "auth" | "mail" | "rcpt" | "data" | "content";
export type Login = { username: string; password: string };

const ANSWER_BYTES = 65_536;
const CHUNK_BYTES = 65_536;

/** The lines that come and the bytes that go, on one socket. */
function newLine(socket: Socket) {
  const reader = socket.readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const writer = socket.writable.getWriter() as WritableStreamDefaultWriter<Uint8Array>;
  const decoder = new TextDecoder();
  let pending = "";

  async function line(): Promise<string> {
    for (;;) {
      const end = pending.indexOf("\n");
      if (end >= 0) {
        const found = pending.slice(0, end).replace(/\r$/, "");
        pending = pending.slice(end + 1);
        return found;
      }
      const { done, value } = await reader.read();
      if (done) throw new Error("The server hung up.");
      pending += decoder.decode(value, { stream: true });
      if (pending.length > ANSWER_BYTES) throw new Unspeakable("The server's answer does not end.");
    }
  }

  return {
    async answer(): Promise<Answer> {
      const lines: string[] = [];
      for (let length = 0; ; ) {
        const [whole, code, more, text = ""] = /^(\d{3})(?:([ -])(.*))?$/.exec(await line()) ?? [];
        if (whole === undefined) throw new Unspeakable("The server does not answer as mail servers do.");
        lines.push(text);
        length += whole.length;
        if (more !== "-") return { code: Number(code), text: lines.join("\n") };
        if (length > ANSWER_BYTES) throw new Unspeakable("The server's answer does not end.");
      }
    },
    async write(bytes: Uint8Array): Promise<void> {
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) await writer.write(bytes.subarray(at, at + CHUNK_BYTES));
    },
    /** The socket is another's from now on. What was sent before the handshake would be believed after it. */
    release(): void {
      if (pending !== "") throw new Unspeakable("The server spoke before its turn.");
      reader.releaseLock();
      writer.releaseLock();
    },
  };
}

export type Session = Awaited<ReturnType<typeof openSession>>;

/** Greeted, encrypted and logged in. `secure` says whether it is encrypted from the first byte. */
export async function openSession(first: Socket, secure: boolean, name: string, login: Login | null) {
  let socket = first;
  let line = newLine(socket);
  let extensions = new Map<string, string>();

  async function say(step: Step, text: string, expected: number): Promise<Answer> {
    await line.write(utf8(`${text}\r\n`));
    return hear(step, expected);
  }
  async function hear(step: Step, expected: number): Promise<Answer> {
    const answer = await line.answer();
    if (Math.floor(answer.code / 100) !== expected) throw new Refused(step, answer);
    return answer;
  }
  async function greet(): Promise<void> {
    const { text } = await say("ehlo", `EHLO ${name}`, 2);
    extensions = new Map(
      text
        .split("\n")
        .slice(1)
        .map((one) => /^(\S+)\s*(.*)$/.exec(one.trim()))
        .flatMap((hit) => (hit ? [[hit[1]!.toUpperCase(), hit[2]!] as const] : [])),
    );
  }
  async function encrypt(): Promise<void> {
    if (!extensions.has("STARTTLS")) throw new Unspeakable("The server offers no encryption.");
    await say("starttls", "STARTTLS", 2);
    line.release();
    socket = socket.startTls();
    line = newLine(socket);
    await greet();
  }
  async function logIn({ username, password }: Login): Promise<void> {
    const known = (extensions.get("AUTH") ?? "").toUpperCase().split(/\s+/);
    if (known.includes("PLAIN")) {
      await say("auth", `AUTH PLAIN ${toBase64(utf8(`\0${username}\0${password}`))}`, 2);
    } else if (known.includes("LOGIN")) {
      await say("auth", "AUTH LOGIN", 3);
      await say("auth", toBase64(utf8(username)), 3);
      await say("auth", toBase64(utf8(password)), 2);
    } else throw new Unspeakable("The server takes neither AUTH PLAIN nor AUTH LOGIN.");
  }

  await hear("connect", 2);
  await greet();
  if (!secure) await encrypt();
  if (login) await logIn(login);

  return {
    has: (extension: string) => extensions.has(extension),
    say,
    async content(bytes: Uint8Array, written: () => void): Promise<Answer> {
      await line.write(bytes);
      written();
      return hear("content", 2);
    },
    /** It has the mail already: how it takes its leave is all the same. */
    async quit(): Promise<void> {
      await line.write(utf8("QUIT\r\n")).catch(() => {});
    },
    close: () => socket.close().catch(() => {}),
  };
}
