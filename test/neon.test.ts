import { NeonDbError, neon, neonConfig } from "@neondatabase/serverless";
import fc from "fast-check";
import { afterEach, expect, inject, it } from "vitest";
import { named, run } from "../src/lib/neon";
import "./setup/provided";

const usual = neonConfig.fetchEndpoint;
const url = inject("appDatabaseUrl");
const atBridge = () => {
  neonConfig.fetchEndpoint = () => `${inject("bridgeUrl")}/sql`;
};

afterEach(() => {
  neonConfig.fetchFunction = undefined;
  neonConfig.fetchEndpoint = usual;
});

it("where no endpoint is named, statements go to Neon's own for the host, several of them as one transaction", async () => {
  neonConfig.fetchEndpoint = undefined as never;
  const asked: { at: string; headers: Record<string, string>; body: unknown }[] = [];
  neonConfig.fetchFunction = async (
    at: string,
    { headers, body }: { headers: Record<string, string>; body: string },
  ) => {
    asked.push({ at, headers, body: JSON.parse(body) });
    return Response.json({ results: [] });
  };
  const statement = { query: "select $1", params: ["a"] };
  const neonUrl = "postgresql://app:secret@ep-cool-1.eu-central-1.aws.neon.tech/neondb";

  await run(neonUrl, [statement, statement]);

  expect(asked).toEqual([
    {
      at: "https://api.eu-central-1.aws.neon.tech/sql",
      headers: { "Neon-Connection-String": neonUrl, "Neon-Raw-Text-Output": "true", "Neon-Array-Mode": "true" },
      body: { queries: [statement, statement] },
    },
  ]);
});

const EVERY_TYPE = `select 1::int as i, 2::bigint as b, 1.5::float8 as f, 2.50::numeric as n, true as t, null as nothing,
  'x'::text as s, '{"a":[1]}'::jsonb as j, '[1]'::json as k, '00000000-0000-0000-0000-000000000001'::uuid as u,
  array['a','b"c\\d'] as list, array[1,2] as numbers, '\\xff'::bytea as bytes`;

it("values are read as the driver reads them, moments as the API shows them", async () => {
  atBridge();
  const [mine] = await run(url, [{ query: EVERY_TYPE, params: [] }]);
  const [theirs] = await neon(url).query(EVERY_TYPE);
  expect(named(mine!, mine!.rows[0]!)).toEqual(theirs);

  const query = "select '2026-11-28T03:04:05.678+02'::timestamptz as at";
  const [moment] = await run(url, [{ query, params: [] }]);
  expect(moment!.rows).toEqual([["2026-11-28T01:04:05.678Z"]]);
});

it("whatever text, number, list or JSON is sent arrives as it was", async () => {
  atBridge();
  // PostgreSQL stores no NUL.
  const text = fc.string({ unit: "grapheme" }).map((one) => one.replaceAll("\0", ""));
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        text,
        list: fc.array(text),
        whole: fc.integer(),
        truth: fc.boolean(),
        json: fc.dictionary(text, text),
      }),
      async ({ text, list, whole, truth, json }) => {
        const query = "select $1::text, $2::text[], $3::int, $4::boolean, $5::jsonb, $6::text";
        const [result] = await run(url, [{ query, params: [text, list, whole, truth, json, null] }]);
        expect(result!.rows).toEqual([[text, list, whole, truth, json, null]]);
      },
    ),
    { numRuns: 50 },
  );
});

it("a refusal bears what PostgreSQL says of it, and nothing of its transaction is kept", async () => {
  atBridge();
  const query = "do $$ begin raise exception 'no' using errcode = 'PA400', detail = 'why', hint = 'how'; end $$";
  const refused = run(url, [
    { query: "select 1", params: [] },
    { query, params: [] },
  ]);
  await expect(refused).rejects.toMatchObject({
    name: "NeonDbError",
    code: "PA400",
    detail: "why",
    hint: "how",
    message: "no",
  });
});

it("a database that cannot be reached, or answers something else, is an error of the driver's kind", async () => {
  atBridge();
  const statement = { query: "select 1", params: [] };
  neonConfig.fetchFunction = async () => Promise.reject(new TypeError("network"));
  await expect(run(url, [statement])).rejects.toBeInstanceOf(NeonDbError);
  neonConfig.fetchFunction = async () => new Response("<html>", { status: 502 });
  await expect(run(url, [statement])).rejects.toThrow("502");
});
