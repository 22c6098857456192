import { once } from "node:events";
import type { Socket } from "node:net";
import pg from "pg";
import { type Answer, type Backend, type Login, newAnswer, perform, RESET_SESSION, type Session } from "./session.ts";
import { createDecoder, type ErrorFields, simpleQuery } from "./wire.ts";

const RESET = simpleQuery(`set session authorization default; ${RESET_SESSION}`);

export type SocketSession = Session & { broken(): boolean; end(): Promise<void> };

type Pool = { idle: SocketSession[]; open: number; waiting: (() => void)[] };

/** Connections to a real server, one pool for each user, password and database. */
export function postgresBackend(serverUrl: string, { connections = 20 }: { connections?: number } = {}): Backend {
  const pools = new Map<string, Pool>();
  const small = new Set<string>();
  let closed = false;

  const poolOf = (login: Login): Pool => {
    const key = JSON.stringify([login.user, login.password, login.database]);
    const known = pools.get(key);
    if (known) return known;
    const pool: Pool = { idle: [], open: 0, waiting: [] };
    pools.set(key, pool);
    return pool;
  };

  const take = async (pool: Pool, login: Login): Promise<SocketSession> => {
    for (;;) {
      const session = pool.idle.pop();
      if (session && !session.broken()) return session;
      if (session) pool.open--;
      else if (pool.open < connections) break;
      else await new Promise<void>((wake) => pool.waiting.push(wake));
    }
    pool.open++;
    try {
      return await connect(withLogin(serverUrl, login));
    } catch (error) {
      pool.open--;
      pool.waiting.shift()?.();
      throw error;
    }
  };

  const give = (pool: Pool, session: SocketSession) => {
    if (closed || session.broken()) {
      pool.open--;
      void session.end();
    } else pool.idle.push(session);
    pool.waiting.shift()?.();
  };

  return {
    async run(login, call) {
      const pool = poolOf(login);
      const session = await take(pool, login).catch((error) => asRefusal(error));
      if ("error" in session) return session;
      const { outcome, cleaned } = perform(session, call, small, RESET);
      cleaned.catch(() => session.end()).finally(() => give(pool, session));
      return outcome;
    },
    async close() {
      closed = true;
      await Promise.all([...pools.values()].flatMap((pool) => pool.idle.splice(0).map((session) => session.end())));
    },
  };
}

/** The server's own refusal (a wrong password, an unknown database) is an answer; an unreachable server is a fault. */
function asRefusal(error: unknown): { error: ErrorFields } {
  if (!(error instanceof pg.DatabaseError)) throw error;
  const { message, severity, code, detail, hint, file, line, routine } = error;
  return { error: { M: message, S: severity, C: code, D: detail, H: hint, F: file, L: line, R: routine } };
}

export function withLogin(serverUrl: string, { user, password, database }: Login): string {
  const url = new URL(serverUrl);
  url.username = encodeURIComponent(user);
  url.password = encodeURIComponent(password);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

const CLOSED = "The database closed the connection.";

/** The pg package logs in (TLS, SCRAM and all); from then on the socket is ours, for its client cannot pipeline. */
export async function connect(url: string): Promise<SocketSession> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, keepAlive: true });
  await client.connect();
  const { stream: socket } = (client as unknown as { connection: { stream: Socket } }).connection;
  socket.removeAllListeners("data");
  client.on("error", () => undefined);

  const waiting: { answer: Answer; readies: number; maxBytes: number; done(): void; fail(error: Error): void }[] = [];
  const cutOff = () => {
    socket.destroy();
    const first = waiting.shift();
    if (first) first.answer.cut = true;
    first?.done();
  };
  const decode = createDecoder({
    result: (result) => waiting[0]?.answer.results.push(result),
    error(fields) {
      if (waiting[0]) waiting[0].answer.error ??= fields;
    },
    ready(status) {
      const first = waiting[0];
      if (!first) return;
      first.answer.status = status;
      if (++first.answer.readies < first.readies) return;
      waiting.shift();
      first.done();
    },
    grew(size) {
      const first = waiting[0];
      if (!first) return;
      first.answer.bytes += size;
      if (first.answer.bytes <= first.maxBytes) return;
      first.answer.tooLarge = true;
      cutOff();
    },
    copy() {
      if (waiting[0]) waiting[0].answer.error = { S: "ERROR", C: "0A000", M: "COPY is not supported over HTTP" };
      cutOff();
    },
  });
  socket.on("data", decode);
  socket.on("close", () => {
    for (const { answer, fail } of waiting.splice(0)) fail(new Error(answer.error?.M ?? CLOSED));
  });

  return {
    exchange: (bytes, readies, maxBytes = Number.POSITIVE_INFINITY) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error(CLOSED));
        const answer = newAnswer();
        waiting.push({ answer, readies, maxBytes, done: () => resolve(answer), fail: reject });
        socket.cork();
        process.nextTick(() => socket.uncork());
        socket.write(bytes);
      }),
    broken: () => socket.destroyed || !socket.writable,
    async end() {
      if (socket.destroyed) return;
      const closed = once(socket, "close");
      socket.end(Buffer.from("X\0\0\0\x04", "latin1"));
      await closed.catch(() => undefined);
    },
  };
}
