-- Every table of the tenant's, whatever tables there are, but for what ends by itself or is secret; of one user those
-- that say whose their rows are.
create or replace function public.exported_tables(of_user boolean) returns setof text language sql stable as $$
  select c.relname::text from pg_class c
   where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
     and c.relname <> all (array['webhook_secrets', 'socket_tickets', 'live_sockets', 'idempotency_keys', 'revoked_tokens'])
     and (c.relname = 'tenants' and not of_user or c.relname = 'users' or exists (select 1 from pg_attribute a
       where a.attrelid = c.oid and a.attname = case when of_user then 'user_id' else 'tenant_id' end and not a.attisdropped)
       or of_user and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'created_by' and a.atttypid = 'uuid'::regtype))
   order by 1
$$;

-- The rows of one table behind a place, a bounded number of bytes of them. Sealed and hashed things, which are of no use
-- outside, and headers that hold credentials are left out.
create or replace function public.export_page(name text, of_user uuid, place jsonb, most_bytes int) returns jsonb
language plpgsql stable as $$
declare
  own text := case name when 'tenants' then 'id' else 'tenant_id' end;
  secrets text[]; keys text; places text; mine text; answer jsonb;
begin
  if not exists (select 1 from exported_tables(of_user is not null) t where t = export_page.name) then
    raise exception '% is not exported', name;
  end if;
  select string_agg(format('x.%I', a.attname), ', ' order by k.nth), string_agg(format('($1 ->> %s)::%s', k.nth, format_type(a.atttypid, null)), ', ' order by k.nth)
    into keys, places from pg_index i
    cross join lateral (select u.num, row_number() over (order by u.n) - 1 as nth from unnest(i.indkey) with ordinality u(num, n)
      join pg_attribute b on b.attrelid = i.indrelid and b.attnum = u.num and b.attname <> 'tenant_id') k
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
   where i.indrelid = format('public.%I', name)::regclass and i.indisprimary;
  select array_agg(a.attname::text) || array['tenant_id', 'headers'] into secrets from pg_attribute a
   where a.attrelid = format('public.%I', name)::regclass and a.atttypid = 'bytea'::regtype and not a.attisdropped;
  select string_agg(format('x.%I = $2', a.attname), ' or ') into mine from pg_attribute a
   where a.attrelid = format('public.%I', name)::regclass and not a.attisdropped and a.atttypid = 'uuid'::regtype
     and a.attname = any (case name when 'users' then array['id'] else array['user_id', 'created_by'] end);
  execute format('with page as (
      select to_jsonb(x) - $3 as row, jsonb_build_array(%1$s) as at, row_number() over w as nth, sum(octet_length(to_jsonb(x)::text)) over w as bytes
        from (select * from public.%2$I x where x.%3$I = current_tenant() and ($2 is null or %4$s) and ($1 is null or (%1$s) > (%5$s))
          order by %1$s limit 1000) x window w as (order by %1$s))
    select jsonb_build_object(''rows'', coalesce(jsonb_agg(row order by nth), ''[]''), ''place'', (array_agg(at order by nth desc))[1])
      from page where nth = 1 or bytes <= $4', keys, name, own, coalesce(mine, 'false'), places)
    into answer using place, of_user, coalesce(secrets, array['tenant_id', 'headers']), most_bytes;
  return answer;
end $$;
