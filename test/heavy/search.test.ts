import { expect, inject, it } from "vitest";
import { type Any, newTenant } from "../helpers";
import { newPerson, newRoom } from "../live";
import { asOwner } from "../setup/owner";
import "../setup/provided";

const ROWS = 200_000;

type Explained = { "QUERY PLAN": [{ Plan: { "Shared Hit Blocks": number; "Shared Read Blocks": number } }] };

it.runIf(inject("realPostgres"))(
  "at 200,000 messages a search reads little, by the index, whether its word is rare, frequent or frequent elsewhere",
  { timeout: 600_000 },
  async () => {
    const tenant = await newTenant();
    const ann = await newPerson(tenant);
    const own = await newRoom(tenant, [ann]);
    const foreign = await newRoom(tenant, []);
    await asOwner(
      `insert into messages (tenant_id, id, channel_id, seq, text, created_at)
         select $1, gen_random_uuid(), case when n % 10 = 0 then $2::uuid else $3::uuid end, 1000 + n,
           case when n % 10 = 0 then 'ours ' || case when n = 5000 then 'needle ' else '' end else 'theirs ' end || md5(n::text) || ' ' || md5((n + 1)::text),
           now() - make_interval(secs => ${ROWS} - n)
         from generate_series(1, ${ROWS}) n`,
      [tenant.id, own, foreign],
    );
    await asOwner("analyze messages");

    const cost = async (q: string, most = 20): Promise<{ hits: number; buffers: number; scans: number }> => {
      const scans = async () =>
        Number(
          (await asOwner<{ n: string }>("select seq_scan as n from pg_stat_all_tables where relname = 'messages'"))[0]!
            .n,
        );
      const ask = JSON.stringify({ q, most }).replaceAll("'", "''");
      const entered = `(select set_config('app.tenant_id', '${tenant.id}', true), set_config('app.user_id', '${ann.id}', true)) e`;
      const query = `select s.* from ${entered} cross join lateral door.search_messages(jsonb_set('${ask}'::jsonb, '{n}', to_jsonb(e::text))) s`;
      const before = await scans();
      const hits = await asOwner(query);
      const [explained] = await asOwner<Explained>(`explain (analyze, buffers, format json) ${query}`);
      const { Plan } = explained!["QUERY PLAN"][0];
      return {
        hits: hits.length,
        buffers: Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"],
        scans: (await scans()) - before,
      };
    };
    await asOwner("select gin_clean_pending_list('messages_by_words')");

    const found = {
      rare: await cost("needle"),
      frequent: await cost("ours"),
      elsewhere: await cost("theirs"),
      none: await cost("nowhere"),
    };

    expect(Object.values(found).map(({ hits }) => hits)).toEqual([1, 20, 0, 0]);
    expect(Object.values(found).map(({ scans }) => scans)).toEqual([0, 0, 0, 0]);
    expect(Math.max(...Object.values(found).map(({ buffers }) => buffers))).toBeLessThan(6_000);
    const answer = (await ann.get("/v1/search/messages?q=needle")).body as Any;
    expect(answer.data).toHaveLength(1);
  },
);
