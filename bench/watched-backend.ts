import type { Backend } from "../local/session.ts";

/** What one call of the database cost: pages it looked at, and tables it read from end to end. */
export type Cost = { buffers: number; scanned: string[] };

const COUNTS = `select coalesce(sum(pg_stat_get_xact_blocks_fetched(c.oid)), 0),
    coalesce(jsonb_object_agg(c.relname, pg_stat_get_xact_numscans(c.oid)) filter (where c.relkind = 'r'), '{}')
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i')`;

/** Tells what each call costs while `isWatching`: counted by the server, before and behind the call in its own transaction. */
export function watched(backend: Backend, isWatching: () => boolean, tell: (cost: Cost) => void): Backend {
  return {
    close: () => backend.close(),
    async run(login, call) {
      if (!isWatching()) return backend.run(login, call);
      const count = { query: COUNTS, params: [] };
      const begin = call.begin ?? "start transaction";
      const outcome = await backend.run(login, { ...call, begin, statements: [count, ...call.statements, count] });
      if (!("results" in outcome)) return outcome;
      const [before, ...rest] = outcome.results;
      const [pages, scans] = read(rest.pop()!.rows);
      const [pagesBefore, scansBefore] = read(before!.rows);
      tell({
        buffers: pages - pagesBefore,
        scanned: Object.keys(scans).filter((table) => scans[table]! > (scansBefore[table] ?? 0)),
      });
      return { results: rest };
    },
  };
}

const read = ([row]: (string | null)[][]): [number, Record<string, number>] => [
  Number(row![0]),
  JSON.parse(row![1] ?? "{}"),
];
