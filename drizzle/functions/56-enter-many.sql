-- One verdict for each credential of a group, by the same rules as for one. A single bad one stops nobody else.
drop function if exists door.enter_many(jsonb);
create or replace function door.enter_many(credentials jsonb) returns table (n int, code text, "userId" uuid)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare c record; refusal text; entered uuid;
begin
  for c in select credential, array_agg(place) as places
      from (select value -> 'credential' as credential, (value ->> 'n')::int as place from jsonb_array_elements(credentials)) x group by credential loop
    begin
      code := null;
      entered := null;
      select e.user_id into entered from door.enter(c.credential) e;
    exception
      when sqlstate 'PA409' then code := 'stale';
      when sqlstate 'PA400' then
        get stacked diagnostics refusal = pg_exception_detail;
        code := refusal::jsonb ->> 'code';
    end;
    return query select p, code, case when code is null then entered end from unnest(c.places) p;
  end loop;
  perform set_config('app.user_id', '', true);
end $$;
