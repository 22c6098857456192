-- Full-text search. Words are found by the channel's language; in scripts that put no spaces between words, every one, two and
-- three letters that follow each other are a word of their own, so that any part of a run of them is found.
grant select on messages, channels, channel_members, team_members, message_attachments to parley_door;
do $$
declare t text;
begin
  foreach t in array array['messages', 'channels', 'channel_members', 'team_members', 'message_attachments'] loop
    execute format('drop policy if exists door on public.%I', t);
    execute format('create policy door on public.%I for select to parley_door using (true)', t);
  end loop;
end $$;

-- In PL/pgSQL, whose plans are kept: a function in SQL is planned anew by each statement that calls it.
create or replace function public.search_config(language text) returns regconfig language plpgsql stable as $$
begin
  return coalesce((select c.oid from pg_ts_config c where c.cfgname = language and c.cfgnamespace = 'pg_catalog'::regnamespace),
    'pg_catalog.simple'::regconfig::oid)::regconfig;
end $$;

-- Thai, Lao, Burmese, Khmer, kana, Han and, for its endings, Hangul.
create or replace function public.unspaced() returns text language sql immutable parallel safe as $$
  select '[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3005-\u3007\u3040-\u30FF\u3100-\u312F\u31A0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]+'
$$;

create or replace function public.grams(run text) returns text[] language sql immutable as $$
  select coalesce(array_agg(distinct g), '{}') from (
    select unnest(array[c, c || lead(c) over w, c || lead(c) over w || lead(c, 2) over w]) as g
      from unnest(string_to_array(run, null)) with ordinality x(c, n) window w as (order by n)) y where g is not null
$$;

create or replace function public.searchable(language text, said text) returns tsvector language plpgsql stable as $$
begin
  if said !~ unspaced() then return to_tsvector(search_config(language), left(said, 100000)); end if;
  return to_tsvector(search_config(language), regexp_replace(left(said, 100000), unspaced(), ' ', 'g'))
    || array_to_tsvector(array(select distinct unnest(grams(run[1])) from regexp_matches(left(said, 8000), unspaced(), 'g') run));
end $$;

-- What nobody is to find has no words.
create or replace function public.make_searchable() returns trigger language plpgsql as $$
declare spoken text;
begin
  new.searchable := null;
  if new.state = 'visible' and new.deleted_at is null then
    select c.language into spoken from channels c where c.tenant_id = new.tenant_id and c.id = new.channel_id;
    new.searchable := searchable(spoken, new.text);
  end if;
  return new;
end $$;
create or replace trigger messages_searchable before insert or update of text, state, deleted_at on messages
  for each row execute function make_searchable();

-- As people type it: words, "phrases", or, -not; runs of unspaced letters likewise, all of them wanted.
create or replace function public.search_query(language text, q text) returns tsquery language plpgsql stable as $$
declare wanted tsquery := websearch_to_tsquery(search_config(language), regexp_replace(q, '-?' || unspaced(), ' ', 'g')); run text[]; part tsquery;
begin
  for run in select r from regexp_matches(q, '(-?)(' || unspaced() || ')', 'g') r loop
    select string_agg(quote_literal(g), ' & ')::tsquery into part from unnest(grams(run[2])) g where length(g) = least(length(run[2]), 3);
    wanted := wanted && case run[1] when '-' then !! part else part end;
  end loop;
  return wanted;
end $$;

create or replace function public.wanted_runs(q text) returns text[] language sql immutable as $$
  select array(select r[2] from regexp_matches(q, '(-?)(' || unspaced() || ')', 'g') r where r[1] = '')
$$;

-- All of a search but its words and its channels.
create or replace function public.suits_search(m messages, reader uuid, ask jsonb, runs text[]) returns boolean language sql stable as $$
  select (not m.shadowed or reader is null or m.user_id = reader)
    and (ask ->> 'userId' is null or m.user_id = (ask ->> 'userId')::uuid)
    and (ask ->> 'from' is null or m.created_at >= (ask ->> 'from')::timestamptz)
    and (ask ->> 'to' is null or m.created_at <= (ask ->> 'to')::timestamptz)
    and not exists (select 1 from unnest(runs) r where strpos(m.text, r) = 0)
    and (ask ->> 'hasAttachments' is null or (ask ->> 'hasAttachments')::boolean = exists (
      select 1 from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id))
$$;

-- Neither @@ nor = any is leakproof, so under row-level security their indexes would be ignored: hence a door. `ask` is { q, channelId,
-- userId, from, to, hasAttachments, below: { at, id } or { seq }, most }. The newest messages are walked for a while, which is all that a
-- frequent word needs; what is left is looked up in the index, channel by channel, which makes a word cheap that is frequent elsewhere.
-- Whoever works in an inbox is a member of few of its conversations. Where these are too many, the words are asked for first, as for a server.
create or replace function door.search_messages(ask jsonb) returns table (id uuid, language text)
language plpgsql stable security definer
set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  walk constant int := 2000;
  t uuid := current_tenant(); reader uuid := current_user_id(); q text := ask ->> 'q'; runs text[] := wanted_runs(ask ->> 'q');
  chan uuid := (ask ->> 'channelId')::uuid; most int := (ask ->> 'most')::int; since timestamptz := coalesce((ask ->> 'from')::timestamptz, '-infinity');
  below_seq bigint := coalesce((ask #>> '{below,seq}')::bigint, 9223372036854775807);
  below_at timestamptz := least(coalesce((ask #>> '{below,at}')::timestamptz, 'infinity'), (ask ->> 'to')::timestamptz + interval '1 microsecond');
  below_id uuid := coalesce((ask #>> '{below,id}')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  walked int; hits uuid[]; languages text[]; l record; wanted tsquery; boxes uuid[] := '{}'; mine uuid[] := '{}'; many boolean;
begin
  if t is null then return; end if;
  with passed as materialized (
      (select m.* from messages m where chan is null and m.tenant_id = t and (m.created_at, m.id) < (below_at, below_id) and m.created_at >= since
        order by m.created_at desc, m.id desc limit walk)
      union all
      (select m.* from messages m where chan is not null and m.tenant_id = t and m.channel_id = chan and m.seq < below_seq order by m.seq desc limit walk)),
    place as materialized (select c.* from (select distinct p.channel_id as id from passed p) x join channels c on c.tenant_id = t and c.id = x.id
      cross join lateral seeing(c, reader) s where s.sees),
    tongues as materialized (select x.language, search_query(x.language, q) as query from (select distinct c.language from place c) x),
    hit as (select p.id, c.language, p.seq, p.created_at from passed p join place c on c.id = p.channel_id
        join tongues y on y.language = c.language
        left join channel_members cm on cm.tenant_id = t and cm.channel_id = p.channel_id and cm.user_id = reader
      where p.searchable @@ y.query and p.seq > greatest(c.truncated_seq, coalesce(cm.history_seq, 0)) and (reader is null or chan is not null or cm.role is not null or c.inbox_id is not null)
        and suits_search(row(p.*)::messages, reader, ask, runs)
      order by case when chan is not null then p.seq end desc, p.created_at desc, p.id desc limit most),
    last as (select p.seq, p.created_at, p.id from passed p order by case when chan is not null then p.seq end, p.created_at, p.id limit 1)
    select (select count(*) from passed), array(select h.id from hit h), array(select h.language from hit h),
        (select x.seq from last x), (select x.created_at from last x), (select x.id from last x)
      into walked, hits, languages, below_seq, below_at, below_id;
  return query select u.id, u.language from unnest(hits, languages) u(id, language);
  most := most - cardinality(hits);
  if most <= 0 or walked < walk then return; end if;

  -- Those in whose inboxes it may be looked are few: others are not asked of each inbox.
  if chan is null and exists (select 1 from users u where u.tenant_id = t and u.id = reader and u.type <> 'anonymous' and (u.role is not null
      or exists (select 1 from inbox_members m where m.tenant_id = t and m.user_id = reader)
      or exists (select 1 from team_members w join inbox_members m on m.tenant_id = t and m.team_id = w.team_id
        where w.tenant_id = t and w.user_id = reader))) then
    boxes := array(select i.id from inboxes i where i.tenant_id = t and works_in_inbox(t, i.id, reader));
    mine := array(select c.id from channels c where c.tenant_id = t and c.inbox_id = any (boxes) limit walk + 1);
  end if;
  many := cardinality(mine) > walk;
  if chan is null and (reader is null or many) then
    for l in with recursive each as (
          (select c.language from channels c where c.tenant_id = t order by c.language limit 1)
          union all
          select (select c.language from channels c where c.tenant_id = t and c.language > e.language order by c.language limit 1) from each e where e.language is not null)
        select e.language from each e where e.language is not null loop
      wanted := search_query(l.language, q);
      return query select m.id, c.language from (select * from messages x where x.tenant_id = t and x.searchable @@ wanted offset 0) m
          join channels c on c.tenant_id = t and c.id = m.channel_id and c.language = l.language
          left join channel_members cm on cm.tenant_id = t and cm.channel_id = c.id and cm.user_id = reader
        where (m.created_at, m.id) < (below_at, below_id) and m.seq > greatest(c.truncated_seq, coalesce(cm.history_seq, 0))
          and (reader is null or c.inbox_id = any (boxes) and c.deleted_at is null) and suits_search(row(m.*)::messages, reader, ask, runs)
        order by m.created_at desc, m.id desc limit most;
    end loop;
    if reader is null then return; end if;
  end if;
  for l in select c.language, array_agg(c.id) as ids, array_agg(greatest(c.truncated_seq, coalesce(cm.history_seq, 0))) as starts
      from (select x.channel_id as id from channel_members x where chan is null and x.tenant_id = t and x.user_id = reader
        union select chan where chan is not null union select y.id from unnest(mine) y(id) where not many) own
      join channels c on c.tenant_id = t and c.id = own.id
      left join channel_members cm on cm.tenant_id = t and cm.channel_id = c.id and cm.user_id = reader
     cross join lateral seeing(c, reader) s
     where s.sees and (chan is not null or c.inbox_id is null or not many)
     group by c.language loop
    wanted := search_query(l.language, q);
    -- The condition on the tenant stays out of the index on purpose: the channel says more. All others wait (offset 0), or their indexes
    -- would be read from end to end for a channel's messages.
    return query select m.id, l.language from unnest(l.ids, l.starts) mine(id, start) cross join lateral (
        select x.id, x.seq, x.created_at from (select * from messages w where w.channel_id = mine.id and w.searchable @@ wanted offset 0) x
         where x.tenant_id = t and x.seq > mine.start and case when chan is null then (x.created_at, x.id) < (below_at, below_id) else x.seq < below_seq end
          and suits_search(row(x.*)::messages, reader, ask, runs)
         order by case when chan is not null then x.seq end desc, x.created_at desc, x.id desc limit most) m
      order by case when chan is not null then m.seq end desc, m.created_at desc, m.id desc limit most;
  end loop;
end $$;

-- The part of a text where it was found, what was found between U+E000 and U+E001.
create or replace function public.highlighted(language text, q text, said text) returns text language plpgsql stable as $$
declare opens text := chr(57344); closes text := chr(57345); runs text[] := wanted_runs(q); run text; part text;
  words tsquery := websearch_to_tsquery(search_config(language), regexp_replace(q, '-?' || unspaced(), ' ', 'g'));
begin
  said := translate(left(said, 40000), opens || closes, '');
  if numnode(words) > 0 then
    part := ts_headline(search_config(language), said, words, format('StartSel=%s, StopSel=%s, MaxWords=40, MinWords=20', opens, closes));
  else
    part := substr(said, greatest(1, strpos(said, runs[1]) - 40), 200);
  end if;
  foreach run in array runs loop part := replace(part, run, opens || run || closes); end loop;
  return part;
end $$;

call hand_over_doors();
