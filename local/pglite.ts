import { PGlite } from "@electric-sql/pglite";
import { btree_gin } from "@electric-sql/pglite/contrib/btree_gin";
import { pg_trgm } from "@electric-sql/pglite/contrib/pg_trgm";
import { type Backend, type Login, newAnswer, perform, RESET_SESSION, reset, type Session } from "./session.ts";
import { createDecoder, simpleQuery } from "./wire.ts";

export const PGLITE_OWNER = "postgres";

// The session starts without a role to return to, so "default" would leave the caller's in place: it is named instead.
const RESET = simpleQuery(`set session authorization ${PGLITE_OWNER}; ${RESET_SESSION}`);

export type Embedded = Backend & { exclusively<T>(work: (session: Session) => Promise<T>): Promise<T> };

/** In memory without a folder, from an image where there is one; with the extensions that the migrations create. */
export const createPGlite = ({ folder, image }: { folder?: string; image?: Blob } = {}): Promise<PGlite> =>
  PGlite.create({
    ...(folder && { dataDir: folder }),
    ...(image && { loadDataDir: image }),
    extensions: { btree_gin, pg_trgm },
  });

/** PGlite is one session, so that calls take turns; passwords are not checked. */
export async function embeddedBackend(db: PGlite): Promise<Embedded> {
  const session = sessionOf(db);
  const small = new Set<string>();
  let turn: Promise<unknown> = Promise.resolve();

  const exclusively = <T>(work: (session: Session) => Promise<T>): Promise<T> => {
    const mine = turn.then(() => work(session));
    turn = mine.catch(() => undefined);
    return mine;
  };

  await exclusively((owner) => reset(owner, RESET));
  return {
    exclusively,
    run: (login, call) =>
      exclusively(async () => {
        const refusal = call.statements.some(({ query }) => COPY.test(query)) ? NO_COPY : await become(session, login);
        if (refusal) return { error: refusal };
        const { outcome, cleaned } = perform(session, call, small, RESET);
        await cleaned;
        return outcome;
      }),
    close: () => exclusively(() => db.close()),
  };
}

async function become(session: Session, { user }: Login) {
  if (user === PGLITE_OWNER) return null;
  const role = `"${user.replaceAll('"', '""')}"`;
  const { error } = await session.exchange(simpleQuery(`set session authorization ${role}`), 1);
  return error && { ...error, S: "FATAL", V: "FATAL", C: "28000" };
}

// COPY FROM STDIN waits for data on a channel PGlite does not have, and ends the process.
const COPY = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*copy\b/i;
const NO_COPY = { S: "ERROR", C: "0A000", M: "COPY is not supported over HTTP" };

function sessionOf(db: PGlite): Session {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    async exchange(bytes, _readies, maxBytes = Number.POSITIVE_INFINITY) {
      const answer = newAnswer();
      const decode = createDecoder({
        result: (result) => answer.results.push(result),
        error: (fields) => {
          answer.error ??= fields;
        },
        ready: (status) => {
          answer.status = status;
          answer.readies++;
        },
        grew: (size) => {
          answer.bytes += size;
          answer.tooLarge ||= answer.bytes > maxBytes;
        },
        copy: () => undefined,
      });
      const output = turn.then(() => db.execProtocolRaw(bytes));
      turn = output.catch(() => undefined);
      decode(Buffer.from(await output));
      return answer;
    },
  };
}
