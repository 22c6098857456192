import {
  type ErrorFields,
  extendedQuery,
  type Result,
  type Statement,
  type Status,
  SYNC,
  simpleQuery,
} from "./wire.ts";

/** What came back for the messages of one exchange. */
export type Answer = {
  results: Result[];
  error: ErrorFields | null;
  /** How often the server said it was ready, and how it was the last time. */
  readies: number;
  status: Status;
  bytes: number;
  tooLarge: boolean;
  /** The session was ended in the midst of the answer. */
  cut: boolean;
};

export type Session = {
  /** Sends messages that the server answers with so many Readies. May be called again before the answer is there. */
  exchange(bytes: Buffer, readies: number, maxBytes?: number): Promise<Answer>;
};

export type Call = {
  statements: Statement[];
  /** The statement that opens the transaction of a batch; a single statement commits by itself. */
  begin: string | null;
  maxBytes: number;
};

export type Outcome = { results: Result[] } | { error: ErrorFields } | { tooLarge: true };

/** Who a connection string says is calling, and which database they want. */
export type Login = { user: string; password: string; database: string };

export type Backend = {
  run(login: Login, call: Call): Promise<Outcome>;
  close(): Promise<void>;
};

export const newAnswer = (): Answer => ({
  results: [],
  error: null,
  readies: 0,
  status: "I",
  bytes: 0,
  tooLarge: false,
  cut: false,
});

// As a simple query, because that ends a failed transaction without an error where the extended one would be skipped.
const COMMIT = simpleQuery("commit");
const ROLLBACK = simpleQuery("rollback");

/** Queries whose answers have been far from too large so far. */
export type KnownSmall = Set<string>;

/**
 * One write to the server where possible, the cleaning up included, which the caller need not wait for: a round trip
 * for COMMIT alone would cost a third of the throughput. But an answer too large must leave nothing behind, so that
 * COMMIT waits for the answer of queries that are new or were once large.
 */
export function perform(session: Session, call: Call, small: KnownSmall, resetQuery: Buffer) {
  const { begin, statements, maxBytes } = call;
  const messages = statements.map(extendedQuery);
  if (begin === null) {
    const answer = session.exchange(Buffer.concat([...messages, SYNC]), 1, maxBytes);
    return { outcome: answer.then((it) => outcomeOf(it)), cleaned: reset(session, resetQuery) };
  }
  const batch = Buffer.concat([extendedQuery({ query: begin, params: [] }), ...messages, SYNC]);
  if (statements.every(({ query }) => small.has(query))) {
    const answer = session.exchange(Buffer.concat([batch, COMMIT]), 2, maxBytes);
    return { outcome: answer.then((it) => settle(it, call, small)), cleaned: reset(session, resetQuery) };
  }
  const outcome = performWatched(session, call, small, batch);
  return { outcome, cleaned: outcome.then(() => reset(session, resetQuery)) };
}

async function performWatched(session: Session, call: Call, small: KnownSmall, batch: Buffer): Promise<Outcome> {
  const answer = await session.exchange(batch, 1, call.maxBytes);
  const outcome = settle(answer, call, small);
  if (answer.cut) return outcome;
  const end = await session.exchange("results" in outcome ? COMMIT : ROLLBACK, 1);
  return "results" in outcome && end.error ? { error: end.error } : outcome;
}

function settle(answer: Answer, call: Call, small: KnownSmall): Outcome {
  remember(small, call, answer);
  return outcomeOf(answer, 1, call.statements.length);
}

function remember(small: KnownSmall, { statements, maxBytes }: Call, { bytes }: Answer) {
  if (small.size > 5_000) small.clear();
  for (const { query } of statements) {
    if (bytes < maxBytes / 16) small.add(query);
    else small.delete(query);
  }
}

function outcomeOf({ results, error, tooLarge }: Answer, from = 0, count = results.length): Outcome {
  if (tooLarge) return { tooLarge };
  return error ? { error } : { results: results.slice(from, from + count) };
}

/** Leaves nothing of a call to the next one. */
export async function reset(session: Session, resetQuery: Buffer): Promise<void> {
  const { status } = await session.exchange(resetQuery, 1);
  if (status === "I") return;
  const again = await session.exchange(Buffer.concat([ROLLBACK, resetQuery]), 2);
  if (again.status !== "I" || again.error) throw new Error("The session could not be reset.");
}

/** All that a statement may leave on a session, but the role, which each backend takes back in its own way. */
export const RESET_SESSION =
  "close all; reset all; deallocate all; unlisten *; select pg_advisory_unlock_all(); discard temp; discard sequences";
