import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createSecureContext, createServer as createTlsServer, TLSSocket } from "node:tls";
import type { TestProject } from "vitest/node";
import "../test/setup/provided.ts";
import { ROOT } from "./place.ts";

/** Workers trust what Node trusts beyond the usual: see local/test.ts. */
export const CERTIFICATE = `${ROOT}/local/test-certificate.pem`;
const own = { cert: readFileSync(CERTIFICATE), key: readFileSync(`${ROOT}/local/test-certificate-key.pem`) };

type Step = "ehlo" | "starttls" | "auth" | "mail" | "rcpt" | "data" | "content";
type Script = {
  extensions?: string[];
  answers?: Partial<Record<Step, string>>;
  /** From this step on it is silent. */
  silentAt?: Step;
  /** Byte by byte. */
  slowly?: boolean;
  /** Says this right behind its answer to STARTTLS, before the handshake. */
  injects?: string;
};
type Seen = {
  secure: boolean;
  commands: string[];
  username: string | null;
  password: string | null;
  mail: string | null;
};

const EXTENSIONS = ["PIPELINING", "SIZE 41943040", "8BITMIME", "SMTPUTF8", "AUTH PLAIN LOGIN"];
const scripts = new Map<string, Script>();
const seen = new Map<string, Seen[]>();

/** Speaks RFC 5321 with whoever comes; how, is told beforehand under the name that a client greets with. */
function converse(first: Socket, secure: boolean): void {
  let socket = first;
  let script: Script = {};
  let pending = "";
  let awaiting: ((line: string) => unknown) | null = null;
  let content: string | null = null;
  const session: Seen = { secure, commands: [], username: null, password: null, mail: null };

  const say = (text: string) => {
    const bytes = Buffer.from(`${text.replaceAll("\n", "\r\n")}\r\n`);
    if (script.slowly) for (const byte of bytes) socket.write(Buffer.from([byte]));
    else socket.write(bytes);
  };
  const answer = (step: Step, usual: string, then: () => void = () => {}) => {
    if (script.silentAt === step) return;
    const told = script.answers?.[step] ?? usual;
    say(told);
    if (told === usual || /^[23]/.test(told)) then();
  };

  const logIn = (username: string, password: string) => {
    Object.assign(session, { username, password });
    answer("auth", "235 2.7.0 Authenticated");
  };
  const text = (base64: string) => Buffer.from(base64, "base64").toString("utf8");
  const commands: Record<string, (rest: string) => void> = {
    EHLO(name) {
      script = scripts.get(name) ?? {};
      if (!session.commands.includes("STARTTLS")) seen.set(name, [...(seen.get(name) ?? []), session]);
      const offered = script.extensions ?? EXTENSIONS;
      const all = ["stand-in greets you", ...offered, ...(session.secure ? [] : ["STARTTLS"])].filter(
        (one) => one !== "STARTTLS" || !script.extensions?.includes("NOTLS"),
      );
      answer("ehlo", all.map((one, i) => `250${i < all.length - 1 ? "-" : " "}${one}`).join("\n"));
    },
    STARTTLS() {
      answer("starttls", `220 2.0.0 Go ahead${script.injects ? `\n${script.injects}` : ""}`, () => {
        socket.removeAllListeners("data");
        socket = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(own) });
        session.secure = true;
        listen();
      });
    },
    AUTH(rest) {
      const [mechanism, initial = ""] = rest.split(" ");
      if (mechanism === "PLAIN") {
        const [, username = "", password = ""] = text(initial).split("\0");
        return logIn(username, password);
      }
      say("334 VXNlcm5hbWU6");
      awaiting = (username) => {
        say("334 UGFzc3dvcmQ6");
        awaiting = (password) => logIn(text(username), text(password));
      };
    },
    MAIL: () => answer("mail", "250 2.1.0 Ok"),
    RCPT: () => answer("rcpt", "250 2.1.5 Ok"),
    DATA() {
      answer("data", "354 End data with <CR><LF>.<CR><LF>", () => {
        content = "";
      });
    },
    QUIT() {
      say("221 2.0.0 Bye");
      socket.end();
    },
  };

  function take(line: string): void {
    if (content !== null) {
      if (line === ".") {
        session.mail = Buffer.from(content, "latin1").toString("base64");
        content = null;
        answer("content", "250-2.0.0 Ok\n250 2.0.0 queued as 4Q1");
      } else content += `${line.replace(/^\./, "")}\r\n`;
      return;
    }
    const decoded = Buffer.from(line, "latin1").toString("utf8");
    const next = awaiting;
    awaiting = null;
    if (next) return void next(decoded);
    session.commands.push(decoded);
    const [verb = "", rest = ""] = decoded.split(/ (.*)/s);
    (commands[verb.toUpperCase()] ?? (() => say("502 5.5.2 Not known")))(rest);
  }

  function listen(): void {
    socket.on("data", (bytes: Buffer) => {
      pending += bytes.toString("latin1");
      for (let end = pending.indexOf("\r\n"); end >= 0; end = pending.indexOf("\r\n")) {
        const line = pending.slice(0, end);
        pending = pending.slice(end + 2);
        take(line);
      }
    });
    socket.on("error", () => {});
  }

  listen();
  say("220-stand-in ESMTP\n220 at your service");
}

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** `PUT /script/<name>` says how it is to speak, `GET /seen/<name>` what was said. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const control = createHttpServer(async (request, response) => {
    const [, what, name = ""] = (request.url ?? "").split("/");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (what === "script") scripts.set(name, JSON.parse(Buffer.concat(chunks).toString("utf8")) as Script);
    response.setHeader("content-type", "application/json").end(JSON.stringify(seen.get(name) ?? []));
  });
  const plain = createServer((socket) => converse(socket, false));
  const encrypted = createTlsServer(own, (socket) => converse(socket, true));
  encrypted.on("tlsClientError", () => {});
  const [controlPort, starttls, tls] = await Promise.all([portOf(control), portOf(plain), portOf(encrypted)]);
  project.provide("mailServer", { control: `http://127.0.0.1:${controlPort}`, starttls, tls });
  return async () => {
    control.closeAllConnections();
    for (const server of [control, plain, encrypted]) server.close();
  };
}
